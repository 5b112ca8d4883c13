//! `deployment_config.json`: what stands where, and the figures of it, each with its unit and its source.

use serde_json::{Value, json};

use crate::dag::Kind;
use crate::evaluate::Evaluation;
use crate::graph::{Cut, Graph, Node, stages};
use crate::op::Op;

fn figure(value: impl Into<Value>, unit: &str, source: &str) -> Value {
    json!({ "value": value.into(), "unit": unit, "source": source })
}

/// The deployment for programs.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn config(e: &Evaluation, graph: &Graph, source: &str) -> serde_json::Result<String> {
    let model = &e.plan.model;
    let stages = stages(graph);
    let gpus: Vec<Value> = (0..e.dag.gpus()).map(|gpu| gpu_entry(e, graph, &stages, gpu)).collect();
    let mut seen = std::collections::BTreeSet::new();
    let ops: Vec<Value> = graph
        .nodes
        .iter()
        .filter(|node| node.microbatch == 0 && !node.ops.is_empty())
        .filter(|node| seen.insert((node.op.clone(), node.reads.clone().len(), format!("{:?}", node.ops))))
        .map(|node| op_entry(e, graph, node))
        .collect();
    let makespan = e.makespan();
    let time = format!("{source}, {}", makespan.basis);
    let answer = json!({
        "plan": e.plan.name,
        "title": e.plan.title,
        "model": {
            "layers": model.layers, "hidden": model.hidden, "heads": model.heads,
            "kv_heads": model.kv_heads, "head_dim": model.head_dim, "experts": model.experts(),
            "batch": model.batch, "sequence": model.sequence, "dtype": e.choice.dtype.name(),
            "source": "the plan file",
        },
        "micro_batches": e.choice.microbatches,
        "gpus_per_node": e.choice.gpus_per_node,
        "gpus": gpus,
        "ops": ops,
        "performance": {
            "makespan": figure(makespan.seconds.get(), "s", &time),
            "makespan_low": figure(makespan.low.get(), "s", &time),
            "makespan_high": figure(makespan.high.get(), "s", &time),
            "utilisation": figure(e.utilisation(), "busy time / (GPUs × makespan)", &time),
            "gemm_flops": figure(
                e.gemm_flops.iter().sum::<u128>().to_string(), "FLOP, whole number as text", "derived: 2·b·m·k·n"
            ),
        },
    });
    serde_json::to_string_pretty(&answer).map(|text| text + "\n")
}

fn gpu_entry(e: &Evaluation, graph: &Graph, stages: &[Vec<u32>], gpu: u32) -> Value {
    let stage = stages.iter().position(|gpus| gpus.contains(&gpu));
    let rank = stage.and_then(|stage| stages[stage].iter().position(|other| *other == gpu));
    let mine = || graph.nodes.iter().filter(|node| node.gpus.contains(&gpu));
    let mut layers: Vec<u64> = mine().filter(|node| node.gpus.len() == 1).filter_map(|n| n.layer).collect();
    layers.sort_unstable();
    layers.dedup();
    let heads =
        mine().find(|node| node.op == "qkv").and_then(|n| n.writes.first()?.shape.dims.get(2).copied());
    let mut experts: Vec<u64> = mine().filter_map(|node| node.expert).collect();
    experts.sort_unstable();
    experts.dedup();
    let sent: f64 = mine()
        .flat_map(|node| &node.ops)
        .map(|(op, count)| match op {
            Op::Collective(c) => c.bytes as f64 * c.traffic_factor() * *count as f64,
            Op::P2p(p) => p.bytes as f64 * *count as f64,
            _ => 0.0,
        })
        .sum();
    let i = gpu as usize;
    let holds = e.footprints.get(i).copied().unwrap_or_default();
    json!({
        "gpu": gpu,
        "node": u64::from(gpu) / e.choice.gpus_per_node,
        "stage": stage,
        "rank_in_stage": rank,
        "layers": layers,
        "heads": heads,
        "experts": experts,
        "gemm_flops": figure(
            e.gemm_flops.get(i).copied().unwrap_or(0).to_string(), "FLOP, whole number as text",
            "derived: sum of 2·b·m·k·n over the GPU's products"
        ),
        "weight_bytes": figure(holds.weight_bytes, "B", "derived: parameters × bytes of the element type"),
        "activation_bytes": figure(
            holds.activation_bytes(), "B", "derived: most live at once in one layer, largest micro-batch"
        ),
        "communication_bytes": figure(
            sent, "B sent in a forward pass", "derived: bytes × ring traffic factor, and sends"
        ),
        "busy": figure(e.timeline.busy.get(i).copied().unwrap_or(0.0), "s", "times of the GPU's ops added"),
    })
}

fn op_entry(e: &Evaluation, graph: &Graph, node: &Node) -> Value {
    let tensors = |tensors: &[crate::graph::Tensor]| {
        let entry = |t: &crate::graph::Tensor| (t.name.clone(), Value::from(t.shape.dims.clone()));
        tensors.iter().map(entry).collect::<serde_json::Map<_, _>>()
    };
    let at = graph.nodes.iter().position(|other| std::ptr::eq(other, node)).unwrap_or(0);
    let work = e.dag.work_column()[at];
    let estimate = e.prices.works[work.index()];
    let mut entry = json!({
        "op": node.op,
        "kind": node.kind.map(Kind::name),
        "example": node.id,
        "parallel": node.cut.map(Cut::name),
        "work": super::breakdown::work(node),
        "in": tensors(&node.reads),
        "out": tensors(&node.writes),
        "time": figure(estimate.seconds.get(), "s", &estimate.basis.to_string()),
    });
    if let Some((Op::Collective(c), count)) = node.ops.first() {
        entry["collective"] = json!({
            "kind": c.kind.name(), "times": count, "bytes": figure(c.bytes, "B per GPU", "derived: shape"),
            "group": node.gpus, "nodes": c.nodes,
        });
    }
    if let Some((Op::P2p(p), _)) = node.ops.first() {
        entry["transfer"] = json!({
            "bytes": figure(p.bytes, "B", "derived: shape"), "from": node.gpus.first(), "to": node.peer,
        });
    }
    entry
}
