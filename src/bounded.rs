//! Reads files, and no more of them than one of their kind ever has: what was meant to be a table may be a device
//! without an end, or the image of a disk.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The longest file that programs write, in bytes: a table of about a million rows, a graph of 300,000 nodes.
pub const WRITTEN_BY_PROGRAMS: u64 = 128 << 20;

/// The longest file that people write, in bytes: a hundred times what they do.
pub const WRITTEN_BY_PEOPLE: u64 = 2 << 20;

/// What is in a file.
///
/// # Errors
/// What the system says, and [`io::ErrorKind::FileTooLarge`] where it is longer than `most` bytes.
pub fn bytes(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    all(File::open(path)?, most)
}

/// As [`bytes`], of a text; without the byte order mark that some editors write before it.
///
/// # Errors
/// As [`bytes`]; and [`io::ErrorKind::InvalidData`] where it is not UTF-8, with the line.
pub fn text(path: &Path, most: u64) -> io::Result<String> {
    as_text(bytes(path, most)?)
}

/// As [`text`], of standard input.
///
/// # Errors
/// As [`text`].
pub fn standard_input(most: u64) -> io::Result<String> {
    as_text(all(io::stdin(), most)?)
}

/// What is left in an open file or a pipe.
///
/// # Errors
/// As [`bytes`].
pub fn all(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it is longer than {} MiB; is it the right file?", most >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

fn as_text(bytes: Vec<u8>) -> io::Result<String> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count();
        let message = format!("line {line} is not UTF-8 text; save the file as UTF-8");
        io::Error::new(io::ErrorKind::InvalidData, message)
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}
