//! What a table and its fit look like: the points, the curve between them with its band, and how far off it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::cost::{Cost, Estimate};
use crate::dtype::Dtype;
use crate::fit::Fit;
use crate::fit::check::{Accuracy, SizeClass, Tried};
use crate::op::{Collective, CollectiveKind, Gemm, Op};
use crate::table::Table;

/// What an axis counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds.
    Seconds,
}

/// One curve with its points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend; empty for none.
    pub name: String,
    /// What was measured.
    pub points: Vec<(f64, f64)>,
    /// What the fit says, in pieces that do not hang together.
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Place, lower and upper end of the interval about the curve.
    pub band: Vec<(f64, f64, f64)>,
}

/// One pair of axes; x goes by octaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Panel {
    /// What it shows.
    pub title: String,
    /// The name and the unit of x.
    pub x: (&'static str, Unit),
    /// The name of y.
    pub y: &'static str,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// Pairs of k and n that are shown where none are asked for.
const PAIRS: usize = 3;

/// Errors that are drawn, at most; their lines are of all.
const MOST_POINTS: usize = 4_000;

/// Points of a curve in an octave.
const STEPS: f64 = 8.0;

/// Octaves that a curve of products goes on beyond what was measured.
const BEYOND: f64 = 2.0;

/// The panels of a table: efficiency of products over m for each of `pairs` (k, n), or where there are none for
/// three that were measured at many m; bandwidth over size for each kind of collective; and the errors of `tried`.
pub fn panels(table: &Table, fit: &Fit, pairs: &[(u64, u64)], tried: &[Tried]) -> Vec<Panel> {
    let mut panels = products(table, fit, pairs);
    panels.extend(CollectiveKind::ALL.into_iter().filter_map(|kind| collectives(table, fit, kind)));
    panels.extend(errors(tried));
    panels
}

fn products(table: &Table, fit: &Fit, pairs: &[(u64, u64)]) -> Vec<Panel> {
    let all = table.records.iter().filter_map(|record| match record.op {
        Op::Gemm(op) if op.batch == 1 => Some((op, record.summary.seconds.get())),
        _ => None,
    });
    let mut of_dtype: BTreeMap<Dtype, Vec<(Gemm, f64)>> = BTreeMap::new();
    all.for_each(|(op, seconds)| of_dtype.entry(op.dtype).or_default().push((op, seconds)));
    let Some((dtype, rows)) = of_dtype.into_iter().max_by_key(|(_, rows)| rows.len()) else {
        return Vec::new();
    };
    let rate = |op: &Gemm, seconds: f64| op.flops() as f64 / seconds;
    let best = rows.iter().map(|(op, seconds)| rate(op, *seconds)).fold(0.0, f64::max);
    let (least, most) = rows.iter().fold((u64::MAX, 1), |(a, b), (op, _)| (a.min(op.m), b.max(op.m)));
    let pairs = if pairs.is_empty() { usual(&rows) } else { pairs.to_vec() };
    let panel = |(k, n): (u64, u64)| {
        let share = |op: &Gemm, seconds: f64| 100.0 * rate(op, seconds) / best;
        let of_pair = rows.iter().filter(|(op, _)| (op.k, op.n) == (k, n));
        let points = of_pair.map(|(op, seconds)| (op.m as f64, share(op, *seconds))).collect();
        let ends = ((least as f64).log2(), (most as f64).log2() + BEYOND);
        let asked = steps(ends).map(|m| Gemm { m, k, n, batch: 1, dtype });
        let curve: Vec<(Gemm, Estimate)> =
            asked.filter_map(|op| Some((op, fit.cost(&Op::Gemm(op)).ok()?))).collect();
        let at = |op: &Gemm, seconds: f64| (op.m as f64, share(op, seconds));
        let line = curve.iter().map(|(op, said)| at(op, said.seconds.get())).collect();
        let band = curve
            .iter()
            .map(|(op, said)| (op.m as f64, share(op, said.high.get()), share(op, said.low.get())));
        let series = Series { points, lines: vec![line], band: band.collect(), ..Series::default() };
        let title = format!("products {dtype}, k = {k}, n = {n}");
        Panel { title, x: ("rows m", Unit::Count), y: "% of the best rate", series: vec![series] }
    };
    pairs.into_iter().map(panel).collect()
}

/// A narrow, a middling and a wide pair of k and n among those measured at most values of m.
fn usual(rows: &[(Gemm, f64)]) -> Vec<(u64, u64)> {
    let mut heights: BTreeMap<(u64, u64), usize> = BTreeMap::new();
    rows.iter().for_each(|(op, _)| *heights.entry((op.k, op.n)).or_default() += 1);
    let most = heights.values().copied().max().unwrap_or(0);
    let mut tall: Vec<(u64, u64)> =
        heights.into_iter().filter(|(_, rows)| 4 * rows >= 3 * most).map(|(pair, _)| pair).collect();
    tall.sort_by_key(|(k, n)| (u128::from(*k) * u128::from(*n), *k));
    let at = |i: usize| tall.get((2 * i + 1) * tall.len() / (2 * PAIRS)).copied();
    let mut chosen: Vec<(u64, u64)> = (0..PAIRS).filter_map(at).collect();
    chosen.dedup();
    chosen
}

fn collectives(table: &Table, fit: &Fit, kind: CollectiveKind) -> Option<Panel> {
    let mut groups: BTreeMap<(u64, u64, Dtype), Vec<(Collective, f64)>> = BTreeMap::new();
    for record in &table.records {
        if let Op::Collective(op) = record.op
            && op.kind == kind
        {
            let seconds = record.summary.seconds.get();
            groups.entry((op.nodes, op.ranks, op.dtype)).or_default().push((op, seconds));
        }
    }
    let nodes: BTreeSet<u64> = groups.keys().map(|(nodes, ..)| *nodes).collect();
    let dtypes: BTreeSet<Dtype> = groups.keys().map(|(.., dtype)| *dtype).collect();
    let series = groups.into_iter().map(|((of_nodes, ranks, dtype), rows)| {
        let at = |op: &Collective, seconds: f64| {
            (op.bytes as f64, op.traffic_factor() * op.bytes as f64 / seconds / 1e9)
        };
        let sizes = || rows.iter().map(|(op, _)| (op.bytes as f64).log2());
        let ends = (sizes().fold(f64::INFINITY, f64::min), sizes().fold(0.0, f64::max));
        let asked = steps(ends).map(|bytes| Collective { kind, bytes, ranks, nodes: of_nodes, dtype });
        let curve: Vec<(Collective, Estimate)> =
            asked.filter_map(|op| Some((op, fit.cost(&Op::Collective(op)).ok()?))).collect();
        let band = curve
            .iter()
            .map(|(op, said)| (op.bytes as f64, at(op, said.high.get()).1, at(op, said.low.get()).1));
        let mut name = format!("{ranks} ranks");
        if nodes.len() > 1 {
            name += &format!(", {of_nodes} nodes");
        }
        if dtypes.len() > 1 {
            name += &format!(", {dtype}");
        }
        Series {
            name,
            points: rows.iter().map(|(op, seconds)| at(op, *seconds)).collect(),
            lines: vec![curve.iter().map(|(op, said)| at(op, said.seconds.get())).collect()],
            band: band.collect(),
        }
    });
    let series: Vec<Series> = series.collect();
    let title = kind.name().to_owned();
    (!series.is_empty()).then_some(Panel {
        title,
        x: ("size", Unit::Bytes),
        y: "bus bandwidth, GB/s",
        series,
    })
}

/// The errors of each family over the measured time, with the median and the 95th percentile of each class of size.
fn errors(tried: &[Tried]) -> Vec<Panel> {
    let families: BTreeSet<_> = tried.iter().map(|row| row.op.family()).collect();
    let panel = |family| {
        let rows: Vec<&Tried> = tried.iter().filter(|row| row.op.family() == family).collect();
        let some = rows.iter().step_by(rows.len().div_ceil(MOST_POINTS).max(1));
        let points = some.filter_map(|row| Some((row.measured.get(), row.error()?.abs()))).collect();
        let classes: BTreeSet<SizeClass> = rows.iter().map(|row| row.size()).collect();
        let lines = |pick: fn(&Accuracy) -> f64| {
            let of_class = |class: &SizeClass| {
                let rows = || rows.iter().copied().filter(|row| row.size() == *class);
                let times = || rows().map(|row| row.measured.get());
                let value = pick(&Accuracy::of(rows()));
                let ends = [times().fold(f64::INFINITY, f64::min), times().fold(0.0, f64::max)];
                ends.map(|time| (time, value)).to_vec()
            };
            classes.iter().map(of_class).filter(|line| line.iter().all(|(_, y)| y.is_finite())).collect()
        };
        let all = Series { points, ..Series::default() };
        let median = Series { name: "median".to_owned(), lines: lines(|a| a.median), ..Series::default() };
        let p95 = Series { name: "95th percentile".to_owned(), lines: lines(|a| a.p95), ..Series::default() };
        Panel {
            title: format!("{family}: errors on rows left out"),
            x: ("measured time", Unit::Seconds),
            y: "|error|, %",
            series: vec![all, median, p95],
        }
    };
    families.into_iter().map(panel).collect()
}

/// Whole numbers between two ends, given as log2, a few an octave.
fn steps((from, to): (f64, f64)) -> impl Iterator<Item = u64> {
    let count = ((to - from) * STEPS).round().max(0.0) as u32;
    (0..=count).map(move |i| (from + f64::from(i) / STEPS).exp2().round() as u64)
}
