//! Reads tables, and refuses whatever is not one.

use std::path::Path;

use super::column::{TableColumn, nearest};
use super::error::{TableError, TableErrorKind, excerpt};
use super::header::Comments;
use super::rows::Rows;
use super::split::{Field, Line, Splitter};
use super::{END, Table};
use crate::bounded;
use crate::op::Column;

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is no table; see [`Table::parse`].
    pub fn read(path: &Path) -> Result<Table, TableError> {
        let name = path.display().to_string();
        match bounded::bytes(path, bounded::WRITTEN_BY_PROGRAMS) {
            Ok(bytes) => Table::parse(&bytes, &name),
            Err(source) => {
                Err(TableError { file: name, ..TableError::whole(TableErrorKind::Unreadable { source }) })
            }
        }
    }

    /// Reads a text; `name` is that of the file in errors.
    ///
    /// # Errors
    /// The first thing that is wrong, from above: text that is not UTF-8, a header that is not TOML, unknown
    /// columns, rows that are no op or whose time, interval or count is none, two times of one op, no rows, a
    /// cut end.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Table, TableError> {
        parse(bytes).map_err(|error| TableError { file: name.to_owned(), ..error })
    }
}

fn parse(bytes: &[u8]) -> Result<Table, TableError> {
    let text = decode(bytes)?;
    if text.trim().is_empty() {
        return Err(TableError::whole(TableErrorKind::Empty));
    }
    let mut lines = Splitter::new(text);
    let mut fields = Vec::new();
    let mut comments = Comments::default();
    let mut columns: Option<Vec<TableColumn>> = None;
    let mut rows = Rows::default();
    let mut ended = false;
    let mut header = None;
    let mut last = 1;
    while let Some((line, content)) = lines.next(&mut fields)? {
        last = line;
        match (content, &columns) {
            (Line::Comment(text), Some(_)) if text.trim() == END => ended = true,
            (Line::Comment(text), _) if header.is_none() => comments.push(text, line),
            (Line::Comment(_), _) => {}
            (Line::Row, None) => columns = Some(read_columns(&fields, line)?),
            (Line::Row, Some(columns)) => {
                if header.is_none() {
                    header = Some(comments.read()?);
                }
                rows.push(&fields, columns, line)?;
            }
        }
    }
    let header = header.map_or_else(|| comments.read(), Ok)?;
    let Some(columns) = columns else { return Err(TableError::whole(TableErrorKind::NoColumns)) };
    if header.has_format() && !ended {
        return Err(TableError::at(last, None, TableErrorKind::MissingEnd));
    }
    let records = rows.into_records();
    if records.is_empty() {
        return Err(TableError::whole(TableErrorKind::NoRows));
    }
    if let Some(column) = columns.last().filter(|column| column.is_number() && lines.unterminated()) {
        return Err(TableError::at(last, Some(*column), TableErrorKind::MissingNewline));
    }
    Ok(Table { device: header.device, cluster: header.cluster, run: header.run, records })
}

/// The text without a byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, TableError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let (good, bad) = bytes.split_at(error.valid_up_to());
        let line = 1 + good.iter().filter(|byte| **byte == b'\n').count() as u64;
        let byte = 1 + good.iter().rev().take_while(|byte| **byte != b'\n').count();
        let value = bad.first().copied().unwrap_or_default();
        TableError::at(line, None, TableErrorKind::NotUtf8 { byte, value })
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

fn read_columns(fields: &[Field<'_>], line: u64) -> Result<Vec<TableColumn>, TableError> {
    if !fields.iter().any(|field| TableColumn::named(&field.text).is_some()) {
        // A line without a single name is a row, or no table at all; its last word is not a misspelt column.
        return Err(TableError::at(line, None, TableErrorKind::NoColumns));
    }
    let mut columns: Vec<TableColumn> = Vec::with_capacity(fields.len());
    for (number, field) in (1..).zip(fields) {
        let Some(column) = TableColumn::named(&field.text) else {
            let nearest = nearest(&field.text, TableColumn::all().map(TableColumn::name));
            let kind = TableErrorKind::UnknownColumn { number, name: excerpt(&field.text), nearest };
            return Err(TableError::at(field.line, None, kind));
        };
        if let Some(first) = columns.iter().position(|other| *other == column) {
            let kind = TableErrorKind::DuplicateColumn { first: first + 1, second: number };
            return Err(TableError::at(field.line, Some(column), kind));
        }
        columns.push(column);
    }
    for missing in [TableColumn::Op(Column::Op), TableColumn::Seconds] {
        if !columns.contains(&missing) {
            return Err(TableError::at(line, None, TableErrorKind::MissingColumn { missing }));
        }
    }
    Ok(columns)
}
