//! What can be wrong with a table, and where.

use std::io;
use std::ops::RangeInclusive;

use super::column::TableColumn;
use crate::op::{Op, OpError};

/// A table that could not be read or written: the file, the place in it, what is wrong there and a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{file}{}: {kind}\n  {}", self.place(), kind.remedy())]
pub struct TableError {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; `None` where it is about the whole file.
    pub line: Option<u64>,
    /// The column; `None` where it is about the whole line.
    pub column: Option<TableColumn>,
    /// What is wrong.
    pub kind: Box<TableErrorKind>,
}

impl TableError {
    /// Something wrong with the whole file.
    pub(super) fn whole(kind: TableErrorKind) -> Self {
        TableError { file: String::new(), line: None, column: None, kind: Box::new(kind) }
    }

    /// Something wrong in a line.
    pub(super) fn at(line: u64, column: Option<TableColumn>, kind: TableErrorKind) -> Self {
        TableError { line: Some(line), column, ..TableError::whole(kind) }
    }

    fn place(&self) -> String {
        let line = self.line.map(|line| format!(": line {line}")).unwrap_or_default();
        let column = self.column.map(|column| format!(", column {column}")).unwrap_or_default();
        line + &column
    }
}

/// What is wrong with a table.
#[derive(Debug, thiserror::Error)]
pub enum TableErrorKind {
    /// The file is missing, a directory, or closed to us.
    #[error("cannot be read: {source}")]
    Unreadable {
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be put where it should be, or the table holds what no file can.
    #[error("cannot be written: {source}")]
    Unwritable {
        /// What the system said.
        source: io::Error,
    },
    /// Nothing but blanks.
    #[error("the file is empty")]
    Empty,
    /// A byte that is no text.
    #[error("byte {byte} of the line, 0x{value:02x}, is not UTF-8 text")]
    NotUtf8 {
        /// Its place in the line, from 1.
        byte: usize,
        /// The byte.
        value: u8,
    },
    /// The format is one that this version does not know.
    #[error("the format {found:?} is not known here")]
    UnknownFormat {
        /// What was read.
        found: String,
    },
    /// The lines with `#` above the columns are not TOML.
    #[error("the header is not valid: {message}")]
    BadHeader {
        /// What the TOML reader said.
        message: String,
    },
    /// A table of the header with a name that looks like one of ours.
    #[error("[{found}] is not a table of the header")]
    UnknownHeaderTable {
        /// What was read.
        found: String,
        /// What was most likely meant.
        nearest: &'static str,
    },
    /// No line that names the columns.
    #[error("no line names the columns")]
    NoColumns,
    /// The table lacks a column that every table needs.
    #[error("the column \"{missing}\" is missing")]
    MissingColumn {
        /// The column.
        missing: TableColumn,
    },
    /// A name that is no column.
    #[error("column {number} is named {name:?}, which no table has")]
    UnknownColumn {
        /// Its place in the line, from 1.
        number: usize,
        /// What was read.
        name: String,
        /// What was most likely meant.
        nearest: Option<&'static str>,
    },
    /// A column that is there twice.
    #[error("the column is there twice, as number {first} and number {second}")]
    DuplicateColumn {
        /// The first place, from 1.
        first: usize,
        /// The second place, from 1.
        second: usize,
    },
    /// A row longer or shorter than the line of the columns.
    #[error("{found} fields where the table has {expected} columns")]
    FieldCount {
        /// Fields in this row.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// A quote without its other half.
    #[error("the quote that opens here is never closed")]
    OpenQuote,
    /// Text between a closing quote and the next comma.
    #[error("{text:?} follows a closing quote")]
    TextAfterQuote {
        /// What was read.
        text: String,
    },
    /// The columns that name the op do not: an unknown op or kind, an empty field, a count of 0.
    #[error("{error}")]
    NotAnOp {
        /// What the op said.
        error: OpError,
    },
    /// An unknown element type.
    #[error("{text:?} is not an element type")]
    UnknownDtype {
        /// What was read.
        text: String,
    },
    /// Text where a count should be.
    #[error("{text:?} is not a whole number")]
    NotACount {
        /// What was read.
        text: String,
    },
    /// A count beyond 64 bits.
    #[error("{text:?} is too large")]
    CountTooLarge {
        /// What was read.
        text: String,
    },
    /// No time at all.
    #[error("the row has no time")]
    MissingTime,
    /// Text, NaN, an infinity, a negative number or zero where a time should be.
    #[error("{text:?} is not a time")]
    NotATime {
        /// What was read.
        text: String,
    },
    /// An interval with one end.
    #[error("the interval has one end only: this one is empty")]
    HalfInterval,
    /// An interval whose low end is above its high end.
    #[error("the interval is turned round: its low end {low:e} is above its high end {high:e}")]
    ReversedInterval {
        /// Low end in seconds.
        low: f64,
        /// High end in seconds.
        high: f64,
    },
    /// An interval beside its time.
    #[error("the time {seconds:e} is not in its interval, {:e} to {:e}", interval.start(), interval.end())]
    OutsideInterval {
        /// The time in seconds.
        seconds: f64,
        /// The interval in seconds.
        interval: RangeInclusive<f64>,
    },
    /// Two times of one op.
    #[error("\"{op}\" took {second:e} s here and {first:e} s in line {first_line}")]
    TwoTimes {
        /// The op.
        op: Op,
        /// The line of the first time.
        first_line: u64,
        /// The first time in seconds.
        first: f64,
        /// The time of this line in seconds.
        second: f64,
    },
    /// The columns are named and nothing follows.
    #[error("the table has no rows")]
    NoRows,
    /// The last line, which says that the table is complete, is missing.
    #[error("the file was cut off: its last line, \"# [end]\", is missing")]
    MissingEnd,
    /// The file ends within or right behind a number.
    #[error("the file ends in a number without a newline; digits may be missing")]
    MissingNewline,
}

/// The beginning of a text that someone else wrote, short enough for a message.
pub(super) fn excerpt(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
