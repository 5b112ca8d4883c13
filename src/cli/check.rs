//! `calibrate check`: how far a table's predictions are off.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::fit::check;
use crate::report;
use crate::table::Table;

/// Seed of the folds, so that two runs deal the same.
const SEED: u64 = 1;

#[derive(clap::Args)]
pub struct CheckArgs {
    /// The table that predicts
    table: PathBuf,
    /// Rows to predict; without it, rows of the table itself that the prediction does not rest on
    #[arg(long, value_name = "HOLDOUT.csv")]
    against: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Runs the command.
pub fn check(args: &CheckArgs) -> anyhow::Result<String> {
    let table = Table::read(&args.table)?;
    let (tried, unseen, title) = match &args.against {
        Some(path) => (check::against(&table, &Table::read(path)?), Vec::new(), "held-out rows"),
        None => (check::folds(&table, SEED), check::unseen(&table, SEED), "a fifth left out"),
    };
    Ok(match args.format {
        Format::Json => report::accuracy_json(&tried, &unseen)?,
        Format::Text => report::accuracy(&[(title, tried), ("coordinates left out", unseen)]),
    })
}
