//! D5: every layer once, every step of it on every GPU of its group once, every FLOP and every parameter.

use std::collections::{BTreeMap, BTreeSet};

use super::{Offence, Verdict, rounds_up_to};
use crate::dag::Kind;
use crate::graph::{Facts, Graph, Node};
use crate::units::grouped;

/// Steps of attention, from the layernorm to the residual add, without collectives.
const ATTENTION: [&str; 7] = ["ln1", "qkv", "attn_scores", "attn_weights", "attn_output", "o_proj", "res1"];
const FUSED_ATTENTION: [&str; 5] = ["ln1", "qkv", "attention", "o_proj", "res1"];
const LATENT_ATTENTION: [&str; 9] =
    ["ln1", "q_down", "q_norm", "q_up", "kv_down", "kv_norm", "attention", "o_proj", "res1"];
const DENSE: [&str; 5] = ["ln2", "mlp_up", "mlp_act", "mlp_down", "res2"];
/// The layernorm has another name where the experts stand alone.
const EXPERTS: [&str; 5] = ["gate", "gate_topk", "permute", "expert_agg", "res2"];
const EACH_EXPERT: [&str; 3] = ["expert_up", "expert_act", "expert_down"];
const NORMS: [&str; 2] = ["ln2", "ln_moe"];

pub(super) fn complete(graph: &Graph) -> Verdict {
    let Some(facts) = &graph.facts else {
        return Verdict::Open("the graph does not say which model it computes".to_owned());
    };
    let mut offences = Vec::new();
    for microbatch in 0..facts.microbatches.min(graph.nodes.len() as u64) {
        layers(graph, facts, microbatch, &mut offences);
    }
    let flops: u128 = graph.nodes.iter().map(Node::flops).sum();
    let expected = facts.flops();
    // a row more for each expert of each layer, micro-batch and GPU at most
    let slack = if facts.experts > 0 { graph.nodes.len() as u128 } else { 1 };
    let row = 4 * u128::from(facts.hidden) * u128::from(facts.ffn);
    // what makes latent vectors stands on every GPU of a tensor group
    let latent = 2 * u128::from(facts.layers) * u128::from(facts.tokens()) * facts.latents();
    let replicated = flops > expected && latent > 0 && (flops - expected).is_multiple_of(latent);
    if !(flops == expected || replicated || (facts.experts > 0 && rounds_up_to(flops, expected, slack * row)))
    {
        let what = format!("{} FLOPs over all GPUs, the model has {}", grouped(flops), grouped(expected));
        offences.push(Offence::at("graph", what));
    }
    let figures = parameters(graph, facts, &mut offences);
    Verdict::of(offences, || {
        format!(
            "{} layer{}, {} FLOPs, {figures}",
            facts.layers,
            if facts.layers == 1 { "" } else { "s" },
            grouped(flops)
        )
    })
}

/// Every layer is there, in one stage, with all its steps.
fn layers(graph: &Graph, facts: &Facts, microbatch: u64, offences: &mut Vec<Offence>) {
    let mut by_layer: BTreeMap<u64, Vec<&Node>> = BTreeMap::new();
    for node in graph.nodes.iter().filter(|node| node.microbatch == microbatch) {
        if let (Some(layer), Some(kind)) = (node.layer, node.kind)
            && !matches!(kind, Kind::Send | Kind::Recv | Kind::Join)
        {
            by_layer.entry(layer).or_default().push(node);
        }
    }
    let of = match facts.microbatches {
        1 => String::new(),
        _ => format!(" of micro-batch {microbatch}"),
    };
    for layer in (0..facts.layers).filter(|layer| !by_layer.contains_key(layer)) {
        offences.push(Offence::at(format!("layer {layer}{of}"), "no node belongs to it"));
    }
    if let Some((layer, nodes)) = by_layer.iter().find(|(layer, _)| **layer >= facts.layers) {
        let what = format!("the model has {} layers, this is layer {layer}", facts.layers);
        offences.push(Offence::of(nodes[0], what));
    }
    let attention: &[&str] = match (facts.mla[1], facts.fused) {
        (1.., _) => &LATENT_ATTENTION,
        (0, true) => &FUSED_ATTENTION,
        (0, false) => &ATTENTION,
    };
    for (layer, nodes) in &by_layer {
        let place = format!("layer {layer}{of}");
        steps(&place, nodes, attention, offences);
        if facts.is_dense(*layer) {
            steps(&place, nodes, &DENSE, offences);
        } else {
            steps(&place, nodes, &EXPERTS, offences);
            experts(&place, nodes, facts.experts, offences);
            let norms: Vec<&str> =
                NORMS.into_iter().filter(|n| nodes.iter().any(|node| node.op == *n)).collect();
            if norms.is_empty() {
                offences.push(Offence::at(place.as_str(), "no layernorm before its experts"));
            }
        }
    }
}

/// Every step stands once on every GPU on which any of them stands.
fn steps(place: &str, nodes: &[&Node], wanted: &[&str], offences: &mut Vec<Offence>) {
    let of_part = || nodes.iter().filter(|node| wanted.contains(&node.op.as_str()));
    let gpus: BTreeSet<u32> = of_part().flat_map(|node| node.gpus.iter().copied()).collect();
    let mut counts: BTreeMap<(u32, &str), Vec<&Node>> = BTreeMap::new();
    for node in of_part() {
        if let [gpu] = node.gpus.as_slice() {
            counts.entry((*gpu, &node.op)).or_default().push(node);
        }
    }
    for gpu in gpus {
        for step in wanted {
            match counts.get(&(gpu, *step)).map(Vec::as_slice) {
                None => {
                    offences
                        .push(Offence::at(format!("{step} of {place} on GPU {gpu}"), "the node is missing"));
                }
                Some([_]) => {}
                Some([_, second, ..]) => {
                    offences
                        .push(Offence::of(second, format!("{step} of {place} stands twice on GPU {gpu}")));
                }
                Some([]) => {}
            }
        }
    }
}

/// Every expert has its three steps, on as many GPUs as every other, and never twice on one.
fn experts(place: &str, nodes: &[&Node], experts: u64, offences: &mut Vec<Offence>) {
    let mut found: BTreeMap<(&str, u64), Vec<&Node>> = BTreeMap::new();
    for node in nodes {
        if let Some(expert) = node.expert {
            found.entry((&node.op, expert)).or_default().push(node);
        }
    }
    // replicas of the whole group hold every expert again
    let most = (0..experts)
        .flat_map(|expert| EACH_EXPERT.map(|step| found.get(&(step, expert)).map_or(0, Vec::len)))
        .max()
        .unwrap_or(0);
    let of_first = found.values().map(Vec::len).min().unwrap_or(0);
    for expert in 0..experts {
        for step in EACH_EXPERT {
            match found.get(&(step, expert)) {
                None => {
                    let object = format!("{step}_{expert} of {place}");
                    offences.push(Offence::at(object, "the node is missing"));
                }
                Some(nodes) if most > of_first && nodes.len() == most => {
                    let what = format!("expert {expert} of {place} stands {most} times, others {of_first}");
                    offences.push(Offence::of(nodes[nodes.len() - 1], what));
                }
                Some(_) => {}
            }
        }
    }
    if let Some(((_, expert), nodes)) = found.iter().find(|((_, expert), _)| *expert >= experts) {
        offences.push(Offence::of(nodes[0], format!("expert {expert} of a model with {experts}")));
    }
}

/// The matrices on all GPUs are the model's, and whole copies of them.
fn parameters(graph: &Graph, facts: &Facts, offences: &mut Vec<Offence>) -> String {
    let mut held: BTreeMap<&str, u128> = BTreeMap::new();
    for node in &graph.nodes {
        // what is held for a product; layernorms are everywhere, and small
        if node.microbatch == 0 && node.flops() > 0 {
            *held.entry(&node.op).or_default() += u128::from(node.parameters);
        }
    }
    let [hidden, ffn, dense_ffn] = [facts.hidden, facts.ffn, facts.dense_ffn].map(u128::from);
    let [experts, shared, vocabulary] =
        [facts.experts, facts.shared_experts, facts.vocabulary].map(u128::from);
    let [dense, routed] = facts.layers_by_kind().map(u128::from);
    let [q, kv] = [facts.heads, facts.kv_heads].map(|heads| u128::from(heads * facts.head_dim));
    let up = u128::from(facts.up_matrices) * hidden;
    let whole = [
        ("qkv", (dense + routed) * hidden * (q + 2 * kv)),
        ("o_proj", (dense + routed) * q * hidden),
        ("gate", routed * hidden * experts),
        ("mlp_up", dense * up * dense_ffn),
        ("mlp_down", dense * dense_ffn * hidden),
        ("expert_up", routed * experts * up * ffn),
        ("expert_down", routed * experts * ffn * hidden),
        ("shared_up", routed * shared * up * ffn),
        ("shared_down", routed * shared * ffn * hidden),
        ("lm_head", vocabulary * hidden),
    ];
    for (op, model) in whole {
        let Some(held) = held.get(op) else { continue };
        if model == 0 || !held.is_multiple_of(model) || *held == 0 {
            let what = format!(
                "{} parameters over all GPUs, no whole number of copies of the model's {}",
                grouped(*held),
                grouped(model)
            );
            offences.push(Offence::at(op, what));
        }
    }
    let model = facts.matrices() + vocabulary * hidden;
    let replicas = held.values().sum::<u128>().saturating_sub(model);
    match replicas {
        0 => format!("{} parameters", grouped(model)),
        n => format!("{} parameters and {} in replicas", grouped(model), grouped(n)),
    }
}
