//! The cost table: what was measured, one row an op.

use crate::device::{Cluster, Device};
use crate::op::Op;
use crate::stats::Summary;

/// One row of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What was measured.
    pub op: Op,
    /// How long it took.
    pub summary: Summary,
    /// Remarks on the measurement, words separated by blanks: `noisy`, `drift`.
    pub flags: String,
    /// Who measured it: `gettime-cpu`, `nccl-tests`, `mpi`.
    pub source: String,
}

/// Measurements of one device and its cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What was measured; `None` where the file has no header.
    pub device: Option<Device>,
    /// How the devices stand together.
    pub cluster: Cluster,
    /// How it was measured: command, version, date.
    pub run: toml::Table,
    /// The rows; no two of the same op.
    pub records: Vec<Record>,
}
