//! `calibrate`: measures this machine into a cost table.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::check::{self, CheckArgs};
use super::import::{self, ImportArgs};
use super::output::finish;
use super::progress::Bar;
use crate::calibrate::{self as pipeline, Order};
use crate::evaluate::{self, Overrides};
use crate::fit::Fit;
use crate::measure::Backend;
use crate::measure::campaign::Outcome;
use crate::plan::{self, Plan};
use crate::report;
use crate::source::Source;
use crate::table::Table;

/// Seed of all random data, so that two runs work on the same numbers.
#[cfg(feature = "cpu")]
const SEED: u64 = 1;

/// Budget of a processor's campaign.
const DEFAULT_BUDGET: &str = "60s";

/// Measure real products, kernels, attention and collectives into a cost table with error bars.
#[derive(Parser)]
#[command(
    name = "calibrate",
    version = version(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Option<MeasureArgs>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a table of other people's logs
    Import(ImportArgs),
    /// Tell how far a table's predictions are off
    Check(CheckArgs),
}

#[derive(Args)]
struct MeasureArgs {
    /// What to measure; CUDA devices unless said otherwise
    #[arg(long, value_enum, default_value_t)]
    backend: BackendArg,
    /// Devices that plans will use: collectives are measured among up to this many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    gpus: u64,
    /// The table to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Time for everything: 90, 90s, 5min, 1h
    #[arg(long, default_value = DEFAULT_BUDGET, value_parser = duration)]
    budget: Duration,
    /// How often each op is measured anew
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    passes: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum BackendArg {
    /// NVIDIA GPUs
    #[default]
    Cuda,
    /// This machine's processor, one device with all its cores
    Cpu,
}

const fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("GETTIME_COMMIT"), ", ", env!("GETTIME_TARGET"), ")")
}

/// Reads `90`, `90s`, `5min` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale = match unit.trim() {
        "" | "s" => 1.0,
        "min" | "m" => 60.0,
        "h" => 3600.0,
        other => return Err(format!("\"{other}\" is not a unit of time; use s, min or h")),
    };
    let seconds: f64 = number.parse().map_err(|_| format!("\"{number}\" is not a number"))?;
    if !(1.0..=1e6).contains(&(seconds * scale)) {
        return Err("a budget is between 1 s and 1,000,000 s".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds * scale))
}

/// Runs the program.
pub fn calibrate() -> ExitCode {
    let cli = Cli::parse();
    let result = match (&cli.command, &cli.measure) {
        (Some(Command::Import(args)), _) => import::run(args),
        (Some(Command::Check(args)), _) => check::check(args),
        (None, Some(args)) if args.backend == BackendArg::Cpu => cpu(args),
        (None, Some(args)) => cuda(args),
        // clap asks for --out before it comes to this
        (None, None) => Err(anyhow::anyhow!("nothing to do: give --out FILE")),
    };
    finish("calibrate", result)
}

fn cuda(args: &MeasureArgs) -> anyhow::Result<String> {
    let instead = format!(
        "  measure this machine's processor instead:  calibrate --backend cpu --gpus {} --out {}",
        args.gpus,
        args.out.display()
    );
    match crate::measure::cuda::find_driver() {
        Err(missing) => bail!("no CUDA driver on this machine ({missing})\n{instead}"),
        Ok(()) => bail!("there is a CUDA driver, but this version measures processors only\n{instead}"),
    }
}

#[cfg(feature = "cpu")]
fn cpu(args: &MeasureArgs) -> anyhow::Result<String> {
    measure(args, &mut crate::measure::cpu::Cpu::new(SEED))
}

#[cfg(not(feature = "cpu"))]
fn cpu(_: &MeasureArgs) -> anyhow::Result<String> {
    bail!("this build has no processor backend; build it with --features cpu")
}

#[cfg_attr(not(feature = "cpu"), allow(dead_code))]
fn measure(args: &MeasureArgs, backend: &mut dyn Backend) -> anyhow::Result<String> {
    // better now than after the measuring
    writable(&args.out)?;
    let device = backend.device();
    eprintln!("{} × {} · budget {:.0?}", args.gpus, device.name, args.budget);
    let remarks = backend.remarks();
    remarks.iter().for_each(|remark| eprintln!("remark: {remark}"));
    let order = Order { gpus: args.gpus, budget: args.budget, passes: args.passes };
    let campaign = pipeline::prepare(backend, &order)?;
    eprintln!("{} cases: {}", campaign.ops.len(), by_family(&campaign.ops));
    let mut bar = Bar::start();
    let mut about = about(args);
    if !remarks.is_empty() {
        about.insert("remarks".to_owned(), remarks.into());
    }
    let (table, outcome) = pipeline::run(backend, &campaign, about, &mut |p| bar.show(&p))?;
    bar.finish();
    table.write(&args.out)?;
    summary(&table, &outcome, args)
}

/// What a table's header says of its run.
fn about(args: &MeasureArgs) -> toml::Table {
    let backend = match args.backend {
        BackendArg::Cuda => "cuda",
        BackendArg::Cpu => "cpu",
    };
    let command = format!(
        "calibrate --backend {backend} --gpus {} --out {} --budget {}s --passes {}",
        args.gpus,
        args.out.display(),
        args.budget.as_secs_f64(),
        args.passes
    );
    let date = time::OffsetDateTime::now_utc().date().to_string();
    let entries = [("command", command), ("version", version().to_owned()), ("date", date)];
    entries.into_iter().map(|(key, value)| (key.to_owned(), toml::Value::String(value))).collect()
}

fn writable(out: &std::path::Path) -> anyhow::Result<()> {
    let folder = match out.parent() {
        Some(folder) if folder != std::path::Path::new("") => folder,
        _ => std::path::Path::new("."),
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

fn by_family(ops: &[crate::op::Op]) -> String {
    let counts =
        crate::op::Family::ALL.map(|family| (family, ops.iter().filter(|op| op.family() == family).count()));
    let parts = counts.iter().filter(|(_, n)| *n > 0).map(|(family, n)| format!("{n} {family}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What came out: rows, the quality of the fit, and the plans on devices of this kind.
fn summary(table: &Table, outcome: &Outcome, args: &MeasureArgs) -> anyhow::Result<String> {
    let name = args.out.display().to_string();
    let mut out = format!("{name}   {} rows", table.records.len());
    match outcome.skipped.as_slice() {
        [] => out.push('\n'),
        [first, rest @ ..] => {
            writeln!(out, ", {} left out ({}: {}", rest.len() + 1, first.op, first.reason)?;
            out.truncate(out.trim_end().len());
            out += if rest.is_empty() { ")\n" } else { ", …)\n" };
        }
    }
    let fit = Fit::new(table, &name);
    for (i, error) in fit.holdout(10, 0).iter().enumerate() {
        let lines = report::wrapped(&error.to_string(), "            ");
        writeln!(out, "{}", if i == 0 { lines.replacen("   ", "fit", 1) } else { lines })?;
    }
    out.push('\n');
    out += &plans(table, &name, args.gpus)?;
    writeln!(out, "\nnext        evaluate --table {name}")?;
    Ok(out)
}

/// The built-in plans, on as many devices of this kind as were measured together.
fn plans(table: &Table, name: &str, gpus: u64) -> anyhow::Result<String> {
    let source = Source::from_table(table, name, None);
    let mut done = Vec::new();
    for (name, text) in plan::BUILT_IN {
        let plan = Plan::parse(name, text)?;
        if plan.gpus > gpus {
            return Ok(format!(
                "the built-in plans are for {} devices: measure with --gpus {} to evaluate them\n",
                plan.gpus, plan.gpus
            ));
        }
        match evaluate::evaluate(plan, &source, &Overrides::default()) {
            Ok(evaluation) => done.push(evaluation),
            Err(error) => eprintln!("calibrate: {error}"),
        }
    }
    Ok(report::compare(&done, &source))
}
