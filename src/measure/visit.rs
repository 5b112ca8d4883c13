//! One op in one pass: asked for memory, prepared, sampled.

use std::time::Duration;

use super::sampler::{Sampling, is_overhead_bound, sample_pass};
use super::{Backend, Clock, MeasureError, remarks};
use crate::op::Op;
use crate::stats;
use crate::units::Seconds;

/// What one visit may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    /// Time for all of it.
    pub limit: Duration,
    /// Time that the campaign has left.
    pub left: Duration,
    /// When the samples are enough.
    pub sampling: Sampling,
    /// Whether to see if twice as many runs take twice as long.
    pub slope: bool,
}

/// What a visit brought.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    /// In the order of time.
    pub samples: Vec<Seconds>,
    /// What they took together, in seconds.
    pub inside: f64,
    /// Words on them.
    pub remarks: String,
    /// Time that the shortest visit of this op takes from now on: preparation, and one run.
    pub cost: Duration,
    /// Time of one run.
    pub run: Seconds,
}

/// Visits an op.
///
/// # Errors
/// When it does not fit in memory, cannot run or gives a wrong result.
pub(super) fn visit(
    backend: &mut dyn Backend,
    clock: &dyn Clock,
    op: &Op,
    allowed: &Allowed,
) -> Result<Visit, MeasureError> {
    let (asked, available) = (backend.need(op), backend.memory());
    if asked > u128::from(available) {
        return Err(MeasureError::OutOfMemory { op: *op, asked, available });
    }
    let shortest = backend.shortest_sample();
    let start = clock.now();
    let mut case = backend.prepare(op)?;
    let prepared = clock.now().saturating_sub(start);
    // What took long to prepare is worth some samples, where the campaign has the time.
    let least = (prepared / 2).min(allowed.left.saturating_sub(prepared));
    let limit = allowed.limit.saturating_sub(prepared).max(least);
    let sampled = sample_pass(&mut *case, clock, allowed.sampling, shortest, limit)?;
    let mut words = case.remarks();
    if allowed.slope && is_overhead_bound(&mut *case, &sampled)? {
        words = remarks::joined(&words, "overhead_bound");
    }
    let run = stats::median(&sampled.samples).unwrap_or_default();
    let again = prepared.saturating_sub(case.once());
    let cost = again + Duration::try_from_secs_f64(run.get()).unwrap_or(Duration::MAX / 4);
    let inside = sampled.samples.iter().map(|sample| sample.get()).sum::<f64>() * sampled.runs as f64;
    Ok(Visit { samples: sampled.samples, inside, remarks: words, cost, run })
}
