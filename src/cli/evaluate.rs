//! `evaluate`: runtimes of plans and formulas.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::output::finish;
use crate::cost::Cost;
use crate::dtype::Dtype;
use crate::evaluate::{self as pipeline, EvaluateError, Evaluation, Overrides};
use crate::formula::{self, Setting};
use crate::op::{Gemm, Op};
use crate::plan::{self, Plan};
use crate::report;
use crate::source::{Source, sheet};
use crate::spec::{AttentionMode, Microbatches};

/// The sheet that is asked where neither a table nor another sheet is named.
const DEFAULT_SHEET: &str = "h200-sxm";

/// How long a plan runs, which chain of ops decides it, and how sure that is.
#[derive(Parser)]
#[command(name = "evaluate", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plans: PlanArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Name the built-in plans and data sheets
    List,
    /// Evaluate runtime formulas as people write them: `T = 16 × [Get_Time(1024×10000, 8192, 8192) × 3 + …]`
    Formula(FormulaArgs),
    /// Get_Time(m, k, n): one product of an m×k with a k×n matrix
    Time(TimeArgs),
}

#[derive(Args)]
struct PlanArgs {
    /// Built-in plans, or plan files (.toml); all built-in ones if none is named
    plans: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    /// In how many pieces the batch is cut: a number, or `auto` for as few as fit in memory
    #[arg(long, value_name = "N|auto")]
    microbatches: Option<Microbatches>,
    /// Whether the scores of attention are stored
    #[arg(long)]
    attention: Option<AttentionArg>,
    /// Show every layer of the critical path
    #[arg(long)]
    detail: bool,
}

#[derive(Args)]
struct SourceArgs {
    /// A cost table that `calibrate` wrote; several are joined
    #[arg(long, value_name = "FILE", conflicts_with = "roofline")]
    table: Vec<PathBuf>,
    /// A data sheet instead of measurements: a built-in name or a TOML file
    #[arg(long, value_name = "SHEET")]
    roofline: Option<String>,
    /// A data sheet for the ops that the table does not cover
    #[arg(long, value_name = "SHEET", requires = "table")]
    fallback: Option<String>,
    /// Element type; bf16 unless the table has only another
    #[arg(long)]
    dtype: Option<Dtype>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args)]
struct FormulaArgs {
    /// A file with formulas, or - for standard input
    file: String,
    /// Give a name that the formulas leave open a number, a time (12ms) or an expression
    #[arg(long, value_name = "NAME=EXPR")]
    set: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Args)]
struct TimeArgs {
    /// Rows of the first matrix
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    m: u64,
    /// Inner dimension
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    k: u64,
    /// Columns of the second matrix
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    n: u64,
    /// Independent products in one call
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    #[command(flatten)]
    source: SourceArgs,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum AttentionArg {
    Fused,
    Unfused,
}

/// Runs the program.
pub fn evaluate() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => return plans(&cli.plans),
        Some(Command::List) => Ok(list()),
        Some(Command::Formula(args)) => formulas(args),
        Some(Command::Time(args)) => time(args),
    };
    finish("evaluate", result)
}

fn list() -> String {
    let mut out = String::from("plans\n");
    for (name, text) in plan::BUILT_IN {
        if let Ok(plan) = Plan::parse(name, text) {
            let _ = writeln!(out, "  {name:<16}{:>3} GPUs   {}", plan.gpus, plan.title);
        }
    }
    out += "data sheets\n";
    for (name, _) in crate::roofline::BUILT_IN {
        let _ = writeln!(out, "  {name}");
    }
    out
}

/// What the answers rest on. Says so on stderr where nothing was measured and nobody asked for that.
fn source(args: &SourceArgs) -> anyhow::Result<Source> {
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
    Ok(Source::from_tables(&paths, fallback)?)
}

/// A built-in plan, or the plan in a file.
///
/// # Errors
/// When there is none of that name, or the file is no valid plan.
pub(super) fn read_plan(name: &str) -> anyhow::Result<Plan> {
    if let Some((name, text)) = plan::BUILT_IN.iter().find(|(n, _)| *n == name) {
        return Ok(Plan::parse(name, text)?);
    }
    if !name.ends_with(".toml") && !Path::new(name).exists() {
        let known = plan::BUILT_IN.map(|(name, _)| name).join(", ");
        bail!("no plan \"{name}\"\n  built in are {known}; your own is a file that ends in .toml");
    }
    let text = std::fs::read_to_string(name).with_context(|| format!("the plan {name} cannot be read"))?;
    Ok(Plan::parse(name, &text)?)
}

/// Plans that cannot be priced are named on stderr, and the others still shown.
fn plans(args: &PlanArgs) -> ExitCode {
    let (text, failed) = match evaluate_plans(args) {
        Ok(done) => done,
        Err(error) => return finish("evaluate", Err(error)),
    };
    let status = finish("evaluate", Ok(text));
    for error in &failed {
        eprintln!("evaluate: {error:#}");
    }
    if failed.is_empty() { status } else { ExitCode::FAILURE }
}

fn evaluate_plans(args: &PlanArgs) -> anyhow::Result<(String, Vec<anyhow::Error>)> {
    let names: Vec<String> = match args.plans.is_empty() {
        true => plan::BUILT_IN.map(|(name, _)| name.to_owned()).to_vec(),
        false => args.plans.clone(),
    };
    let plans = names.iter().map(|name| read_plan(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let source = source(&args.source)?;
    let overrides = Overrides {
        dtype: args.source.dtype,
        microbatches: args.microbatches,
        attention: args.attention.map(|mode| match mode {
            AttentionArg::Fused => AttentionMode::Fused,
            AttentionArg::Unfused => AttentionMode::Unfused,
        }),
    };
    let mut done: Vec<Evaluation> = Vec::new();
    let mut failed = Vec::new();
    for (plan, name) in plans.into_iter().zip(&names) {
        match pipeline::evaluate(plan, &source, &overrides) {
            Ok(evaluation) => done.push(evaluation),
            Err(error) => failed.push(with_remedy(error, name, &args.source)),
        }
    }
    let text = match (args.source.format, done.as_slice()) {
        (Format::Json, done) => report::json(done)?,
        (Format::Text, [only]) if names.len() == 1 => report::one(only, &source, args.detail),
        (Format::Text, done) => report::compare(done, &source),
    };
    Ok((text, failed))
}

/// Says how to get what is missing.
fn with_remedy(error: EvaluateError, plan: &str, source: &SourceArgs) -> anyhow::Error {
    let EvaluateError::Unpriced { unpriced, .. } = &error else { return error.into() };
    let family = unpriced.first.op().family();
    let mut text = error.to_string();
    match source.table.last() {
        None => text += "\n  add the figure to the data sheet, or choose another --dtype",
        Some(table) => {
            let table = table.display();
            let _ = write!(
                text,
                "\n  measure it:  calibrate --out {table} on the machine, with its {family} rows\n  or model it: evaluate \
                 {plan} --table {table} --fallback {DEFAULT_SHEET}     (the answer will say modelled)"
            );
        }
    }
    anyhow::anyhow!(text)
}

fn formulas(args: &FormulaArgs) -> anyhow::Result<String> {
    let text = match args.file.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input cannot be read")?;
            text
        }
        file => std::fs::read_to_string(file).with_context(|| format!("{file} cannot be read"))?,
    };
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let source = source(&args.source)?;
    let dtype = pipeline::dtype(args.source.dtype, None, &source)?;
    let formulas = formula::evaluate(&text, &settings, dtype, &source)?;
    match args.source.format {
        Format::Json => Ok(report::formulas_json(&formulas)?),
        Format::Text => Ok(report::formulas(&formulas, &source, dtype)),
    }
}

fn time(args: &TimeArgs) -> anyhow::Result<String> {
    let source = source(&args.source)?;
    let dtype = pipeline::dtype(args.source.dtype, None, &source)?;
    let gemm = Gemm { m: args.m, k: args.k, n: args.n, batch: args.batch, dtype };
    let estimate = source.cost(&Op::Gemm(gemm))?;
    match args.source.format {
        Format::Json => Ok(report::time_json(&estimate)?),
        Format::Text => Ok(report::time(&gemm, &estimate, &source)),
    }
}
