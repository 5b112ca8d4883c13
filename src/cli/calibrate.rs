//! `calibrate`: measures this machine into a cost table.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};

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
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Option<Cli>,
}

#[derive(clap::Args)]
struct Cli {
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

#[derive(clap::Subcommand)]
enum Command {
    /// Tell how far a table's predictions are off, on rows that they do not rest on
    Check(super::check::Args),
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
    let program = Program::parse();
    let result = match (&program.command, &program.measure) {
        (Some(Command::Check(args)), _) => super::check::check(args),
        (None, Some(cli)) => match cli.backend {
            BackendArg::Cuda => cuda(cli),
            BackendArg::Cpu => cpu(cli),
        },
        // not reached: without a command clap asks for --out
        (None, None) => Err(anyhow::anyhow!("there is nothing to do: --out FILE says where to")),
    };
    finish("calibrate", result)
}

fn cuda(cli: &Cli) -> anyhow::Result<String> {
    let instead = format!(
        "  measure this machine's processor instead:  calibrate --backend cpu --gpus {} --out {}",
        cli.gpus,
        cli.out.display()
    );
    match crate::measure::cuda::find_driver() {
        Err(missing) => bail!("no CUDA driver on this machine ({missing})\n{instead}"),
        Ok(()) => bail!("there is a CUDA driver, but this version measures processors only\n{instead}"),
    }
}

#[cfg(feature = "cpu")]
fn cpu(cli: &Cli) -> anyhow::Result<String> {
    measure(cli, &mut crate::measure::cpu::Cpu::new(SEED))
}

#[cfg(not(feature = "cpu"))]
fn cpu(_: &Cli) -> anyhow::Result<String> {
    bail!("this build has no processor backend; build it with --features cpu")
}

#[cfg_attr(not(feature = "cpu"), allow(dead_code))]
fn measure(cli: &Cli, backend: &mut dyn Backend) -> anyhow::Result<String> {
    // better now than after the measuring
    writable(&cli.out)?;
    let device = backend.device();
    eprintln!("{} × {} · budget {:.0?}", cli.gpus, device.name, cli.budget);
    let order = Order { gpus: cli.gpus, budget: cli.budget, passes: cli.passes };
    let campaign = pipeline::prepare(backend, &order)?;
    eprintln!("{} cases: {}", campaign.ops.len(), by_family(&campaign.ops));
    let mut bar = Bar::start();
    let about = about(cli, backend.name());
    let (table, outcome) = pipeline::run(backend, &campaign, about, &mut |p| bar.show(&p))?;
    bar.finish();
    table.write(&cli.out)?;
    summary(&table, &outcome, cli)
}

/// What a table's header says of its run.
fn about(cli: &Cli, backend: &str) -> toml::Table {
    let command = format!(
        "calibrate --backend {backend} --gpus {} --out {} --budget {}s --passes {}",
        cli.gpus,
        cli.out.display(),
        cli.budget.as_secs_f64(),
        cli.passes
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
    Ok(())
}

fn by_family(ops: &[crate::op::Op]) -> String {
    let counts =
        crate::op::Family::ALL.map(|family| (family, ops.iter().filter(|op| op.family() == family).count()));
    let parts = counts.iter().filter(|(_, n)| *n > 0).map(|(family, n)| format!("{n} {family}"));
    parts.collect::<Vec<_>>().join(", ")
}

/// What came out: rows, the quality of the fit, and the plans on devices of this kind.
fn summary(table: &Table, outcome: &Outcome, cli: &Cli) -> anyhow::Result<String> {
    let name = cli.out.display().to_string();
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
        let label = if i == 0 { "fit" } else { "" };
        writeln!(out, "{label:<9}   {error}")?;
    }
    let source = Source::from_table(table, &name, None);
    let mut done = Vec::new();
    for (name, text) in plan::BUILT_IN {
        let plan = Plan::parse(name, text)?;
        match evaluate::evaluate(plan, &source, &Overrides::default()) {
            Ok(evaluation) => done.push(evaluation),
            Err(error) => eprintln!("calibrate: {error}"),
        }
    }
    out.push('\n');
    out += &report::compare(&done, &source);
    writeln!(out, "\nnext        evaluate --table {name}")?;
    Ok(out)
}
