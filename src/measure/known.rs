//! What is known of one op in the course of a campaign.

use super::visit::Visit;
use super::{Backend, remarks};
use crate::op::Op;
use crate::stats::{self, Spread};
use crate::table::{Record, Route};
use crate::units::Seconds;

/// The passes of one op, each with its number, its samples and its remarks.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    numbers: Vec<u32>,
    samples: Vec<Vec<Seconds>>,
    remarks: Vec<String>,
    /// Whether the device was not as fast as usual when it was measured.
    pub drifted: bool,
}

impl Known {
    /// Takes a pass; one measured anew takes the place of what it was.
    pub fn take(&mut self, pass: u32, visit: Visit) {
        match self.numbers.iter().position(|number| *number == pass) {
            Some(known) => (self.samples[known], self.remarks[known]) = (visit.samples, visit.remarks),
            None => {
                self.numbers.push(pass);
                self.samples.push(visit.samples);
                self.remarks.push(visit.remarks);
            }
        }
    }

    /// Whether nothing has been measured.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The median of the first pass.
    pub fn first(&self) -> Option<Seconds> {
        stats::median(self.samples.first()?)
    }

    /// The row so far.
    pub fn record(&self, op: Op, backend: &dyn Backend) -> Option<Record> {
        let (summary, mut flags) = stats::join(&self.samples)?;
        flags.drift |= self.drifted;
        let all = self.remarks.iter().fold(String::new(), |all, new| remarks::joined(&all, new));
        let (route, flags) = Route::split(&remarks::joined(&flags.to_string(), &all));
        let source = backend.source(&op).to_owned();
        let Some(recorded) = backend.recorded(&op) else {
            let spread = Spread::of(&self.samples).map(|spread| spread.to_string()).unwrap_or_default();
            return Some(Record { op, summary, route, flags: remarks::joined(&flags, &spread), source });
        };
        Some(Record { op, summary: recorded, route, flags, source })
    }
}
