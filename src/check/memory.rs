//! D6: weights and what is alive at once fit in a GPU's memory.

use std::collections::BTreeMap;

use super::{Offence, Verdict};
use crate::dag::Kind;
use crate::graph::Graph;
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
    let peaks = peaks(graph, order, facts.dtype.bytes());
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

/// The most bytes on each GPU at once, weights included.
pub(super) fn peaks(graph: &Graph, order: &[usize], element_bytes: u64) -> BTreeMap<u32, u64> {
    let mut position = vec![0; graph.nodes.len()];
    order.iter().enumerate().for_each(|(at, node)| position[*node] = at);
    // by GPU: how much begins to live, and how much has ended before, at each position
    let mut changes: BTreeMap<u32, BTreeMap<usize, (u64, u64)>> = BTreeMap::new();
    let mut weights: BTreeMap<u32, u64> = BTreeMap::new();
    // (writer, tensor, GPU) -> last position that reads it there
    let mut last: BTreeMap<(usize, &str, u32), usize> = BTreeMap::new();
    let in_place = |node: usize, name: &str| {
        let node = &graph.nodes[node];
        node.kind == Some(Kind::Collective) && node.reads(name).is_some() && node.writes(name).is_some()
    };
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        if from.kind == Some(Kind::Send) || to.kind == Some(Kind::Output) {
            continue;
        }
        // a tensor is where its reader is, or its writer where the reader is everywhere
        let gpus = match (from.gpus.len(), to.gpus.len()) {
            (1, _) => &from.gpus,
            _ => &to.gpus,
        };
        for (writer, _) in &edge.carries {
            for gpu in gpus {
                let end = last.entry((edge.from, writer, *gpu)).or_default();
                *end = (*end).max(position[edge.to]);
            }
        }
    }
    for node in &graph.nodes {
        for gpu in &node.gpus {
            if node.microbatch == 0 {
                *weights.entry(*gpu).or_default() += node.parameters.saturating_mul(element_bytes);
            }
        }
    }
    for ((i, name, gpu), end) in &last {
        let Some(tensor) = graph.nodes[*i].writes(name) else { continue };
        // what one GPU takes of a tensor that the group or the input writes is what its readers say
        let bytes = local_bytes(graph, *i, name, *gpu, element_bytes)
            .unwrap_or_else(|| tensor.shape.bytes(element_bytes));
        let of_gpu = changes.entry(*gpu).or_default();
        // in place: it lives on where the operand did, which ends here
        let begin = position[*i] + usize::from(in_place(*i, name));
        of_gpu.entry(begin).or_default().0 += bytes;
        of_gpu.entry(end + 1).or_default().1 += bytes;
    }
    let mut peaks = weights.clone();
    for (gpu, changes) in changes {
        let held = weights.get(&gpu).copied().unwrap_or(0);
        let (mut alive, mut most) = (0u64, 0u64);
        for (begins, ends) in changes.values() {
            alive = alive.saturating_sub(*ends).saturating_add(*begins);
            most = most.max(alive);
        }
        peaks.insert(gpu, held.saturating_add(most));
    }
    peaks
}

/// The part of the input's tensor that a GPU reads.
fn local_bytes(graph: &Graph, from: usize, name: &str, gpu: u32, element_bytes: u64) -> Option<u64> {
    if graph.nodes[from].kind != Some(Kind::Input) {
        return None;
    }
    let edges = graph.edges.iter().filter(|edge| edge.from == from);
    let reads = edges.filter_map(|edge| {
        let to = &graph.nodes[edge.to];
        let (_, reader) = edge.carries.iter().find(|(writer, _)| writer == name)?;
        to.gpus.contains(&gpu).then(|| to.reads(reader))?
    });
    reads.map(|tensor| tensor.shape.bytes(element_bytes)).max()
}
