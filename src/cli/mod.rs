//! The two programs: arguments in, text out.

mod evaluate;
mod output;

pub use evaluate::evaluate;
