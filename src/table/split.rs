//! Splits the text of a table into comments and rows of fields, and knows the line of each.

use std::borrow::Cow;

use csv_core::{ReadFieldResult, Reader, ReaderBuilder, Terminator};

use super::error::{TableError, TableErrorKind, excerpt};

/// One field of a row.
pub(super) struct Field<'a> {
    /// Its text, without quotes; without the blanks around it where it had no quotes.
    pub text: Cow<'a, str>,
    /// The line on which it begins.
    pub line: u64,
}

/// What a line holds; blank lines are passed over.
pub(super) enum Line<'a> {
    /// The text behind a `#` and one blank.
    Comment(&'a str),
    /// A row, its fields in the buffer that was passed in.
    Row,
}

/// Goes through a text line by line.
pub(super) struct Splitter<'a> {
    rest: &'a str,
    /// Counts the lines, too.
    csv: Reader,
    /// Takes one field, and none is longer than the text.
    field: Vec<u8>,
    unterminated: bool,
}

impl<'a> Splitter<'a> {
    pub fn new(text: &'a str) -> Self {
        // A carriage return before the newline is a blank at the end of the last field.
        let mut csv = ReaderBuilder::new().terminator(Terminator::Any(b'\n')).build();
        let mut field = vec![0; text.len()];
        // csv drops a byte order mark from what it reads first, which need not be where the text begins.
        csv.read_field(b"\n", &mut field);
        csv.set_line(1);
        Splitter { rest: text, csv, field, unterminated: false }
    }

    /// Whether the last row ended with the text and not with a newline.
    pub fn unterminated(&self) -> bool {
        self.unterminated
    }

    /// The next comment or row and the line on which it begins. A row's fields replace those in `fields`.
    ///
    /// # Errors
    /// When a quote stays open, or text follows one that was closed.
    pub fn next(&mut self, fields: &mut Vec<Field<'a>>) -> Result<Option<(u64, Line<'a>)>, TableError> {
        while !self.rest.is_empty() {
            let number = self.csv.line();
            let (line, below) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
            let text = line.trim_start();
            if !text.is_empty() && !text.starts_with('#') {
                self.row(fields)?;
                return Ok(Some((number, Line::Row)));
            }
            self.rest = below;
            self.csv.set_line(number + 1);
            if let Some(comment) = text.strip_prefix('#') {
                let comment = comment.strip_suffix('\r').unwrap_or(comment);
                return Ok(Some((number, Line::Comment(comment.strip_prefix(' ').unwrap_or(comment)))));
            }
        }
        Ok(None)
    }

    fn row(&mut self, fields: &mut Vec<Field<'a>>) -> Result<(), TableError> {
        fields.clear();
        loop {
            // To csv a quote behind a blank is a letter.
            let text = self.rest.trim_start_matches([' ', '\t']);
            let line = self.csv.line();
            let (result, read, length) = self.csv.read_field(text.as_bytes(), &mut self.field);
            let (raw, rest) = text.split_at(read);
            self.rest = rest;
            self.unterminated = rest.is_empty() && !raw.ends_with('\n');
            let raw = raw.strip_suffix([',', '\n']).unwrap_or(raw);
            let text = if raw.starts_with('"') {
                let behind = behind_quote(raw, line)?;
                String::from_utf8_lossy(&self.field[..length - behind]).into_owned().into()
            } else {
                raw.trim().into()
            };
            fields.push(Field { text, line });
            if !matches!(result, ReadFieldResult::Field { record_end: false }) {
                return Ok(());
            }
        }
    }
}

/// How many blanks follow the closing quote of the field `raw`, which begins in `line`.
///
/// csv takes a quote that is never closed for a field that reaches to the end of the file, and whatever
/// follows a closing quote for a part of the field.
///
/// # Errors
/// When the quote stays open, or text follows it.
fn behind_quote(raw: &str, line: u64) -> Result<usize, TableError> {
    // Doubled quotes close nothing; their like in length keeps the place.
    let Some(closing) = raw[1..].replace("\"\"", "''").find('"') else {
        return Err(TableError::at(line, None, TableErrorKind::OpenQuote));
    };
    let behind = &raw[closing + 2..];
    if behind.trim().is_empty() {
        return Ok(behind.len());
    }
    let line = line + raw.matches('\n').count() as u64;
    Err(TableError::at(line, None, TableErrorKind::TextAfterQuote { text: excerpt(behind.trim()) }))
}
