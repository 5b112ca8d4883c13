//! Two ops at the same time on all ranks of a group, one of them timed: the other goes on for longer.

use super::order::Order;
use super::rank::Report;
use super::{Fabric, slowest};
use crate::measure::{Case, MeasureError};
use crate::op::{Op, Overlap, Timed};
use crate::slowdown::ALONE;
use crate::units::Seconds;

/// What the runs of the timed op take together, in seconds: enough for both to be under way nearly all the time.
const LENGTH: f64 = 2e-3;

/// Runs of each op in one go, fewer than a device's queue takes.
const MOST_RUNS: f64 = 400.0;

/// How many times as long as the timed one the other op runs, by what they take alone.
const LONGER: f64 = 1.6;

/// How often the other op is given more runs, where it ended first.
const TRIALS: usize = 4;

/// How often both run, and what the timed one takes alone.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pair {
    /// Runs of the timed op and of the other.
    runs: [u64; 2],
    /// Seconds of the timed op alone.
    alone: f64,
}

impl Fabric<'_> {
    /// Finds out what both ops take alone, and how often each has to run.
    pub(super) fn pair(&mut self, op: &Overlap) -> Result<Pair, MeasureError> {
        let timed = self.alone(op, [1, 0])?;
        let other = self.alone(op, [0, 1])?;
        let most = (LONGER * timed / other).max(1.0);
        let runs = (LENGTH / timed).ceil().min(MOST_RUNS / most).max(1.0);
        let mut pair = Pair { runs: [runs as u64, (runs * most).ceil() as u64 + 1], alone: timed };
        for _ in 0..TRIALS {
            let both = self.together(op, pair.runs)?;
            if both.iter().all(|[timed, other]| other >= timed) {
                return Ok(pair);
            }
            let more = 2 * pair.runs[1];
            pair.runs = if more as f64 > MOST_RUNS {
                [1.max(pair.runs[0] / 2), pair.runs[1]]
            } else {
                [pair.runs[0], more]
            };
        }
        let reason = "one of the two ops always ends before the other".to_owned();
        Err(MeasureError::Unsupported { op: Op::Overlap(*op), reason })
    }

    /// Seconds of one run of one of them, on the slowest rank.
    fn alone(&mut self, op: &Overlap, which: [u64; 2]) -> Result<f64, MeasureError> {
        let mut seconds = LENGTH;
        // one run warms up and tells how many fill the time
        for _ in 0..3 {
            let runs = (LENGTH / seconds).ceil().clamp(1.0, MOST_RUNS) as u64;
            let totals = self.together(op, which.map(|one| one * runs))?;
            let longest = totals.iter().map(|[timed, other]| timed.max(*other)).fold(0.0, f64::max);
            seconds = (longest / runs as f64).max(1e-9);
        }
        Ok(seconds)
    }

    /// Seconds of so many runs of the timed op and of the other, on each rank.
    fn together(&mut self, op: &Overlap, [timed, other]: [u64; 2]) -> Result<Vec<[f64; 2]>, MeasureError> {
        let [products, exchanges] = match op.timed {
            Timed::Gemm => [timed, other],
            Timed::AllReduce => [other, timed],
        };
        let reports = self.exchange(&Op::Overlap(*op), Order::Both { products, exchanges })?;
        let totals = |report: &Report| match (report, op.timed) {
            (Report::Both([product, exchange]), Timed::Gemm) => Some([*product, *exchange]),
            (Report::Both([product, exchange]), Timed::AllReduce) => Some([*exchange, *product]),
            _ => None,
        };
        Ok(reports.iter().filter_map(totals).collect())
    }
}

/// Two ops at the same time, ready to be timed.
pub(super) struct Both<'f, 'a> {
    pub op: Overlap,
    pub pair: Pair,
    pub fabric: &'f mut Fabric<'a>,
}

impl Case for Both<'_, '_> {
    /// As many runs as cover each other, however many are asked for.
    fn sample(&mut self, _: u64) -> Result<Seconds, MeasureError> {
        let totals = self.fabric.together(&self.op, self.pair.runs)?;
        let timed: Vec<(u64, f64)> = (0..).zip(totals.iter().map(|[timed, _]| *timed)).collect();
        Ok(Seconds::new(slowest(&timed) / self.pair.runs[0] as f64).unwrap_or_default())
    }

    fn remarks(&self) -> String {
        format!("{ALONE}{:e}", self.pair.alone)
    }
}
