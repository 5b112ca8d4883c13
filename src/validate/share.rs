//! One GPU's share of a plan as a chain of ops on buffers: what a node writes, the next ones read.

use std::collections::HashMap;

use crate::graph::{Graph, Node};
use crate::measure::ChainOp;
use crate::op::{Kernel, KernelKind, Op};

/// A chain, and what its links are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    pub links: Vec<ChainOp>,
    /// The node of each link, such as `mlp_up`.
    pub names: Vec<String>,
    /// Elements of each buffer.
    pub buffers: Vec<u64>,
    /// Bytes that each link reads of what an earlier one wrote.
    pub passed: Vec<u64>,
    /// Nodes that are not run: their names.
    pub left_out: Vec<String>,
}

/// Elements of each operand of an op, in their order, and of its result. Head by head: how heads lie in a
/// projection's result is left aside, as it is in a plan.
fn sizes(op: &Op) -> (Vec<u64>, u64) {
    match op {
        Op::Gemm(op) => (vec![op.batch * op.m * op.k, op.batch * op.k * op.n], op.batch * op.m * op.n),
        Op::Kernel(op) => kernel_sizes(op),
        Op::Attention(op) => {
            let heads = op.batch * op.heads * op.head_dim;
            let (q, kv) = (heads * op.seq_q, heads * op.seq_kv);
            (vec![q, kv, kv], q)
        }
        Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) => (Vec::new(), 0),
    }
}

fn kernel_sizes(op: &Kernel) -> (Vec<u64>, u64) {
    let tensor = op.rows * op.cols;
    match op.kind {
        KernelKind::Layernorm => (vec![tensor, 2 * op.cols], tensor),
        KernelKind::GatedActivation => (vec![2 * tensor], tensor),
        KernelKind::Residual => (vec![tensor, tensor], tensor),
        KernelKind::GateTopk => (vec![tensor], 2 * op.rows * op.top_k),
        KernelKind::Unpermute => (vec![tensor * op.top_k, op.rows * op.top_k], tensor),
        KernelKind::Softmax | KernelKind::Activation | KernelKind::Permute | KernelKind::Copy => {
            (vec![tensor], tensor)
        }
    }
}

/// Where a tensor lies: its buffer, its first element, and how many it has.
#[derive(Clone, Copy)]
struct Place {
    buffer: usize,
    first: u64,
    length: u64,
}

/// The nodes of the first `layers` layers on `gpu`, in their order.
pub(super) fn share(graph: &Graph, gpu: u32, layers: u64) -> Share {
    let mut share = Share::default();
    let mut places: HashMap<String, Place> = HashMap::new();
    let here = |node: &&Node| node.gpus.contains(&gpu) && node.layer.is_some() && !node.ops.is_empty();
    let mut seen: Vec<u64> = graph.nodes.iter().filter(here).filter_map(|node| node.layer).collect();
    seen.dedup();
    seen.truncate(usize::try_from(layers).unwrap_or(usize::MAX));
    for node in graph.nodes.iter().filter(here) {
        if !node.layer.is_some_and(|layer| seen.contains(&layer)) {
            continue;
        }
        share.add(node, &mut places);
        // what leaves a layer enters the next
        if let Some(out) = places.get("out").copied() {
            places.insert("x".to_owned(), out);
        }
    }
    share
}

impl Share {
    fn buffer(&mut self, elements: u64) -> Place {
        self.buffers.push(elements.max(1));
        Place { buffer: self.buffers.len() - 1, first: 0, length: elements }
    }

    /// Adds the ops of a node. Its results lie one behind the other in a buffer of their own.
    fn add(&mut self, node: &Node, places: &mut HashMap<String, Place>) {
        if node.ops.iter().any(|(op, _)| matches!(op, Op::P2p(_))) {
            self.left_out.push(node.op.clone());
            return;
        }
        let written: Vec<u64> = node.writes.iter().map(|tensor| tensor.shape.elements() as u64).collect();
        let longest = node.ops.iter().map(|(op, _)| sizes(op).1).max().unwrap_or(0);
        let results = self.buffer(written.iter().sum::<u64>().max(longest));
        let read: Vec<Option<Place>> =
            node.reads.iter().map(|tensor| places.get(&tensor.name).copied()).collect();
        let mut run = 0;
        for (op, count) in &node.ops {
            for _ in 0..*count {
                self.link(node, op, &read, results, &written, run);
                run += 1;
            }
        }
        let mut first = 0;
        for (tensor, length) in node.writes.iter().zip(&written) {
            // a collective's result lies with its ranks; what comes after it reads what went into it
            if longest > 0 {
                places.insert(tensor.name.clone(), Place { first, length: *length, ..results });
            } else if let Some(Some(from)) = read.first() {
                places.insert(tensor.name.clone(), *from);
            }
            first += length;
        }
    }

    fn link(
        &mut self,
        node: &Node,
        op: &Op,
        read: &[Option<Place>],
        results: Place,
        written: &[u64],
        run: usize,
    ) {
        let (operands, result) = sizes(op);
        let mut reads = Vec::new();
        let mut passed = 0;
        for (i, length) in operands.iter().enumerate() {
            let tensor = read.get(i).copied().flatten();
            // each expert has rows of its own; where there are too few, the first ones
            let offset = node.expert.map_or(0, |expert| expert.saturating_mul(*length));
            let place = tensor.filter(|tensor| tensor.length >= *length && tensor.buffer != results.buffer);
            reads.push(match place {
                Some(tensor) => {
                    passed += 4 * length;
                    let fits = i == 0 && offset + length <= tensor.length;
                    (tensor.buffer, tensor.first + if fits { offset } else { 0 })
                }
                // weights, or what a step beside this plan would hand over
                None => (self.buffer(*length).buffer, 0),
            });
        }
        // three products into three tensors, or one result after the other into the same place
        let before: u64 = written.iter().take(run).sum();
        let first = if run < written.len() && written.get(run) == Some(&result) { before } else { 0 };
        let writes = (result > 0).then_some((results.buffer, results.first + first));
        self.links.push(ChainOp { op: *op, reads, writes });
        self.names.push(node.op.clone());
        self.passed.push(passed);
    }
}
