//! The two programs: arguments in, text out.

mod calibrate;
mod evaluate;
mod explain;
mod inputs;
mod inspect;
mod output;
mod progress;

pub use calibrate::calibrate;
pub use evaluate::evaluate;
