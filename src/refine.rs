//! The only loop: see how far off a table still is where plans need it, and measure what tells most.
//!
//! Each round fits the rows so far, tries the fit on rows that it does not see, and measures a batch of new
//! products: most of them where they stand for many others that the fit doubts and plans spend their time on, some of
//! them drawn at random. Only those drawn at random say how far off the fit is, since the others are chosen for being
//! hard.

mod pool;

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

pub use pool::{Pool, is_of_domain, seeds};

use crate::fit::{Errors, Fit};
use crate::measure::campaign::{self, Limits, Outcome, Progress};
use crate::measure::{Backend, MeasureError};
use crate::op::Op;
use crate::table::Table;
use pool::Unmeasured;

/// Products of a round: at least so many, and this share of those there are, so that large tables are not fitted
/// anew for every few rows.
const BATCH: (usize, f64) = (30, 0.2);

/// Of the products of a round, one in so many is drawn at random.
const RANDOM: usize = 5;

/// Fewer tried rows than this make no median to stop at.
const FEWEST_TRIED: usize = 50;

/// Parts that rows are dealt into to be tried.
const FOLDS: u64 = 5;

/// When a refinement is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// The median of the absolute error in the domain that is good enough, in percent.
    pub target: f64,
    /// Products that are measured in all, at most.
    pub most_shapes: usize,
}

/// How far off the fit was after a round.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Products measured until then.
    pub shapes: usize,
    /// Rows that the errors are of.
    pub tried: usize,
    /// Median of the absolute errors, in percent.
    pub median: f64,
    /// What the median is below with a confidence of 84 %: one standard deviation of its rank above it. A refinement
    /// ends by this, or it would end in the first lucky round.
    pub surely_below: f64,
    /// Their 95th percentile.
    pub p95: f64,
    /// Time that measuring has taken, on the backend's clock.
    pub elapsed: Duration,
}

/// What happens while refining.
pub enum Event<'a> {
    /// An op was measured.
    Measured(Progress<'a>),
    /// The fit was tried.
    Tried(Round),
}

/// Measures products of `pool` until the fit of `table` and of what was measured meets `goal`, or `limits` end it,
/// whose budget counts from `start` on the backend's clock. The rows come back as those of one campaign.
///
/// # Errors
/// When an op gives a wrong result: then nothing of the campaign is to be trusted.
pub fn run(
    backend: &mut dyn Backend,
    table: &Table,
    pool: &Pool<'_>,
    (limits, start): (&Limits, Duration),
    goal: &Goal,
    event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, MeasureError> {
    let clock = backend.clock();
    let mut random = StdRng::seed_from_u64(limits.seed);
    let mut table = table.clone();
    let mut drawn: HashSet<Op> = pool.drawn.iter().copied().filter(is_of_domain).collect();
    let mut rest = Unmeasured::of(pool, &table, &mut random);
    let mut outcome = Outcome::default();
    loop {
        let fit = Fit::new(&table, "the rows so far");
        let shapes = table.records.iter().filter(|record| matches!(record.op, Op::Gemm(_))).count();
        let elapsed = clock.now().saturating_sub(start);
        let tried = fit.held_out(FOLDS, |op| drawn.contains(op));
        let round = round(&tried, shapes, elapsed);
        event(Event::Tried(round));
        let is_good = round.tried >= FEWEST_TRIED && round.surely_below <= goal.target;
        let room = goal.most_shapes.saturating_sub(shapes);
        let left = limits.budget.saturating_sub(elapsed);
        if is_good || room == 0 || left.is_zero() || rest.is_empty() || outcome.failure.is_some() {
            return Ok(outcome);
        }
        let size = BATCH.0.max((BATCH.1 * shapes as f64) as usize).min(room);
        let mut batch = rest.choose(size - size / RANDOM, &fit, pool.wanted, &mut random);
        let at_random = rest.draw(size - batch.len(), &mut random);
        drawn.extend(&at_random);
        batch.extend(at_random);
        let limits = Limits { budget: left, seed: random.random(), ..*limits };
        let more = campaign::run(backend, &batch, &limits, &mut |progress| event(Event::Measured(progress)))?;
        table.records.extend(more.records.iter().cloned());
        let is_stuck = more.records.is_empty();
        outcome.records.extend(more.records);
        outcome.skipped.extend(more.skipped);
        outcome.failure = more.failure;
        if is_stuck {
            return Ok(outcome);
        }
    }
}

fn round(errors: &Errors, shapes: usize, elapsed: Duration) -> Round {
    let tried = errors.count();
    let one_sigma = 0.5 / (tried.max(1) as f64).sqrt();
    Round {
        shapes,
        tried,
        median: errors.at(0.5),
        surely_below: errors.at((0.5 + one_sigma).min(1.0)),
        p95: errors.at(0.95),
        elapsed,
    }
}
