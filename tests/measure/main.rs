//! Measuring, from outside: campaigns over a fake machine with a virtual clock, and the real processor.

mod campaign;
#[cfg(feature = "cpu")]
mod cpu;
mod fake;
