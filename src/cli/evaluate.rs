//! `evaluate`: runtimes of plans and formulas.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use super::difference::{self, CompareArgs};
use super::explain::{self, ExplainArgs};
use super::inputs::{
    ChoiceArgs, Format, SourceArgs, only_text_or_json, read_plan, remedy, source, with_remedy,
    written_by_hand,
};
use super::inspect::{self, CheckArgs};
use super::output::{Partial, finish, finish_in_part};
use super::search::{self, SearchArgs};
use super::validate::ValidateArgs;
use crate::bounded;
use crate::evaluate::{self as pipeline, Evaluation};
use crate::formula::{self, Setting};
use crate::op::{Gemm, Op};
use crate::plan::{self, Plan};
use crate::report;
use crate::whatif::Outlook;

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
    /// Check a plan's graph, or one in a .dot file: cycles, loose ends, shapes, balance, completeness, memory
    Check(CheckArgs),
    /// Where the difference of two plans' runtimes comes from, term by term, and whether they can be told apart
    Compare(CompareArgs),
    /// All layouts of a model over so many GPUs, ranked
    Search(SearchArgs),
    /// The author's formula of a plan's runtime beside the corrected plan, term by term
    Explain(ExplainArgs),
    /// Run one GPU's share of a plan for real on this machine, beside what its ops alone promise
    Validate(ValidateArgs),
    /// Get_Time(m, k, n): one product of an m×k with a k×n matrix
    Time(TimeArgs),
}

#[derive(Args)]
struct PlanArgs {
    /// Built-in plans, or plan files (.toml); all built-in ones if none is named
    plans: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// Write the graph, its pictures, the deployment and the checks into this directory (one for each plan
    /// where there are several)
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Show every layer of the critical path and the slack of all ops
    #[arg(long)]
    detail: bool,
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

/// Runs the program.
pub fn evaluate() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        None => return finish_in_part("evaluate", plans(&cli.plans)),
        Some(Command::Check(args)) => return inspect::check(args),
        Some(Command::Compare(args)) => difference::compare(args),
        Some(Command::Search(args)) => search::search(args),
        Some(Command::Explain(args)) => explain::explain(args),
        Some(Command::List) => Ok(list()),
        Some(Command::Formula(args)) => formulas(args),
        Some(Command::Validate(args)) => return finish_in_part("evaluate", super::validate::validate(args)),
        Some(Command::Time(args)) => time(args),
    };
    finish("evaluate", result)
}

fn list() -> String {
    let mut out = String::new();
    for (title, plans) in [("plans", &plan::BUILT_IN[..]), ("plans of public models", &plan::PUBLIC[..])] {
        let _ = writeln!(out, "{title}");
        let width = plans.iter().map(|(name, _)| name.len() + 1).max().unwrap_or(0).max(16);
        for (name, text) in plans {
            if let Ok(plan) = Plan::parse(name, text) {
                let _ = writeln!(out, "  {name:<width$}{:>3} GPUs   {}", plan.gpus, plan.title);
            }
        }
    }
    out += "data sheets\n";
    for (name, _) in crate::roofline::BUILT_IN {
        let _ = writeln!(out, "  {name}");
    }
    out
}

/// Plans that cannot be priced are named on stderr, and the others still shown.
fn plans(args: &PlanArgs) -> anyhow::Result<Partial> {
    let names: Vec<String> = match args.plans.is_empty() {
        true => plan::BUILT_IN.map(|(name, _)| name.to_owned()).to_vec(),
        false => args.plans.clone(),
    };
    let plans = names.iter().map(|name| read_plan(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let source = source(&args.source)?;
    let overrides = args.choice.overrides(&args.source);
    let mut done: Vec<Evaluation> = Vec::new();
    let mut failed = Vec::new();
    for (plan, name) in plans.into_iter().zip(&names) {
        match pipeline::evaluate(plan, &source, &overrides) {
            Ok(evaluation) => done.push(evaluation),
            Err(error) => failed.push(with_remedy(error, name, &args.source)),
        }
    }
    if let Some(folder) = &args.artifacts {
        for e in &done {
            let folder = if names.len() == 1 { folder.clone() } else { folder.join(&e.plan.name) };
            inspect::write_artifacts(e, &source, &folder)?;
        }
    }
    let text = match (args.source.format, done.as_slice()) {
        (Format::Json, done) => {
            let outlooks: Vec<Outlook> = done.iter().map(|e| Outlook::of(e, &source)).collect();
            report::json(done, &outlooks, args.detail)?
        }
        (Format::Formula, done) => done.iter().map(|e| report::path_formula(e, &source)).collect(),
        (Format::Html, done) => report::html(done, &source)?,
        (Format::Perfetto, [only]) => report::perfetto(only)?,
        (Format::Perfetto, _) => bail!("a trace is of one plan: name it"),
        (Format::Text, [only]) if names.len() == 1 => {
            report::one(only, &Outlook::of(only, &source), &source, args.detail)
        }
        (Format::Text, done) => report::ranking(done, &source),
    };
    Ok((text, failed))
}

fn formulas(args: &FormulaArgs) -> anyhow::Result<String> {
    only_text_or_json(args.source.format)?;
    let text = match args.file.as_str() {
        "-" => {
            bounded::standard_input(bounded::WRITTEN_BY_PEOPLE).context("standard input cannot be read")?
        }
        file => written_by_hand(file, file)?,
    };
    let settings = args.set.iter().map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let source = source(&args.source)?;
    let dtype = pipeline::dtype(args.source.dtype, None, &source)?;
    let formulas = formula::evaluate(&text, &settings, dtype, &source)?;
    match args.source.format {
        Format::Json => Ok(report::formulas_json(&formulas)?),
        _ => Ok(report::formulas(&formulas, &source, dtype)),
    }
}

fn time(args: &TimeArgs) -> anyhow::Result<String> {
    only_text_or_json(args.source.format)?;
    let source = source(&args.source)?;
    let dtype = pipeline::dtype(args.source.dtype, None, &source)?;
    let gemm = Gemm { m: args.m, k: args.k, n: args.n, batch: args.batch, dtype };
    let estimate = source.alone(&Op::Gemm(gemm)).map_err(|miss| {
        let asked = format!("time {} {} {}", args.m, args.k, args.n);
        anyhow::anyhow!("{miss}{}", remedy(&miss, &asked, &args.source))
    })?;
    match args.source.format {
        Format::Json => Ok(report::time_json(&estimate)?),
        _ => Ok(report::time(&gemm, &estimate, &source)),
    }
}
