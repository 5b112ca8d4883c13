//! The only loop: see how far off a table still is where plans need it, and measure what tells most.
//!
//! Each round fits the rows so far, tries the fit on rows that it does not see, and measures a batch of new
//! products: most of them where the fit doubts itself and plans spend their time, some of them drawn at random.
//! Only those drawn at random say how far off the fit is, since the others are chosen for being hard.

use std::collections::HashSet;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::cost::Cost;
use crate::fit::{Errors, Fit};
use crate::measure::campaign::{self, Limits, Outcome, Progress};
use crate::measure::{Backend, MeasureError};
use crate::op::{Gemm, Op};
use crate::table::Table;

/// What plans' products have at least: rows, inner size, columns. Smaller ones take part in plans too, and next
/// to none of their time.
const DOMAIN: [u64; 3] = [1024, 512, 512];

/// Products that a refinement starts from, of its domain, and beside it: laws must know small products too.
const SEEDS: (usize, usize) = (100, 16);

/// Products of a round: at least so many, and this share of those there are, so that large tables are not fitted
/// anew for every few rows.
const BATCH: (usize, f64) = (30, 0.2);

/// Of the products of a round, one in so many is drawn at random.
const RANDOM: usize = 5;

/// How much doubt counts: the chance to be measured rises with this power of it.
const DOUBT_POWER: f64 = 1.0;

/// What a product is worth that no plan is near; one that is like all of the plans' time is worth 1 more.
const COMMON_WORTH: f64 = 1.0;

/// Fewer tried rows than this make no median to stop at.
const FEWEST_TRIED: usize = 50;

/// Parts that rows are dealt into to be tried.
const FOLDS: u64 = 5;

/// Candidates that a round considers.
const MOST_CANDIDATES: usize = 8_000;

/// Whether a product is one that plans spend their time on.
pub fn is_of_domain(op: &Op) -> bool {
    let Op::Gemm(Gemm { m, k, n, .. }) = *op else { return false };
    [m, k, n].into_iter().zip(DOMAIN).all(|(size, least)| size >= least)
}

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

/// What there is to choose from.
pub struct Pool<'a> {
    /// Products that can be measured.
    pub candidates: &'a [Op],
    /// The ops of plans, at their true size.
    pub wanted: &'a [Op],
    /// Of what was measured before, the products drawn at random.
    pub drawn: &'a [Op],
}

/// The products to start from: most of the domain, some beside it, the same ones on every run.
pub fn seeds(candidates: &[Op], most: usize) -> Vec<Op> {
    let (mut inside, mut beside): (Vec<Op>, Vec<Op>) = candidates.iter().partition(|op| is_of_domain(op));
    let mut random = StdRng::seed_from_u64(0);
    inside.shuffle(&mut random);
    beside.shuffle(&mut random);
    beside.truncate(SEEDS.1.min(most / 8));
    inside.truncate(SEEDS.0.min(most - beside.len()));
    inside.extend(beside);
    inside
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
    let mut seen: HashSet<Op> = table.records.iter().map(|record| record.op).collect();
    let mut drawn: HashSet<Op> = pool.drawn.iter().copied().filter(is_of_domain).collect();
    // the lattice and the plans may name the same product; a table has one row of it
    let candidates = pool.candidates.iter().copied();
    let mut rest: Vec<Op> = candidates.filter(|op| is_of_domain(op) && seen.insert(*op)).collect();
    rest.shuffle(&mut random);
    rest.truncate(MOST_CANDIDATES);
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
        let batch = batch(&fit, &mut rest, pool.wanted, size, &mut random);
        drawn.extend(&batch[batch.len() - batch.len() / RANDOM..]);
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

/// The next products, taken out of `rest`, those drawn at random last.
///
/// A draw without replacement in proportion to weights (Efraimidis and Spirakis 2006): the largest `ln(u)/weight`
/// of uniform u. So a batch is spread over all that is doubtful, and does not crowd where doubt is greatest.
fn batch(fit: &Fit, rest: &mut Vec<Op>, wanted: &[Op], size: usize, random: &mut StdRng) -> Vec<Op> {
    let plans = Worth::of(fit, wanted);
    let mut keyed: Vec<(f64, Op)> = rest
        .drain(..)
        .map(|op| {
            let weight = fit.doubt(&op).powf(DOUBT_POWER) * plans.at(&op);
            (random.random_range(f64::EPSILON..1.0).ln() / weight.max(1e-12), op)
        })
        .collect();
    keyed.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    rest.extend(keyed.into_iter().map(|(_, op)| op));
    let chosen = (size - size / RANDOM).min(rest.len());
    let mut batch: Vec<Op> = rest.drain(..chosen).collect();
    rest.shuffle(random);
    batch.extend(rest.drain(..(size / RANDOM).min(rest.len())));
    batch
}

/// Where plans spend their time, by inner size and columns: rows there are more than can be measured.
struct Worth(Vec<([f64; 2], f64)>);

impl Worth {
    fn of(fit: &Fit, wanted: &[Op]) -> Worth {
        let products = wanted.iter().filter(|op| is_of_domain(op));
        let priced = products.filter_map(|op| Some((place(op)?, fit.cost(op).ok()?.seconds.get())));
        let mut priced: Vec<([f64; 2], f64)> = priced.collect();
        let total: f64 = priced.iter().map(|(_, seconds)| seconds).sum();
        priced.iter_mut().for_each(|(_, share)| *share /= total.max(f64::MIN_POSITIVE));
        Worth(priced)
    }

    /// The share of the plans' time that is like this product, fading by a factor of e an octave, and some more.
    fn at(&self, op: &Op) -> f64 {
        let Some(at) = place(op) else { return COMMON_WORTH };
        let near = |place: &[f64; 2]| (-(place[0] - at[0]).hypot(place[1] - at[1])).exp();
        COMMON_WORTH + self.0.iter().map(|(place, share)| share * near(place)).sum::<f64>()
    }
}

fn place(op: &Op) -> Option<[f64; 2]> {
    let Op::Gemm(Gemm { k, n, .. }) = *op else { return None };
    Some([(k as f64).log2(), (n as f64).log2()])
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
