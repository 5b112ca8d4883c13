//! What a campaign learns from its backend, and may decide by.

use serde::{Deserialize, Serialize};

use crate::measure::MeasureError;
use crate::op::{Cells, Op};

/// One answer of a backend or of its clock, in the order in which they were given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Event {
    /// The clock, in nanoseconds since the run began.
    #[serde(rename = "t")]
    Now(u64),
    /// Memory that could be used, in bytes.
    #[serde(rename = "mem")]
    Memory(u64),
    /// An op was made ready.
    #[serde(rename = "op")]
    Prepared(Cells),
    /// An op was not made ready, or would not run.
    #[serde(rename = "not")]
    Trouble(Trouble),
    /// Runs of a sample, and the seconds of one of them.
    #[serde(rename = "s")]
    Sample(u64, f64),
    /// Of the time that it took to make an op ready, what is not needed again, in nanoseconds.
    #[serde(rename = "once")]
    Once(u64),
    /// Remarks on the samples of an op.
    #[serde(rename = "flags")]
    Remarks(String),
    /// The campaign was done with the op, at this time.
    #[serde(rename = "end")]
    End(u64),
}

/// Why an op is left out; what ends a campaign is not kept, but tried again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Trouble {
    #[serde(rename = "memory")]
    Memory { asked: u128, available: u64 },
    #[serde(rename = "unsupported")]
    Unsupported(String),
    #[serde(rename = "refused")]
    Refused(String),
}

impl Trouble {
    /// What of an error is kept; `None` for one that ends the campaign.
    pub fn of(error: &MeasureError) -> Option<Trouble> {
        match error {
            MeasureError::OutOfMemory { asked, available, .. } => {
                Some(Trouble::Memory { asked: *asked, available: *available })
            }
            MeasureError::Unsupported { reason, .. } => Some(Trouble::Unsupported(reason.clone())),
            MeasureError::Refused { reason, .. } => Some(Trouble::Refused(reason.clone())),
            MeasureError::WrongResult { .. } | MeasureError::Failed { .. } | MeasureError::Interrupted => {
                None
            }
        }
    }

    /// The error that it was.
    pub fn error(self, op: Op) -> MeasureError {
        match self {
            Trouble::Memory { asked, available } => MeasureError::OutOfMemory { op, asked, available },
            Trouble::Unsupported(reason) => MeasureError::Unsupported { op, reason },
            Trouble::Refused(reason) => MeasureError::Refused { op, reason },
        }
    }
}
