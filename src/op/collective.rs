//! Collectives over a group of devices.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use crate::dtype::Dtype;
use crate::units::Seconds;

/// What a collective does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CollectiveKind {
    /// Sum of all buffers, on every rank.
    AllReduce,
    /// All parts, on every rank.
    AllGather,
    /// Sum of all buffers, one part on each rank.
    ReduceScatter,
    /// Part j of rank i becomes part i of rank j.
    AllToAll,
    /// One rank's buffer, on every rank.
    Broadcast,
}

impl CollectiveKind {
    /// Every kind.
    pub const ALL: [CollectiveKind; 5] = [
        CollectiveKind::AllReduce,
        CollectiveKind::AllGather,
        CollectiveKind::ReduceScatter,
        CollectiveKind::AllToAll,
        CollectiveKind::Broadcast,
    ];

    /// The name in the column `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            CollectiveKind::AllReduce => "all_reduce",
            CollectiveKind::AllGather => "all_gather",
            CollectiveKind::ReduceScatter => "reduce_scatter",
            CollectiveKind::AllToAll => "all_to_all",
            CollectiveKind::Broadcast => "broadcast",
        }
    }
}

/// A collective of `ranks` devices that span `nodes` nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collective {
    /// What it does.
    pub kind: CollectiveKind,
    /// `size` of nccl-tests: the larger of one rank's two buffers. For all_gather and reduce_scatter the
    /// whole tensor, for all_to_all what one rank holds, its own part included.
    pub bytes: u64,
    /// Devices in the group.
    pub ranks: u64,
    /// Nodes that they stand on.
    pub nodes: u64,
    /// Element type.
    pub dtype: Dtype,
}

impl Collective {
    /// Bytes that each rank sends by a ring, as a multiple of `bytes`: nccl-tests' factor between algorithm
    /// and bus bandwidth. 2(p−1)/p for all_reduce, (p−1)/p for the others, 1 for broadcast.
    pub fn traffic_factor(&self) -> f64 {
        let p = self.ranks as f64;
        match self.kind {
            CollectiveKind::AllReduce => 2.0 * (p - 1.0) / p,
            CollectiveKind::AllGather | CollectiveKind::ReduceScatter | CollectiveKind::AllToAll => {
                (p - 1.0) / p
            }
            CollectiveKind::Broadcast if self.ranks == 1 => 0.0,
            CollectiveKind::Broadcast => 1.0,
        }
    }

    /// Bytes per second as nccl-tests' `algbw`: the message over the time.
    pub fn algorithm_bandwidth(&self, seconds: Seconds) -> f64 {
        self.bytes as f64 / seconds.get()
    }

    /// Bytes per second as nccl-tests' `busbw`: what a ring sends over each of its links.
    pub fn bus_bandwidth(&self, seconds: Seconds) -> f64 {
        self.traffic_factor() * self.algorithm_bandwidth(seconds)
    }

    /// Steps of the ring, each of which costs one latency: 2(p−1) for all_reduce, p−1 for the others.
    pub fn steps(&self) -> u64 {
        match self.kind {
            CollectiveKind::AllReduce => 2 * (self.ranks - 1),
            _ => self.ranks - 1,
        }
    }

    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "collective".into(),
            kind: self.kind.name().into(),
            dtype: Some(self.dtype),
            bytes: Some(self.bytes),
            ranks: Some(self.ranks),
            nodes: Some(self.nodes),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "collective", cells };
        let kind =
            CollectiveKind::ALL.into_iter().find(|kind| kind.name() == cells.kind).ok_or_else(|| {
                OpError::UnknownKind {
                    op: "collective",
                    kind: cells.kind.clone(),
                    known: CollectiveKind::ALL.map(CollectiveKind::name).join(", "),
                }
            })?;
        Ok(Collective {
            kind,
            bytes: read.count(Column::Bytes, 1)?,
            ranks: read.count(Column::Ranks, 2)?,
            nodes: read.count_or(Column::Nodes, 1)?,
            dtype: read.dtype()?,
        })
    }
}

impl fmt::Display for Collective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Collective { kind, bytes, ranks, nodes, dtype } = self;
        write!(f, "{} {dtype} {}, {ranks} ranks", kind.name(), crate::units::human_bytes(*bytes))?;
        if *nodes > 1 { write!(f, " on {nodes} nodes") } else { Ok(()) }
    }
}
