//! Transfers from one device to another.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};

/// What a transfer crosses: the column `nodes` is 1 within a node and 2 between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// Both devices in one node.
    IntraNode,
    /// From one node to another.
    InterNode,
}

impl Link {
    /// Nodes that the transfer spans.
    pub const fn nodes(self) -> u64 {
        match self {
            Link::IntraNode => 1,
            Link::InterNode => 2,
        }
    }
}

/// One send with its receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct P2p {
    /// Size of the message.
    pub bytes: u64,
    /// What it crosses.
    pub link: Link,
}

impl P2p {
    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "p2p".into(),
            kind: "send".into(),
            bytes: Some(self.bytes),
            ranks: Some(2),
            nodes: Some(self.link.nodes()),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "p2p", cells };
        if !matches!(cells.kind.as_str(), "" | "send") {
            let kind = cells.kind.clone();
            return Err(OpError::UnknownKind { op: "p2p", kind, known: "send".into() });
        }
        let link = match read.count_or(Column::Nodes, 1)? {
            1 => Link::IntraNode,
            _ => Link::InterNode,
        };
        Ok(P2p { bytes: read.count(Column::Bytes, 1)?, link })
    }
}

impl fmt::Display for P2p {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.link {
            Link::IntraNode => "within a node",
            Link::InterNode => "between nodes",
        };
        write!(f, "send {} {place}", crate::units::human_bytes(self.bytes))
    }
}
