//! What a table's rows of whole layers say of its other rows.

use std::collections::BTreeMap;
use std::fmt;

use crate::cost::{Basis, CostError, Estimate};
use crate::op::{Chained, Op};
use crate::stats::Summary;
use crate::table::Table;
use crate::units::Seconds;

/// By how much ops of one family take longer in a layer than alone, with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Correction {
    /// The factor.
    pub factor: f64,
    /// The interval that holds the true factor with 95 %.
    pub interval: (f64, f64),
    /// Layers that it was measured in, where the row says so.
    pub layers: Option<u64>,
}

/// The corrections that a table holds.
pub(super) fn of(table: &Table) -> BTreeMap<Chained, Correction> {
    let row = |record: &crate::table::Record| match record.op {
        Op::Chain(family) => Some((family, Correction::new(&record.summary, &record.flags))),
        _ => None,
    };
    table.records.iter().filter_map(row).collect()
}

impl Correction {
    fn new(summary: &Summary, flags: &str) -> Self {
        let (low, high) = summary.ends();
        let layers = flags.split_whitespace().find_map(|word| word.strip_prefix("layers=")?.parse().ok());
        Correction { factor: summary.seconds.get(), interval: (low.get(), high.get()), layers }
    }

    /// The time of an op in a layer. It lies between what was measured, at best: other layers were run.
    ///
    /// # Errors
    /// When it is beyond every bound.
    pub(super) fn of(&self, alone: Estimate, op: &Op, source_name: &str) -> Result<Estimate, CostError> {
        let times = |seconds: Seconds, factor: f64| {
            let not_finite = || CostError::NotFinite { source_name: source_name.to_owned(), op: *op };
            Seconds::new(seconds.get() * factor).map_err(|_| not_finite())
        };
        Ok(Estimate {
            seconds: times(alone.seconds, self.factor)?,
            low: times(alone.low, self.interval.0)?,
            high: times(alone.high, self.interval.1)?,
            basis: alone.basis.max(Basis::Interpolated),
        })
    }
}

/// `× 1.031 (1.020–1.044, of 9 layers)`.
impl fmt::Display for Correction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "× {:.3} ({:.3}–{:.3}", self.factor, self.interval.0, self.interval.1)?;
        match self.layers {
            None => f.write_str(")"),
            Some(1) => f.write_str(", of 1 layer)"),
            Some(layers) => write!(f, ", of {layers} layers)"),
        }
    }
}
