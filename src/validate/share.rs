//! One GPU's share of a plan as a chain of ops on buffers: what a node writes, the next ones read.

use std::collections::HashMap;

use crate::graph::{Graph, Node};
use crate::measure::chain::{ChainOp, lengths};
use crate::op::Op;

/// A chain, and what its links are called.
#[derive(Clone, Debug, Default)]
pub(super) struct Share {
    pub links: Vec<ChainOp>,
    /// The node of each link, such as `mlp_up`.
    pub names: Vec<String>,
    /// Elements of each buffer.
    pub buffers: Vec<u64>,
    /// Nodes that are not run: their names.
    pub left_out: Vec<String>,
}

/// Where a tensor lies: its buffer, its first element, and how many it has.
#[derive(Clone, Copy)]
struct Place {
    buffer: usize,
    first: u64,
    length: u64,
}

/// The nodes of the first `layers` layers on `gpu`, in their order, those left out of which an op does not run.
pub(super) fn share(graph: &Graph, gpu: u32, layers: u64, runs: &dyn Fn(&Op) -> bool) -> Share {
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
        share.add(node, &mut places, runs);
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
    fn add(&mut self, node: &Node, places: &mut HashMap<String, Place>, runs: &dyn Fn(&Op) -> bool) {
        let is_left_out = node.ops.iter().any(|(op, _)| !runs(op));
        let written: Vec<u64> = node.writes.iter().map(|tensor| tensor.shape.elements() as u64).collect();
        let longest = node.ops.iter().map(|(op, _)| lengths(op).1).max().unwrap_or(0);
        let longest = if is_left_out { 0 } else { longest };
        // of what moves between ranks nothing is written here
        let results = self.buffer(if longest > 0 { written.iter().sum::<u64>().max(longest) } else { 0 });
        let read: Vec<Option<Place>> =
            node.reads.iter().map(|tensor| places.get(&tensor.name).copied()).collect();
        let mut run = 0;
        if is_left_out {
            self.left_out.push(node.op.clone());
        }
        for (op, count) in node.ops.iter().filter(|_| !is_left_out) {
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
        let (operands, result) = lengths(op);
        let mut reads = Vec::new();
        for (i, length) in operands.iter().enumerate() {
            let tensor = read.get(i).copied().flatten();
            // each expert has rows of its own; where there are too few, the first ones
            let offset = node.expert.map_or(0, |expert| expert.saturating_mul(*length));
            let place = tensor.filter(|tensor| tensor.length >= *length && tensor.buffer != results.buffer);
            reads.push(match place {
                Some(tensor) => {
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
    }
}
