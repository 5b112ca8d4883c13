//! A product and an all-reduce at the same time on the devices of a group: how long one of them takes while the other
//! runs.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use super::{Collective, CollectiveKind, Gemm};
use crate::dtype::Dtype;

/// Which of the two is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timed {
    /// The product.
    Gemm,
    /// The all-reduce.
    AllReduce,
}

impl Timed {
    /// Both.
    pub const ALL: [Timed; 2] = [Timed::Gemm, Timed::AllReduce];

    /// The name in the column `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            Timed::Gemm => "gemm",
            Timed::AllReduce => "all_reduce",
        }
    }
}

/// A product (m×k)·(k×n) on each of `ranks` devices, and an all-reduce among them. Its counts have 32 bits, so that an
/// [`Op`](super::Op) stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Overlap {
    /// Which of the two is timed.
    pub timed: Timed,
    /// Rows of the product.
    pub m: u32,
    /// Inner dimension of the product.
    pub k: u32,
    /// Columns of the product.
    pub n: u32,
    /// Bytes of the all-reduce on each device.
    pub bytes: u64,
    /// Devices in the group.
    pub ranks: u32,
    /// Nodes that they stand on.
    pub nodes: u32,
    /// Element type of both.
    pub dtype: Dtype,
}

impl Overlap {
    /// The product alone.
    pub const fn gemm(&self) -> Gemm {
        let Overlap { m, k, n, dtype, .. } = *self;
        Gemm { m: m as u64, k: k as u64, n: n as u64, batch: 1, dtype }
    }

    /// The all-reduce alone.
    pub const fn all_reduce(&self) -> Collective {
        let Overlap { bytes, ranks, nodes, dtype, .. } = *self;
        Collective { kind: CollectiveKind::AllReduce, bytes, ranks: ranks as u64, nodes: nodes as u64, dtype }
    }

    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "overlap".into(),
            kind: self.timed.name().into(),
            dtype: Some(self.dtype),
            m: Some(self.m.into()),
            k: Some(self.k.into()),
            n: Some(self.n.into()),
            bytes: Some(self.bytes),
            ranks: Some(self.ranks.into()),
            nodes: Some(self.nodes.into()),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "overlap", cells };
        let unknown = || OpError::UnknownKind {
            op: "overlap",
            kind: cells.kind.clone(),
            known: Timed::ALL.map(Timed::name).join(", "),
        };
        Ok(Overlap {
            timed: Timed::ALL.into_iter().find(|timed| timed.name() == cells.kind).ok_or_else(unknown)?,
            m: read.few(Column::M, read.count(Column::M, 1)?)?,
            k: read.few(Column::K, read.count(Column::K, 1)?)?,
            n: read.few(Column::N, read.count(Column::N, 1)?)?,
            bytes: read.count(Column::Bytes, 1)?,
            ranks: read.few(Column::Ranks, read.count(Column::Ranks, 2)?)?,
            nodes: read.few(Column::Nodes, read.count_or(Column::Nodes, 1)?)?,
            dtype: read.dtype()?,
        })
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (gemm, all_reduce) = (self.gemm(), self.all_reduce());
        match self.timed {
            Timed::Gemm => write!(f, "{gemm} beside {all_reduce}"),
            Timed::AllReduce => write!(f, "{all_reduce} beside {gemm}"),
        }
    }
}
