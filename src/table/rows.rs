//! Reads the rows of a table.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::num::IntErrorKind;

use super::column::TableColumn;
use super::error::{TableError, TableErrorKind, excerpt};
use super::split::Field;
use super::{Record, Route};
use crate::dtype::Dtype;
use crate::op::{Cells, Column, Op};
use crate::stats::Summary;
use crate::units::Seconds;

/// The rows read so far.
#[derive(Default)]
pub(super) struct Rows {
    records: Vec<Record>,
    /// The line and time of each op.
    known: HashMap<Op, (u64, Seconds)>,
    /// Kept from row to row for its buffers.
    cells: Cells,
}

/// What is wrong with a row, and in which column.
type Fault = (TableColumn, TableErrorKind);

impl Rows {
    /// Adds a row; one that repeats an earlier row's op and time is passed over.
    ///
    /// # Errors
    /// When the row has a field too many or too few, is no op, has no valid time, or another time than an
    /// earlier row of the same op.
    pub fn push(
        &mut self,
        fields: &[Field<'_>],
        columns: &[TableColumn],
        line: u64,
    ) -> Result<(), TableError> {
        if fields.len() != columns.len() {
            let kind = TableErrorKind::FieldCount { found: fields.len(), expected: columns.len() };
            return Err(TableError::at(line, None, kind));
        }
        self.add(fields, columns, line).map_err(|(column, kind)| {
            // The field's own line, which is not the row's behind a quoted newline.
            let field = columns.iter().position(|other| *other == column).and_then(|i| fields.get(i));
            TableError::at(field.map_or(line, |field| field.line), Some(column), kind)
        })
    }

    /// The rows, no two of the same op.
    pub fn into_records(self) -> Vec<Record> {
        self.records
    }

    fn add(&mut self, fields: &[Field<'_>], columns: &[TableColumn], line: u64) -> Result<(), Fault> {
        let row = Row::read(fields, columns, &mut self.cells)?;
        let op = Op::from_cells(&self.cells)
            .map_err(|error| (TableColumn::Op(error.column()), TableErrorKind::NotAnOp { error }))?;
        let summary = row.summary()?;
        match self.known.entry(op) {
            Entry::Vacant(entry) => {
                entry.insert((line, summary.seconds));
                let (flags, source) = (row.flags.to_owned(), row.source.to_owned());
                let route = Route::of(row.route.map(str::to_owned));
                self.records.push(Record { op, summary, route, flags, source });
                Ok(())
            }
            Entry::Occupied(entry) if entry.get().1 == summary.seconds => Ok(()),
            Entry::Occupied(entry) => {
                let (first_line, first) = *entry.get();
                let (first, second) = (first.get(), summary.seconds.get());
                Err((TableColumn::Seconds, TableErrorKind::TwoTimes { op, first_line, first, second }))
            }
        }
    }
}

/// What a row says beside its op.
#[derive(Default)]
struct Row<'a> {
    seconds: Option<Seconds>,
    low: Option<Seconds>,
    high: Option<Seconds>,
    samples: Option<u64>,
    route: [&'a str; 3],
    flags: &'a str,
    source: &'a str,
}

impl<'a> Row<'a> {
    /// Reads the fields that name the op into `cells`.
    fn read(fields: &'a [Field<'_>], columns: &[TableColumn], cells: &mut Cells) -> Result<Self, Fault> {
        let (mut op, mut kind) = (std::mem::take(&mut cells.op), std::mem::take(&mut cells.kind));
        op.clear();
        kind.clear();
        *cells = Cells { op, kind, ..Cells::default() };
        let mut row = Row::default();
        for (field, column) in fields.iter().zip(columns) {
            let text: &'a str = &field.text;
            let faulty = |kind| (*column, kind);
            match column {
                TableColumn::Op(Column::Op) => cells.op.push_str(text.trim()),
                TableColumn::Op(Column::Kind) => cells.kind.push_str(text.trim()),
                TableColumn::Op(Column::Dtype) => cells.dtype = dtype(text).map_err(faulty)?,
                TableColumn::Op(column) => cells.set_count(*column, count(text).map_err(faulty)?),
                TableColumn::Seconds => row.seconds = time(text).map_err(faulty)?,
                TableColumn::SecondsLow => row.low = time(text).map_err(faulty)?,
                TableColumn::SecondsHigh => row.high = time(text).map_err(faulty)?,
                TableColumn::Samples => row.samples = count(text).map_err(faulty)?,
                TableColumn::Algorithm => row.route[0] = text,
                TableColumn::Protocol => row.route[1] = text,
                TableColumn::Transport => row.route[2] = text,
                TableColumn::Flags => row.flags = text,
                TableColumn::Source => row.source = text,
            }
        }
        Ok(row)
    }

    fn summary(&self) -> Result<Summary, Fault> {
        let seconds = self.seconds.ok_or((TableColumn::Seconds, TableErrorKind::MissingTime))?;
        let interval = match (self.low, self.high) {
            (Some(low), Some(high)) => Some((low, high)),
            (None, None) => None,
            (None, Some(_)) => return Err((TableColumn::SecondsLow, TableErrorKind::HalfInterval)),
            (Some(_), None) => return Err((TableColumn::SecondsHigh, TableErrorKind::HalfInterval)),
        };
        let summary = Summary { seconds, interval, samples: self.samples };
        check(&summary).map(|()| summary)
    }
}

/// Checks that times are positive, and the interval is in order and about its time.
pub(super) fn check(summary: &Summary) -> Result<(), Fault> {
    let positive = |column, time: Seconds| match time {
        Seconds::ZERO => Err((column, TableErrorKind::NotATime { text: "0".to_owned() })),
        _ => Ok(time.get()),
    };
    let seconds = positive(TableColumn::Seconds, summary.seconds)?;
    let Some((low, high)) = summary.interval else { return Ok(()) };
    let low = positive(TableColumn::SecondsLow, low)?;
    let high = positive(TableColumn::SecondsHigh, high)?;
    if low > high {
        return Err((TableColumn::SecondsLow, TableErrorKind::ReversedInterval { low, high }));
    }
    if !(low..=high).contains(&seconds) {
        let kind = TableErrorKind::OutsideInterval { seconds, interval: low..=high };
        return Err((TableColumn::Seconds, kind));
    }
    Ok(())
}

fn dtype(text: &str) -> Result<Option<Dtype>, TableErrorKind> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| TableErrorKind::UnknownDtype { text: excerpt(text) }),
    }
}

fn count(text: &str) -> Result<Option<u64>, TableErrorKind> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|error: std::num::ParseIntError| match error.kind() {
            IntErrorKind::PosOverflow => TableErrorKind::CountTooLarge { text: excerpt(text) },
            _ => TableErrorKind::NotACount { text: excerpt(text) },
        }),
    }
}

/// A positive number. One too small for a double parses as 0 and one too large as infinity: both are refused.
fn time(text: &str) -> Result<Option<Seconds>, TableErrorKind> {
    match text.trim() {
        "" => Ok(None),
        text => {
            let seconds = text.parse().ok().and_then(|number| Seconds::new(number).ok());
            match seconds {
                Some(seconds) if seconds > Seconds::ZERO => Ok(Some(seconds)),
                _ => Err(TableErrorKind::NotATime { text: excerpt(text) }),
            }
        }
    }
}
