//! Results on stdout, everything else on stderr.

use std::io::{self, Write};
use std::process::ExitCode;

/// Ends a program: its result on stdout and 0, or its error on stderr and 1. A reader that has gone away has
/// had enough: that is a success.
pub fn finish(program: &str, result: anyhow::Result<String>) -> ExitCode {
    match result {
        Ok(text) => match io::stdout().lock().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{program}: the result could not be written: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
