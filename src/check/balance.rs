//! D4: every GPU has the same work. Equal work is not equal time: a GPU can wait for the others all the while.

use super::{Limits, Offence, Verdict};
use crate::dag::{Kind, Part};
use crate::graph::Graph;

pub(super) fn balance(graph: &Graph, limits: &Limits) -> Verdict {
    let highest = graph.nodes.iter().flat_map(|node| &node.gpus).max().map_or(0, |gpu| *gpu as usize + 1);
    let gpus = graph.facts.as_ref().map_or(highest, |facts| highest.max(facts.gpus as usize));
    if gpus == 0 {
        return Verdict::Open("no node is on a GPU".to_owned());
    }
    let mut flops = vec![0f64; gpus];
    let mut weights = vec![0f64; gpus];
    let mut busy = vec![0f64; gpus];
    let mut missing = None;
    for node in &graph.nodes {
        // Get_Time is about work: who sends and who receives is no matter of its balance
        let works = !matches!(node.kind.and_then(Kind::part), Some(Part::Communication));
        let seconds = limits.cost.filter(|_| works).map_or(0.0, |cost| {
            let each = node.ops.iter().map(|(op, count)| cost.cost(op).map(|e| (e * *count).seconds.get()));
            each.sum::<Result<f64, _>>().unwrap_or_else(|miss| {
                missing.get_or_insert(miss);
                0.0
            })
        });
        for gpu in &node.gpus {
            flops[*gpu as usize] += node.flops() as f64;
            busy[*gpu as usize] += seconds;
            if node.microbatch == 0 {
                weights[*gpu as usize] += node.parameters as f64;
            }
        }
    }
    let mut measures = vec![("FLOPs", flops), ("parameters", weights)];
    if limits.cost.is_some() && missing.is_none() {
        measures.push(("time at work", busy));
    }
    let mut offences = Vec::new();
    let mut figures = Vec::new();
    for (name, of_gpu) in &measures {
        let mean = of_gpu.iter().sum::<f64>() / gpus as f64;
        let (worst, most) =
            of_gpu.iter().enumerate().fold((0, 0.0), |best, (i, x)| if *x > best.1 { (i, *x) } else { best });
        let ratio = if mean > 0.0 { most / mean } else { 1.0 };
        figures.push(format!("{name} {ratio:.3}"));
        if ratio > 1.0 + limits.tolerance + 1e-9 {
            offences
                .push(Offence::at(format!("GPU {worst}"), format!("{ratio:.2} times the mean of {name}")));
        }
    }
    Verdict::of(offences, || format!("largest over mean: {}", figures.join(", ")))
}
