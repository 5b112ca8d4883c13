//! What the base law leaves over, between the rows: local kriging.

use super::least_squares::{cholesky, dot, forward};
use super::neighbours::{Neighbour, Point, distance2};

/// How alike the residuals of two rows are, by their distance in scaled octaves, in units of the variance of
/// the long-range part: `Matérn3/2(d/range) + short·exp(−d/short_range) + nugget·[same row]`.
///
/// The long range follows efficiency, which drifts over several octaves; the short one follows what changes
/// from one size to the next (tiles, waves, alignment); the nugget is noise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Covariance {
    /// Distance over which efficiency drifts, in octaves.
    pub range: f64,
    /// Variance of the short-range part.
    pub short: f64,
    /// Distance over which the short-range part fades, in octaves.
    pub short_range: f64,
    /// Variance of the noise.
    pub nugget: f64,
}

/// A covariance by distance, looked up: a prediction needs it 800 times, and its exponentials would be most of
/// the time of a query.
#[derive(Clone, Debug)]
pub struct Fading(Vec<f64>);

/// Entries of the table for each octave of distance; between them it is straight, off by less than 1e-4.
const STEPS: f64 = 64.0;

/// Octaves that the table covers; beyond, nothing of the covariance is left.
const OCTAVES: f64 = 48.0;

impl Fading {
    /// The table of `covariance`.
    pub fn of(covariance: &Covariance) -> Fading {
        Fading((0..=(STEPS * OCTAVES) as usize).map(|step| covariance.at(step as f64 / STEPS)).collect())
    }

    /// The covariance at a squared distance.
    fn at(&self, distance2: f64) -> f64 {
        let at = distance2.sqrt() * STEPS;
        let step = at as usize;
        match self.0.get(step..step + 2) {
            Some([from, to]) => from + (to - from) * (at - step as f64),
            _ => 0.0,
        }
    }
}

/// A residual with its uncertainty.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    /// The logarithm of time over law.
    pub mean: f64,
    /// Its standard deviation, noise of a new measurement included, by the spread of the neighbours.
    pub sigma: f64,
}

/// How much the spread of all rows weighs against that of the neighbours, in rows.
const SPREAD_ROWS: f64 = 8.0;

impl Covariance {
    /// The covariance at distance `d`, without the nugget.
    pub fn at(&self, d: f64) -> f64 {
        let scaled = 3f64.sqrt() * d / self.range;
        (1.0 + scaled) * (-scaled).exp() + self.short * (-d / self.short_range).exp()
    }

    /// Predicts the residual at the point that `near` surrounds from those of `near`, which are `residuals`; `fading` is
    /// its table.
    ///
    /// `spread` is the standard deviation of the long-range part over all rows. The mean that kriging falls
    /// back to is estimated from the neighbours, with the law (0) as its prior.
    pub fn predict(
        &self,
        fading: &Fading,
        near: &[Neighbour],
        points: &[Point],
        residuals: &[f64],
        spread: f64,
    ) -> Residual {
        let n = near.len();
        let total = 1.0 + self.short + self.nugget;
        if n == 0 {
            return Residual { mean: 0.0, sigma: spread * (total + 1.0).sqrt() };
        }
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            let from = &points[near[i].row];
            for j in 0..i {
                factor[i * n + j] = fading.at(distance2(from, &points[near[j].row]));
            }
            factor[i * n + i] = total;
        }
        cholesky(&mut factor, n, 1e-9);
        let mut values = clipped(residuals);
        let (lowest, highest) = bounds(&values);
        let mut ones = vec![1.0; n];
        let mut weights: Vec<f64> = near.iter().map(|other| fading.at(other.distance2)).collect();
        for side in [&mut values, &mut ones, &mut weights] {
            forward(&factor, n, side);
        }
        let certainty = dot(&ones, &ones) + 1.0; // 1: the prior, as wide as the long-range part
        let mean = dot(&ones, &values) / certainty;
        let explained = dot(&weights, &ones);
        let predicted = mean * (1.0 - explained) + dot(&weights, &values);
        let variance =
            (total - dot(&weights, &weights) + (1.0 - explained).powi(2) / certainty).max(self.nugget);
        let misfit: f64 = values.iter().zip(&ones).map(|(value, one)| (value - mean * one).powi(2)).sum();
        let local = (misfit + SPREAD_ROWS * spread * spread) / (n as f64 + SPREAD_ROWS);
        let margin = 0.1 * (highest - lowest);
        Residual {
            mean: predicted.clamp(lowest - margin, highest + margin),
            sigma: (variance * local).sqrt(),
        }
    }
}

/// The residuals of the neighbours, those far from their median brought nearer: one row measured in a bad
/// moment must not bend its surroundings.
fn clipped(residuals: &[f64]) -> Vec<f64> {
    let mut values = residuals.to_vec();
    let middle = median(&mut values.clone());
    let mut away: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    let reach = 4.0 * (1.4826 * median(&mut away) + 0.01);
    for value in &mut values {
        *value = value.clamp(middle - reach, middle + reach);
    }
    values
}

fn bounds(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// The median, the upper of two; 0 of none. Reorders `values`.
pub fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}
