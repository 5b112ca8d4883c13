//! The law of fused attention on a GPU: blocks of queries in waves over the multiprocessors.

use super::draw;
use super::features::{Coords, Features};
use super::least_squares::minimise;
use super::terms::Terms;

/// Query positions of a block that libraries use.
const BLOCKS: [f64; 4] = [64.0, 128.0, 192.0, 256.0];

/// Rows that the constants are fitted to.
const MOST_ROWS: usize = 400;

/// Steps of the search for them.
const MOST_STEPS: usize = 40;

/// What a factor of e away from the start costs, in units of a squared log residual.
const PRIOR_WEIGHT: f64 = 1e-3;

/// Fewer rows do not show waves.
const FEWEST_ROWS: usize = 12;

/// Waves must leave less of the plain law's error than this to be worth their constants.
const GAIN: f64 = 0.9;

/// Farther off than this, in log seconds, a row says nothing for or against waves.
const MOST_OFF: f64 = 0.5;

/// `t = launch + (arithmetic^q + memory^q)^(1/q)`, where a block of one head's queries goes to one multiprocessor:
/// `arithmetic = waves·multiprocessors/blocks · padded FLOPs/rate`, with `blocks = batch·heads·ceil(seq_q/block)`,
/// `waves = ceil(blocks/multiprocessors)` and the FLOPs of full blocks. So a wave takes as long as its keys are many,
/// and few heads of short sequences leave most of the machine idle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Waves {
    launch: f64,
    flops: f64,
    bandwidth: f64,
    sharpness: f64,
    block: f64,
    sms: f64,
}

impl Waves {
    /// The waves of rows of attention on `sms` multiprocessors; `None` where they show none, and `plain`, a roofline,
    /// is as good.
    pub fn fit(features: &[Features], logs: &[f64], plain: &Terms, sms: u64) -> Option<Waves> {
        let rows = draw::rows(features.len(), MOST_ROWS, 1);
        if rows.len() < FEWEST_ROWS {
            return None;
        }
        let off = |seconds: &dyn Fn(&Features) -> f64| -> f64 {
            rows.iter().map(|row| (logs[*row] - seconds(&features[*row]).ln()).abs().min(MOST_OFF)).sum()
        };
        let best = Terms::at_best(features, logs);
        let start = [best.overhead.ln(), best.rates[0].ln(), best.rates[1].ln(), 4f64.ln()];
        let tried = BLOCKS.map(|block| {
            let law = |parameters: &[f64]| Waves::from_logs(parameters, block, sms);
            let found = minimise(&start, PRIOR_WEIGHT, MOST_STEPS, rows.len(), |parameters, residuals| {
                let law = law(parameters);
                for (residual, row) in residuals.iter_mut().zip(&rows) {
                    *residual = logs[*row] - law.seconds(&features[*row]).ln();
                }
            });
            let law = law(&found);
            (off(&|row| law.seconds(row)), law)
        });
        let (left, law) = tried.into_iter().min_by(|(a, _), (b, _)| a.total_cmp(b))?;
        (left < GAIN * off(&|row| plain.seconds(row))).then_some(law)
    }

    fn from_logs(logs: &[f64], block: f64, sms: u64) -> Waves {
        let at = |i: usize| logs.get(i).copied().unwrap_or_default().exp();
        let sharpness = at(3).clamp(1.0, 12.0);
        Waves { launch: at(0), flops: at(1), bandwidth: at(2), sharpness, block, sms: sms.max(1) as f64 }
    }

    /// Multiprocessors of the device.
    pub const fn sms(&self) -> u64 {
        self.sms as u64
    }

    /// The seconds of an op by the law.
    pub fn seconds(&self, op: &Features) -> f64 {
        let arithmetic = op.work[0] * self.waste(&op.coords) / self.flops;
        let memory = op.work[1] / self.bandwidth;
        let (longer, shorter) = (arithmetic.max(memory), arithmetic.min(memory));
        let q = self.sharpness;
        self.launch + longer * (1.0 + (shorter / longer).powf(q)).powf(1.0 / q)
    }

    /// What waves of full blocks take over what the arithmetic alone would: at least 1.
    fn waste(&self, coords: &Coords) -> f64 {
        let [heads, queries, ..] = coords.map(|log| log.exp2().round());
        let blocks = heads * (queries / self.block).ceil();
        let waves = (blocks / self.sms).ceil();
        waves * self.sms / blocks * (blocks * self.block / (heads * queries))
    }
}
