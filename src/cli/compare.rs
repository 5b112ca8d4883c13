//! `calibrate compare` and `calibrate merge`: tables over time, over nodes, and joined.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use super::check::Format;
use super::output::finish;
use crate::comparison::{self, Standing, Verdict};
use crate::report;
use crate::table::Table;

/// Exit status where `--fail-on` found what it was to fail on.
const FOUND: u8 = 3;

#[derive(Args)]
pub(super) struct CompareArgs {
    /// The old table and the new one; or the tables of three and more nodes, which are ranked
    #[arg(required = true, num_args = 2.., value_names = ["OLD", "NEW"])]
    tables: Vec<PathBuf>,
    /// Exit with status 3 where an op is slower, or among nodes one of them is
    #[arg(long, value_enum)]
    fail_on: Option<FailOn>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// Slower, beyond the threshold and with intervals apart
    Slower,
}

/// Runs the command.
pub(super) fn compare(args: &CompareArgs) -> ExitCode {
    match compared(args) {
        Err(error) => finish("calibrate", Err(error)),
        Ok((text, slower)) => match finish("calibrate", Ok(text)) {
            ExitCode::SUCCESS if slower && args.fail_on == Some(FailOn::Slower) => ExitCode::from(FOUND),
            status => status,
        },
    }
}

/// The report, and whether anything is slower.
fn compared(args: &CompareArgs) -> anyhow::Result<(String, bool)> {
    let tables = args.tables.iter().map(|path| Table::read(path)).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> = args.tables.iter().map(|path| path.display().to_string()).collect();
    if let ([old, new], [old_name, new_name]) = (tables.as_slice(), names.as_slice()) {
        let found = comparison::compare(old, new);
        let names = [old_name.as_str(), new_name.as_str()];
        let text = match args.format {
            Format::Text => report::comparison(&found, names),
            Format::Json => report::comparison_json(&found, names)?,
        };
        return Ok((text, found.tally().count(Verdict::Slower) > 0));
    }
    let first = tables.first().context("no table was given")?;
    for (table, name) in tables.iter().zip(&names).skip(1) {
        let names = [first, table].map(|table| table.device.as_ref().map(|device| device.name.clone()));
        if let [Some(one), Some(other)] = names
            && one != other
        {
            bail!(
                "{} is about {one:?} and {name} about {other:?}\n  nodes of one kind are ranked; two tables of any \
                 kind can be compared",
                args.tables[0].display()
            );
        }
    }
    let found = comparison::nodes(&tables);
    let text = match args.format {
        Format::Text => report::nodes(&found, &names),
        Format::Json => report::nodes_json(&found, &names)?,
    };
    Ok((text, found.iter().any(|node| matches!(node.standing, Standing::Slow(_)))))
}

#[derive(Args)]
pub(super) struct MergeArgs {
    /// The tables to join
    #[arg(required = true, num_args = 2.., value_name = "TABLE")]
    tables: Vec<PathBuf>,
    /// The table to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Joins tables of one device, measured under the same conditions.
pub(super) fn merge(args: &MergeArgs) -> anyhow::Result<String> {
    let mut joined: Option<(Table, String)> = None;
    for path in &args.tables {
        let (table, name) = (Table::read(path)?, path.display().to_string());
        joined = Some(match joined {
            None => (table, name),
            Some((before, names)) => {
                let context = || format!("{names} and {name} cannot be joined");
                before.under_same_conditions(&table).with_context(context)?;
                let both = before.merge(table).with_context(context)?;
                (both, format!("{names} + {name}"))
            }
        });
    }
    let (table, names) = joined.context("no table was given")?;
    table.write(&args.out)?;
    Ok(format!("{}   {} rows of {names}\n", args.out.display(), table.records.len()))
}
