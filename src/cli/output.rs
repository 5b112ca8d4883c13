//! Results on stdout, everything else on stderr.

use std::borrow::Cow;
use std::io::{self, Write};
use std::process::ExitCode;

/// The longest line of an error, in characters: room for a path, and not for a file that was taken for a name.
const LONGEST: usize = 1000;

/// Ends a program: its result on stdout and 0, or its error on stderr and 1. A reader that has gone away has
/// had enough: that is a success.
pub fn finish(program: &str, result: anyhow::Result<String>) -> ExitCode {
    match result {
        Ok(text) => match io::stdout().lock().write_all(harmless(&text).as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{program}: the result could not be written: {error}");
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            tell(program, &error);
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
    failed.iter().for_each(|error| tell(program, error));
    if failed.is_empty() { status } else { ExitCode::FAILURE }
}

/// An error on stderr, in lines that are no longer than [`LONGEST`].
fn tell(program: &str, error: &anyhow::Error) {
    let text = format!("{error:#}");
    let cut = |line: &str| match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    };
    let lines: Vec<String> = harmless(&text).split('\n').map(cut).collect();
    eprintln!("{program}: {}", lines.join("\n"));
}

/// The text with what commands a terminal shown instead of done: names in it are out of other people's files.
fn harmless(text: &str) -> Cow<'_, str> {
    let commands = |c: char| c.is_control() && c != '\n' && c != '\t';
    if !text.contains(commands) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match commands(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}
