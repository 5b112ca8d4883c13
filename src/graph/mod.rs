//! A graph that can be looked at: every node with the tensors it reads and writes, and the model that all of
//! them together claim to compute.
//!
//! A plan is described as one ([`crate::plan::describe`]), it is written as Graphviz text, and read back from
//! text that a person may have edited. Unlike a [`crate::dag::Dag`] it can hold mistakes: cycles, loose ends,
//! shapes that do not fit. `check` finds them; pictures are drawn of it.

mod attributes;
mod dot;
mod error;
mod facts;
mod header;
mod lexer;
mod read;
mod shape;

use std::collections::HashMap;

pub use dot::{dot, stages};
pub use error::DotError;
pub use facts::Facts;
pub use read::read;
pub use shape::{NotAShape, Shape};

use crate::dag::Kind;
use crate::op::Op;

/// A tensor that a node reads or writes, on each of its GPUs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tensor {
    /// Its name within a layer, such as `ln1`.
    pub name: String,
    /// Its size on one GPU.
    pub shape: Shape,
}

impl Tensor {
    /// Whether it is there from one pass to the next, so that no edge brings it.
    pub fn is_kept(&self) -> bool {
        self.name == "cache"
    }

    /// Whether nobody need read it: it comes along with something else, or is the gradient of what enters the
    /// model.
    pub fn is_by_product(&self) -> bool {
        self.name.ends_with("_mask") || self.name == "d_x"
    }
}

/// Along which axis a product's weight, or attention, is spread over GPUs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cut {
    /// The columns of the weight: every GPU has some columns of the result.
    Column,
    /// The rows of the weight: every GPU has a part of every sum.
    Row,
    /// Whole heads.
    Heads,
    /// Whole experts.
    Experts,
}

impl Cut {
    /// All of them.
    pub const ALL: [Cut; 4] = [Cut::Column, Cut::Row, Cut::Heads, Cut::Experts];

    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Cut::Column => "column",
            Cut::Row => "row",
            Cut::Heads => "heads",
            Cut::Experts => "experts",
        }
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// `<op>_l<layer>_gpu<g>`.
    pub id: String,
    /// Where it stands in the file it was read from; 0 where it was not read.
    pub line: usize,
    /// What sort of node it is; `None` for an id that only edges name.
    pub kind: Option<Kind>,
    /// The step of the layer, such as `qkv`, the same on all GPUs.
    pub op: String,
    /// GPUs that it occupies.
    pub gpus: Vec<u32>,
    /// GPUs that give, where not all of `gpus` do.
    pub givers: Option<Vec<u32>>,
    /// GPUs that receive, where not all of `gpus` do.
    pub takers: Option<Vec<u32>>,
    /// The layer, where it belongs to one.
    pub layer: Option<u64>,
    /// The expert, where it belongs to one.
    pub expert: Option<u64>,
    /// The micro-batch.
    pub microbatch: u64,
    /// The GPU at the other end of a send or its arrival.
    pub peer: Option<u32>,
    /// How its weight or its heads are spread.
    pub cut: Option<Cut>,
    /// Parameters that it holds.
    pub parameters: u64,
    /// What it reads.
    pub reads: Vec<Tensor>,
    /// What it writes.
    pub writes: Vec<Tensor>,
    /// Its ops with their counts.
    pub ops: Vec<(Op, u64)>,
}

impl Node {
    /// A node of which only the id is known.
    pub fn named(id: &str) -> Self {
        Node {
            id: id.to_owned(),
            line: 0,
            kind: None,
            op: String::new(),
            gpus: Vec::new(),
            givers: None,
            takers: None,
            layer: None,
            expert: None,
            microbatch: 0,
            peer: None,
            cut: None,
            parameters: 0,
            reads: Vec::new(),
            writes: Vec::new(),
            ops: Vec::new(),
        }
    }

    /// FLOPs of its products on one of its GPUs.
    pub fn flops(&self) -> u128 {
        self.ops.iter().map(|(op, count)| op.flops().saturating_mul(u128::from(*count))).sum()
    }

    /// Whether it belongs to the backward pass.
    pub fn is_backward(&self) -> bool {
        ["_bwd", "_dgrad", "_wgrad", "_again"].iter().any(|ending| self.op.ends_with(ending))
    }

    /// GPUs on which it reads.
    pub fn givers(&self) -> &[u32] {
        self.givers.as_deref().unwrap_or(&self.gpus)
    }

    /// GPUs on which it writes.
    pub fn takers(&self) -> &[u32] {
        self.takers.as_deref().unwrap_or(&self.gpus)
    }

    /// The tensor of that name among those that it reads.
    pub fn reads(&self, name: &str) -> Option<&Tensor> {
        self.reads.iter().find(|tensor| tensor.name == name)
    }

    /// The tensor of that name among those that it writes.
    pub fn writes(&self, name: &str) -> Option<&Tensor> {
        self.writes.iter().find(|tensor| tensor.name == name)
    }
}

/// `to` comes after `from`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Edge {
    /// Index of the node that is first.
    pub from: usize,
    /// Index of the node that is second.
    pub to: usize,
    /// The tensors that pass, by the name of the writer and of the reader; none where the two are only put in
    /// an order.
    pub carries: Vec<(String, String)>,
}

/// A graph with the model that it claims to compute.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    /// The plan's name.
    pub name: String,
    /// The model and the machine; `None` where the file does not say.
    pub facts: Option<Facts>,
    /// In the order of the file.
    pub nodes: Vec<Node>,
    /// In the order of the file.
    pub edges: Vec<Edge>,
}

impl Graph {
    /// The indices of the nodes by id; of several with one id, the first.
    pub fn index(&self) -> HashMap<&str, usize> {
        let mut index = HashMap::with_capacity(self.nodes.len());
        for (i, node) in self.nodes.iter().enumerate() {
            index.entry(node.id.as_str()).or_insert(i);
        }
        index
    }

    /// The edges that leave each node, as indices of edges.
    pub fn outgoing(&self) -> Vec<Vec<usize>> {
        self.ends(|edge| edge.from)
    }

    /// The edges that enter each node, as indices of edges.
    pub fn incoming(&self) -> Vec<Vec<usize>> {
        self.ends(|edge| edge.to)
    }

    fn ends(&self, end: impl Fn(&Edge) -> usize) -> Vec<Vec<usize>> {
        let mut ends = vec![Vec::new(); self.nodes.len()];
        for (i, edge) in self.edges.iter().enumerate() {
            ends[end(edge)].push(i);
        }
        ends
    }

    /// The nodes in an order in which every edge points forward, as far as there is one: fewer than all where
    /// there is a cycle.
    pub fn order(&self) -> Vec<usize> {
        let outgoing = self.outgoing();
        let mut open: Vec<usize> = self.incoming().iter().map(Vec::len).collect();
        let mut ready: std::collections::BTreeSet<usize> =
            (0..self.nodes.len()).filter(|node| open[*node] == 0).collect();
        let mut order = Vec::with_capacity(self.nodes.len());
        while let Some(node) = ready.pop_first() {
            order.push(node);
            for edge in &outgoing[node] {
                let to = self.edges[*edge].to;
                open[to] -= 1;
                if open[to] == 0 {
                    ready.insert(to);
                }
            }
        }
        order
    }
}
