//! From the runs of a log to rows of a table.

use std::collections::BTreeMap;
use std::fmt;

use super::error::ImportErrorKind;
use crate::dtype::Dtype;
use crate::nccl_log::Told;
use crate::op::{Collective, CollectiveKind, Op};
use crate::stats::{self, Summary};
use crate::table::{Record, Route};
use crate::units::Seconds;

/// What the user says of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Which collective it is about.
    pub collective: Option<CollectiveKind>,
    /// Ranks of the group.
    pub ranks: Option<u64>,
    /// Nodes that they stand on.
    pub nodes: Option<u64>,
    /// Whether to take the in-place half.
    pub in_place: bool,
}

/// What a log brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// One row an op, in the order of the ops.
    pub records: Vec<Record>,
    /// The devices' name, where the log has one for all.
    pub device: Option<String>,
    /// What was not taken.
    pub left_out: LeftOut,
}

/// Rows of a log that were not taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Of size 0.
    pub empty: usize,
    /// Without a time.
    pub without_time: usize,
    /// Whose results were wrong.
    pub wrong: usize,
    /// Of an element type that no op has.
    pub other_dtype: usize,
    /// That time the call on the host and not the collective (`-C 1`).
    pub host_time: usize,
}

impl LeftOut {
    /// All of them.
    pub const fn sum(&self) -> usize {
        self.empty + self.without_time + self.wrong + self.other_dtype + self.host_time
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.empty, "of size 0"),
            (self.without_time, "without a time"),
            (self.wrong, "with wrong results"),
            (self.other_dtype, "of another element type"),
            (self.host_time, "with the host's time only"),
        ];
        let text: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        f.write_str(&text.join(", "))
    }
}

/// One run of a test: what its head says, and its rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    /// The program, such as `all_reduce_perf`.
    pub test: Option<String>,
    pub ranks: Option<u64>,
    pub nodes: Option<u64>,
    /// Distinct names of its devices.
    pub devices: Vec<String>,
    /// Whether its times are those of the call on the host.
    pub host_time: bool,
    /// What NCCL told between its lines.
    pub told: Told,
    pub rows: Vec<Row>,
}

/// One line of results.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub bytes: u64,
    pub dtype: String,
    pub out_of_place: Half,
    pub in_place: Half,
}

/// One half of a line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Half {
    /// In µs.
    pub time: Option<f64>,
    pub check: Check,
}

/// What the test says of its results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: validation was off.
    #[default]
    Off,
    Good,
    Wrong,
}

/// The records of all runs.
pub(super) fn records(runs: Vec<Run>, given: &Given) -> Result<Imported, ImportErrorKind> {
    let rows: usize = runs.iter().map(|run| run.rows.len()).sum();
    if rows == 0 {
        return Err(ImportErrorKind::NoResults);
    }
    let mut left_out = LeftOut::default();
    let mut times = Times::default();
    let mut devices: Vec<String> = Vec::new();
    for run in runs.iter().filter(|run| !run.rows.is_empty()) {
        let kind = kind(run, given)?;
        let ranks = count("ranks", given.ranks, run.ranks)?;
        let nodes = count("nodes", given.nodes, run.nodes)?;
        check_group(ranks, nodes)?;
        devices.extend(run.devices.iter().cloned());
        for row in &run.rows {
            let half = if given.in_place { row.in_place } else { row.out_of_place };
            let Some((dtype, seconds)) = usable(run, row, &half, &mut left_out) else { continue };
            let op = Op::Collective(Collective { kind, bytes: row.bytes, ranks, nodes, dtype });
            times.add(op, seconds, half.check == Check::Off, run.told);
        }
    }
    devices.sort_unstable();
    devices.dedup();
    let device = if let [one] = devices.as_slice() { Some(one.clone()) } else { None };
    times.imported("nccl-tests", device, left_out, rows)
}

/// Whether so many ranks on so many nodes are a group.
pub(super) fn check_group(ranks: u64, nodes: u64) -> Result<(), ImportErrorKind> {
    if ranks < 2 || nodes < 1 || nodes > ranks {
        Err(ImportErrorKind::NoGroup { ranks, nodes })
    } else {
        Ok(())
    }
}

/// Times as they are read, several of one op together.
#[derive(Default)]
pub(super) struct Times(BTreeMap<Op, (Vec<Seconds>, bool, Told)>);

impl Times {
    /// Takes a time, of a result that was compared or not, and what was told of how it came about.
    pub fn add(&mut self, op: Op, seconds: Seconds, unchecked: bool, told: Told) {
        let entry = self.0.entry(op).or_default();
        entry.0.push(seconds);
        entry.1 |= unchecked;
        entry.2 = entry.2.and(told);
    }

    /// One row an op, the median of its times. Out of so many rows.
    pub fn imported(
        self,
        source: &str,
        device: Option<String>,
        left_out: LeftOut,
        rows: usize,
    ) -> Result<Imported, ImportErrorKind> {
        if self.0.is_empty() {
            return Err(ImportErrorKind::NoGoodRow { rows, left_out });
        }
        let record = |(op, (times, unchecked, told)): (Op, (Vec<Seconds>, bool, Told))| Record {
            op,
            // these tools print one mean and say nothing of its spread
            summary: Summary {
                seconds: stats::median(&times).unwrap_or_default(),
                interval: None,
                samples: None,
            },
            route: Route::of(told.names()),
            flags: if unchecked { "unchecked".into() } else { String::new() },
            source: source.to_owned(),
        };
        Ok(Imported { records: self.0.into_iter().map(record).collect(), device, left_out })
    }
}

fn kind(run: &Run, given: &Given) -> Result<CollectiveKind, ImportErrorKind> {
    let found = match &run.test {
        None => None,
        Some(name) => Some(test_kind(name).ok_or_else(|| ImportErrorKind::OtherTest { name: name.clone() })?),
    };
    match (given.collective, found) {
        (Some(given), Some(found)) if given != found => Err(ImportErrorKind::Contradiction {
            option: "collective",
            given: given.name().into(),
            found: found.name().into(),
        }),
        (given, found) => given.or(found).ok_or(ImportErrorKind::WhichCollective),
    }
}

/// The collective of `…/all_reduce_perf` and `alltoall_perf_mpi`.
fn test_kind(program: &str) -> Option<CollectiveKind> {
    let name = program.rsplit('/').next()?;
    let name = name.strip_suffix("_mpi").unwrap_or(name);
    match name.strip_suffix("_perf").unwrap_or(name) {
        "all_reduce" => Some(CollectiveKind::AllReduce),
        "all_gather" => Some(CollectiveKind::AllGather),
        "reduce_scatter" => Some(CollectiveKind::ReduceScatter),
        "alltoall" => Some(CollectiveKind::AllToAll),
        "broadcast" => Some(CollectiveKind::Broadcast),
        _ => None,
    }
}

fn count(what: &'static str, given: Option<u64>, found: Option<u64>) -> Result<u64, ImportErrorKind> {
    match (given, found) {
        (Some(given), Some(found)) if given != found => Err(ImportErrorKind::Contradiction {
            option: what,
            given: given.to_string(),
            found: found.to_string(),
        }),
        (given, found) => given.or(found).ok_or(ImportErrorKind::HowMany { what }),
    }
}

/// Element type and seconds of a row that can be used; counts the others.
fn usable(run: &Run, row: &Row, half: &Half, left_out: &mut LeftOut) -> Option<(Dtype, Seconds)> {
    let seconds = half.time.and_then(|us| Seconds::new(us / 1e6).ok()).filter(|s| s.get() > 0.0);
    let dtype = dtype(&row.dtype);
    let counter = match (seconds, dtype) {
        _ if row.bytes == 0 => &mut left_out.empty,
        _ if run.host_time => &mut left_out.host_time,
        _ if half.check == Check::Wrong => &mut left_out.wrong,
        (None, _) => &mut left_out.without_time,
        (_, None) => &mut left_out.other_dtype,
        (Some(seconds), Some(dtype)) => return Some((dtype, seconds)),
    };
    *counter += 1;
    None
}

/// nccl-tests' names of element types.
fn dtype(name: &str) -> Option<Dtype> {
    match name {
        "float" => Some(Dtype::F32),
        "half" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::Bf16),
        "fp8_e4m3" | "f8e4m3" => Some(Dtype::F8E4m3),
        "fp8_e5m2" | "f8e5m2" => Some(Dtype::F8E5m2),
        "int8" | "uint8" => Some(Dtype::I8),
        _ => None,
    }
}
