//! The plain law: two terms of work at two rates, after an overhead.

use super::draw;
use super::features::{Features, Join};
use super::least_squares::minimise;

/// Rows that the constants are fitted to: more than enough for four.
const MOST_ROWS: usize = 700;

/// Steps of the search for them.
const MOST_STEPS: usize = 60;

/// What a factor of e away from the prior costs, in units of a squared log residual: next to nothing where
/// the rows speak, everything where they do not.
const PRIOR_WEIGHT: f64 = 0.002;

/// No launch of a kernel or of a message takes longer than about this, in seconds; the prior's upper end.
const LONG_OVERHEAD: f64 = 10e-6;

/// `t = overhead + ((work₀/rate₀)^q + (work₁/rate₁)^q)^(1/q)`, q = 1 where the terms add.
///
/// For products and attention the rates are FLOP/s and bytes/s and q joins the two sides of the roofline
/// (Williams, Waterman and Patterson 2009); for collectives they are bytes/s and steps/s (Hockney 1994:
/// α + β·bytes, with the steps and traffic of a ring); for kernels and transfers bytes/s alone.
/// It rises with the work, and along each dimension it ends in a straight line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    pub overhead: f64,
    pub rates: [f64; 2],
    sharpness: f64,
}

impl Terms {
    /// Each rate at the best that any row shows, and half the shortest time as overhead, but at most 10 µs. One row is
    /// enough, and gives a machine that makes sense.
    pub fn at_best(features: &[Features], logs: &[f64]) -> Terms {
        let rows = || features.iter().zip(logs);
        let best = |term: usize| {
            let best = rows().map(|(row, log)| row.work[term] / log.exp()).fold(0.0, f64::max);
            if best > 0.0 && best.is_finite() { best } else { 1.0 }
        };
        let shortest = logs.iter().copied().fold(f64::INFINITY, f64::min).exp();
        let overhead = (shortest / 2.0).clamp(1e-12, LONG_OVERHEAD);
        Terms { overhead, rates: [best(0), best(1)], sharpness: Terms::sharpness(1.0) }
    }

    /// The law nearest to the rows, given as features with the logarithm of their seconds; nearest to
    /// [`Terms::at_best`] where they do not tell.
    pub fn fit(features: &[Features], logs: &[f64]) -> Terms {
        let rows = draw::rows(features.len(), MOST_ROWS, 1);
        let overlap = features.iter().any(|f| f.join == Join::Overlap);
        let Terms { overhead, rates, .. } = Terms::at_best(features, logs);
        let start = [overhead.ln(), rates[0].ln(), rates[1].ln(), 1.0];
        let start = if overlap { &start[..] } else { &start[..3] };
        let found = minimise(start, PRIOR_WEIGHT, MOST_STEPS, rows.len(), |parameters, residuals| {
            let law = Terms::from_logs(parameters);
            for (residual, row) in residuals.iter_mut().zip(&rows) {
                *residual = logs[*row] - law.seconds(&features[*row]).ln();
            }
        });
        Terms::from_logs(&found)
    }

    fn from_logs(parameters: &[f64]) -> Terms {
        Terms {
            overhead: parameters[0].exp(),
            rates: [parameters[1].exp(), parameters[2].exp()],
            sharpness: parameters.get(3).map_or(1.0, |q| Terms::sharpness(*q)),
        }
    }

    /// Above 1, where the terms would add, and not so far above that powers overflow.
    fn sharpness(parameter: f64) -> f64 {
        1.0 + parameter.min(2.5).exp()
    }

    /// The seconds of an op by the law.
    pub fn seconds(&self, op: &Features) -> f64 {
        let terms = [op.work[0] / self.rates[0], op.work[1] / self.rates[1]];
        match op.join {
            Join::Sum => self.overhead + terms[0] + terms[1],
            Join::Overlap => {
                let longer = terms[0].max(terms[1]);
                let shorter = terms[0].min(terms[1]);
                if longer <= 0.0 {
                    return self.overhead;
                }
                let q = self.sharpness;
                self.overhead + longer * (1.0 + (shorter / longer).powf(q)).powf(1.0 / q)
            }
        }
    }
}
