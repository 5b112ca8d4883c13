//! How long an op takes and on what basis: the seam between plans and measurements.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};

use serde::Serialize;

use crate::op::Op;
use crate::units::Seconds;

/// What an estimate rests on, from best to worst. In a sum the worst wins; there is no default.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// This very op was measured.
    Measured,
    /// Between measured ops.
    Interpolated,
    /// Beyond the measured ops, along a law fitted to them.
    Extrapolated,
    /// From a data sheet: nothing was measured.
    Modelled,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Basis::Measured => "measured",
            Basis::Interpolated => "interpolated",
            Basis::Extrapolated => "extrapolated",
            Basis::Modelled => "modelled",
        })
    }
}

/// A time with its interval and its basis; `low <= seconds <= high`.
///
/// The interval holds the true time with a probability of 90 % where the basis is interpolated or
/// extrapolated, and 95 % where it is measured. A modelled time has no interval: low and high equal it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The time.
    pub seconds: Seconds,
    /// Lower end of the interval.
    pub low: Seconds,
    /// Upper end of the interval.
    pub high: Seconds,
    /// What it rests on.
    pub basis: Basis,
}

impl Estimate {
    /// A time without an interval.
    pub const fn exactly(seconds: Seconds, basis: Basis) -> Self {
        Estimate { seconds, low: seconds, high: seconds, basis }
    }

    /// Half the width of the interval over the time: 0.02 reads ± 2 %.
    pub fn relative_half_width(&self) -> f64 {
        match self.seconds.get() {
            0.0 => 0.0,
            seconds => (self.high.get() - self.low.get()) / 2.0 / seconds,
        }
    }
}

/// One after the other: times add, and so do the ends of the intervals, since errors of one table go together.
impl Add for Estimate {
    type Output = Estimate;

    fn add(self, other: Estimate) -> Estimate {
        Estimate {
            seconds: self.seconds + other.seconds,
            low: self.low + other.low,
            high: self.high + other.high,
            basis: self.basis.max(other.basis),
        }
    }
}

impl Mul<u64> for Estimate {
    type Output = Estimate;

    fn mul(self, count: u64) -> Estimate {
        Estimate {
            seconds: self.seconds * count,
            low: self.low * count,
            high: self.high * count,
            basis: self.basis,
        }
    }
}

/// The sum of no estimates is 0 s, measured: the best basis, which any other replaces.
impl Sum for Estimate {
    fn sum<I: Iterator<Item = Estimate>>(iter: I) -> Estimate {
        iter.fold(Estimate::exactly(Seconds::ZERO, Basis::Measured), Add::add)
    }
}

/// Why there is no estimate.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CostError {
    /// Nothing in the source speaks of this op.
    #[error("{source_name} has no {missing}, which {op} needs")]
    Missing {
        /// The table or sheet that was asked.
        source_name: String,
        /// What it lacks.
        missing: String,
        /// The op.
        op: Op,
    },
    /// The law of the source gives no finite time for this op.
    #[error("{source_name} gives no finite time for {op}")]
    NotFinite {
        /// The table or sheet that was asked.
        source_name: String,
        /// The op.
        op: Op,
    },
}

impl CostError {
    /// The op without an estimate.
    pub const fn op(&self) -> &Op {
        match self {
            CostError::Missing { op, .. } | CostError::NotFinite { op, .. } => op,
        }
    }
}

/// Tells how long an op takes.
pub trait Cost {
    /// The estimate of `op`.
    ///
    /// # Errors
    /// A typed miss where the source does not cover the op; never a made-up number.
    fn cost(&self, op: &Op) -> Result<Estimate, CostError>;
}

/// Asks `first`, and `second` for what `first` misses.
pub struct Fallback<A, B> {
    /// Asked first.
    pub first: A,
    /// Asked for what the first misses.
    pub second: B,
}

impl<A: Cost, B: Cost> Cost for Fallback<A, B> {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        self.first.cost(op).or_else(|miss| self.second.cost(op).map_err(|_| miss))
    }
}

impl<C: Cost + ?Sized> Cost for Box<C> {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        (**self).cost(op)
    }
}

impl<C: Cost + ?Sized> Cost for &C {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        (**self).cost(op)
    }
}
