//! Transfers: sends from one device to another, and copies between devices and their host.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};

/// Names of sends over the links of a class, best first.
const CLASSES: [&str; 4] = ["send_class0", "send_class1", "send_class2", "send_class3"];

/// What a transfer crosses, and how: the column `nodes` is 1 within a node and 2 between two. What an engine of
/// collectives sends, and what the driver copies, are kinds of their own: neither says anything of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Link {
    /// A send and its receive, both devices in one node; where it has several classes of links, over the worst.
    IntraNode,
    /// The same over the links of a class, of which 0 is the best.
    Class(u8),
    /// A send and its receive, from one node to another.
    InterNode,
    /// A copy from the memory of a device to that of another in its node.
    DeviceToDevice,
    /// A copy from the memory of the host to that of a device.
    HostToDevice,
    /// A copy from the memory of a device to that of its host.
    DeviceToHost,
}

impl Link {
    /// Classes of links that are told apart.
    pub const CLASSES: usize = CLASSES.len();

    /// Nodes that the transfer spans.
    pub const fn nodes(self) -> u64 {
        match self {
            Link::InterNode => 2,
            Link::IntraNode
            | Link::Class(_)
            | Link::DeviceToDevice
            | Link::HostToDevice
            | Link::DeviceToHost => 1,
        }
    }

    /// Devices that take part.
    pub const fn ranks(self) -> u64 {
        match self {
            Link::IntraNode | Link::Class(_) | Link::InterNode | Link::DeviceToDevice => 2,
            Link::HostToDevice | Link::DeviceToHost => 1,
        }
    }

    /// The name in the column `kind` of a table.
    pub const fn kind(self) -> &'static str {
        match self {
            Link::IntraNode | Link::InterNode => "send",
            Link::Class(class) => match class {
                0 => CLASSES[0],
                1 => CLASSES[1],
                2 => CLASSES[2],
                _ => CLASSES[3],
            },
            Link::DeviceToDevice => "device_to_device",
            Link::HostToDevice => "host_to_device",
            Link::DeviceToHost => "device_to_host",
        }
    }

    /// Whether the driver copies, without an engine of collectives.
    pub const fn is_copy(self) -> bool {
        matches!(self, Link::DeviceToDevice | Link::HostToDevice | Link::DeviceToHost)
    }
}

/// One send with its receive, or one copy.
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
            kind: self.link.kind().into(),
            bytes: Some(self.bytes),
            ranks: Some(self.link.ranks()),
            nodes: Some(self.link.nodes()),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "p2p", cells };
        let nodes = read.count_or(Column::Nodes, 1)?;
        let link = match cells.kind.as_str() {
            "" | "send" if nodes == 1 => Link::IntraNode,
            "" | "send" => Link::InterNode,
            "device_to_device" => Link::DeviceToDevice,
            "host_to_device" => Link::HostToDevice,
            "device_to_host" => Link::DeviceToHost,
            kind => match CLASSES.iter().position(|known| *known == kind) {
                Some(class) => Link::Class(class as u8),
                None => {
                    let known =
                        "send, send_class0 to 3, device_to_device, host_to_device, device_to_host".into();
                    return Err(OpError::UnknownKind { op: "p2p", kind: kind.to_owned(), known });
                }
            },
        };
        Ok(P2p { bytes: read.count(Column::Bytes, 1)?, link })
    }
}

impl fmt::Display for P2p {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = crate::units::human_bytes(self.bytes);
        match self.link {
            Link::IntraNode => write!(f, "send {bytes} within a node"),
            Link::Class(class) => write!(f, "send {bytes} over links of class {class}"),
            Link::InterNode => write!(f, "send {bytes} between nodes"),
            Link::DeviceToDevice => write!(f, "copy {bytes} from device to device"),
            Link::HostToDevice => write!(f, "copy {bytes} from host to device"),
            Link::DeviceToHost => write!(f, "copy {bytes} from device to host"),
        }
    }
}
