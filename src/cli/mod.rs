//! The two programs: arguments in, text out.

mod arguments;
mod calibrate;
mod evaluate;
mod journal;
mod output;
mod progress;

pub use calibrate::calibrate;
pub use evaluate::evaluate;
