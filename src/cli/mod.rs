//! The two programs: arguments in, text out.

mod calibrate;
mod check;
mod evaluate;
mod output;
mod progress;

pub use calibrate::calibrate;
pub use evaluate::evaluate;
