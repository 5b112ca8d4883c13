//! How far off a makespan may be: the plan scheduled under scenarios of its ops' errors.
//!
//! All highs at once are no likely case: errors of one op have little to do with those of another, unless they
//! have a cause in common. So the error of an op is split in two, `z = √ρ·z(surface) + √(1−ρ)·z(op)`:
//!
//! * a measured time errs by its own noise: ρ = 0;
//! * one between measured times mostly by what its library chooses there, a little by what ails the whole
//!   surface (clocks, the version of the library): ρ = ¼. Two published campaigns on one GPU differ by 5–15 % on
//!   all large products together, and at random by 1–4 %;
//! * one beyond the measured range mostly by the rate that its surface goes on at, which is one number: ρ = ¾;
//! * a modelled time has no interval of its own.
//!
//! An op has one error wherever it stands in the plan. In each op's 32 errors every rank occurs once, so that
//! its own interval is met to the bit: the quantiles of a plan of one op are that op's low and high. No error
//! goes beyond its op's interval, and so the makespan's lies between that of all lows and that of all highs.

use std::collections::HashMap;

use statrs::distribution::{ContinuousCDF, Normal};

use super::Prices;
use crate::cost::{Basis, Estimate};
use crate::dag::Dag;
use crate::op::Op;

/// Scenarios that are drawn.
const SCENARIOS: usize = 32;

/// Scenarios of one pass over the graph.
const LANES: usize = 8;

/// Scenarios beyond each end of the interval: one, so that 30 of 32 are within, and the ends are the 5 % and
/// 95 % quantiles as near as 32 tell.
const BEYOND: usize = 1;

/// Where an op lies between low (−1), seconds (0) and high (1), by scenario.
type Scores = [f64; SCENARIOS];

/// The errors of ops in every scenario, drawn once for all graphs that are priced by one source.
#[derive(Clone, Debug, Default)]
pub struct Scenarios {
    /// Seconds of an op run once, by scenario.
    known: HashMap<Op, Scores>,
    ends: Vec<[f64; LANES]>,
}

impl Scenarios {
    /// The makespan in every scenario, in seconds; none where no op has an interval. Scenario i means the same
    /// errors of the same ops in every graph.
    pub(super) fn makespans(&mut self, dag: &Dag, prices: &Prices) -> Vec<f64> {
        if prices.works.iter().all(|work| work.low == work.high) {
            return Vec::new();
        }
        let durations = self.durations(dag, prices);
        self.ends.resize(dag.len(), [0.0; LANES]);
        durations.iter().flat_map(|durations| makespans(dag, durations, &mut self.ends)).collect()
    }

    /// Durations by work, of each pass.
    fn durations(&mut self, dag: &Dag, prices: &Prices) -> [Vec<[f64; LANES]>; SCENARIOS / LANES] {
        let mut ladder = None;
        let mut passes = [const { Vec::new() }; SCENARIOS / LANES];
        for ((work, parts), slower) in dag.works().iter().zip(&prices.parts).zip(&prices.slower) {
            let mut sum = [0.0; SCENARIOS];
            for ((op, count), estimate) in work.ops.iter().zip(parts) {
                let seconds = self.known.entry(*op).or_insert_with(|| {
                    let scores = scores(op, estimate.basis, ladder.get_or_insert_with(ladder_of_normals));
                    scores.map(|score| at(estimate, score))
                });
                for (sum, seconds) in sum.iter_mut().zip(seconds.iter()) {
                    *sum += seconds * *count as f64 * slower;
                }
            }
            let (lanes, _) = sum.as_chunks::<LANES>();
            for (pass, lanes) in passes.iter_mut().zip(lanes) {
                pass.push(*lanes);
            }
        }
        passes
    }
}

/// The 5 % and 95 % quantiles of what scenarios give, its value under the estimates themselves, `central`,
/// included; that value twice where there are no scenarios.
pub fn interval(scenarios: &[f64], central: f64) -> (f64, f64) {
    let mut sorted = scenarios.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.as_slice() {
        [] => (central, central),
        all => {
            let beyond = BEYOND.min((all.len() - 1) / 2);
            (all[beyond].min(central), all[all.len() - 1 - beyond].max(central))
        }
    }
}

/// The time at a score, in proportion on a logarithmic scale, and at the ends to the bit.
fn at(estimate: &Estimate, score: f64) -> f64 {
    let seconds = estimate.seconds.get();
    let end = if score < 0.0 { estimate.low.get() } else { estimate.high.get() };
    if score.abs() >= 1.0 || seconds <= 0.0 || end <= 0.0 {
        end
    } else {
        // between the two whatever rounding does
        (seconds * (end / seconds).powf(score.abs())).clamp(seconds.min(end), seconds.max(end))
    }
}

/// The ranks of an op's errors, as scores.
fn scores(op: &Op, basis: Basis, ladder: &Scores) -> Scores {
    let in_common: f64 = match basis {
        Basis::Measured | Basis::Modelled => 0.0,
        Basis::Interpolated => 0.25,
        Basis::Extrapolated => 0.75,
    };
    let (common, own) = (normals(&surface(op)), normals(&format!("{op:?}")));
    let errors: Scores =
        std::array::from_fn(|i| in_common.sqrt() * common[i] + (1.0 - in_common).sqrt() * own[i]);
    let mut order: [usize; SCENARIOS] = std::array::from_fn(|i| i);
    order.sort_unstable_by(|a, b| errors[*a].total_cmp(&errors[*b]).then(a.cmp(b)));
    let mut scores = [0.0; SCENARIOS];
    for (scenario, score) in order.into_iter().zip(ladder) {
        scores[scenario] = *score;
    }
    scores
}

/// Quantiles of the normal law in rising order, its 5 % and 95 % as −1 and 1, which nothing exceeds.
fn ladder_of_normals() -> Scores {
    let normal = Normal::standard();
    let quantile = |i: usize| normal.inverse_cdf((i as f64 + 0.5) / SCENARIOS as f64);
    std::array::from_fn(|i| (quantile(i) / quantile(SCENARIOS - 1 - BEYOND)).clamp(-1.0, 1.0))
}

/// The second runtime less the first in every scenario; one without an interval is the same in all.
pub fn paired(first: (f64, &[f64]), second: (f64, &[f64])) -> Vec<f64> {
    let in_scenario =
        |(central, scenarios): (f64, &[f64]), i: usize| scenarios.get(i).copied().unwrap_or(central);
    let count = first.1.len().max(second.1.len());
    (0..count).map(|i| in_scenario(second, i) - in_scenario(first, i)).collect()
}

/// What ops of one surface of a fit have in common.
fn surface(op: &Op) -> String {
    match op {
        Op::Gemm(op) => format!("gemm {:?}", op.dtype),
        Op::Kernel(op) => format!("kernel {:?} {:?}", op.kind, op.dtype),
        Op::Attention(op) => format!("attention {:?}", op.dtype),
        Op::Collective(op) => format!("collective {:?} {}", op.kind, op.nodes),
        Op::P2p(op) => format!("p2p {:?}", op.link),
        Op::Overlap(op) => format!("overlap {:?}", op.timed),
        Op::Chain(op) => op.to_string(),
    }
}

/// Normal numbers that belong to a name, the same on every run and machine: FNV-1a seeds splitmix64.
fn normals(name: &str) -> Scores {
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let normal = Normal::standard();
    std::array::from_fn(|i| {
        let mut z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        normal.inverse_cdf(((z >> 12) as f64 + 0.5) / (1u64 << 52) as f64)
    })
}

/// The makespans under eight durations of each work, in one pass.
fn makespans(dag: &Dag, durations: &[[f64; LANES]], ends: &mut [[f64; LANES]]) -> [f64; LANES] {
    let mut after = dag.after_column();
    let mut first = 0;
    let mut last = [0.0; LANES];
    for (node, (stop, work)) in dag.ends_column().iter().zip(dag.work_column()).enumerate() {
        let (before, rest) = after.split_at((stop - first) as usize);
        (first, after) = (*stop, rest);
        let mut end = [0.0; LANES];
        for before in before {
            later(&mut end, &ends[before.index()]);
        }
        for (end, duration) in end.iter_mut().zip(&durations[work.index()]) {
            *end += duration;
        }
        later(&mut last, &end);
        ends[node] = end;
    }
    last
}

fn later(end: &mut [f64; LANES], other: &[f64; LANES]) {
    for (end, other) in end.iter_mut().zip(other) {
        *end = if other > end { *other } else { *end };
    }
}
