//! The law of kernels that stream memory: a cache, and what lies beyond it.

use super::draw;
use super::features::Features;
use super::least_squares::minimise;
use super::terms::Terms;

/// Rows that the constants are fitted to.
const MOST_ROWS: usize = 400;

/// Steps of the search for them.
const MOST_STEPS: usize = 40;

/// What a factor of e away from the start costs, in units of a squared log residual.
const PRIOR_WEIGHT: f64 = 1e-4;

/// Fewer rows do not show a knee.
const FEWEST_ROWS: usize = 12;

/// So many rows must lie on either side of it.
const FEWEST_ON_A_SIDE: usize = 3;

/// Places where the search for the knee starts, evenly between the smallest and the largest bytes in logarithms.
const STARTS: usize = 8;

/// A knee must leave less of the plain law's error than this to be worth its two constants.
const GAIN: f64 = 0.7;

/// Farther off than this, in log seconds, a row says nothing for or against a knee.
const MOST_OFF: f64 = 0.5;

/// `t = latency + min(bytes, cache)/fast + max(bytes − cache, 0)/slow`: of a working set that outgrows a cache, as much
/// as fits comes at the cache's bandwidth, and the rest at the memory's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Knee {
    latency: f64,
    fast: f64,
    slow: f64,
    cache: f64,
}

impl Knee {
    /// The knee of rows whose one term of work is their bytes; `None` where they show none, and `plain`, the law of one
    /// bandwidth, is as good.
    pub fn fit(features: &[Features], logs: &[f64], plain: &Terms) -> Option<Knee> {
        let rows = draw::rows(features.len(), MOST_ROWS, 1);
        let bytes: Vec<f64> = rows.iter().map(|row| features[*row].work[0]).collect();
        let (low, high) = bytes.iter().fold((f64::INFINITY, 0.0f64), |(l, h), b| (l.min(*b), h.max(*b)));
        if rows.len() < FEWEST_ROWS || low <= 0.0 || low >= high {
            return None;
        }
        let off = |seconds: &dyn Fn(&Features) -> f64| -> f64 {
            rows.iter().map(|row| (logs[*row] - seconds(&features[*row]).ln()).abs().min(MOST_OFF)).sum()
        };
        let Terms { overhead, rates, .. } = Terms::at_best(features, logs);
        let tried = (1..=STARTS).map(|start| {
            let cache = low * (high / low).powf(start as f64 / (STARTS + 1) as f64);
            let start = [overhead.ln(), rates[0].ln(), 0.0, cache.ln()];
            let found = minimise(&start, PRIOR_WEIGHT, MOST_STEPS, rows.len(), |parameters, residuals| {
                let law = Knee::from_logs(parameters);
                for (residual, row) in residuals.iter_mut().zip(&rows) {
                    *residual = logs[*row] - law.seconds(&features[*row]).ln();
                }
            });
            let law = Knee::from_logs(&found);
            (off(&|row| law.seconds(row)), law)
        });
        let (left, law) = tried.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        let above = bytes.iter().filter(|bytes| **bytes > law.cache).count();
        let is_seen = above >= FEWEST_ON_A_SIDE && bytes.len() - above >= FEWEST_ON_A_SIDE;
        (is_seen && left < GAIN * off(&|row| plain.seconds(row))).then_some(law)
    }

    /// The cache is faster than the memory.
    fn from_logs(logs: &[f64]) -> Knee {
        let at = |i: usize| logs.get(i).copied().unwrap_or_default().exp();
        Knee { latency: at(0), fast: at(1), slow: at(1) / (1.0 + at(2)), cache: at(3) }
    }

    /// The seconds of an op by the law.
    pub fn seconds(&self, op: &Features) -> f64 {
        let bytes = op.work[0];
        self.latency + bytes.min(self.cache) / self.fast + (bytes - self.cache).max(0.0) / self.slow
    }
}
