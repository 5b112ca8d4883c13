//! Rows kept on disk as they come, so that none is lost when measuring ends before its time.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::op::Op;
use crate::table::{Record, Table, TableError};

/// How long a row may wait until it is on disk.
const PERIOD: Duration = Duration::from_secs(1);

/// A table beside the one that will be written in the end, whole and readable at any moment.
pub struct Journal {
    path: PathBuf,
    table: Table,
    places: HashMap<Op, usize>,
    written: Option<Instant>,
}

impl Journal {
    /// `table.csv.partial` for `table.csv`, with the header of `table`.
    pub fn new(out: &Path, table: Table) -> Self {
        let mut name = OsString::from(out.as_os_str());
        name.push(".partial");
        Journal { path: name.into(), table, places: HashMap::new(), written: None }
    }

    /// Takes a row, or a better version of one; writes all of them when the last time is a while ago.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn note(&mut self, record: &Record) -> Result<(), TableError> {
        match self.places.get(&record.op).and_then(|place| self.table.records.get_mut(*place)) {
            Some(known) => *known = record.clone(),
            None => {
                self.places.insert(record.op, self.table.records.len());
                self.table.records.push(record.clone());
            }
        }
        if self.written.is_none_or(|written| written.elapsed() >= PERIOD) {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes the rows, where there are any.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> Result<(), TableError> {
        if !self.table.records.is_empty() {
            self.table.write(&self.path)?;
            self.written = Some(Instant::now());
        }
        Ok(())
    }

    /// Where the rows are that were measured until now, in a sentence.
    pub fn whereabouts(&self) -> String {
        match self.table.records.len() {
            0 => "no row had been measured".to_owned(),
            rows => format!("the {rows} rows measured until then are in {}", self.path.display()),
        }
    }

    /// Takes the file away, once all of it is in the table.
    pub fn finish(self) {
        if self.written.is_some() {
            // That it is still there does no harm: the table is complete.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
