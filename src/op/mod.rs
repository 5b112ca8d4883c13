//! What runs, and never how long: the operations of a plan and the rows of a cost table.
//!
//! One op, one file. Each knows its FLOPs, its bytes, its cells in a table and its name on a screen.

mod attention;
mod cells;
mod chained;
mod collective;
mod gemm;
mod kernel;
mod overlap;
mod p2p;

use std::fmt;

pub use attention::Attention;
pub use cells::{Cells, Column, OpError};
pub use chained::Chained;
pub use collective::{Collective, CollectiveKind};
pub use gemm::Gemm;
pub use kernel::{Kernel, KernelKind};
pub use overlap::{Overlap, Timed};
pub use p2p::{Link, P2p};

use crate::dtype::Dtype;

/// One operation on one device, or of one group of devices: the key of everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Op {
    /// A matrix product, single or batched.
    Gemm(Gemm),
    /// A memory-bound kernel.
    Kernel(Kernel),
    /// Fused attention.
    Attention(Attention),
    /// A collective over a group of devices.
    Collective(Collective),
    /// A transfer from one device to another.
    P2p(P2p),
    /// A product while an all-reduce runs, or the other way round.
    Overlap(Overlap),
    /// Ops of one family within a layer, beside the same ops alone.
    Chain(Chained),
}

/// The families of ops, named as in the column `op` of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Matrix products.
    Gemm,
    /// Memory-bound kernels.
    Kernel,
    /// Fused attention.
    Attention,
    /// Collectives.
    Collective,
    /// Point-to-point transfers.
    P2p,
    /// Products and all-reduces at the same time: of these no plan is made, but they tell how each slows the other.
    Overlap,
    /// What being in a layer changes about ops of another family.
    Chain,
}

impl Family {
    /// Every family, in the order of a table.
    pub const ALL: [Family; 7] = [
        Family::Gemm,
        Family::Kernel,
        Family::Attention,
        Family::Collective,
        Family::P2p,
        Family::Overlap,
        Family::Chain,
    ];

    /// The name in the column `op` of a table.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Gemm => "gemm",
            Family::Kernel => "kernel",
            Family::Attention => "attention",
            Family::Collective => "collective",
            Family::P2p => "p2p",
            Family::Overlap => "overlap",
            Family::Chain => "chain",
        }
    }

    /// Whether ops of this family move data between devices.
    pub const fn is_communication(self) -> bool {
        matches!(self, Family::Collective | Family::P2p)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Op {
    /// The family that the op belongs to.
    pub const fn family(&self) -> Family {
        match self {
            Op::Gemm(_) => Family::Gemm,
            Op::Kernel(_) => Family::Kernel,
            Op::Attention(_) => Family::Attention,
            Op::Collective(_) => Family::Collective,
            Op::P2p(_) => Family::P2p,
            Op::Overlap(_) => Family::Overlap,
            Op::Chain(_) => Family::Chain,
        }
    }

    /// Floating-point operations of matrix products in the op; 0 for ops that only move data.
    pub fn flops(&self) -> u128 {
        match self {
            Op::Gemm(op) => op.flops(),
            Op::Attention(op) => op.flops(),
            Op::Overlap(op) => op.gemm().flops(),
            Op::Kernel(_) | Op::Collective(_) | Op::P2p(_) | Op::Chain(_) => 0,
        }
    }

    /// Bytes read and written in device memory, or, for communication, bytes of the message.
    pub fn bytes(&self) -> u128 {
        match self {
            Op::Gemm(op) => op.bytes(),
            Op::Kernel(op) => op.bytes(),
            Op::Attention(op) => op.bytes(),
            Op::Collective(op) => u128::from(op.bytes),
            Op::P2p(op) => u128::from(op.bytes),
            Op::Overlap(op) => op.gemm().bytes().saturating_add(op.bytes.into()),
            Op::Chain(_) => 0,
        }
    }

    /// The element type, where the op has one.
    pub const fn dtype(&self) -> Option<Dtype> {
        match self {
            Op::Gemm(op) => Some(op.dtype),
            Op::Kernel(op) => Some(op.dtype),
            Op::Attention(op) => Some(op.dtype),
            Op::Collective(op) => Some(op.dtype),
            Op::P2p(_) => None,
            Op::Overlap(op) => Some(op.dtype),
            Op::Chain(op) => Some(op.dtype),
        }
    }

    /// The op's cells in a table.
    pub fn cells(&self) -> Cells {
        match self {
            Op::Gemm(op) => op.cells(),
            Op::Kernel(op) => op.cells(),
            Op::Attention(op) => op.cells(),
            Op::Collective(op) => op.cells(),
            Op::P2p(op) => op.cells(),
            Op::Overlap(op) => op.cells(),
            Op::Chain(op) => op.cells(),
        }
    }

    /// Reads an op from the cells of a table row.
    ///
    /// # Errors
    /// When the family or kind is unknown, a cell that the op needs is empty, or a count is 0.
    pub fn from_cells(cells: &Cells) -> Result<Op, OpError> {
        match cells.op.as_str() {
            "gemm" => Gemm::from_cells(cells).map(Op::Gemm),
            "kernel" => Kernel::from_cells(cells).map(Op::Kernel),
            "attention" => Attention::from_cells(cells).map(Op::Attention),
            "collective" => Collective::from_cells(cells).map(Op::Collective),
            "p2p" => P2p::from_cells(cells).map(Op::P2p),
            "overlap" => Overlap::from_cells(cells).map(Op::Overlap),
            "chain" => Chained::from_cells(cells).map(Op::Chain),
            other => Err(OpError::UnknownOp(other.to_owned())),
        }
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Op::Gemm(op) => op.fmt(f),
            Op::Kernel(op) => op.fmt(f),
            Op::Attention(op) => op.fmt(f),
            Op::Collective(op) => op.fmt(f),
            Op::P2p(op) => op.fmt(f),
            Op::Overlap(op) => op.fmt(f),
            Op::Chain(op) => op.fmt(f),
        }
    }
}
