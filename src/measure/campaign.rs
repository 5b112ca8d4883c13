//! A measuring campaign: all ops in several passes, each in an order of its own, within one time budget.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use super::remarks;
use super::sampler::{Sampling, sample_pass};
use super::visits::{self, Visits};
use super::{Backend, Clock, MeasureError};
use crate::op::Op;
use crate::stats::{self, Spread};
use crate::table::Record;
use crate::units::Seconds;

/// What a campaign may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Time for all of it; exceeded by one run of one op at most.
    pub budget: Duration,
    /// How often each op is measured anew, with other buffers and other neighbours in time.
    pub passes: u32,
    /// Time for one op in one pass at most, its preparation not included.
    pub case: Duration,
    /// Seed of the orders.
    pub seed: u64,
    /// When the samples of one op in one pass are enough.
    pub sampling: Sampling,
}

impl Default for Limits {
    /// Three passes within ten minutes, one second an op and pass.
    fn default() -> Self {
        Limits {
            budget: Duration::from_secs(600),
            passes: 3,
            case: Duration::from_secs(1),
            seed: 0,
            sampling: Sampling::default(),
        }
    }
}

/// Where a campaign stands, after each op of each pass.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Measurements done, over all passes; those skipped count as done.
    pub done: usize,
    /// Measurements in all.
    pub total: usize,
    /// The pass, from 1.
    pub pass: u32,
    /// The op just measured or skipped.
    pub op: &'a Op,
    /// Its row so far; `None` where it was skipped.
    pub record: Option<&'a Record>,
    /// Time since the start.
    pub elapsed: Duration,
    /// Estimate of the time left.
    pub left: Duration,
}

/// An op that was not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// The op.
    pub op: Op,
    /// Why.
    pub reason: SkipReason,
}

/// Why an op was not measured.
#[derive(Clone, Debug, PartialEq)]
pub enum SkipReason {
    /// Its buffers do not fit: bytes asked, bytes available.
    Memory {
        /// Bytes of its buffers.
        asked: u128,
        /// Bytes that may be used.
        available: u64,
    },
    /// The backend cannot run it.
    Unsupported(String),
    /// The device would not run it, though it should be able to.
    Refused(String),
    /// The budget was spent, or one run would have taken longer than what was left of it.
    Budget,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Memory { asked, available } => {
                write!(f, "needs {asked} bytes, {available} are available")
            }
            SkipReason::Unsupported(reason) => write!(f, "not supported: {reason}"),
            SkipReason::Refused(reason) => write!(f, "refused: {reason}"),
            SkipReason::Budget => f.write_str("the time budget does not allow it"),
        }
    }
}

/// What a campaign brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One row an op, in the order of the ops given.
    pub records: Vec<Record>,
    /// The ops without a row, in the order of the ops given.
    pub skipped: Vec<Skipped>,
    /// What ended the campaign before its time; what was measured until then stands.
    pub failure: Option<MeasureError>,
}

/// What is known of one op.
#[derive(Clone, Debug, Default)]
struct Known {
    passes: Vec<Vec<Seconds>>,
    remarks: String,
}

impl Known {
    fn record(&self, op: Op, backend: &dyn Backend) -> Option<Record> {
        let (summary, flags) = stats::join(&self.passes)?;
        let flags = remarks::joined(&flags.to_string(), &self.remarks);
        let Some(recorded) = backend.recorded(&op) else {
            let spread = Spread::of(&self.passes).map(|spread| spread.to_string()).unwrap_or_default();
            let flags = remarks::joined(&flags, &spread);
            return Some(Record { op, summary, flags, source: backend.name().to_owned() });
        };
        Some(Record { op, summary: recorded, flags, source: backend.name().to_owned() })
    }
}

/// Measures `ops`, each once even where it is given twice, and calls `progress` after each measurement.
///
/// Each pass has a seeded order of its own and prepares each case anew, so that what an op ran after, and
/// where its buffers lay, differs between its passes. The first pass takes each family's heaviest ops last:
/// they are what can break the budget, and by then their time can be foreseen. Time that an op does not need
/// falls to those after it; when time is short the later passes leave ops out.
///
/// # Errors
/// When an op gives a wrong result; then nothing of the campaign is to be trusted.
pub fn run(
    backend: &mut dyn Backend,
    ops: &[Op],
    limits: &Limits,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, MeasureError> {
    let mut seen = HashSet::new();
    let ops: Vec<Op> = ops.iter().copied().filter(|op| seen.insert(*op)).collect();
    let clock = backend.clock();
    let start = clock.now();
    let passes = limits.passes.max(1);
    let mut turns = Visits::new(&ops, passes);
    let mut states: Vec<Result<Known, SkipReason>> = vec![Ok(Known::default()); ops.len()];
    let mut done = 0;
    let mut failure = None;
    'campaign: for pass in 1..=passes {
        for case in visits::order(&ops, pass, limits.seed) {
            let op = ops[case];
            let left = limits.budget.saturating_sub(clock.now().saturating_sub(start));
            match turns.limit(case, left) {
                _ if states[case].is_err() => {}
                Some(limit) => {
                    let limit = limit.min(limits.case);
                    match visit(backend, &*clock, &op, (limit, left), &limits.sampling) {
                        Ok(visit) => {
                            turns.measured(case, visit.cost, visit.run);
                            if let Ok(known) = &mut states[case] {
                                known.remarks = remarks::joined(&known.remarks, &visit.remarks);
                                known.passes.push(visit.samples);
                            }
                        }
                        Err(error @ (MeasureError::Failed { .. } | MeasureError::Interrupted)) => {
                            failure = Some(error);
                            break 'campaign;
                        }
                        Err(error) => {
                            let reason = skip_reason(error)?;
                            // What an earlier pass measured stands, even if memory has become short since.
                            if states[case].as_ref().is_ok_and(|known| known.passes.is_empty()) {
                                states[case] = Err(reason);
                            }
                        }
                    }
                }
                None if pass == 1 => states[case] = Err(SkipReason::Budget),
                None => {}
            }
            turns.done(case);
            done += 1;
            let elapsed = clock.now().saturating_sub(start);
            let total = ops.len() * passes as usize;
            let record = states[case].as_ref().ok().and_then(|known| known.record(op, backend));
            progress(Progress {
                done,
                total,
                pass,
                op: &op,
                record: record.as_ref(),
                elapsed,
                left: elapsed
                    .mul_f64((total - done) as f64 / done as f64)
                    .min(limits.budget.saturating_sub(elapsed)),
            });
        }
    }
    Ok(collect(backend, &ops, states, failure))
}

fn collect(
    backend: &dyn Backend,
    ops: &[Op],
    states: Vec<Result<Known, SkipReason>>,
    failure: Option<MeasureError>,
) -> Outcome {
    let mut outcome = Outcome { failure, ..Outcome::default() };
    for (&op, state) in ops.iter().zip(states) {
        match state.map(|known| known.record(op, backend)) {
            Ok(Some(record)) => outcome.records.push(record),
            Ok(None) => outcome.skipped.push(Skipped { op, reason: SkipReason::Budget }),
            Err(reason) => outcome.skipped.push(Skipped { op, reason }),
        }
    }
    outcome
}

/// One op in one pass.
struct Visit {
    samples: Vec<Seconds>,
    remarks: String,
    /// Time that the shortest visit of this op takes: preparation, and one run.
    cost: Duration,
    run: Seconds,
}

fn visit(
    backend: &mut dyn Backend,
    clock: &dyn Clock,
    op: &Op,
    (limit, left): (Duration, Duration),
    sampling: &Sampling,
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
    let least = (prepared / 2).min(left.saturating_sub(prepared));
    let limit = limit.saturating_sub(prepared).max(least);
    let samples = sample_pass(&mut *case, clock, *sampling, shortest, limit)?;
    let run = stats::median(&samples).unwrap_or_default();
    let cost = prepared + Duration::try_from_secs_f64(run.get()).unwrap_or(Duration::MAX / 4);
    Ok(Visit { samples, remarks: case.remarks(), cost, run })
}

/// What an error means for the op alone.
///
/// # Errors
/// When it puts the whole campaign in doubt.
fn skip_reason(error: MeasureError) -> Result<SkipReason, MeasureError> {
    match error {
        MeasureError::OutOfMemory { asked, available, .. } => Ok(SkipReason::Memory { asked, available }),
        MeasureError::Unsupported { reason, .. } => Ok(SkipReason::Unsupported(reason)),
        MeasureError::Refused { reason, .. } => Ok(SkipReason::Refused(reason)),
        error @ (MeasureError::WrongResult { .. }
        | MeasureError::Failed { .. }
        | MeasureError::Interrupted) => Err(error),
    }
}
