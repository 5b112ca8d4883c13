//! Writes tables that read back bit for bit.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use csv::{QuoteStyle, WriterBuilder};

use super::column::TableColumn;
use super::error::{TableError, TableErrorKind};
use super::{END, Record, Table, header, rows};
use crate::op::{Cells, Column, Op};

impl Table {
    /// Writes the table, all of it in one piece. A table without rows can be written, not read.
    ///
    /// # Errors
    /// When `w` fails. Nothing is written, and the error is [`io::ErrorKind::InvalidInput`], when the table
    /// would not read back as it is: two rows of one op, an op with a count of 0, a time of 0 or outside its
    /// interval, a number above 2⁶³−1 in the header.
    pub fn write_to(&self, mut w: impl Write) -> io::Result<()> {
        w.write_all(&self.render()?)?;
        w.flush()
    }

    /// Writes a file: all of it, or nothing, and then a file that was there is as it was.
    ///
    /// # Errors
    /// When the folder is not there or closed to us, the path is a folder, the disk is full, or the table
    /// would not read back; see [`Table::write_to`].
    pub fn write(&self, path: &Path) -> Result<(), TableError> {
        self.write_file(path).map_err(|source| TableError {
            file: path.display().to_string(),
            ..TableError::whole(TableErrorKind::Unwritable { source })
        })
    }

    fn write_file(&self, path: &Path) -> io::Result<()> {
        let text = self.render()?;
        // A link stays a link: what it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let old = fs::metadata(&path).ok();
        match &old {
            Some(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            // A pipe or terminal must not be replaced by a file.
            Some(old) if !old.is_file() => {
                return OpenOptions::new().write(true).open(path)?.write_all(&text);
            }
            _ => {}
        }
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        // In the same folder: only there is a rename atomic. The prefix is not the name of the table, which
        // may be too long with an ending.
        let mut builder = tempfile::Builder::new();
        builder.prefix(".gettime-");
        // Those of any new file: by default only the owner may read what tempfile creates.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        // the path of that file is nothing to tell
        let file = builder.tempfile_in(folder).map_err(|error| io::Error::from(error.kind()));
        let mut file = file?;
        file.write_all(&text)?;
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&path)?;
        // The rename itself reaches the disk with the folder. Not every system can do that; no data is at
        // risk.
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
        Ok(())
    }

    fn render(&self) -> io::Result<Vec<u8>> {
        let has_routes = self.records.iter().any(|record| !record.route.is_empty());
        let columns: Vec<_> =
            TableColumn::all().filter(|column| has_routes || !TableColumn::ROUTE.contains(column)).collect();
        let names: Vec<_> = columns.iter().map(|column| column.name()).collect();
        let above = header::render(self)? + &names.join(",") + "\n";
        let mut rows = WriterBuilder::new().quote_style(self.quote_style()).from_writer(above.into_bytes());
        let mut known = HashSet::with_capacity(self.records.len());
        let mut field = String::new();
        for record in &self.records {
            let cells = checked_cells(record)?;
            if !known.insert(record.op) {
                return Err(invalid(record, "is there twice"));
            }
            for column in &columns {
                field.clear();
                push_field(&mut field, record, &cells, *column);
                rows.write_field(&field)?;
            }
            rows.write_record(None::<&[u8]>)?;
        }
        let mut text = rows.into_inner().map_err(|error| error.into_error())?;
        writeln!(text, "# {END}")?;
        Ok(text)
    }

    /// Only what must be is quoted; but csv does not know that blanks at the ends of a field must.
    fn quote_style(&self) -> QuoteStyle {
        let padded = |text: &str| text.trim() != text;
        let texts = |record: &Record| {
            let Record { route, flags, source, .. } = record;
            [&route.algorithm, &route.protocol, &route.transport, flags, source]
                .into_iter()
                .any(|text| padded(text))
        };
        match self.records.iter().any(texts) {
            true => QuoteStyle::NonNumeric,
            false => QuoteStyle::Necessary,
        }
    }
}

/// The cells of a record that will read back as it is: a bad table must not take the place of a good one.
fn checked_cells(record: &Record) -> io::Result<Cells> {
    let cells = record.op.cells();
    match Op::from_cells(&cells) {
        Ok(op) if op == record.op => {}
        Ok(op) => return Err(invalid(record, &format!("would read back as \"{op}\""))),
        Err(error) => return Err(invalid(record, &error.to_string())),
    }
    rows::check(&record.summary).map_err(|(column, kind)| invalid(record, &format!("{column}: {kind}")))?;
    Ok(cells)
}

fn invalid(record: &Record, message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("the row \"{}\": {message}", record.op))
}

fn push_field(text: &mut String, record: &Record, cells: &Cells, column: TableColumn) {
    let summary = &record.summary;
    match column {
        TableColumn::Op(Column::Op) => text.push_str(&cells.op),
        TableColumn::Op(Column::Kind) => text.push_str(&cells.kind),
        TableColumn::Op(Column::Dtype) => text.push_str(cells.dtype.map_or("", |dtype| dtype.name())),
        TableColumn::Op(column) => push_count(text, cells.count(column)),
        TableColumn::Seconds => push_time(text, Some(summary.seconds.get())),
        TableColumn::SecondsLow => push_time(text, summary.interval.map(|(low, _)| low.get())),
        TableColumn::SecondsHigh => push_time(text, summary.interval.map(|(_, high)| high.get())),
        TableColumn::Samples => push_count(text, summary.samples),
        TableColumn::Algorithm => text.push_str(&record.route.algorithm),
        TableColumn::Protocol => text.push_str(&record.route.protocol),
        TableColumn::Transport => text.push_str(&record.route.transport),
        TableColumn::Flags => text.push_str(&record.flags),
        TableColumn::Source => text.push_str(&record.source),
    }
}

// Writing to a String cannot fail: `write!` has no result worth looking at in these two.

fn push_count(text: &mut String, count: Option<u64>) {
    if let Some(count) = count {
        let _ = write!(text, "{count}");
    }
}

/// With an exponent: the shortest digits that read back as the same double, and no 300 zeros.
fn push_time(text: &mut String, seconds: Option<f64>) {
    if let Some(seconds) = seconds {
        let _ = write!(text, "{seconds:e}");
    }
}
