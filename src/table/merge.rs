//! Joins tables, such as one of matrix products and one of collectives.

use std::collections::HashMap;

use super::{Record, Table};
use crate::device::Cluster;
use crate::op::Op;
use crate::units::Seconds;

/// Two tables that do not belong together.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MergeError {
    /// They are about devices of different names.
    #[error("one table is about {first:?}, the other about {second:?}\n  join tables of one device only")]
    Devices {
        /// The device of the table at hand.
        first: String,
        /// The device of the table to join.
        second: String,
    },
    /// They were measured under different conditions.
    #[error(
        "one table was measured with {what} {first:?}, the other with {second:?}\n  join tables of one device \
             under the same conditions, or keep them apart"
    )]
    Conditions {
        /// `driver`, `memory_bytes`, `cache`.
        what: String,
        /// What the table at hand says.
        first: String,
        /// What the table to join says.
        second: String,
    },
    /// They hold times of one op that cannot both be right.
    #[error(
        "\"{op}\" took {:e} s in one table ({first_source:?}) and {:e} s in the other ({second_source:?})\n  \
         remove the row that is wrong from its table",
        first.get(), second.get()
    )]
    TwoTimes {
        /// The op.
        op: Op,
        /// The time in the table at hand.
        first: Seconds,
        /// Who measured it.
        first_source: String,
        /// The time in the table to join.
        second: Seconds,
        /// Who measured that.
        second_source: String,
    },
}

impl Table {
    /// The rows of both tables, those of `other` behind. Of an op that both hold, with intervals that overlap,
    /// the row with the narrower interval stays, and as it stands in `self` where they are alike. Device,
    /// cluster and run are those of `self`, or of `other` where `self` has none.
    ///
    /// # Errors
    /// When the tables are about devices of different names, or hold times of one op whose intervals are apart;
    /// without intervals, whose times differ.
    pub fn merge(mut self, other: Table) -> Result<Table, MergeError> {
        if let (Some(first), Some(second)) = (&self.device, &other.device)
            && first.name != second.name
        {
            return Err(MergeError::Devices { first: first.name.clone(), second: second.name.clone() });
        }
        let mut known: HashMap<Op, usize> = HashMap::with_capacity(self.records.len() + other.records.len());
        known.extend(self.records.iter().enumerate().map(|(i, record)| (record.op, i)));
        for record in other.records {
            let Some(first) = known.get(&record.op).and_then(|i| self.records.get_mut(*i)) else {
                known.insert(record.op, self.records.len());
                self.records.push(record);
                continue;
            };
            if first.summary.is_apart(&record.summary) {
                return Err(MergeError::TwoTimes {
                    op: record.op,
                    first: first.summary.seconds,
                    first_source: first.source.clone(),
                    second: record.summary.seconds,
                    second_source: record.source,
                });
            }
            let width = |record: &Record| record.summary.half_width().unwrap_or(f64::INFINITY);
            if width(&record) < width(first) {
                *first = record;
            }
        }
        self.device = self.device.or(other.device);
        if self.cluster == Cluster::default() {
            self.cluster = other.cluster;
        }
        if self.run.is_empty() {
            self.run = other.run;
        }
        Ok(self)
    }
}
