//! D6: weights, what training and decoding keep, and what is alive at once fit in a GPU's memory.

use std::collections::BTreeMap;

use super::{Offence, Verdict};
use crate::dag::Kind;
use crate::graph::{Facts, Graph};
use crate::units::human_bytes;

/// `order` is the order of execution; a tensor is alive on a GPU from the node that writes it to the last one
/// that reads it there. What a collective reads and writes under one name stays in place.
pub(super) fn memory(graph: &Graph, order: &[usize], capacity_bytes: Option<u64>) -> Verdict {
    let Some(facts) = &graph.facts else {
        return Verdict::Open("the graph does not say its element type".to_owned());
    };
    if order.len() < graph.nodes.len() {
        return Verdict::Open("a cycle has no order of execution".to_owned());
    }
    let peaks = peaks(graph, order, facts);
    let Some((gpu, fullest)) = peaks.iter().max_by_key(|(gpu, peak)| (**peak, std::cmp::Reverse(**gpu)))
    else {
        return Verdict::Open("no node is on a GPU".to_owned());
    };
    let Some(capacity) = capacity_bytes else {
        return Verdict::Open(format!(
            "at most {} per GPU; the size of its memory is not known",
            human_bytes(*fullest)
        ));
    };
    let offences = (*fullest > capacity).then(|| {
        let what = format!(
            "{} of weights and live tensors in {} of memory; with more micro-batches less is alive",
            human_bytes(*fullest),
            human_bytes(capacity)
        );
        Offence::at(format!("GPU {gpu}"), what)
    });
    Verdict::of(offences.into_iter().collect(), || {
        format!("at most {} of {} per GPU", human_bytes(*fullest), human_bytes(capacity))
    })
}

/// From when to when a tensor is alive on a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// Index of the node that writes it.
    pub writer: usize,
    /// Index of the last node that reads it there.
    pub last_reader: usize,
    /// Where.
    pub gpu: u32,
    /// How much.
    pub bytes: u64,
    /// Whether it takes the place of what its writer reads.
    pub in_place: bool,
}

/// The lifetimes of all tensors of the graph, which `order` puts in an order of execution.
pub fn lifetimes(graph: &Graph, order: &[usize], element_bytes: u64) -> Vec<Lifetime> {
    let mut position = vec![0; graph.nodes.len()];
    order.iter().enumerate().for_each(|(at, node)| position[*node] = at);
    // (writer, tensor, GPU) -> the node that reads it last there, and how much of it the readers say they read
    let mut last: BTreeMap<(usize, &str, u32), (usize, u64)> = BTreeMap::new();
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        if from.kind == Some(Kind::Send) || to.kind == Some(Kind::Output) {
            continue;
        }
        // a tensor is where its writer is, or where its reader is if the writer is in many places
        let gpus = if from.gpus.len() == 1 { &from.gpus } else { &to.gpus };
        for (writer, reader) in &edge.carries {
            let read = to.reads(reader).map_or(0, |tensor| tensor.shape.bytes(element_bytes));
            for gpu in gpus {
                let entry = last.entry((edge.from, writer, *gpu)).or_insert((edge.to, 0));
                if position[edge.to] > position[entry.0] {
                    entry.0 = edge.to;
                }
                entry.1 = entry.1.max(read);
            }
        }
    }
    let life = |((writer, name, gpu), (last_reader, read)): ((usize, &str, u32), (usize, u64))| {
        let node = &graph.nodes[writer];
        let bytes = match node.kind {
            // of the whole batch a GPU holds what its nodes read
            Some(Kind::Input) => read,
            _ => node.writes(name)?.shape.bytes(element_bytes),
        };
        let in_place =
            node.kind == Some(Kind::Collective) && node.reads(name).is_some() && node.writes(name).is_some();
        Some(Lifetime { writer, last_reader, gpu, bytes, in_place })
    };
    last.into_iter().filter_map(life).collect()
}

/// The most bytes on each GPU at once, weights included.
fn peaks(graph: &Graph, order: &[usize], facts: &Facts) -> BTreeMap<u32, u64> {
    let element_bytes = facts.dtype.bytes();
    let mut position = vec![0; graph.nodes.len()];
    order.iter().enumerate().for_each(|(at, node)| position[*node] = at);
    let mut peaks: BTreeMap<u32, u64> = BTreeMap::new();
    for node in &graph.nodes {
        // weights and their gradients once, the state of what the optimizer updates, the cache of every sequence
        let of_weights = match (node.op.as_str(), node.microbatch) {
            ("optimizer", _) => facts.state_bytes,
            (_, 0) => element_bytes + facts.gradient_bytes,
            _ => 0,
        };
        let kept = node.reads.iter().filter(|tensor| tensor.is_kept());
        let kept = kept.map(|tensor| tensor.shape.bytes(element_bytes)).fold(0, u64::saturating_add);
        for gpu in &node.gpus {
            let held = peaks.entry(*gpu).or_default();
            *held = held.saturating_add(node.parameters.saturating_mul(of_weights)).saturating_add(kept);
        }
    }
    // by GPU and position: how much begins to live, and how much has ended before
    let mut changes: BTreeMap<u32, BTreeMap<usize, (u64, u64)>> = BTreeMap::new();
    for life in lifetimes(graph, order, element_bytes) {
        let of_gpu = changes.entry(life.gpu).or_default();
        // in place: it lives on where the operand did, which ends here
        let begin = of_gpu.entry(position[life.writer] + usize::from(life.in_place)).or_default();
        begin.0 = begin.0.saturating_add(life.bytes);
        let end = of_gpu.entry(position[life.last_reader] + 1).or_default();
        end.1 = end.1.saturating_add(life.bytes);
    }
    for (gpu, changes) in changes {
        let (mut alive, mut most) = (0u64, 0u64);
        for (begins, ends) in changes.values() {
            alive = alive.saturating_sub(*ends).saturating_add(*begins);
            most = most.max(alive);
        }
        let held = peaks.entry(gpu).or_default();
        *held = held.saturating_add(most);
    }
    peaks
}
