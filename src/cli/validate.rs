//! `evaluate validate`: a plan's share run for real beside what was predicted.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::inputs::{AttentionArg, Format, only_text_or_json, read_plan};
use super::output::Partial;
use crate::cost::Cost;
use crate::dtype::Dtype;
use crate::measure::Backend;
use crate::plan::BUILT_IN;
use crate::report;
use crate::source::Source;
use crate::spec::AttentionMode;
use crate::table::Table;
use crate::validate::{Lesson, Order, Validation, lessons, validate as run};

/// What to run, and against what.
#[derive(Args)]
pub(super) struct ValidateArgs {
    /// Built-in plans, or plan files (.toml); all built-in ones if none is named
    pub plans: Vec<String>,
    /// What to run on [default: a GPU where there is one, or else this processor]
    #[arg(long, value_enum)]
    pub backend: Option<On>,
    /// A table to judge, beside what the ops take here and now
    #[arg(long, value_name = "FILE")]
    pub table: Option<PathBuf>,
    /// Write into this table by how much ops take longer in a layer than alone; evaluate then counts with it
    #[arg(long, value_name = "TABLE")]
    pub learn: Option<PathBuf>,
    /// Layers to run
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub layers: u64,
    /// The share of the batch, and then of the sequence, to run with: 1/16 or 0.06 [default: what runs in half a
    /// second]
    #[arg(long, value_parser = fraction)]
    pub scale: Option<f64>,
    /// Rounds of running the layer and its ops by turns [default: as many as it takes, 5 to 25]
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: Option<u64>,
    /// Element type [default: bf16 on a GPU, f32 on a processor]
    #[arg(long)]
    pub dtype: Option<Dtype>,
    /// Whether the scores of attention are stored
    #[arg(long)]
    pub attention: Option<AttentionArg>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// What can run a layer.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum On {
    /// The first CUDA device
    Cuda,
    /// This machine's processor
    Cpu,
}

/// Reads `1/16` or `0.0625`.
fn fraction(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((over, under)) => number(over).zip(number(under)).map(|(over, under)| over / under),
        None => number(text),
    };
    value
        .filter(|value| *value > 0.0 && *value <= 1.0)
        .ok_or_else(|| "a scale is above 0 and at most 1, such as 1/16".to_owned())
}

/// Runs the command. Plans that cannot be run are named, and the others still shown.
pub(super) fn validate(args: &ValidateArgs) -> anyhow::Result<Partial> {
    only_text_or_json(args.format)?;
    let built_in = || BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names: Vec<String> = if args.plans.is_empty() { built_in() } else { args.plans.clone() };
    let plans = names.iter().map(|name| read_plan(name)).collect::<anyhow::Result<Vec<_>>>()?;
    let source = args.table.as_deref().map(|path| Source::from_tables(&[path], None)).transpose()?;
    let pupil =
        args.learn.as_deref().map(|path| Ok::<_, anyhow::Error>((path, Table::read(path)?))).transpose()?;
    let mut backend = open(args.backend)?;
    if let Some((path, table)) = &pupil {
        let here = Table { device: Some(backend.device()), ..Table::default() };
        let context = || format!("{} cannot learn from this machine", path.display());
        table.under_same_conditions(&here).with_context(context)?;
    }
    backend.remarks().iter().for_each(|remark| eprintln!("remark: {remark}"));
    let order = Order {
        layers: args.layers,
        scale: args.scale,
        rounds: args.rounds.map(|rounds| usize::try_from(rounds).unwrap_or(usize::MAX)),
        dtype: args.dtype.or(backend.dtypes().first().copied()).unwrap_or(Dtype::F32),
        attention: args.attention.map(|mode| match mode {
            AttentionArg::Fused => AttentionMode::Fused,
            AttentionArg::Unfused => AttentionMode::Unfused,
        }),
    };
    let mut found: Vec<Validation> = Vec::new();
    let mut failed = Vec::new();
    for plan in &plans {
        if plans.len() > 1 {
            eprintln!("running {}", plan.name);
        }
        let cost = source.as_ref().map(|source| source as &dyn Cost);
        match run(plan, &mut *backend, cost, &order) {
            Ok(shares) => found.extend(shares),
            Err(error) => failed.push(error.into()),
        }
    }
    let learned = if pupil.is_some() { lessons(&found, backend.name()) } else { Vec::new() };
    let mut text = match args.format {
        Format::Json => report::validation_json(&found, &learned)?,
        _ => report::validation(&backend.device().name, &found),
    };
    if let Some((path, table)) = pupil.filter(|_| !found.is_empty()) {
        if !found.iter().any(Validation::is_calm) {
            let waited = found.iter().filter_map(|one| one.waited).fold(0.0, f64::max);
            failed.push(anyhow::anyhow!(
                "{} was left as it was: others had the cores for up to {:.0} % of the time, and what they do to a \
                 layer would be taken for the layer's own; learn on a machine that does nothing else",
                path.display(),
                100.0 * waited
            ));
            return Ok((text, failed));
        }
        learn(table, path, &learned)?;
        if !matches!(args.format, Format::Json) {
            text = text + "\n" + &report::lessons(&path.display().to_string(), &learned);
        }
    }
    Ok((text, failed))
}

/// Puts rows of whole layers in the place of those that were there.
fn learn(mut table: Table, path: &Path, learned: &[Lesson]) -> anyhow::Result<()> {
    table.records.retain(|record| learned.iter().all(|lesson| lesson.row.op != record.op));
    let systematic = learned.iter().filter(|lesson| lesson.is_systematic);
    table.records.extend(systematic.map(|lesson| lesson.row.clone()));
    Ok(table.write(path)?)
}

/// What is asked for; where nothing is, a GPU if there is one.
fn open(asked: Option<On>) -> anyhow::Result<Box<dyn Backend>> {
    match asked {
        Some(On::Cpu) => cpu(),
        Some(On::Cuda) => cuda().context("no layer can be run on a GPU here"),
        None => cuda().or_else(|_| cpu()),
    }
}

#[cfg(feature = "cuda")]
fn cuda() -> anyhow::Result<Box<dyn Backend>> {
    use crate::measure::cuda::{Cache, Cuda, Policy, Settings};
    let (cache, policy) = (Cache::WeightsCold, Policy::Heuristic);
    let seed = super::campaign::SEED;
    Ok(Box::new(Cuda::open(Settings { device: 0, cache, policy, allow_shared: false, seed })?))
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> anyhow::Result<Box<dyn Backend>> {
    anyhow::bail!("this build has no backend for GPUs; build it with --features cuda")
}

#[cfg(feature = "cpu")]
fn cpu() -> anyhow::Result<Box<dyn Backend>> {
    Ok(Box::new(crate::measure::cpu::Cpu::new(super::campaign::SEED)))
}

#[cfg(not(feature = "cpu"))]
fn cpu() -> anyhow::Result<Box<dyn Backend>> {
    anyhow::bail!("this build has no processor backend; build it with --features cpu")
}
