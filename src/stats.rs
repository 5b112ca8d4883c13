//! Statistics of repeated measurements: medians with intervals, never bare numbers.

use crate::units::Seconds;

/// What is known of one op after measuring it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub seconds: Seconds,
    /// The interval that holds the true median with 95 % confidence; `None` where whoever measured did not say.
    pub interval: Option<(Seconds, Seconds)>,
    /// How many samples it rests on; `None` where whoever measured did not say.
    pub samples: Option<u64>,
}
