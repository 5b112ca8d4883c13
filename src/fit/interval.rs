//! How far off a surface is: intervals calibrated on rows that were left out.

use super::draw;
use super::features::{DIMS, Features};
use super::surface::{Prediction, Surface};

/// The share of new measurements that an interval is to hold.
const SHARE: f64 = 0.9;

/// The normal law's quantile of that share, which stands where rows are too few.
const NORMAL: f64 = 1.645;

/// Scores of each kind of fold; the 90th percentile of 600 is known to 2 %.
const MOST_SCORES: usize = 600;

/// Fewer scores than this make no quantile.
const FEWEST_SCORES: usize = 8;

/// With fewer scores than this the quantile is that of luck, and the normal law bounds it from below.
const FEW_SCORES: usize = 20;

/// Parts that folds divide rows, or the values of an axis, into.
const FOLDS: u64 = 5;

/// No interval is narrower, in log seconds as a standard deviation: a second pass over the best published
/// table differs by 0.6 % where it agrees best.
const LEAST_SIGMA: f64 = 0.006;

/// No interval is wider than a factor of 1,000 each way: beyond, it says nothing more.
const MOST_HALF_WIDTH: f64 = 6.9;

/// How many standard deviations hold 90 % of new measurements: conformal, from the scores
/// `|log residual| / sigma` of rows that were left out (Papadopoulos 2002; Lei 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Calibration {
    inside: f64,
    /// Beyond the range of each axis.
    outside: [f64; DIMS],
}

impl Default for Calibration {
    fn default() -> Self {
        Calibration { inside: NORMAL, outside: [NORMAL; DIMS] }
    }
}

impl Calibration {
    /// Calibrates a surface.
    ///
    /// Inside the hull: rows left out at random, and rows left out with all that share their value of an axis
    /// (a user's own shape shares none); the larger. Outside: the largest third of the values of an axis left
    /// out and predicted by a surface of the rest, and never less than inside; an axis that cannot be tried
    /// so, as all rows share its value, counts as the worst of the others.
    pub fn of(surface: &Surface) -> Calibration {
        if surface.has_few_rows() {
            return Calibration::default();
        }
        let rows = draw::rows(surface.rows(), MOST_SCORES, 2);
        let random = rows.iter().map(|row| {
            let fold = |row: usize| draw::mix(3, row as u64) % FOLDS;
            score(
                surface,
                *row,
                &surface.predict_from(surface.features(*row), |other| fold(other) != fold(*row)),
            )
        });
        let mut inside = quantile(random.collect()).unwrap_or(NORMAL);
        if rows.len() < FEW_SCORES {
            inside = inside.max(NORMAL);
        }
        let mut outside = [None; DIMS];
        for (axis, of_axis) in outside.iter_mut().enumerate() {
            let values = values(surface, axis);
            inside = inside.max(quantile(whole_values(surface, axis, &values)).unwrap_or(0.0));
            *of_axis = quantile(beyond_the_rest(surface, axis, &values));
        }
        let worst = outside.iter().flatten().fold(inside, |a, b| a.max(*b));
        Calibration { inside, outside: outside.map(|of_axis| of_axis.map_or(worst, |q| q.max(inside))) }
    }

    /// Half the width of the 90 % interval of a prediction, in log seconds.
    pub fn half_width(&self, prediction: &Prediction) -> f64 {
        let beyond = self.outside.iter().zip(&prediction.outside).filter(|(_, outside)| **outside);
        let quantile = beyond.fold(self.inside, |widest, (of_axis, _)| widest.max(*of_axis));
        (quantile * prediction.sigma.max(LEAST_SIGMA)).min(MOST_HALF_WIDTH)
    }
}

fn score(surface: &Surface, row: usize, prediction: &Prediction) -> f64 {
    (surface.log(row) - prediction.log).abs() / prediction.sigma.max(LEAST_SIGMA)
}

/// The values of an axis, rising.
fn values(surface: &Surface, axis: usize) -> Vec<f64> {
    let mut values: Vec<f64> = (0..surface.rows()).map(|row| surface.features(row).coords[axis]).collect();
    values.sort_unstable_by(f64::total_cmp);
    values.dedup();
    values
}

/// Scores of rows predicted without any row of their value, or of a fifth of the other values. The smallest
/// and the largest value stay: without them it would be an extrapolation.
fn whole_values(surface: &Surface, axis: usize, values: &[f64]) -> Vec<f64> {
    let [smallest, .., largest] = values else { return Vec::new() };
    let value = |row: usize| surface.features(row).coords[axis];
    let fold = |row: usize| draw::mix(4, value(row).to_bits()) % FOLDS;
    draw::rows(surface.rows(), MOST_SCORES, 5)
        .into_iter()
        .filter(|row| *smallest < value(*row) && value(*row) < *largest)
        .map(|row| {
            let keep = |other: usize| {
                fold(other) != fold(row) || value(other) == *smallest || value(other) == *largest
            };
            score(surface, row, &surface.predict_from(surface.features(row), keep))
        })
        .collect()
}

/// Scores of the rows with the largest third of the values, predicted by a surface of the others.
fn beyond_the_rest(surface: &Surface, axis: usize, values: &[f64]) -> Vec<f64> {
    if values.len() < 2 {
        return Vec::new();
    }
    let edge = values[(values.len() * 2).div_ceil(3) - 1].min(values[values.len() - 2]);
    let (below, above): (Vec<usize>, Vec<usize>) =
        (0..surface.rows()).partition(|row| surface.features(*row).coords[axis] <= edge);
    let features: Vec<Features> = below.iter().map(|row| *surface.features(*row)).collect();
    let logs: Vec<f64> = below.iter().map(|row| surface.log(*row)).collect();
    let law = surface.law().refit(&features, &logs);
    let rest = Surface::uncalibrated(features, logs, law);
    if rest.has_few_rows() {
        return Vec::new();
    }
    draw::rows(above.len(), MOST_SCORES, 6)
        .into_iter()
        .map(|place| score(surface, above[place], &rest.predict(surface.features(above[place]))))
        .collect()
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
