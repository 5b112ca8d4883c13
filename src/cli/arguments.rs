//! The arguments of `calibrate`, and what a table's header says of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::dtype::Dtype;
use crate::op::Family;

/// Budget of a processor's campaign, in seconds, and of a GPU's, which measures more in less time.
const BUDGETS: (u64, u64) = (60, 600);

/// What is measured, and how.
#[derive(Args)]
pub(super) struct Cli {
    /// What to measure; CUDA devices unless said otherwise
    #[arg(long, value_enum, default_value_t)]
    pub backend: BackendArg,
    /// The table whose rows are measured anew, as if on the machine that it is of
    #[arg(long, value_name = "TABLE", required_if_eq("backend", "replay"))]
    pub replay: Option<PathBuf>,
    /// Devices that plans will use: collectives are measured among up to this many
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1024))]
    pub gpus: u64,
    /// The table to write
    #[arg(long, value_name = "FILE", required_unless_present = "check")]
    pub out: Option<PathBuf>,
    /// Go on with a run that did not come to its end: give it the same arguments
    #[arg(long)]
    pub resume: bool,
    /// Add to the table that is there the ops that it lacks
    #[arg(long)]
    pub append: bool,
    /// Only ops of these families: gemm, kernel, attention, collective, p2p
    #[arg(long, value_delimiter = ',', value_parser = family)]
    pub ops: Vec<Family>,
    /// Run ops of every kind once, compare their results, and write nothing
    #[arg(long)]
    pub check: bool,
    /// Time for everything: 90, 90s, 5min, 1h [default: 60s, for GPUs 10min]
    #[arg(long, value_parser = duration)]
    pub budget: Option<Duration>,
    /// How often each op is measured anew
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub passes: u32,
    /// Stop when the median error of products that plans are made of (m >= 1024, k and n >= 512) is surely below
    /// this, on products that the fit has not seen
    #[arg(long, value_name = "PERCENT", default_value = "3%", value_parser = percent)]
    pub target: f64,
    /// Measure so many products at most, few at first, and then those that tell most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub shapes: Option<u64>,
    /// Measure the ops of this plan first, built in or a .toml file, or those of a table, a .csv file; may be
    /// repeated [default: all built-in plans]
    #[arg(long = "for", value_name = "PLAN|FILE")]
    pub plans: Vec<String>,
    /// Measure nothing but the ops of the tables that --for names
    #[arg(long, requires = "plans")]
    pub only: bool,
    /// Element types, the most important first [default: bf16 on GPUs, f32 on processors]
    #[arg(long, value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// How the algorithm of a GPU's product is chosen
    #[arg(long, value_enum, default_value_t)]
    pub policy: PolicyArg,
    /// What a GPU's cache holds when an op begins
    #[arg(long, value_enum, default_value_t)]
    pub cache: CacheArg,
    /// Give up when another rank has not come, or not answered, for so long
    #[arg(long, value_parser = duration, default_value = "50s")]
    pub deadline: Duration,
    /// Measure a GPU although another process computes on it
    #[arg(long)]
    pub allow_shared: bool,
}

impl Cli {
    /// The table to write.
    pub fn out(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new("table.csv"))
    }

    /// The budget asked for, or the one usual for the backend.
    pub fn budget(&self) -> Duration {
        let (cpu, cuda) = BUDGETS;
        let usual = if self.backend == BackendArg::Cpu { cpu } else { cuda };
        self.budget.unwrap_or(Duration::from_secs(usual))
    }
}

#[cfg(feature = "cuda")]
impl Cli {
    /// How a GPU is to be measured.
    pub fn settings(&self, device: i32, seed: u64) -> crate::measure::cuda::Settings {
        use crate::measure::cuda::{Cache, Policy, Settings};
        Settings {
            device,
            cache: match self.cache {
                CacheArg::Hot => Cache::Hot,
                CacheArg::Cold => Cache::Cold,
                CacheArg::WeightsCold => Cache::WeightsCold,
            },
            policy: match self.policy {
                PolicyArg::Heuristic => Policy::Heuristic,
                PolicyArg::BestOf8 => Policy::BestOf8,
            },
            allow_shared: self.allow_shared,
            seed,
        }
    }
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum PolicyArg {
    /// The library's first choice: what frameworks get
    #[default]
    Heuristic,
    /// The fastest of the library's first eight
    #[value(name = "best-of-8")]
    BestOf8,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CacheArg {
    /// The same operands again and again
    Hot,
    /// Nothing of the operands
    Cold,
    /// Of a product the activations, not the weights; nothing of a kernel's operands
    #[default]
    WeightsCold,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum BackendArg {
    /// NVIDIA GPUs
    #[default]
    Cuda,
    /// This machine's processor, one device with all its cores
    Cpu,
    /// A table, whose rows are its times; a virtual clock counts what measuring them would have taken
    Replay,
}

impl BackendArg {
    const fn name(self) -> &'static str {
        match self {
            BackendArg::Cuda => "cuda",
            BackendArg::Cpu => "cpu",
            BackendArg::Replay => "replay",
        }
    }
}

/// Of the program: its number, the commit and the target it was built for.
pub(super) const fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("GETTIME_COMMIT"), ", ", env!("GETTIME_TARGET"), ")")
}

/// Reads the name of a family of ops.
fn family(text: &str) -> Result<Family, String> {
    let measured = || Family::ALL.into_iter().filter(|family| *family != Family::Chain);
    measured().find(|family| family.name() == text).ok_or_else(|| {
        let known = measured().map(Family::name).collect::<Vec<_>>().join(", ");
        format!("\"{text}\" is no family of ops; known are {known}")
    })
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
        return Err("it is between 1 s and 1,000,000 s".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds * scale))
}

/// Reads `3%` or `3`.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim();
    match number.parse() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("it is a percentage between 0 and 100, such as 3%".to_owned()),
    }
}

/// What a table's header says of its run.
pub(super) fn about(cli: &Cli) -> toml::Table {
    let mut command = format!(
        "calibrate --backend {} --gpus {} --out {} --budget {}s --passes {}",
        cli.backend.name(),
        cli.gpus,
        cli.out().display(),
        cli.budget().as_secs_f64(),
        cli.passes
    );
    if let Some(table) = &cli.replay {
        command += &format!(" --replay {}", table.display());
    }
    command += &format!(" --target {}%", cli.target);
    if let Some(shapes) = cli.shapes {
        command += &format!(" --shapes {shapes}");
    }
    for plan in &cli.plans {
        command += &format!(" --for {plan}");
    }
    for family in &cli.ops {
        command += &format!(" --ops {family}");
    }
    command += if cli.append { " --append" } else { "" };
    command += if cli.only { " --only" } else { "" };
    for dtype in &cli.dtype {
        command += &format!(" --dtype {dtype}");
    }
    if cli.backend == BackendArg::Cuda {
        let (policy, cache) = (cli.policy.to_possible_value(), cli.cache.to_possible_value());
        let [policy, cache] =
            [policy, cache].map(|value| value.map_or(String::new(), |v| v.get_name().to_owned()));
        command += &format!(" --policy {policy} --cache {cache}");
        command += if cli.allow_shared { " --allow-shared" } else { "" };
    }
    let date = time::OffsetDateTime::now_utc().date().to_string();
    let entries = [("command", command), ("version", version().to_owned()), ("date", date)];
    entries.into_iter().map(|(key, value)| (key.to_owned(), toml::Value::String(value))).collect()
}
