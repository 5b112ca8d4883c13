//! What is asked of a campaign, how it tells where it stands, and what it brings.

use std::fmt;
use std::time::Duration;

use super::MeasureError;
use super::sampler::Sampling;
use crate::op::Op;
use crate::table::Record;

/// What a campaign may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Time for all of it; exceeded by one run of one op at most.
    pub budget: Duration,
    /// How often each op is measured anew, with other buffers and other neighbours in time.
    pub passes: u32,
    /// Time for one op in one pass at most, its preparation not included.
    pub case: Duration,
    /// Seed of the orders.
    pub seed: u64,
    /// When the samples of one op in one pass are enough.
    pub sampling: Sampling,
    /// How often a few ops are measured once more, to see whether the device is still as fast as it was.
    pub anchors: Duration,
}

impl Default for Limits {
    /// Three passes within ten minutes, one second an op and pass, anchors every minute.
    fn default() -> Self {
        Limits {
            budget: Duration::from_secs(600),
            passes: 3,
            case: Duration::from_secs(1),
            seed: 0,
            sampling: Sampling::default(),
            anchors: Duration::from_secs(60),
        }
    }
}

/// Where a campaign stands, after each op of each pass.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// Measurements done, over all passes; those skipped count as done.
    pub done: usize,
    /// Measurements in all.
    pub total: usize,
    /// The pass, from 1.
    pub pass: u32,
    /// The op just measured or skipped.
    pub op: &'a Op,
    /// Its row so far; `None` where it was skipped.
    pub record: Option<&'a Record>,
    /// Time since the start.
    pub elapsed: Duration,
    /// Estimate of the time left.
    pub left: Duration,
}

/// An op that was not measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Skipped {
    /// The op.
    pub op: Op,
    /// Why.
    pub reason: SkipReason,
}

/// Why an op was not measured.
#[derive(Clone, Debug, PartialEq)]
pub enum SkipReason {
    /// Its buffers do not fit: bytes asked, bytes available.
    Memory {
        /// Bytes of its buffers.
        asked: u128,
        /// Bytes that may be used.
        available: u64,
    },
    /// The backend cannot run it.
    Unsupported(String),
    /// The device would not run it, though it should be able to.
    Refused(String),
    /// The budget was spent, or one run would have taken longer than what was left of it.
    Budget,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SkipReason::Memory { asked, available } => {
                write!(f, "needs {asked} bytes, {available} are available")
            }
            SkipReason::Unsupported(reason) => write!(f, "not supported: {reason}"),
            SkipReason::Refused(reason) => write!(f, "refused: {reason}"),
            SkipReason::Budget => f.write_str("the time budget does not allow it"),
        }
    }
}

/// What a campaign brought.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// One row an op, in the order of the ops given.
    pub records: Vec<Record>,
    /// The ops without a row, in the order of the ops given.
    pub skipped: Vec<Skipped>,
    /// What ended the campaign before its time; what was measured until then stands.
    pub failure: Option<MeasureError>,
    /// How long it took.
    pub elapsed: Duration,
    /// How much of that is in the samples.
    pub inside: Duration,
}
