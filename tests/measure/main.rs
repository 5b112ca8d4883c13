//! Measuring, from outside: campaigns over a fake machine with a virtual clock, and the real processor.

mod anchors;
mod campaign;
#[cfg(feature = "cpu")]
mod cpu;
mod fake;
