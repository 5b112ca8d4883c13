//! What a node is: its id, its work, the GPUs it occupies.

use crate::op::Op;

/// A node of a [`Dag`](super::Dag); ids count up from 0 in topological order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// The position among the nodes.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What sort of node it is, as the field writes it in pictures and tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Where the batch enters.
    Input,
    /// Where it leaves.
    Output,
    /// A matrix product.
    Gemm,
    /// A memory-bound kernel.
    Mem,
    /// Fused attention.
    Attention,
    /// A collective of a group, one node for all of them.
    Collective,
    /// The transfer to another GPU; it takes the time.
    Send,
    /// Its arrival; it takes none.
    Recv,
    /// Waits for several nodes, does nothing.
    Join,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 9] = [
        Kind::Input,
        Kind::Output,
        Kind::Gemm,
        Kind::Mem,
        Kind::Attention,
        Kind::Collective,
        Kind::Send,
        Kind::Recv,
        Kind::Join,
    ];

    /// Its fill in pictures: what belongs to one [`Part`] is of one hue, and dark text reads on all of them.
    pub const fn color(self) -> &'static str {
        match self {
            Kind::Input | Kind::Output => "#d9d9d9",
            Kind::Gemm => "#8fb8e8",
            Kind::Attention => "#b3a8e6",
            Kind::Mem => "#a9d8b0",
            Kind::Collective => "#f2b36f",
            Kind::Send => "#f5d06c",
            Kind::Recv => "#faeab8",
            Kind::Join => "#eeeeee",
        }
    }

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Input => "input",
            Kind::Output => "output",
            Kind::Gemm => "gemm",
            Kind::Mem => "mem",
            Kind::Attention => "attention",
            Kind::Collective => "collective",
            Kind::Send => "send",
            Kind::Recv => "recv",
            Kind::Join => "join",
        }
    }

    /// What it spends its time on; `None` where it takes none.
    pub const fn part(self) -> Option<Part> {
        match self {
            Kind::Gemm | Kind::Attention => Some(Part::Products),
            Kind::Mem => Some(Part::Memory),
            Kind::Collective | Kind::Send | Kind::Recv => Some(Part::Communication),
            Kind::Input | Kind::Output | Kind::Join => None,
        }
    }
}

/// The three things that the time of a plan is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Matrix products, those of fused attention included.
    Products,
    /// Memory-bound kernels.
    Memory,
    /// Collectives and sends.
    Communication,
}

impl Part {
    /// All three.
    pub const ALL: [Part; 3] = [Part::Products, Part::Memory, Part::Communication];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Products => "products",
            Part::Memory => "memory-bound ops",
            Part::Communication => "communication",
        }
    }
}

/// What a node does: ops that run one after the other, each a number of times.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Work {
    /// What sort of node it makes.
    pub kind: Kind,
    /// Its ops with their counts; none for a node that takes no time.
    pub ops: Vec<(Op, u64)>,
}

/// A distinct [`Work`] of a [`Dag`](super::Dag): many nodes share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkId(pub(super) u32);

impl WorkId {
    /// The position in [`Dag::works`](super::Dag::works).
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The GPUs that a node occupies: one, or a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub(super) u32);

impl Lane {
    /// The position in [`Dag::lanes`](super::Dag::lanes).
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A name of nodes, such as `qkv`, kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub(super) u16);

/// Which node it is: the parts of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The op's name.
    pub name: NameId,
    /// The layer, where it belongs to one.
    pub layer: Option<u16>,
    /// The micro-batch, counted from 0.
    pub microbatch: u32,
}

/// What nodes of one kind of step have in common in their names: `expert_up` for `expert_up_5`, `send` for
/// `send_stage1`, `dispatch` for `dispatch_from8`.
pub fn role(name: &str) -> &str {
    let numbered = |(head, tail): &(&str, &str)| {
        let number = ["from", "stage", ""].iter().find_map(|word| tail.strip_prefix(word));
        !head.is_empty() && number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
    };
    match name.rsplit_once('_').filter(numbered) {
        Some((head, _)) => role(head),
        None => name,
    }
}
