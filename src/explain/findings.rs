//! Rules that hold for any formula and any plan.

use super::Finding;
use super::terms::{Pair, Products};
use crate::evaluate::Evaluation;
use crate::graph::{Cut, Facts, Graph, Node};
use crate::op::Gemm;
use crate::units::{grouped, human_bytes};

/// Inner width and columns of the product before it was cut; `None` for attention, which has no weight.
pub(super) fn whole(graph: &Graph, op: &Products) -> Option<[u64; 2]> {
    let Facts { hidden, heads, kv_heads, head_dim, ffn, up_matrices, experts, .. } = *graph.facts.as_ref()?;
    let together = (heads + 2 * kv_heads) * head_dim;
    Some(match op.steps.first()?.as_str() {
        // one product of all three, or one of the three
        "qkv" if op.gemm.n * spread(graph, op) >= together => [hidden, together],
        "qkv" => [hidden, heads * head_dim],
        "o_proj" => [heads * head_dim, hidden],
        "gate" => [hidden, experts],
        "mlp_up" | "expert_up" => [hidden, up_matrices * ffn],
        "mlp_down" | "expert_down" => [ffn, hidden],
        _ => return None,
    })
}

fn node<'a>(graph: &'a Graph, op: &Products) -> Option<&'a Node> {
    let step = op.steps.first()?;
    graph.nodes.iter().find(|node| node.op == *step)
}

/// GPUs that share the step.
fn spread(graph: &Graph, op: &Products) -> u64 {
    let Some(first) = node(graph, op) else { return 1 };
    let same = |n: &&Node| n.op == first.op && n.layer == first.layer && n.microbatch == first.microbatch;
    graph.nodes.iter().filter(same).count() as u64
}

fn shape(g: &Gemm) -> String {
    let text = format!("({}, {}, {})", grouped(g.m.into()), grouped(g.k.into()), grouped(g.n.into()));
    if g.batch > 1 { format!("[{}]{text}", grouped(g.batch.into())) } else { text }
}

/// What each pair says; the largest factor first.
pub(super) fn of_pairs(e: &Evaluation, graph: &Graph, pairs: &[Pair], dropped: &[Products]) -> Vec<Finding> {
    let ratios: Vec<f64> =
        pairs.iter().filter_map(|(call, op)| Some(call.as_ref()?.count / op.as_ref()?.count)).collect();
    let mut findings = Vec::new();
    // one factor in every count is one error, not one of each term
    let common = match ratios.as_slice() {
        [first, rest @ ..] if !rest.is_empty() && rest.iter().all(|r| (r / first - 1.0).abs() < 1e-9) => {
            *first
        }
        _ => 1.0,
    };
    if common != 1.0 {
        let layers = e.plan.model.layers;
        findings.push(Finding {
            about: "every term".to_owned(),
            what: format!("counted {} as often as the path through {layers} layers does it", times(common)),
            ratio: Some(common),
        });
    }
    for (call, op) in pairs {
        let finding = match (call, op) {
            (Some(call), Some(op)) => differing(graph, call, op, common),
            (None, Some(op)) => {
                Some((op.steps.join(" + "), format!("absent: {} × {}", op.count, shape(&op.gemm)), Some(0.0)))
            }
            (Some(call), None) => {
                let what = "stands for no op of the plan".to_owned();
                Some((format!("Get_Time{}", shape(&call.gemm)), what, None))
            }
            (None, None) => None,
        };
        findings.extend(finding.map(|(about, what, ratio)| Finding { about, what, ratio }));
    }
    for call in dropped {
        findings.push(Finding {
            about: format!("Get_Time{}", shape(&call.gemm)),
            what: "is written, but does not count: another argument of the max is larger".to_owned(),
            ratio: None,
        });
    }
    let weight = |f: &Finding| match f.ratio {
        Some(0.0) => 3.0,
        Some(ratio) => ratio.ln().abs(),
        None => 2.0,
    };
    findings.sort_by(|a, b| weight(b).total_cmp(&weight(a)));
    findings
}

type Said = (String, String, Option<f64>);

fn differing(graph: &Graph, call: &Products, op: &Products, common: f64) -> Option<Said> {
    let (c, o) = (&call.gemm, &op.gemm);
    let about = op.steps.join(" + ");
    let same = (c.batch, c.m, c.k, c.n) == (o.batch, o.m, o.k, o.n);
    // a call that does not count at all has no number to compare
    let by_count = if call.counts { call.count / op.count / common } else { 1.0 };
    let ratio = c.flops() as f64 / o.flops() as f64 * by_count;
    if same && (ratio - 1.0).abs() < 1e-9 {
        return None;
    }
    let mut reasons = Vec::new();
    let cut = node(graph, op).and_then(|node| node.cut);
    if let Some([k, n]) = whole(graph, op) {
        let (cut_k, cut_n) = (c.k < k, c.n < n);
        if (c.k, c.n) != (o.k, o.n) && u128::from(c.k) * u128::from(c.n) == u128::from(o.k) * u128::from(o.n)
        {
            let axes = if o.n < c.n { ("k", "n") } else { ("n", "k") };
            reasons.push(format!("{} is cut where {} must be: the result is not the plan's", axes.0, axes.1));
        } else if cut_k && cut_n && cut != Some(Cut::Experts) {
            reasons.push(format!("k and n are both cut, {k} × {n}: a part of the product is missing"));
        } else if (c.k, c.n) == (k, n) && (o.k, o.n) != (k, n) {
            reasons.push(format!("not spread over the GPUs: the whole {k} × {n} on each"));
        }
        for (name, part, own, all) in [("k", c.k, o.k, k), ("n", c.n, o.n, n)] {
            if part != own && part > 0 && part < all && all % part != 0 {
                reasons.push(format!("{name} = {part} does not divide {all}"));
            }
        }
    } else if c.batch == 1 && o.batch > 1 {
        let inner = |g: &Gemm| [g.k, g.n];
        let head = o.k.min(o.n);
        let other = inner(c).into_iter().find(|size| *size != c.m).unwrap_or(head);
        if inner(c).contains(&c.m) {
            reasons.push(
                "the batch is folded into the sequence: every token meets those of all others".to_owned(),
            );
            if other > head {
                reasons.push(format!("heads of {head} side by side make one sum over {other}"));
            }
        } else {
            reasons.push(
                "one product with one second operand for all: each sequence and head has its own".to_owned(),
            );
            if c.k.min(c.n) < head {
                reasons.push("the head's width is cut as well".to_owned());
            }
        }
    }
    let rows = |p: &Products| p.gemm.batch as f64 * p.gemm.m as f64;
    let by_rows = rows(call) / rows(op);
    if by_rows != 1.0 {
        let word = if by_rows > 1.0 { "times" } else { "of" };
        reasons.push(format!("{} {word} the rows", fraction(by_rows)));
    }
    if (by_count - 1.0).abs() > 1e-9 {
        reasons.push(format!("counted {} as often", times(by_count)));
    }
    if reasons.is_empty() {
        reasons.push("another shape".to_owned());
    }
    let what = format!("{} is {}: {}", shape(c), shape(o), reasons.join("; "));
    Some((about, what, Some(ratio)))
}

/// `1/8` or `16`, three digits where it is neither.
fn fraction(ratio: f64) -> String {
    let whole = |x: f64| (x.round() - x).abs() < 1e-9 * x && x < 1e6;
    match ratio {
        r if whole(r) => format!("{r:.0}"),
        r if r > 0.0 && whole(1.0 / r) => format!("1/{:.0}", 1.0 / r),
        r => format!("{r:.3}"),
    }
}

fn times(ratio: f64) -> String {
    if ratio > 1.0 { format!("{} times", fraction(ratio)) } else { fraction(ratio) }
}

/// Whether the plan as the formula takes it fits at all.
pub(super) fn memory(e: &Evaluation) -> Option<Finding> {
    let memory = e.memory?;
    let needs = e.fullest().peak_bytes;
    (needs > memory.capacity_bytes).then(|| Finding {
        about: "memory".to_owned(),
        what: format!(
            "{} on a GPU of {}: at most {} sequences at once",
            human_bytes(needs),
            human_bytes(memory.capacity_bytes),
            memory.max_sequences
        ),
        ratio: None,
    })
}
