//! From a table to `Cost`.
//!
//! The rows of a table fall into surfaces ([`Key`]). Each surface has a base law by physics with a few fitted
//! constants (a roofline, a ring, a cache before a memory, waves of attention, or for products on a GPU the tiles that
//! its library chooses from), and
//! interpolates what the law leaves over by local kriging in log2 coordinates:
//! `t = law(op)·exp(residual(op))`, in seconds. A fit is a pure function of the set of rows: their order does
//! not matter, and the same rows give the same bits.

pub mod check;
mod constants;
mod draw;
mod errors;
mod features;
mod fitted;
mod gpus;
mod guard;
mod holdout;
mod interval;
mod jobs;
mod knee;
mod kriging;
mod law;
mod least_squares;
mod look;
mod menu;
mod neighbours;
mod ranks;
pub mod rates;
mod sizes;
mod surface;
mod terms;
mod trees;
mod values;
mod waves;

use std::collections::{BTreeMap, HashMap};
use std::sync::{PoisonError, RwLock};

pub use errors::Errors;
pub use features::Key;
pub use holdout::FamilyError;

use crate::cost::{Basis, Cost, CostError, Estimate};
use crate::dtype::Dtype;
use crate::op::Op;
use crate::stats::Summary;
use crate::table::{Record, Table};
use crate::units::Seconds;
use features::Features;
use fitted::Fitted;
use law::Machine;

/// A measured time's interval holds 95 %, in standard deviations of a normal law.
const NORMAL_95: f64 = 1.96;

/// Times from a table: measured, between, beyond, or a typed miss.
pub struct Fit {
    name: String,
    measured: HashMap<Op, Summary>,
    surfaces: BTreeMap<Key, Fitted>,
    /// What was asked before: a plan asks for the same op in every layer.
    asked: RwLock<HashMap<Op, Estimate>>,
}

/// Answers that are kept, some 10 MB of them.
const MOST_ASKED: usize = 100_000;

impl Fit {
    /// Fits `table`, which error messages call `name`: "the table", or the path of its file.
    ///
    /// Any table will do, one of a single row too; then every answer is an extrapolation from it. Rows of 0 s
    /// answer for their own op and tell nothing of others. Of the header only the device's `sms` is read, the
    /// number of multiprocessors that tiles of a product go to; without it the best rates of the rows tell the GPU.
    pub fn new(table: &Table, name: &str) -> Fit {
        let mut records: Vec<&Record> = table.records.iter().collect();
        records.sort_unstable_by_key(|record| record.op);
        let mut rows: BTreeMap<Key, (Vec<Features>, Vec<f64>)> = BTreeMap::new();
        for record in &records {
            let seconds = record.summary.seconds.get();
            if let Some(features) = Features::of(&record.op).filter(|_| seconds > 0.0) {
                let (all, logs) = rows.entry(Key::of(&record.op)).or_default();
                all.push(features);
                logs.push(seconds.ln());
            }
        }
        let sms = table.device.as_ref().and_then(|device| device.details.get("sms")?.as_integer());
        let sms = sms.and_then(|sms| u64::try_from(sms).ok());
        let machine = |key: &Key| match key {
            Key::Gemm(_) => Machine::Products { sms },
            Key::Attention(_) => Machine::Attention { sms },
            Key::Kernel(..) => Machine::Streams,
            _ => Machine::Any,
        };
        Fit {
            name: name.to_owned(),
            measured: records.iter().map(|record| (record.op, record.summary)).collect(),
            surfaces: rows
                .into_iter()
                .map(|(key, (all, logs))| (key, Fitted::new(all, logs, machine(&key))))
                .collect(),
            asked: RwLock::default(),
        }
    }

    /// What the table covers, in order.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.surfaces.keys().copied()
    }

    /// The element types that the table has products of, in the order of [`Dtype`].
    pub fn gemm_dtypes(&self) -> Vec<Dtype> {
        self.keys().filter_map(|key| if let Key::Gemm(dtype) = key { Some(dtype) } else { None }).collect()
    }

    /// How much the fit doubts itself at `op`, in log seconds: by how much what it knows by distance and what it knows
    /// by steps are apart. 0 where the table has nothing like it.
    pub fn doubt(&self, op: &Op) -> f64 {
        let known = self.surfaces.get(&Key::of(op)).zip(Features::of(op));
        known.map_or(0.0, |(fitted, features)| fitted.predict(&features).doubt)
    }

    /// The measured time of `op` verbatim. Where whoever measured gave no interval, it is that of the noise of
    /// the op's surface.
    fn exact(&self, op: &Op, summary: &Summary) -> Estimate {
        let seconds = summary.seconds;
        let (low, high) = summary.interval.unwrap_or_else(|| {
            let noise = self.surfaces.get(&Key::of(op)).map_or(0.0, |fitted| fitted.surface().noise());
            around(seconds, NORMAL_95 * noise)
        });
        Estimate { seconds, low: low.min(seconds), high: high.max(seconds), basis: Basis::Measured }
    }

    /// The time of an op that was not measured.
    fn estimate(&self, op: &Op) -> Result<Estimate, CostError> {
        let key = Key::of(op);
        let fitted = self.surfaces.get(&key).ok_or_else(|| CostError::Missing {
            source_name: self.name.clone(),
            missing: key.to_string(),
            op: *op,
        })?;
        let not_finite = || CostError::NotFinite { source_name: self.name.clone(), op: *op };
        let prediction = fitted.predict(&Features::of(op).ok_or_else(not_finite)?);
        let seconds = Seconds::new(prediction.log.exp()).map_err(|_| not_finite())?;
        let (low, high) = around(seconds, fitted.half_width(&prediction));
        let basis = if prediction.is_inside() { Basis::Interpolated } else { Basis::Extrapolated };
        Ok(Estimate { seconds, low, high, basis })
    }
}

impl Cost for Fit {
    /// The exact row; else an interpolation where the op lies within the range of what was measured, in every
    /// dimension; else an extrapolation along the law; else a miss.
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        if let Some(summary) = self.measured.get(op) {
            return Ok(self.exact(op, summary));
        }
        // Answers are never half written: one that a panic left behind is as good as any.
        if let Some(estimate) = self.asked.read().unwrap_or_else(PoisonError::into_inner).get(op) {
            return Ok(*estimate);
        }
        let estimate = self.estimate(op)?;
        let mut asked = self.asked.write().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < MOST_ASKED {
            asked.insert(*op, estimate);
        }
        Ok(estimate)
    }
}

/// `seconds·exp(∓half_width)`.
fn around(seconds: Seconds, half_width: f64) -> (Seconds, Seconds) {
    let times = |factor: f64| Seconds::new((seconds.get() * factor).min(f64::MAX)).unwrap_or(seconds);
    (times((-half_width).exp()), times(half_width.exp()))
}
