//! Measuring, from outside: campaigns over a fake machine with a virtual clock, and the real processor.

mod campaign;
mod fake;
