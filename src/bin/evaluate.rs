//! How long a plan runs, which chain of ops decides it, and how sure that is.

use std::process::ExitCode;

fn main() -> ExitCode {
    gettime::cli::evaluate()
}
