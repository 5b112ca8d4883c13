//! A graph as Graphviz text: clusters for stages and GPUs, every node with all that is known of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::attributes::{gpus_text, ops_text, tensors_text};
use super::header::write_facts;
use super::{Graph, Node};
use crate::dag::Kind;

/// GPUs that do the same: those that hold the same layers and, of them, the same steps. In the order of their
/// first GPU.
pub fn stages(graph: &Graph) -> Vec<Vec<u32>> {
    let mut does: BTreeMap<u32, BTreeSet<(u64, &str)>> = BTreeMap::new();
    for node in &graph.nodes {
        let (Some(layer), [gpu]) = (node.layer, node.gpus.as_slice()) else { continue };
        // transfers connect groups, and are no sign of a group
        if !matches!(node.kind, Some(Kind::Send | Kind::Recv)) {
            does.entry(*gpu).or_default().insert((layer, &node.op));
        }
    }
    let mut stages: Vec<Vec<u32>> = Vec::new();
    for (gpu, steps) in &does {
        match stages.iter_mut().find(|stage| does.get(&stage[0]) == Some(steps)) {
            Some(stage) => stage.push(*gpu),
            None => stages.push(vec![*gpu]),
        }
    }
    stages
}

/// Writes the graph; nodes for which `critical` holds, and edges between two of them, are marked.
pub fn dot(graph: &Graph, critical: impl Fn(usize) -> bool) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write(&mut out, graph, &critical);
    out
}

fn write(out: &mut String, graph: &Graph, critical: &dyn Fn(usize) -> bool) -> std::fmt::Result {
    writeln!(out, "digraph \"{}\" {{", quoted(&graph.name))?;
    writeln!(out, "  graph [plan=\"{}\", rankdir=TB, newrank=true];", quoted(&graph.name))?;
    if let Some(facts) = &graph.facts {
        write_facts(out, facts)?;
    }
    writeln!(out, "  node [shape=box, style=filled, fontname=\"sans-serif\", fontsize=9];")?;
    let stages = stages(graph);
    let mut written = vec![false; graph.nodes.len()];
    for (number, stage) in stages.iter().enumerate() {
        writeln!(out, "  subgraph cluster_stage{number} {{")?;
        writeln!(out, "    label=\"stage {number}: GPUs {}\";", gpus_text(stage))?;
        for gpu in stage {
            writeln!(out, "    subgraph cluster_gpu{gpu} {{")?;
            writeln!(out, "      label=\"GPU {gpu}\";")?;
            for (i, node) in graph.nodes.iter().enumerate() {
                if node.gpus == [*gpu] {
                    write_node(out, "      ", node, critical(i))?;
                    written[i] = true;
                }
            }
            writeln!(out, "    }}")?;
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            if node.gpus.len() > 1 && node.gpus.iter().all(|gpu| stage.contains(gpu)) {
                write_node(out, "    ", node, critical(i))?;
                written[i] = true;
            }
        }
        writeln!(out, "  }}")?;
    }
    for (i, node) in graph.nodes.iter().enumerate().filter(|(i, _)| !written[*i]) {
        write_node(out, "  ", node, critical(i))?;
    }
    for edge in &graph.edges {
        let [from, to] = [edge.from, edge.to].map(|i| quoted(&graph.nodes[i].id));
        write!(out, "  \"{from}\" -> \"{to}\"")?;
        let marked = critical(edge.from) && critical(edge.to);
        let color = if marked { ", color=\"#c1121f\", penwidth=3" } else { "" };
        match edge.carries.is_empty() {
            true => writeln!(out, " [style=dashed{color}];")?,
            false => {
                let word = |(from, to): &(String, String)| match from == to {
                    true => from.clone(),
                    false => format!("{from}>{to}"),
                };
                let words: Vec<String> = edge.carries.iter().map(word).collect();
                writeln!(out, " [tensor=\"{}\"{color}];", quoted(&words.join(" ")))?;
            }
        }
    }
    writeln!(out, "}}")
}

fn write_node(out: &mut String, indent: &str, node: &Node, critical: bool) -> std::fmt::Result {
    let kind = node.kind.unwrap_or(Kind::Join);
    let mut label = node.id.clone();
    for (word, tensors) in [("in", &node.reads), ("out", &node.writes)] {
        if !tensors.is_empty() {
            label += &format!("\\n{word} {}", tensors_text(tensors));
        }
    }
    write!(out, "{indent}\"{}\" [kind={}, op=\"{}\"", quoted(&node.id), kind.name(), quoted(&node.op))?;
    write!(out, ", gpus=\"{}\"", gpus_text(&node.gpus))?;
    for (key, gpus) in [("givers", &node.givers), ("takers", &node.takers)] {
        if let Some(gpus) = gpus {
            write!(out, ", {key}=\"{}\"", gpus_text(gpus))?;
        }
    }
    let numbers = [
        ("layer_index", node.layer),
        ("expert", node.expert),
        ("microbatch", Some(node.microbatch).filter(|u| *u > 0)),
        ("peer", node.peer.map(u64::from)),
        ("parameters", Some(node.parameters).filter(|n| *n > 0)),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            write!(out, ", {key}={number}")?;
        }
    }
    if let Some(cut) = node.cut {
        write!(out, ", cut={}", cut.name())?;
    }
    if !node.reads.is_empty() {
        write!(out, ", in=\"{}\"", quoted(&tensors_text(&node.reads)))?;
    }
    if !node.writes.is_empty() {
        write!(out, ", out=\"{}\"", quoted(&tensors_text(&node.writes)))?;
    }
    if !node.ops.is_empty() {
        write!(out, ", ops=\"{}\"", quoted(&ops_text(&node.ops)))?;
    }
    let mark = if critical { ", color=\"#c1121f\", penwidth=3, critical=true" } else { "" };
    writeln!(out, ", label=\"{}\", fillcolor=\"{}\"{mark}];", quoted(&label), kind.color())
}

/// The text between quotation marks.
fn quoted(text: &str) -> String {
    text.replace('"', "\\\"")
}
