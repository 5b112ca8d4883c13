//! The cells of a table row that say which op it is about.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::dtype::Dtype;

/// The columns that name an op, empty where they do not apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cells {
    /// Family: gemm, kernel, attention, collective, p2p, overlap or chain.
    pub op: String,
    /// Kind within the family; empty for gemm and attention.
    pub kind: String,
    /// Element type.
    pub dtype: Option<Dtype>,
    /// Rows of the product; query length of attention.
    pub m: Option<u64>,
    /// Inner dimension of the product; head dimension of attention; experts chosen per token of a gate.
    pub k: Option<u64>,
    /// Columns of the product; key/value length of attention.
    pub n: Option<u64>,
    /// Independent products; sequences of attention.
    pub batch: Option<u64>,
    /// Heads of attention.
    pub heads: Option<u64>,
    /// Rows of a kernel.
    pub rows: Option<u64>,
    /// Columns of a kernel.
    pub cols: Option<u64>,
    /// Message size.
    pub bytes: Option<u64>,
    /// Devices in the group.
    pub ranks: Option<u64>,
    /// Nodes that the group, or the transfer, spans.
    pub nodes: Option<u64>,
}

impl Cells {
    /// The number in a column; `None` where it is empty, or a column of words.
    pub const fn count(&self, column: Column) -> Option<u64> {
        match column {
            Column::Op | Column::Kind | Column::Dtype => None,
            Column::M => self.m,
            Column::K => self.k,
            Column::N => self.n,
            Column::Batch => self.batch,
            Column::Heads => self.heads,
            Column::Rows => self.rows,
            Column::Cols => self.cols,
            Column::Bytes => self.bytes,
            Column::Ranks => self.ranks,
            Column::Nodes => self.nodes,
        }
    }

    /// Sets the number in a column; nothing in a column of words.
    pub const fn set_count(&mut self, column: Column, count: Option<u64>) {
        let cell = match column {
            Column::Op | Column::Kind | Column::Dtype => return,
            Column::M => &mut self.m,
            Column::K => &mut self.k,
            Column::N => &mut self.n,
            Column::Batch => &mut self.batch,
            Column::Heads => &mut self.heads,
            Column::Rows => &mut self.rows,
            Column::Cols => &mut self.cols,
            Column::Bytes => &mut self.bytes,
            Column::Ranks => &mut self.ranks,
            Column::Nodes => &mut self.nodes,
        };
        *cell = count;
    }
}

/// A column of a table that names an op.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the columns
pub enum Column {
    Op,
    Kind,
    Dtype,
    M,
    K,
    N,
    Batch,
    Heads,
    Rows,
    Cols,
    Bytes,
    Ranks,
    Nodes,
}

impl Column {
    /// The op's columns in the order of a table.
    pub const ALL: [Column; 13] = [
        Column::Op,
        Column::Kind,
        Column::Dtype,
        Column::M,
        Column::K,
        Column::N,
        Column::Batch,
        Column::Heads,
        Column::Rows,
        Column::Cols,
        Column::Bytes,
        Column::Ranks,
        Column::Nodes,
    ];

    /// The name in the table's first line.
    pub const fn name(self) -> &'static str {
        match self {
            Column::Op => "op",
            Column::Kind => "kind",
            Column::Dtype => "dtype",
            Column::M => "m",
            Column::K => "k",
            Column::N => "n",
            Column::Batch => "batch",
            Column::Heads => "heads",
            Column::Rows => "rows",
            Column::Cols => "cols",
            Column::Bytes => "bytes",
            Column::Ranks => "ranks",
            Column::Nodes => "nodes",
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Cells that do not name an op.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpError {
    /// The column `op` holds a word that is no family.
    #[error("\"{0}\" is not an op; known are gemm, kernel, attention, collective, p2p, overlap, chain")]
    UnknownOp(String),
    /// The column `kind` holds a word that is no kind of this op.
    #[error("\"{kind}\" is not a kind of {op}; known are {known}")]
    UnknownKind {
        /// The family.
        op: &'static str,
        /// What was read.
        kind: String,
        /// The kinds there are.
        known: String,
    },
    /// A column that the op needs is empty.
    #[error("{} row needs a value for \"{column}\"", with_article(op))]
    Missing {
        /// The family.
        op: &'static str,
        /// The empty column.
        column: Column,
    },
    /// A count that is beyond all machines.
    #[error("{column} = {value} of {} row is more than there can be", with_article(op))]
    TooLarge {
        /// The family.
        op: &'static str,
        /// The column.
        column: Column,
        /// What was read.
        value: u64,
    },
    /// A size that must be at least `least` is not.
    #[error("{column} = {value} of {} row must be at least {least}", with_article(op))]
    TooSmall {
        /// The family.
        op: &'static str,
        /// The column.
        column: Column,
        /// What was read.
        value: u64,
        /// The smallest value that makes sense.
        least: u64,
    },
}

impl OpError {
    /// The column at fault.
    pub const fn column(&self) -> Column {
        match self {
            OpError::UnknownOp(_) => Column::Op,
            OpError::UnknownKind { .. } => Column::Kind,
            OpError::Missing { column, .. }
            | OpError::TooLarge { column, .. }
            | OpError::TooSmall { column, .. } => *column,
        }
    }
}

fn with_article(op: &str) -> String {
    let article = if op.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {op}")
}

/// Reads the counts of one op from its cells.
pub(super) struct Reader<'a> {
    pub op: &'static str,
    pub cells: &'a Cells,
}

impl Reader<'_> {
    pub fn dtype(&self) -> Result<Dtype, OpError> {
        self.cells.dtype.ok_or(OpError::Missing { op: self.op, column: Column::Dtype })
    }

    /// A count that must be there and at least `least`.
    pub fn count(&self, column: Column, least: u64) -> Result<u64, OpError> {
        let value = self.cells.count(column).ok_or(OpError::Missing { op: self.op, column })?;
        self.checked(column, value, least)
    }

    /// A count that is `default` where the cell is empty.
    pub fn count_or(&self, column: Column, default: u64) -> Result<u64, OpError> {
        self.checked(column, self.cells.count(column).unwrap_or(default), 1)
    }

    /// A count that has no more than 32 bits.
    pub fn few(&self, column: Column, value: u64) -> Result<u32, OpError> {
        u32::try_from(value).map_err(|_| OpError::TooLarge { op: self.op, column, value })
    }

    fn checked(&self, column: Column, value: u64, least: u64) -> Result<u64, OpError> {
        if value >= least { Ok(value) } else { Err(OpError::TooSmall { op: self.op, column, value, least }) }
    }
}
