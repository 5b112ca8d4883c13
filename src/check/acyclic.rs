//! D1: no cycle, no edge twice, no edge from a node to itself.

use std::collections::HashSet;

use super::{Offence, Verdict};
use crate::graph::Graph;

/// Kahn's algorithm must remove every node; `order` is what it removed.
pub(super) fn acyclic(graph: &Graph, order: &[usize]) -> Verdict {
    let mut offences = Vec::new();
    let mut seen = HashSet::new();
    for edge in &graph.edges {
        if edge.from == edge.to {
            offences.push(Offence::edge(graph, edge, "a node cannot come after itself"));
        } else if !seen.insert((edge.from, edge.to)) {
            offences.push(Offence::edge(graph, edge, "the edge stands here twice"));
        }
    }
    if order.len() < graph.nodes.len() && offences.is_empty() {
        offences.extend(cycle(graph, order));
    }
    Verdict::of(offences, || format!("{} nodes, {} edges, no cycle", graph.nodes.len(), graph.edges.len()))
}

/// One of the cycles among the nodes that are left: follow predecessors, each of which is left too, until one
/// comes again.
fn cycle(graph: &Graph, order: &[usize]) -> Option<Offence> {
    let mut left = vec![true; graph.nodes.len()];
    order.iter().for_each(|node| left[*node] = false);
    let incoming = graph.incoming();
    let mut node = left.iter().position(|left| *left)?;
    let mut position = vec![None; graph.nodes.len()];
    let mut path = Vec::new();
    while position[node].is_none() {
        position[node] = Some(path.len());
        path.push(node);
        node = incoming[node].iter().map(|edge| graph.edges[*edge].from).find(|from| left[*from])?;
    }
    let around: Vec<usize> = path[position[node]?..].iter().rev().copied().collect();
    // begin where the file does
    let first = (0..around.len()).min_by_key(|i| around[*i])?;
    let ids = (0..=around.len()).map(|i| graph.nodes[around[(first + i) % around.len()]].id.as_str());
    let ids: Vec<&str> = ids.collect();
    let shown = match ids.len() {
        n if n <= 6 => ids.join(" -> "),
        n => format!("{} -> … -> {} ({} nodes)", ids[..3].join(" -> "), ids[n - 2..].join(" -> "), n - 1),
    };
    Some(Offence::of(&graph.nodes[around[first]], format!("a cycle: {shown}")))
}
