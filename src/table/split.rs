//! Splits the text of a table into comments and rows of fields, and knows the line of each.
//!
//! The `csv` crate is not used: it takes a quote that is never closed for a field that reaches to the end of
//! the file, and counts a row's line before it skips the blank lines, comments and line ends above the row.

use std::borrow::Cow;

use super::error::{TableError, TableErrorKind};

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
    /// The line at which `rest` begins, from 1.
    line: u64,
    unterminated: bool,
}

impl<'a> Splitter<'a> {
    pub fn new(text: &'a str) -> Self {
        Splitter { rest: text, line: 1, unterminated: false }
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
            let begin = self.line;
            let line = self.rest.split('\n').next().unwrap_or_default();
            let text = line.trim_start();
            if let Some(comment) = text.strip_prefix('#') {
                self.pass(line.len());
                let comment = comment.strip_suffix('\r').unwrap_or(comment);
                return Ok(Some((begin, Line::Comment(comment.strip_prefix(' ').unwrap_or(comment)))));
            }
            if !text.is_empty() {
                self.row(fields)?;
                return Ok(Some((begin, Line::Row)));
            }
            self.pass(line.len());
        }
        Ok(None)
    }

    fn row(&mut self, fields: &mut Vec<Field<'a>>) -> Result<(), TableError> {
        fields.clear();
        loop {
            let line = self.line;
            let text = match self.rest.trim_start_matches([' ', '\t']).strip_prefix('"') {
                Some(quoted) => self.quoted(quoted)?,
                None => Cow::Borrowed(self.take_unquoted().trim()),
            };
            fields.push(Field { text, line });
            let more = self.rest.starts_with(',');
            self.unterminated = self.rest.is_empty();
            self.pass(0);
            if !more {
                return Ok(());
            }
        }
    }

    /// The field whose opening quote stands before `text`; ends at the separator behind its closing quote.
    fn quoted(&mut self, text: &'a str) -> Result<Cow<'a, str>, TableError> {
        let begin = self.line;
        let mut length = 0;
        let mut doubled = false;
        loop {
            let Some(quote) = text[length..].find('"') else {
                return Err(TableError::at(begin, None, TableErrorKind::OpenQuote));
            };
            length += quote;
            if !text[length + 1..].starts_with('"') {
                break;
            }
            doubled = true;
            length += 2;
        }
        let content = &text[..length];
        self.line += content.bytes().filter(|byte| *byte == b'\n').count() as u64;
        self.rest = &text[length + 1..];
        let behind = self.take_unquoted().trim();
        if !behind.is_empty() {
            let kind = TableErrorKind::TextAfterQuote { text: super::error::excerpt(behind) };
            return Err(TableError::at(self.line, None, kind));
        }
        Ok(if doubled { content.replace("\"\"", "\"").into() } else { content.into() })
    }

    /// Takes what stands before the next comma, newline or the end.
    fn take_unquoted(&mut self) -> &'a str {
        let end = self.rest.bytes().position(|byte| matches!(byte, b',' | b'\n')).unwrap_or(self.rest.len());
        let (before, rest) = self.rest.split_at(end);
        self.rest = rest;
        before
    }

    /// Passes over `length` bytes within a line and the comma or newline behind them.
    fn pass(&mut self, length: usize) {
        let rest = &self.rest[length..];
        self.line += u64::from(rest.starts_with('\n'));
        self.rest = rest.get(1..).unwrap_or_default();
    }
}
