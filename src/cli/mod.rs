//! The two programs: arguments in, text out.

mod calibrate;
mod check;
mod evaluate;
mod explain;
mod import;
mod inputs;
mod inspect;
mod output;
mod progress;

pub use calibrate::calibrate;
pub use evaluate::evaluate;
