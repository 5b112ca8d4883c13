//! What keeps rows safe around a campaign: the place where the table goes, and an end that somebody asks for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use anyhow::{Context, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::arguments::Cli;
use crate::measure::campaign::Outcome;
use crate::measure::journal::path_for;
use crate::op::Op;
use crate::table::Table;

/// Where the table goes, as it was found.
pub(super) struct Place {
    out: PathBuf,
    /// The table to add to.
    before: Option<Table>,
    found: Option<State>,
}

/// A file at a moment.
#[derive(PartialEq)]
struct State {
    length: u64,
    written: Option<SystemTime>,
}

impl Place {
    /// Looks at the place; `table` is what will be added to, still without rows.
    pub fn look(cli: &Cli, table: &Table) -> anyhow::Result<Place> {
        let out = cli.out().to_owned();
        writable(&out)?;
        let mut before = None;
        if cli.append {
            let old = Table::read(&out)?;
            let context = || format!("{} cannot be added to", out.display());
            old.under_same_conditions(table).with_context(context)?;
            before = Some(old);
        }
        Ok(Place { found: state(&out), out, before })
    }

    /// Whether a run that was to go on has nothing left to do: its table is there, and no journal.
    pub fn is_whole(&self) -> bool {
        self.found.is_some() && self.before.is_none() && !path_for(&self.out).exists()
    }

    /// Whether the table that is added to has this op.
    pub fn has(&self, op: &Op) -> bool {
        self.before.as_ref().is_some_and(|before| before.records.iter().any(|record| record.op == *op))
    }

    /// Whether there is a table that is added to.
    pub const fn has_rows(&self) -> bool {
        self.before.is_some()
    }

    /// Writes the rows, behind those that were there where they are added to.
    pub fn write(&self, table: &mut Table, outcome: &Outcome) -> anyhow::Result<()> {
        if self.out.is_file() && state(&self.out) != self.found {
            bail!(
                "{} was changed by another program meanwhile, and is left as it is\n  the measurements are in {}: \
                 move the other table away, and the same command with --resume writes them",
                self.out.display(),
                path_for(&self.out).display()
            );
        }
        let new = outcome.records.iter().filter(|record| !self.has(&record.op)).cloned();
        table.records = match &self.before {
            Some(before) => before.records.iter().cloned().chain(new).collect(),
            None => new.collect(),
        };
        table.write(&self.out)?;
        Ok(())
    }

    /// Writes what a campaign brought that did not come to its end, unless an older table would be lost by that, and
    /// says where it is.
    pub fn write_part(&self, table: &mut Table, outcome: &Outcome, visits: usize) -> anyhow::Result<String> {
        let rows = outcome.records.len();
        let journal = path_for(&self.out);
        if rows == 0 || self.found.is_some() {
            return Ok(format!("{visits} measurements are kept in {}", journal.display()));
        }
        self.write(table, outcome)?;
        Ok(format!(
            "{} has the {rows} rows there are; the measurements are kept in {}",
            self.out.display(),
            journal.display()
        ))
    }
}

fn state(path: &Path) -> Option<State> {
    let meta = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
    Some(State { length: meta.len(), written: meta.modified().ok() })
}

/// Set when the user presses Ctrl-C or the system asks this process to end; the second time it ends at once.
pub(super) fn stop() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // in this order: the first time the flag is not yet set when it is looked at
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .context("signals cannot be caught")?;
        flag::register(signal, Arc::clone(&stop)).context("signals cannot be caught")?;
    }
    Ok(stop)
}

/// That a table can be written there: better now than after the measuring.
pub(super) fn writable(out: &Path) -> anyhow::Result<()> {
    let folder = match out.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    let there = std::fs::metadata(folder).with_context(|| {
        format!("{} cannot be written: its folder {} is not there", out.display(), folder.display())
    })?;
    if !there.is_dir() || out.is_dir() {
        bail!("{} cannot be written: it is not a file in a folder", out.display());
    }
    if !out.exists() || out.is_file() {
        // as the table will be: beside what it replaces
        tempfile::tempfile_in(folder).with_context(|| {
            format!("{} cannot be written: its folder {} is closed to you", out.display(), folder.display())
        })?;
    }
    Ok(())
}
