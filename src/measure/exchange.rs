//! A pattern of messages among ranks: what each sends, receives, and must then hold.

use std::ops::Range;

use crate::op::{CollectiveKind, Op};

/// A pattern of messages among ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// A collective.
    Collective(CollectiveKind),
    /// From rank 0 to rank 1.
    Send,
}

/// A pattern with its sizes, in elements.
///
/// Of bytes that do not divide, more move rather than fewer: the last element begun counts, and where each rank
/// has a part, all parts are as large as the largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Who sends what to whom.
    pub pattern: Pattern,
    /// Ranks in the group.
    pub ranks: usize,
    /// Elements of the larger of one rank's two buffers.
    pub whole: usize,
}

/// What an element that was received comes from: elements of the ranks' send buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The sum over all ranks of the element at this place.
    Sum(usize),
    /// The element of this rank at this place.
    Copy(usize, usize),
}

impl Shape {
    /// The shape of an op in elements of `size` bytes; none for an op that moves nothing between ranks.
    pub fn of(op: &Op, size: u64) -> Option<Shape> {
        match op {
            Op::Collective(op) => {
                Some(Shape::new(Pattern::Collective(op.kind), op.bytes.div_ceil(size), op.ranks))
            }
            Op::P2p(op) if !op.link.is_copy() => Some(Shape::new(Pattern::Send, op.bytes.div_ceil(size), 2)),
            Op::Overlap(op) => Shape::of(&Op::Collective(op.all_reduce()), size),
            Op::P2p(_) | Op::Gemm(_) | Op::Kernel(_) | Op::Attention(_) | Op::Chain(_) => None,
        }
    }

    /// `pattern` among `ranks`, with so many elements in the larger of one rank's two buffers.
    pub fn new(pattern: Pattern, elements: u64, ranks: u64) -> Self {
        let (elements, ranks) = (elements as usize, ranks as usize);
        let whole = match pattern {
            Pattern::Collective(
                CollectiveKind::AllGather | CollectiveKind::ReduceScatter | CollectiveKind::AllToAll,
            ) => elements.next_multiple_of(ranks),
            Pattern::Collective(CollectiveKind::AllReduce | CollectiveKind::Broadcast) | Pattern::Send => {
                elements
            }
        };
        Shape { pattern, ranks, whole }
    }

    /// Elements that each rank sends from.
    pub fn sent(&self) -> usize {
        match self.pattern {
            Pattern::Collective(CollectiveKind::AllGather) => self.part(),
            _ => self.whole,
        }
    }

    /// Elements that each rank receives into.
    pub fn received(&self) -> usize {
        match self.pattern {
            Pattern::Collective(CollectiveKind::ReduceScatter) => self.part(),
            _ => self.whole,
        }
    }

    /// Elements of one rank's part.
    pub fn part(&self) -> usize {
        self.whole.div_ceil(self.ranks)
    }

    /// The part of `rank` in the whole; the last ones may be shorter, or empty, in an all_reduce.
    pub fn part_of(&self, rank: usize) -> Range<usize> {
        (rank * self.part()).min(self.whole)..((rank + 1) * self.part()).min(self.whole)
    }

    /// What `rank` must hold at `place` of its receive buffer; none where it receives nothing.
    pub fn origin(&self, rank: usize, place: usize) -> Option<Origin> {
        let part = self.part();
        Some(match self.pattern {
            Pattern::Collective(CollectiveKind::AllReduce) => Origin::Sum(place),
            Pattern::Collective(CollectiveKind::ReduceScatter) => Origin::Sum(rank * part + place),
            Pattern::Collective(CollectiveKind::AllGather) => Origin::Copy(place / part, place % part),
            Pattern::Collective(CollectiveKind::AllToAll) => {
                Origin::Copy(place / part, rank * part + place % part)
            }
            Pattern::Collective(CollectiveKind::Broadcast) => Origin::Copy(0, place),
            Pattern::Send if rank == 0 => return None,
            Pattern::Send => Origin::Copy(0, place),
        })
    }
}
