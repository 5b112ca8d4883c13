//! Measures real products, kernels, attention and collectives into a cost table with error bars.

use std::process::ExitCode;

fn main() -> ExitCode {
    gettime::cli::calibrate()
}
