//! What both programs' subcommands about plans have in common: where plans and times come from.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::bounded;
use crate::cost::CostError;
use crate::dtype::Dtype;
use crate::evaluate::{EvaluateError, Overrides};
use crate::plan::{self, Plan};
use crate::report;
use crate::source::{Source, sheet};
use crate::spec::{AttentionMode, Microbatches, Schedule};

/// The sheet that is asked where neither a table nor another sheet is named.
const DEFAULT_SHEET: &str = "h200-model";

/// The subcommands of `evaluate`: behind an option they would read as plans.
const COMMANDS: [&str; 8] = ["list", "formula", "time", "check", "compare", "search", "explain", "validate"];

/// Where times come from.
#[derive(Args)]
pub struct SourceArgs {
    /// A cost table that `calibrate` wrote; several are joined
    #[arg(long, value_name = "FILE", conflicts_with = "roofline")]
    pub table: Vec<PathBuf>,
    /// A data sheet instead of measurements: a built-in name or a TOML file
    #[arg(long, value_name = "SHEET")]
    pub roofline: Option<String>,
    /// A data sheet for the ops that the table does not cover
    #[arg(long, value_name = "SHEET", requires = "table")]
    pub fallback: Option<String>,
    /// Element type; bf16 unless the table has only another
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What the command line says instead of the plan's own words.
#[derive(Args, Default)]
pub struct ChoiceArgs {
    /// In how many pieces the batch is cut: a number, or `auto` for as few as fit in memory
    #[arg(long, value_name = "N|auto")]
    pub microbatches: Option<Microbatches>,
    /// Whether the scores of attention are stored
    #[arg(long)]
    pub attention: Option<AttentionArg>,
    /// The order of micro-batches in a pipeline: gpipe, 1f1b, or interleaved:3 for 3 parts on every stage
    #[arg(long)]
    pub schedule: Option<Schedule>,
    /// Allow a graph of more than 20 million nodes, but no more than this
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub max_nodes: Option<u64>,
}

impl ChoiceArgs {
    /// Together with the element type.
    pub fn overrides(&self, source: &SourceArgs) -> Overrides {
        Overrides {
            dtype: source.dtype,
            microbatches: self.microbatches,
            schedule: self.schedule,
            most_nodes: self.max_nodes,
            attention: self.attention.map(|mode| match mode {
                AttentionArg::Fused => AttentionMode::Fused,
                AttentionArg::Unfused => AttentionMode::Unfused,
            }),
        }
    }
}

/// Refuses the formats that only a plan's timeline has.
pub fn only_text_or_json(format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text | Format::Json => Ok(()),
        Format::Formula | Format::Html | Format::Perfetto => {
            bail!("that format is for plans: evaluate PLAN --format …")
        }
    }
}

/// How an answer is written.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// A plan's critical path as a formula that `evaluate formula` reads.
    Formula,
    /// All plans on one page for a browser.
    Html,
    /// A plan's timeline for ui.perfetto.dev and chrome://tracing.
    Perfetto,
}

/// The modes of attention.
#[derive(Clone, Copy, ValueEnum)]
pub enum AttentionArg {
    /// One op.
    Fused,
    /// Two products and a softmax.
    Unfused,
}

/// What the answers rest on. Says so on stderr where nothing was measured and nobody asked for that.
pub fn source(args: &SourceArgs) -> anyhow::Result<Source> {
    if args.table.is_empty() {
        let name = args.roofline.as_deref().unwrap_or(DEFAULT_SHEET);
        if args.roofline.is_none() {
            eprintln!(
                "no --table: times are modelled from the data sheet {name}, not measured (see calibrate --help)"
            );
        }
        return Ok(Source::from_sheet(name, sheet(name)?));
    }
    let paths: Vec<&Path> = args.table.iter().map(PathBuf::as_path).collect();
    let fallback = args.fallback.as_deref().map(|name| sheet(name).map(|s| (name, s))).transpose()?;
    let source = Source::from_tables(&paths, fallback)?;
    // text and page say so above their numbers; what a program reads has no place for it
    if matches!(args.format, Format::Json | Format::Formula | Format::Perfetto) {
        for (family, correction) in source.corrections() {
            eprintln!("times of {} in {} as in layers: {correction}", family.family, family.dtype);
        }
    }
    Ok(source)
}

/// The text of a file that a person wrote: a plan, a model, a formula; `what` is its name in errors.
pub fn written_by_hand(file: &str, what: &str) -> anyhow::Result<String> {
    let text = bounded::text(Path::new(file), bounded::WRITTEN_BY_PEOPLE);
    text.with_context(|| format!("{what} cannot be read"))
}

/// A built-in plan, or one from a file.
pub fn read_plan(name: &str) -> anyhow::Result<Plan> {
    if let Some((name, text)) = plan::BUILT_IN.iter().chain(&plan::PUBLIC).find(|(n, _)| *n == name) {
        return Ok(Plan::parse(name, text)?);
    }
    if !name.ends_with(".toml") && !Path::new(name).exists() {
        if COMMANDS.contains(&name) {
            bail!("no plan \"{name}\"\n  the command {name} stands before all options: evaluate {name} …");
        }
        bail!("no plan \"{name}\"\n{}\n  your own is a file that ends in .toml", built_in_plans());
    }
    Ok(Plan::parse(name, &written_by_hand(name, &format!("the plan {name}"))?)?)
}

/// What plans are built in, for a person who named another.
pub fn built_in_plans() -> String {
    let known: Vec<&str> = plan::BUILT_IN.iter().chain(&plan::PUBLIC).map(|(name, _)| *name).collect();
    report::wrapped(&format!("built in are {}", known.join(", ")), "  ")
}

/// Says how to get what is missing.
pub fn with_remedy(error: EvaluateError, plan: &str, source: &SourceArgs) -> anyhow::Error {
    let EvaluateError::Unpriced { unpriced, .. } = &error else { return error.into() };
    anyhow::anyhow!("{error}{}", remedy(&unpriced.first, plan, source))
}

/// What to do about an op without an estimate; `asked` is what follows `evaluate` on the command line.
pub fn remedy(miss: &CostError, asked: &str, source: &SourceArgs) -> String {
    let CostError::Missing { op, .. } = miss else { return String::new() };
    match source.table.last() {
        None => "\n  add the figure to the data sheet, or choose another --dtype".to_owned(),
        Some(table) => {
            let (table, family) = (table.display(), op.family());
            let tables = source.table.iter().map(|table| format!(" --table {}", table.display()));
            let tables: String = tables.collect();
            format!(
                "\n  measure it:  calibrate --ops {family} --out {table} --append     (on the machine that it is of)\n  \
                 or model it: evaluate {asked}{tables} --fallback {DEFAULT_SHEET}     (the answer will say modelled)"
            )
        }
    }
}
