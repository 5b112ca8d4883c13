//! A measuring campaign: all ops in several passes, each in an order of its own, within one time budget.

use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use super::anchors::Anchors;
use super::known::Known;
pub use super::outcome::{Limits, Outcome, Progress, SkipReason, Skipped};
use super::visit::{Allowed, visit};
use super::visits::{self, Visits};
use super::{Backend, Clock, MeasureError};
use crate::op::Op;

/// The most time that looking at one anchor takes.
const LOOK: Duration = Duration::from_millis(200);

/// Of so many visits of the first pass one sees whether twice as many runs take twice as long.
const SLOPE_EVERY: usize = 20;

/// Measures `ops`, each once even where it is given twice, and calls `progress` after each measurement.
///
/// Each pass has a seeded order of its own and prepares each case anew, so that what an op ran after, and
/// where its buffers lay, differs between its passes. The first pass takes each family's heaviest ops last:
/// they are what can break the budget, and by then their time can be foreseen. Time that an op does not need
/// falls to those after it; when time is short the later passes leave ops out.
///
/// Every minute a few ops are measured once more ([`Limits::anchors`]). Where one of them is off its median,
/// what was measured since they were right is measured anew, once, and where that does not help its rows
/// are flagged `drift`.
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
    let mut course = Course::new(backend, &ops, limits);
    let failure = match course.all(progress) {
        Ok(()) => None,
        Err(error @ (MeasureError::Failed { .. } | MeasureError::Interrupted)) => Some(error),
        Err(error) => return Err(error),
    };
    Ok(course.outcome(failure))
}

/// A campaign under way.
struct Course<'a> {
    backend: &'a mut dyn Backend,
    ops: &'a [Op],
    limits: &'a Limits,
    clock: Rc<dyn Clock>,
    start: Duration,
    turns: Visits<'a>,
    states: Vec<Result<Known, SkipReason>>,
    anchors: Anchors,
    done: usize,
    /// Seconds within samples.
    inside: f64,
}

impl<'a> Course<'a> {
    fn new(backend: &'a mut dyn Backend, ops: &'a [Op], limits: &'a Limits) -> Self {
        let clock = backend.clock();
        let start = clock.now();
        Course {
            turns: Visits::new(ops, limits.passes.max(1)),
            states: vec![Ok(Known::default()); ops.len()],
            anchors: Anchors::new(limits.anchors, start),
            done: 0,
            inside: 0.0,
            backend,
            ops,
            limits,
            clock,
            start,
        }
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().saturating_sub(self.start)
    }

    fn left(&self) -> Duration {
        self.limits.budget.saturating_sub(self.elapsed())
    }

    /// All passes.
    fn all(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), MeasureError> {
        for pass in 1..=self.limits.passes.max(1) {
            for case in visits::order(self.ops, pass, self.limits.seed) {
                match self.turns.limit(case, self.left()) {
                    _ if self.states[case].is_err() => {}
                    Some(limit) => self.measure(case, pass, limit)?,
                    None if pass == 1 => self.states[case] = Err(SkipReason::Budget),
                    None => {}
                }
                self.turns.done(case);
                self.done += 1;
                self.tell(case, pass, progress);
                if self.anchors.is_due(self.clock.now()) {
                    self.look(progress)?;
                }
            }
        }
        if self.anchors.is_open() { self.look(progress) } else { Ok(()) }
    }

    /// One op in one pass.
    fn measure(&mut self, case: usize, pass: u32, limit: Duration) -> Result<(), MeasureError> {
        let slope = pass == 1 && self.done % SLOPE_EVERY == SLOPE_EVERY / 2;
        let (limit, left, sampling) = (limit.min(self.limits.case), self.left(), self.limits.sampling);
        let allowed = Allowed { limit, left, sampling, slope };
        match visit(self.backend, &*self.clock, &self.ops[case], &allowed) {
            Ok(visit) => {
                self.turns.measured(case, visit.cost, visit.run);
                self.inside += visit.inside;
                if let Ok(known) = &mut self.states[case] {
                    known.take(pass, visit);
                    self.anchors.visited(case, pass);
                }
            }
            Err(error) => {
                let reason = skip_reason(error)?;
                // What an earlier pass measured stands, even if memory has become short since.
                if self.states[case].as_ref().is_ok_and(Known::is_empty) {
                    self.states[case] = Err(reason);
                }
            }
        }
        Ok(())
    }

    /// Tells where the campaign stands after an op.
    fn tell(&self, case: usize, pass: u32, progress: &mut dyn FnMut(Progress<'_>)) {
        let (op, elapsed) = (self.ops[case], self.elapsed());
        let total = self.ops.len() * self.limits.passes.max(1) as usize;
        let record = self.states[case].as_ref().ok().and_then(|known| known.record(op, self.backend));
        let to_go = elapsed.mul_f64((total - self.done) as f64 / self.done.max(1) as f64);
        progress(Progress {
            done: self.done,
            total,
            pass,
            op: &op,
            record: record.as_ref(),
            elapsed,
            left: to_go.min(self.limits.budget.saturating_sub(elapsed)),
        });
    }

    /// Looks at the anchors. Where they are off, measures anew what came since they were right, and flags it where
    /// that does not help.
    fn look(&mut self, progress: &mut dyn FnMut(Progress<'_>)) -> Result<(), MeasureError> {
        let mut right = self.anchors_are_right()?;
        if !right {
            let (block, again) = self.anchors.block(self.clock.now(), self.left());
            if again {
                for &(case, pass) in &block {
                    self.measure(case, pass, self.limits.case)?;
                    self.tell(case, pass, progress);
                }
                right = self.anchors_are_right()?;
            }
            for (case, pass) in block.into_iter().filter(|_| !right) {
                if let Ok(known) = &mut self.states[case] {
                    known.drifted = true;
                    self.tell(case, pass, progress);
                }
            }
        }
        self.anchors.begin(self.clock.now(), right);
        Ok(())
    }

    /// Measures the anchors; where time is up, or one cannot run now, nothing speaks against it.
    fn anchors_are_right(&mut self) -> Result<bool, MeasureError> {
        let known = self.states.iter().enumerate().filter_map(|(case, state)| {
            Some((case, self.ops[case], state.as_ref().ok().and_then(Known::first)?))
        });
        self.anchors.choose(known);
        let mut right = true;
        for case in self.anchors.cases() {
            let (left, sampling) = (self.left(), self.limits.sampling);
            if left.is_zero() {
                continue;
            }
            let allowed = Allowed { limit: LOOK.min(self.limits.case), left, sampling, slope: false };
            match visit(self.backend, &*self.clock, &self.ops[case], &allowed) {
                Ok(visit) => right &= self.anchors.is_right(case, &visit.samples),
                Err(error) => drop(skip_reason(error)?),
            }
        }
        Ok(right)
    }

    fn outcome(self, failure: Option<MeasureError>) -> Outcome {
        let inside = Duration::try_from_secs_f64(self.inside).unwrap_or_default();
        let mut outcome = Outcome { failure, elapsed: self.elapsed(), inside, ..Outcome::default() };
        for (&op, state) in self.ops.iter().zip(self.states) {
            match state.map(|known| known.record(op, self.backend)) {
                Ok(Some(record)) => outcome.records.push(record),
                Ok(None) => outcome.skipped.push(Skipped { op, reason: SkipReason::Budget }),
                Err(reason) => outcome.skipped.push(Skipped { op, reason }),
            }
        }
        outcome
    }
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
