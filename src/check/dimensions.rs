//! D3: what is written is what is read, edge by edge, through every op and over every group.

use super::flow::{collectives, edges, kernels};
use super::products::{shapes, shards};
use super::{Offence, Verdict};
use crate::dag::Kind;
use crate::graph::{Facts, Graph, Node, Shape};
use crate::spec::Phase;

pub(super) fn dimensions(graph: &Graph) -> Verdict {
    let mut offences = Vec::new();
    if let Some(facts) = &graph.facts {
        ends(graph, facts, &mut offences);
    }
    edges(graph, &mut offences);
    collectives(graph, &mut offences);
    for node in &graph.nodes {
        kernels(node, &mut offences);
        shapes(node, &mut offences);
    }
    reduced(graph, &mut offences);
    if let Some(facts) = &graph.facts {
        shards(graph, facts, &mut offences);
    }
    let carrying = graph.edges.iter().filter(|edge| !edge.carries.is_empty()).count();
    Verdict::of(offences, || match &graph.facts {
        Some(facts @ Facts { batch, hidden, .. }) => {
            format!("{batch}x{}x{hidden} in and out, both ends of {carrying} edges agree", facts.queries())
        }
        None => format!("both ends of {carrying} edges agree (the graph does not say its model)"),
    })
}

/// What enters and what leaves is batch × sequence × hidden, over all micro-batches; with a vocabulary the
/// tokens enter, and the scores of one more leave. In training nothing leaves.
fn ends(graph: &Graph, facts: &Facts, offences: &mut Vec<Offence>) {
    let stream = [facts.queries(), facts.hidden];
    let (enters, leaves) = match facts.vocabulary {
        0 => (stream, stream),
        entries => ([facts.queries(), 1], [1, entries]),
    };
    for (kind, expected) in [(Kind::Input, enters), (Kind::Output, leaves)] {
        if kind == Kind::Output && facts.phase == Phase::Train {
            continue;
        }
        let of_kind: Vec<&Node> = graph.nodes.iter().filter(|node| node.kind == Some(kind)).collect();
        let shape = |node: &Node| -> Option<Shape> {
            node.writes.first().or(node.reads.first()).map(|tensor| tensor.shape.clone())
        };
        let mut sequences = 0u64;
        for node in &of_kind {
            match shape(node).as_ref().map(|shape| shape.dims.as_slice()) {
                Some([b, rest @ ..]) if *rest == expected => sequences += b,
                other => {
                    let found = other.map_or("no shape".to_owned(), |dims| Shape::new(dims).to_string());
                    let what = format!("its shape is {found}, the model's …x{}x{}", expected[0], expected[1]);
                    return offences.push(Offence::of(node, what));
                }
            }
        }
        if let (Some(first), true) = (of_kind.first(), sequences != facts.batch) {
            let what = format!("{sequences} sequences instead of the batch of {}", facts.batch);
            offences.push(Offence::of(first, what));
        }
    }
}

/// A product that is cut along its rows gives a part of every sum: a reduction must come before anything else.
fn reduced(graph: &Graph, offences: &mut Vec<Offence>) {
    use crate::op::{CollectiveKind, Op};
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        if from.cut != Some(crate::graph::Cut::Row) || edge.carries.is_empty() {
            continue;
        }
        let sums = to.ops.iter().any(|(op, _)| match op {
            Op::Collective(c) => matches!(c.kind, CollectiveKind::AllReduce | CollectiveKind::ReduceScatter),
            _ => false,
        });
        if !sums {
            let what = format!("{} holds a part of every sum, and {} is no reduction", from.id, to.id);
            offences.push(Offence::edge(graph, edge, what));
        }
    }
}
