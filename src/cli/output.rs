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

/// A result, and what went wrong beside it.
pub type Partial = (String, Vec<anyhow::Error>);

/// Ends a program that may have done a part of what it was asked for: the errors of the rest on stderr, and 1.
pub fn finish_in_part(program: &str, result: anyhow::Result<Partial>) -> ExitCode {
    let (text, failed) = match result {
        Ok(done) => done,
        Err(error) => return finish(program, Err(error)),
    };
    let status = finish(program, Ok(text));
    for error in &failed {
        eprintln!("{program}: {error:#}");
    }
    if failed.is_empty() { status } else { ExitCode::FAILURE }
}
