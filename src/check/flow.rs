//! Shapes along edges, through collectives and through memory-bound ops.

use std::collections::BTreeMap;

use super::{Offence, rounds_up_to};
use crate::dag::Kind;
use crate::graph::{Graph, Node, Shape};
use crate::op::{CollectiveKind, KernelKind, Op};

/// A tensor of a node on a GPU, and the rows and number of its parts.
type Parts = BTreeMap<(usize, String, u32), (u128, u128)>;

/// Both ends of every edge agree. Experts, and the ends of the graph, take or bring a part of the rows: the
/// parts add up.
pub(super) fn edges(graph: &Graph, offences: &mut Vec<Offence>) {
    // what experts take of one writer, what experts bring to one reader
    let (mut taken, mut brought) = (Parts::new(), Parts::new());
    // by step, as several steps read the input
    let mut ends: BTreeMap<(usize, String), (u128, u128)> = BTreeMap::new();
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        for (writer, reader) in &edge.carries {
            let (Some(written), Some(read)) = (from.writes(writer), to.reads(reader)) else {
                let (node, name, word) = match from.writes(writer) {
                    None => (from, writer, "write"),
                    Some(_) => (to, reader, "read"),
                };
                let what = format!("{} does not {word} {name}", node.id);
                offences.push(Offence::edge(graph, edge, what));
                continue;
            };
            let (written, read) = (&written.shape, &read.shape);
            let add = |parts: &mut Parts, whole: usize, name: &str, gpu: Option<&u32>, rows| {
                let entry = parts.entry((whole, name.to_owned(), gpu.copied().unwrap_or(0))).or_default();
                *entry = (entry.0 + rows, entry.1 + 1);
            };
            let is_part = if from.kind == Some(Kind::Input) {
                let entry = ends.entry((edge.from, to.op.clone())).or_default();
                *entry = (entry.0 + read.rows(), entry.1 + 1);
                true
            } else if to.kind == Some(Kind::Output) {
                let entry = ends.entry((edge.to, String::new())).or_default();
                *entry = (entry.0 + written.rows(), entry.1 + 1);
                true
            } else if to.expert.is_some() && from.expert.is_none() {
                add(&mut taken, edge.from, writer, to.gpus.first(), read.rows());
                true
            } else if from.expert.is_some() && to.expert.is_none() {
                add(&mut brought, edge.to, reader, from.gpus.first(), written.rows());
                true
            } else {
                false
            };
            let agree = if is_part { written.width() == read.width() } else { written == read };
            if !agree {
                let what = format!("{} writes {writer} {written}, {} reads {reader} {read}", from.id, to.id);
                offences.push(Offence::edge(graph, edge, what));
            }
        }
    }
    if graph.facts.as_ref().is_some_and(|facts| facts.uneven) {
        // where one expert is more wanted, GPUs have other numbers of rows than the mean that their tensors say
        taken.clear();
        brought.clear();
    }
    sums(graph, &taken, &brought, &ends, offences);
}

fn sums(
    graph: &Graph,
    taken: &Parts,
    brought: &Parts,
    ends: &BTreeMap<(usize, String), (u128, u128)>,
    offences: &mut Vec<Offence>,
) {
    let sides = [(taken, false, "writes", "take"), (brought, true, "reads", "bring")];
    for (parts, reads, word, verb) in sides {
        for ((i, name, gpu), (rows, count)) in parts {
            let node = &graph.nodes[*i];
            let tensor = if reads { node.reads(name) } else { node.writes(name) };
            let Some(tensor) = tensor else { continue };
            if !rounds_up_to(*rows, tensor.shape.rows(), *count) {
                let what = format!(
                    "it {word} {} rows of {name} on GPU {gpu}, but {count} experts {verb} {rows}",
                    tensor.shape.rows()
                );
                offences.push(Offence::of(node, what));
            }
        }
    }
    for ((i, step), (rows, count)) in ends {
        let node = &graph.nodes[*i];
        let Some(tensor) = node.writes.first().or(node.reads.first()) else { continue };
        // GPUs that hold the same rows count once each: a whole number of times the batch
        let whole = tensor.shape.rows().max(1);
        if !rounds_up_to(*rows, rows / whole * whole, *count) || *rows < whole {
            let who = if step.is_empty() { "GPUs" } else { step };
            let what = format!("{count} {who} have {rows} rows together, no multiple of its {whole}");
            offences.push(Offence::of(node, what));
        }
    }
}

/// What a collective makes of its tensors, over the whole group.
pub(super) fn collectives(graph: &Graph, offences: &mut Vec<Offence>) {
    for node in &graph.nodes {
        let (Some(read), Some(written)) = (node.reads.first(), node.writes.first()) else { continue };
        let (read, written) = (&read.shape, &written.shape);
        let [givers, takers] = [node.givers().len(), node.takers().len()].map(|n| n as u128);
        let fits = match (node.kind, node.ops.first()) {
            (Some(Kind::Send), _) => read.width() == written.width() && written.rows() <= read.rows(),
            (Some(Kind::Recv), _) => read == written,
            (_, Some((Op::Collective(op), _))) => {
                let rows = match op.kind {
                    CollectiveKind::AllReduce => read == written,
                    CollectiveKind::AllGather | CollectiveKind::Broadcast => {
                        rounds_up_to(read.rows() * givers, written.rows(), givers)
                    }
                    CollectiveKind::ReduceScatter => {
                        rounds_up_to(written.rows() * takers, read.rows(), takers)
                    }
                    CollectiveKind::AllToAll => read.rows() * givers == written.rows() * takers,
                };
                // what is cut along its columns is gathered along them
                let columns = op.kind == CollectiveKind::AllGather
                    && read.rows() == written.rows()
                    && u128::from(read.width()) * givers == u128::from(written.width());
                columns || (rows && read.width() == written.width())
            }
            _ => continue,
        };
        if !fits {
            let name = match node.ops.first() {
                Some((Op::Collective(op), _)) => op.kind.name(),
                _ => node.kind.map_or("it", Kind::name),
            };
            let what = format!("{name} over {} GPUs makes {written} of {read}", node.gpus.len());
            offences.push(Offence::of(node, what));
        }
    }
}

/// What a memory-bound op reads and writes is what its sizes say.
pub(super) fn kernels(node: &Node, offences: &mut Vec<Offence>) {
    let [.., (Op::Kernel(op), _)] = node.ops.as_slice() else { return };
    let size = u128::from(op.rows) * u128::from(op.cols);
    let times = |shape: &Shape, factor: u128| shape.elements() == size * factor;
    let reads = |factor| node.reads.iter().all(|tensor| times(&tensor.shape, factor));
    let writes = || node.writes.iter().all(|tensor| times(&tensor.shape, 1));
    let fits = match op.kind {
        KernelKind::Layernorm | KernelKind::Activation | KernelKind::Residual => reads(1) && writes(),
        // a loss also says what the group must know of each token
        KernelKind::Softmax => reads(1) && node.writes.first().is_some_and(|tensor| times(&tensor.shape, 1)),
        KernelKind::GatedActivation => reads(2) && writes(),
        KernelKind::GateTopk => reads(1),
        KernelKind::Permute | KernelKind::Unpermute => writes(),
        KernelKind::Copy => true,
    };
    if !fits {
        let tensors: Vec<String> =
            node.reads.iter().chain(&node.writes).map(|t| format!("{} {}", t.name, t.shape)).collect();
        let what = format!(
            "{} {}x{} does not fit its tensors: {}",
            op.kind.name(),
            op.rows,
            op.cols,
            tensors.join(", ")
        );
        offences.push(Offence::of(node, what));
    }
}
