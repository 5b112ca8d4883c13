//! Products: what they read and write, and whether the parts on all GPUs make the whole.

use std::collections::BTreeMap;

use super::{Offence, rounds_up_to};
use crate::graph::{Facts, Graph, Node};
use crate::op::{Gemm, Op};

/// A product's operands and result have the elements that its sizes say.
///
/// Of the backward pass D5 counts the FLOPs; its products have other operands.
pub(super) fn shapes(node: &Node, offences: &mut Vec<Offence>) {
    if node.is_backward() {
        return;
    }
    let elements = |i: usize| node.reads.get(i).map_or(0, |tensor| tensor.shape.elements());
    let written: u128 = node.writes.iter().map(|tensor| tensor.shape.elements()).sum();
    let mut say = |what: String| offences.push(Offence::of(node, what));
    if let [(Op::Attention(op), 1)] = node.ops.as_slice() {
        let queries = [op.batch, op.heads, op.seq_q, op.head_dim].map(u128::from).iter().product::<u128>();
        // keys and values of latent attention differ in width, and the op has their mean
        let latent = node.reads("q_rope").is_some();
        if !latent && (elements(0) != queries || written != queries) {
            say(format!("attention over {queries} elements reads {} and writes {written}", elements(0)));
        }
        return;
    }
    let gemms: Vec<(&Gemm, u128)> = (node.ops.iter())
        .filter_map(|(op, count)| match op {
            Op::Gemm(gemm) => Some((gemm, u128::from(*count))),
            _ => None,
        })
        .collect();
    let Some((first, _)) = gemms.first() else { return };
    let sizes = |gemm: &Gemm| [gemm.batch, gemm.m, gemm.k, gemm.n].map(u128::from);
    let [b, m, k, n] = sizes(first);
    let shown = format!("{}x{}x{}", first.m, first.k, first.n);
    if elements(0) != b * m * k {
        return say(format!(
            "the product {shown} needs m·k = {} elements, it reads {}",
            b * m * k,
            elements(0)
        ));
    }
    let result = gemms.iter().map(|(gemm, count)| count * gemm_result(gemm)).sum::<u128>();
    if written != result {
        return say(format!("the product {shown} makes m·n = {result} elements, it writes {written}"));
    }
    let of_weights = |(gemm, count): &(&Gemm, u128)| {
        let [batch, _, k, n] = sizes(gemm);
        count * batch * k * n
    };
    let weights = gemms.iter().map(of_weights).sum::<u128>();
    let operands = node.reads.iter().filter(|tensor| !tensor.is_kept()).count();
    match operands {
        // two activations; several query heads may share one key/value head
        2 if elements(1) == 0 || !(b * k * n).is_multiple_of(elements(1)) => {
            say(format!("the product {shown} needs k·n = {} elements, it reads {}", b * k * n, elements(1)));
        }
        2 => {}
        _ if u128::from(node.parameters) != weights => {
            say(format!(
                "the product {shown} needs k·n = {weights} parameters, it holds {}",
                node.parameters
            ));
        }
        _ => {}
    }
}

fn gemm_result(gemm: &Gemm) -> u128 {
    u128::from(gemm.batch) * u128::from(gemm.m) * u128::from(gemm.n)
}

/// The whole product that the parts of a step make up: inner width and columns.
fn whole(op: &str, facts: &Facts) -> Option<[u64; 2]> {
    let Facts { hidden, heads, kv_heads, head_dim, ffn, dense_ffn, up_matrices, experts, .. } = *facts;
    Some(match op {
        "qkv" => [hidden, (heads + 2 * kv_heads) * head_dim],
        "o_proj" => [heads * head_dim, hidden],
        "gate" => [hidden, experts],
        "mlp_up" => [hidden, up_matrices * dense_ffn],
        "mlp_down" => [dense_ffn, hidden],
        "expert_up" => [hidden, up_matrices * ffn],
        "expert_down" => [ffn, hidden],
        _ => return None,
    })
}

/// Over all GPUs and micro-batches, the parts of a step tile the whole product: nothing missing, nothing
/// done twice.
pub(super) fn shards(graph: &Graph, facts: &Facts, offences: &mut Vec<Offence>) {
    let mut steps: BTreeMap<(u64, &str), Vec<&Node>> = BTreeMap::new();
    for node in &graph.nodes {
        if let Some(layer) = node.layer {
            steps.entry((layer, &node.op)).or_default().push(node);
        }
    }
    let heads = u128::from(facts.batch) * u128::from(facts.heads);
    let queries = u128::from(facts.queries());
    for ((layer, op), nodes) in steps {
        let gemms = || {
            nodes.iter().flat_map(|node| &node.ops).filter_map(|(op, count)| match op {
                Op::Gemm(gemm) => Some((gemm, u128::from(*count))),
                _ => None,
            })
        };
        let place = || format!("{op} of layer {layer}");
        if op == "attn_scores" || op == "attn_output" || op == "attention" {
            let here: u128 = (nodes.iter().flat_map(|node| &node.ops))
                .map(|(op, _)| match op {
                    // in decoding the heads that share keys are rows of one product
                    Op::Gemm(gemm) => u128::from(gemm.batch) * u128::from(gemm.m),
                    Op::Attention(op) => {
                        [op.batch, op.heads, op.seq_q].map(u128::from).iter().product::<u128>()
                    }
                    _ => 0,
                })
                .sum();
            let here = here / queries.max(1);
            if here != heads {
                let what = format!("{here} heads of sequences over all GPUs, the model has {heads}");
                offences.push(Offence::at(place(), what));
            }
            continue;
        }
        let Some([k, n]) = whole(op, facts) else { continue };
        let (rows, parts) = match nodes.iter().any(|node| node.expert.is_some()) {
            true => (facts.tokens().saturating_mul(facts.top_k), nodes.len()),
            false => (facts.tokens(), nodes.len()),
        };
        let uncut = |node: &&&Node| {
            let parts = node.ops.iter().filter_map(|(op, _)| match op {
                Op::Gemm(gemm) => Some(gemm),
                _ => None,
            });
            parts.into_iter().any(|gemm| gemm.k < k && total_columns(node) < n)
        };
        if let Some(node) = nodes.iter().find(uncut) {
            let what =
                format!("both k and n are less than the whole product's {k} and {n}: a part is missing");
            offences.push(Offence::of(node, what));
            continue;
        }
        let volume: u128 = gemms().map(|(g, count)| count * g.flops() / 2).sum();
        let one_row = u128::from(k) * u128::from(n);
        let expected = u128::from(rows) * one_row;
        if !rounds_up_to(volume, expected, parts as u128 * one_row) {
            let what = format!("m·k·n over all GPUs is {volume}, the whole product's is {expected}");
            offences.push(Offence::at(place(), what));
        }
    }
}

/// Columns of all the products of a node together.
fn total_columns(node: &Node) -> u64 {
    let columns = |(op, count): &(Op, u64)| match op {
        Op::Gemm(gemm) => gemm.n.saturating_mul(*count),
        _ => 0,
    };
    node.ops.iter().map(columns).fold(0, u64::saturating_add)
}
