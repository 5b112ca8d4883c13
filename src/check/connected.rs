//! D2: one way in, one way out, everything in between; transfers in pairs; nothing read that nobody brings.

use std::collections::HashSet;

use super::{Offence, Verdict};
use crate::dag::Kind;
use crate::graph::{Graph, Node};

pub(super) fn connected(graph: &Graph) -> Verdict {
    let outgoing = graph.outgoing();
    let incoming = graph.incoming();
    let mut offences = Vec::new();
    let mut ids = HashSet::new();
    for node in &graph.nodes {
        if node.kind.is_none() {
            offences.push(Offence::of(node, "an edge names it, but there is no such node"));
        } else if !ids.insert(node.id.as_str()) {
            offences.push(Offence::of(node, "the id stands for two nodes"));
        }
    }
    // what says most comes first: a missing edge is also a loose end
    fed(graph, &outgoing, &incoming, &mut offences);
    transfers(graph, &outgoing, &incoming, &mut offences);
    crossings(graph, &mut offences);
    ends(graph, &outgoing, &incoming, &mut offences);
    let sends = graph.nodes.iter().filter(|node| node.kind == Some(Kind::Send)).count();
    Verdict::of(offences, || {
        format!("one input, one output for each micro-batch, all else between them, {sends} sends arrive")
    })
}

/// Sources are inputs and sinks are outputs, one of each for a micro-batch, and everything lies between.
fn ends(graph: &Graph, outgoing: &[Vec<usize>], incoming: &[Vec<usize>], offences: &mut Vec<Offence>) {
    for (kind, edges, word) in [
        (Kind::Input, incoming, "nothing comes before it"),
        (Kind::Output, outgoing, "nothing comes after it"),
    ] {
        let mut seen = HashSet::new();
        for (node, edges) in graph.nodes.iter().zip(edges) {
            let is_end = node.kind == Some(kind);
            if is_end && !seen.insert(node.microbatch) {
                offences.push(Offence::of(node, format!("a second {}", kind.name())));
            }
            if edges.is_empty() && !is_end && node.kind.is_some() {
                offences.push(Offence::of(node, format!("{word}, and it is no {}", kind.name())));
            }
        }
        if seen.is_empty() {
            offences.push(Offence::at(kind.name(), format!("the graph has no {}", kind.name())));
        }
    }
    let from_input = reach(graph, Kind::Input, outgoing, |edge| graph.edges[edge].to);
    let from_output = reach(graph, Kind::Output, incoming, |edge| graph.edges[edge].from);
    for (i, node) in graph.nodes.iter().enumerate() {
        if !from_input[i] && !incoming[i].is_empty() {
            offences.push(Offence::of(node, "no way leads here from the input"));
        }
        if !from_output[i] && !outgoing[i].is_empty() {
            offences.push(Offence::of(node, "no way leads from here to the output"));
        }
    }
}

fn reach(graph: &Graph, kind: Kind, edges: &[Vec<usize>], end: impl Fn(usize) -> usize) -> Vec<bool> {
    let mut reached: Vec<bool> = graph.nodes.iter().map(|node| node.kind == Some(kind)).collect();
    let mut open: Vec<usize> = (0..reached.len()).filter(|i| reached[*i]).collect();
    while let Some(node) = open.pop() {
        for edge in &edges[node] {
            let next = end(*edge);
            if !reached[next] {
                reached[next] = true;
                open.push(next);
            }
        }
    }
    reached
}

/// Every send has one arrival, on the GPU that it names, and the other way round.
fn transfers(graph: &Graph, outgoing: &[Vec<usize>], incoming: &[Vec<usize>], offences: &mut Vec<Offence>) {
    for (i, node) in graph.nodes.iter().enumerate() {
        let (others, word): (Vec<&Node>, _) = match node.kind {
            Some(Kind::Send) => {
                let to = outgoing[i].iter().map(|edge| &graph.nodes[graph.edges[*edge].to]);
                (to.filter(|to| to.kind == Some(Kind::Recv)).collect(), "arrivals")
            }
            Some(Kind::Recv) => {
                let from = incoming[i].iter().map(|edge| &graph.nodes[graph.edges[*edge].from]);
                (from.filter(|from| from.kind == Some(Kind::Send)).collect(), "sends")
            }
            _ => continue,
        };
        let [other] = others.as_slice() else {
            offences.push(Offence::of(node, format!("it has {} {word} instead of one", others.len())));
            continue;
        };
        if let Some(peer) = node.peer
            && !other.gpus.contains(&peer)
        {
            let what = format!("it names GPU {peer}, but {} is on GPU {:?}", other.id, other.gpus);
            offences.push(Offence::of(node, what));
        }
    }
}

/// Everything that a node reads is brought by an edge on every GPU on which it reads, and everything that is
/// written is read.
fn fed(graph: &Graph, outgoing: &[Vec<usize>], incoming: &[Vec<usize>], offences: &mut Vec<Offence>) {
    for (i, node) in graph.nodes.iter().enumerate() {
        for read in node.reads.iter().filter(|read| !read.is_kept()) {
            let mut bringers = incoming[i]
                .iter()
                .map(|edge| &graph.edges[*edge])
                .filter(|edge| edge.carries.iter().any(|(_, reader)| *reader == read.name));
            if node.gpus.len() < 2 {
                if bringers.next().is_none() {
                    offences.push(Offence::of(node, format!("it reads {}, which no edge brings", read.name)));
                }
                continue;
            }
            let brought: HashSet<u32> =
                bringers.flat_map(|edge| graph.nodes[edge.from].takers().iter().copied()).collect();
            if let Some(gpu) = node.givers().iter().find(|gpu| !brought.contains(gpu)) {
                let what = format!("it reads {} on GPU {gpu}, from where no edge brings it", read.name);
                offences.push(Offence::of(node, what));
            }
        }
        for written in node.writes.iter().filter(|written| !written.is_by_product()) {
            let read = outgoing[i].iter().map(|edge| &graph.edges[*edge]).any(|edge| {
                edge.carries.iter().any(|(writer, _)| *writer == written.name)
                    || graph.nodes[edge.to].kind == Some(Kind::Join)
            });
            if !read && !outgoing[i].is_empty() {
                offences.push(Offence::of(node, format!("it writes {}, which nobody reads", written.name)));
            }
        }
    }
}

/// What goes from one GPU to another passes a collective or a send.
fn crossings(graph: &Graph, offences: &mut Vec<Offence>) {
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        if let ([a], [b]) = (from.gpus.as_slice(), to.gpus.as_slice()) {
            let sent = from.kind == Some(Kind::Send) && to.kind == Some(Kind::Recv);
            if a != b && !sent {
                let what = format!("it goes from GPU {a} to GPU {b} without a collective or a send");
                offences.push(Offence::edge(graph, edge, what));
            }
        } else if let (group, [b]) = (from.gpus.as_slice(), to.gpus.as_slice())
            && group.len() > 1
            && !group.contains(b)
        {
            let what = format!("GPU {b} is not of the group of {}", from.id);
            offences.push(Offence::edge(graph, edge, what));
        } else if let ([a], group) = (from.gpus.as_slice(), to.gpus.as_slice())
            && group.len() > 1
            && !group.contains(a)
        {
            let what = format!("GPU {a} is not of the group of {}", to.id);
            offences.push(Offence::edge(graph, edge, what));
        }
    }
}
