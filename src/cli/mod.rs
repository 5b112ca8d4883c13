//! The two programs: arguments in, text out.

mod arguments;
mod calibrate;
mod campaign;
mod check;
mod compare;
mod difference;
mod evaluate;
mod explain;
#[cfg(feature = "cuda")]
mod gpus;
mod import;
mod inputs;
mod inspect;
mod keeping;
mod model;
mod output;
mod plot;
#[cfg(feature = "cpu")]
mod processor;
mod progress;
mod search;
mod summary;
mod validate;

pub use calibrate::calibrate;
pub use evaluate::evaluate;
