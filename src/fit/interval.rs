//! How far off a surface is: intervals calibrated on rows that were left out.

use super::draw;
use super::features::{DIMS, Features};
use super::jobs;
use super::ranks;
use super::surface::{Prediction, Surface};
use super::values::Values;

/// The share of new measurements that an interval is to hold.
const SHARE: f64 = 0.9;

/// The normal law's quantile of that share, which stands where rows are too few.
const NORMAL: f64 = 1.645;

/// Scores of each trial at most; the 90th percentile of 600 is known to 2 %.
const MOST_SCORES: usize = 600;

/// Fewer scores than this make no quantile.
const FEWEST_SCORES: usize = 8;

/// With fewer scores than this the quantile is that of luck, and the normal law bounds it from below.
const FEW_SCORES: usize = 20;

/// Parts that rows are dealt into.
const FOLDS: u64 = 5;

/// Of the values of an axis, one in so many is left out where coordinates are.
const COORDINATE_SHARE: u64 = 4;

/// An axis of fewer values keeps them all.
const FEWEST_VALUES: usize = 5;

/// Rows from which on two trials of a kind are enough: each has scores in plenty.
const MANY_ROWS: usize = 4_000;

/// Octaves of an axis that are left out to see how the rest extends, at most, and their share of its range.
const BEYOND: (f64, f64) = (2.0, 0.25);

/// Rows that an extension is tried from.
const MOST_BELOW: usize = 3_000;

/// No interval is narrower, in log seconds as a standard deviation: a second pass over the best published
/// table differs by 0.6 % where it agrees best.
const LEAST_SIGMA: f64 = 0.006;

/// No interval is wider than a factor of 1,000 each way: beyond, it says nothing more.
const MOST_HALF_WIDTH: f64 = 6.9;

/// How many standard deviations hold 90 % of new measurements: conformal, from the scores
/// `|log residual| / sigma` of rows that were left out (Papadopoulos 2002; Lei 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    /// Ops whose every coordinate is that of a row.
    seen: f64,
    /// Ops within the range that have a coordinate of their own.
    new: f64,
    /// Beyond the range of each axis.
    outside: [f64; DIMS],
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration { seen: NORMAL, new: NORMAL, outside: [NORMAL; DIMS] }
    }
}

/// How rows are left out.
#[derive(Clone, Copy)]
enum Trial {
    /// A part of the rows, dealt at random.
    Rows(u64),
    /// Of each axis some values, and all rows that have one of them; tried are those that have nothing else.
    Coordinates(u64),
    /// The upper end of an axis.
    Beyond(usize),
}

impl Calibration {
    /// Calibrates a surface: inside the hull on rows left out at random and on rows left out with all that
    /// share a coordinate with them, each for the queries that are like them; outside on the upper end of each
    /// axis, predicted by a surface of the rest, and never less than inside. An axis that cannot be tried so,
    /// as all rows share its value, counts as the worst of the others.
    pub fn of(surface: &Surface) -> Calibration {
        if surface.has_few_rows() {
            return Calibration::default();
        }
        let rounds = if surface.rows() < MANY_ROWS { FOLDS } else { 1 };
        let trials: Vec<Trial> = (0..rounds)
            .map(Trial::Rows)
            .chain((0..rounds).map(Trial::Coordinates))
            .chain((0..DIMS).map(Trial::Beyond))
            .collect();
        let done = jobs::run(trials.len(), |index| match trials[index] {
            Trial::Rows(fold) => left_out(surface, fold),
            Trial::Coordinates(round) => coordinates_left_out(surface, round),
            Trial::Beyond(axis) => beyond_the_rest(surface, axis),
        });
        let scores = |wanted: fn(&Trial) -> bool, new: Option<bool>| -> Vec<f64> {
            let of_trials = trials.iter().zip(&done).filter(|(trial, _)| wanted(trial));
            let all = of_trials.flat_map(|(_, scores)| scores);
            all.filter(|score| new.is_none_or(|new| score.is_new == new)).map(|score| score.size).collect()
        };
        let within = |trial: &Trial| !matches!(trial, Trial::Beyond(_));
        let all = bounded(scores(within, None)).unwrap_or(NORMAL);
        let seen = bounded(scores(within, Some(false))).unwrap_or(all);
        let new = bounded(scores(within, Some(true))).unwrap_or(all).max(seen);
        let outside: [Option<f64>; DIMS] = std::array::from_fn(|axis| {
            let of_axis =
                trials.iter().position(|trial| matches!(trial, Trial::Beyond(other) if *other == axis));
            quantile(of_axis.map_or(Vec::new(), |at| done[at].iter().map(|score| score.size).collect()))
        });
        let worst = outside.iter().flatten().fold(new, |a, b| a.max(*b));
        Calibration { seen, new, outside: outside.map(|of_axis| of_axis.map_or(worst, |q| q.max(new))) }
    }

    /// Half the width of the 90 % interval of a prediction, in log seconds.
    pub fn half_width(&self, prediction: &Prediction) -> f64 {
        let inside = if prediction.is_new { self.new } else { self.seen };
        let beyond = self.outside.iter().zip(&prediction.outside).filter(|(_, outside)| **outside);
        let quantile = beyond.fold(inside, |widest, (of_axis, _)| widest.max(*of_axis));
        (quantile * prediction.sigma.max(LEAST_SIGMA)).min(MOST_HALF_WIDTH)
    }
}

/// How far off a row was.
struct Score {
    size: f64,
    is_new: bool,
}

fn score(surface: &Surface, row: usize, prediction: &Prediction, is_new: bool) -> Score {
    let size = (surface.log(row) - prediction.log).abs() / prediction.sigma.max(LEAST_SIGMA);
    Score { size, is_new }
}

/// The coordinates of the rows that `keep` admits.
fn values_of(surface: &Surface, keep: impl Fn(usize) -> bool) -> Values {
    let rows: Vec<&Features> =
        (0..surface.rows()).filter(|row| keep(*row)).map(|row| surface.features(row)).collect();
    Values::new(&rows)
}

fn left_out(surface: &Surface, fold: u64) -> Vec<Score> {
    let keep = |row: usize| draw::mix(3, row as u64) % FOLDS != fold;
    let forest = surface.grow(keep);
    let values = values_of(surface, keep);
    let out: Vec<usize> = (0..surface.rows()).filter(|row| !keep(*row)).collect();
    draw::rows(out.len(), MOST_SCORES, 2)
        .into_iter()
        .map(|place| {
            let (row, features) = (out[place], surface.features(out[place]));
            let prediction = ranks::predict(surface, features, &keep, forest.as_ref());
            score(surface, row, &prediction, values.lack(features))
        })
        .collect()
}

/// The smallest and the largest value of an axis stay: without them it would be an extrapolation.
fn coordinates_left_out(surface: &Surface, round: u64) -> Vec<Score> {
    let values = values_of(surface, |_| true);
    let tried: Vec<usize> = (0..DIMS).filter(|axis| values.0[*axis].len() >= FEWEST_VALUES).collect();
    let held = |row: usize, axis: usize| {
        let value = surface.features(row).coords[axis];
        let of_axis = &values.0[axis];
        let is_end = Some(&value) == of_axis.first() || Some(&value) == of_axis.last();
        !is_end && draw::mix(round << 8 | axis as u64, value.to_bits()).is_multiple_of(COORDINATE_SHARE)
    };
    let keep = |row: usize| !tried.iter().any(|axis| held(row, *axis));
    let rows =
        |test: &dyn Fn(usize) -> bool| (0..surface.rows()).filter(|row| test(*row)).collect::<Vec<_>>();
    // in a scattered table hardly a row has nothing else: then one such coordinate must do
    let mut out = rows(&|row| !tried.is_empty() && tried.iter().all(|axis| held(row, *axis)));
    if out.len() < FEWEST_SCORES {
        out = rows(&|row| !keep(row));
    }
    let forest = surface.grow(keep);
    draw::rows(out.len(), MOST_SCORES, 5)
        .into_iter()
        .map(|place| {
            let row = out[place];
            let prediction = ranks::predict(surface, surface.features(row), &keep, forest.as_ref());
            score(surface, row, &prediction, true)
        })
        .collect()
}

/// Scores of the rows at the upper end of an axis, predicted by a surface of the others.
fn beyond_the_rest(surface: &Surface, axis: usize) -> Vec<Score> {
    let values = values_of(surface, |_| true);
    let (Some(first), Some(last)) = (values.0[axis].first(), values.0[axis].last()) else {
        return Vec::new();
    };
    let (octaves, share) = BEYOND;
    let edge = last - octaves.min(share * (last - first));
    let (below, above): (Vec<usize>, Vec<usize>) =
        (0..surface.rows()).partition(|row| surface.features(*row).coords[axis] <= edge);
    let below: Vec<usize> =
        draw::rows(below.len(), MOST_BELOW, 7).into_iter().map(|place| below[place]).collect();
    let features: Vec<Features> = below.iter().map(|row| *surface.features(*row)).collect();
    if above.is_empty() || Surface::are_few(features.len()) {
        return Vec::new();
    }
    let logs: Vec<f64> = below.iter().map(|row| surface.log(*row)).collect();
    let law = surface.law().refit(&features, &logs);
    let rest = Surface::new(features, logs, law);
    let forest = rest.grow(|_| true);
    draw::rows(above.len(), MOST_SCORES, 6)
        .into_iter()
        .map(|place| {
            let features = surface.features(above[place]);
            let prediction = ranks::predict(&rest, features, &|_| true, forest.as_ref());
            score(surface, above[place], &prediction, true)
        })
        .collect()
}

/// A quantile that few scores do not take below that of the normal law.
fn bounded(scores: Vec<f64>) -> Option<f64> {
    let few = scores.len() < FEW_SCORES;
    quantile(scores).map(|quantile| if few { quantile.max(NORMAL) } else { quantile })
}

/// The conformal quantile of `SHARE`, with the correction for a finite number of scores; `None` of too few.
fn quantile(mut scores: Vec<f64>) -> Option<f64> {
    scores.sort_unstable_by(f64::total_cmp);
    let rank = ((scores.len() + 1) as f64 * SHARE).ceil() as usize;
    match scores.len() {
        0..FEWEST_SCORES => None,
        count if rank > count => scores.last().map(|largest| 1.5 * largest),
        _ => Some(scores[rank - 1]),
    }
}
