//! The cost table: what was measured, one row an op.
//!
//! A table is a CSV file in SI units. Columns may come in any order, and those that no row needs may be
//! missing: `op,dtype,m,k,n,batch,seconds` is a table of matrix products. Lines with `#` above the columns
//! hold the device, the cluster and the run as TOML:
//!
//! ```text
//! # format = "gettime-table-1"
//! # [device]
//! # name = "NVIDIA H200"
//! op,kind,dtype,m,k,n,batch,heads,rows,cols,bytes,ranks,nodes,seconds,seconds_low,seconds_high,samples,flags,source
//! gemm,,bf16,4096,4096,4096,1,,,,,,,1.9e-4,1.88e-4,1.93e-4,200,,gettime-cuda
//! # [end]
//! ```
//!
//! The last line is the sign that nothing was cut off; a file with the first line and without it is refused.

mod column;
mod conditions;
mod error;
mod header;
mod merge;
mod read;
mod remedy;
mod route;
mod rows;
mod split;
mod write;

pub use column::TableColumn;
pub use conditions::Difference;
pub use error::{TableError, TableErrorKind};
pub use merge::MergeError;
pub use route::Route;

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
    /// How a library moved the data, where it told.
    pub route: Route,
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

/// The value of the key `format` in the files that this version writes.
const FORMAT: &str = "gettime-table-1";

/// The comment that closes a file of this format.
const END: &str = "[end]";
