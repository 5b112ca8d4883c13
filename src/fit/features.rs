//! What an op is to a fit: the surface it lies on, where it lies there, and how much work it is.

use std::fmt;

use crate::dtype::Dtype;
use crate::op::{CollectiveKind, Family, KernelKind, Link, Op, Timed};

/// Coordinates of a surface; those that a family does not use are 0.
pub const DIMS: usize = 4;

/// A point: log2 of an op's dimensions.
pub type Coords = [f64; DIMS];

/// Beyond 2^100 of work the counts of an op come near the end of `u128`, and beyond 2^60 a dimension near the
/// end of `u64`; no plan comes near either.
const MOST_LOG2: (f64, f64) = (100.0, 60.0);

/// An octave of ranks counts for as much as two of bytes: another ring is another algorithm. On the H200 table
/// with every other size held out, the median error is 2.6 % so and 3.2 % without.
pub const RANKS_STRETCH: f64 = 2.0;

/// Ops whose times lie on one surface: measured together they tell of each other.
///
/// The dtypes of a collective share a surface, as do p2p transfers: their bytes decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// Products of one element type.
    Gemm(Dtype),
    /// Kernels of one kind and element type.
    Kernel(KernelKind, Dtype),
    /// Fused attention of one element type.
    Attention(Dtype),
    /// Collectives of one kind on this many nodes.
    Collective(CollectiveKind, u64),
    /// Transfers over one kind of link.
    P2p(Link),
    /// One of a product and an all-reduce, beside the other, on this many nodes: single rows, of which nothing
    /// follows for others.
    Overlap(Timed, u64),
    /// What no surface speaks of.
    Chain,
}

impl Key {
    /// The surface of `op`.
    pub const fn of(op: &Op) -> Key {
        match op {
            Op::Gemm(op) => Key::Gemm(op.dtype),
            Op::Kernel(op) => Key::Kernel(op.kind, op.dtype),
            Op::Attention(op) => Key::Attention(op.dtype),
            Op::Collective(op) => Key::Collective(op.kind, op.nodes),
            Op::P2p(op) => Key::P2p(op.link),
            Op::Overlap(op) => Key::Overlap(op.timed, op.nodes as u64),
            Op::Chain(_) => Key::Chain,
        }
    }

    /// The family of its ops.
    pub const fn family(&self) -> Family {
        match self {
            Key::Gemm(_) => Family::Gemm,
            Key::Kernel(..) => Family::Kernel,
            Key::Attention(_) => Family::Attention,
            Key::Collective(..) => Family::Collective,
            Key::P2p(_) => Family::P2p,
            Key::Overlap(..) => Family::Overlap,
            Key::Chain => Family::Chain,
        }
    }

    /// The element type of its ops, where it matters.
    pub const fn dtype(&self) -> Option<Dtype> {
        match self {
            Key::Gemm(dtype) | Key::Kernel(_, dtype) | Key::Attention(dtype) => Some(*dtype),
            Key::Collective(..) | Key::P2p(_) | Key::Overlap(..) | Key::Chain => None,
        }
    }
}

/// As in "the table has no all_to_all on 2 nodes".
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Gemm(dtype) => write!(f, "gemm in {dtype}"),
            Key::Kernel(kind, dtype) => write!(f, "{} in {dtype}", kind.name()),
            Key::Attention(dtype) => write!(f, "attention in {dtype}"),
            Key::Collective(kind, 1) => write!(f, "{} on 1 node", kind.name()),
            Key::Collective(kind, nodes) => write!(f, "{} on {nodes} nodes", kind.name()),
            Key::P2p(Link::IntraNode) => f.write_str("send within a node"),
            Key::P2p(Link::InterNode) => f.write_str("send between nodes"),
            Key::P2p(link) => f.write_str(link.kind()),
            Key::Overlap(timed, nodes) => write!(f, "overlap of {} on {nodes} nodes", timed.name()),
            Key::Chain => f.write_str("such chain"),
        }
    }
}

/// How the two terms of an op's work make its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Join {
    /// One after the other: the times add.
    Sum,
    /// Side by side: the longer decides, smoothly where they are alike.
    Overlap,
}

/// An op as a fit sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// The op.
    pub op: Op,
    /// Where it lies: log2 of m, k, n, batch; of rows, cols, top_k; of batch·heads, seq_q, seq_kv, head_dim;
    /// of bytes, ranks (stretched); of bytes.
    pub coords: Coords,
    /// How much work it is, both terms at least 0: FLOPs and bytes; bytes; bytes sent by a ring and its steps.
    pub work: [f64; 2],
    /// How the terms join.
    pub join: Join,
    /// Beyond the measured range of its first axis, an op fills the machine as one with as much more of the
    /// second does: `batch` products as one of `batch·m` rows, and more rows as more columns, which make as
    /// many tiles; more rows of a kernel as longer ones, which leave the caches alike. On the H200 and A100
    /// tables cut at m = 2048 this takes the error at m >= 8192 from 7.1 to 5.3 % in the median.
    pub spill: &'static [(usize, usize)],
}

impl Features {
    /// The features of `op`; `None` where its counts are too large to count, a group has no rank, or it is two ops
    /// at a time.
    pub fn of(op: &Op) -> Option<Features> {
        let (counts, join): ([u64; DIMS], Join) = match op {
            Op::Gemm(op) => ([op.m, op.k, op.n, op.batch], Join::Overlap),
            Op::Kernel(op) => ([op.rows, op.cols, op.top_k, 1], Join::Sum),
            Op::Attention(op) => {
                ([op.batch.checked_mul(op.heads)?, op.seq_q, op.seq_kv, op.head_dim], Join::Overlap)
            }
            Op::Collective(op) if op.ranks == 0 => return None,
            Op::Collective(op) => ([op.bytes, op.ranks, 1, 1], Join::Sum),
            Op::P2p(op) => ([op.bytes, 1, 1, 1], Join::Sum),
            Op::Overlap(_) => return None,
            Op::Chain(_) => return None,
        };
        let mut coords = counts.map(|count| (count.max(1) as f64).log2());
        let (most_work, most) = MOST_LOG2;
        if coords.iter().sum::<f64>() > most_work || coords.iter().any(|log| *log > most) {
            return None;
        }
        if matches!(op, Op::Collective(_)) {
            coords[1] *= RANKS_STRETCH;
        }
        let work = match op {
            Op::Gemm(_) | Op::Attention(_) => [op.flops() as f64, op.bytes() as f64],
            Op::Kernel(_) | Op::P2p(_) | Op::Overlap(_) | Op::Chain(_) => [op.bytes() as f64, 0.0],
            Op::Collective(op) => [op.traffic_factor() * op.bytes as f64, op.steps() as f64],
        };
        let spill: &[(usize, usize)] = match op {
            Op::Gemm(_) => &[(3, 0), (0, 2)],
            Op::Kernel(_) | Op::Attention(_) => &[(0, 1)],
            Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) | Op::Chain(_) => &[],
        };
        Some(Features { op: *op, coords, work, join, spill })
    }

    /// Whether it is sent from rank to rank, and nothing but its bytes and the ranks counts.
    pub const fn is_message(&self) -> bool {
        matches!(self.op, Op::Collective(_) | Op::P2p(_))
    }
}
