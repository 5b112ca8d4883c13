//! Every op of a plan, for a timeline.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::column::column;
use super::interval;
use crate::dag::{Kind, Work};
use crate::evaluate::Evaluation;

/// The ops as columns, and what they share: names, works with their times, groups of GPUs.
pub fn ops(e: &Evaluation) -> Value {
    let nodes = || e.dag.nodes();
    let (mut names, mut known) = (Vec::new(), HashMap::new());
    let mut name_of = |node| {
        let name = e.dag.name_of(node);
        *known.entry(name).or_insert_with(|| {
            names.push(name);
            names.len() as u32 - 1
        })
    };
    let name: Vec<u32> = nodes().map(&mut name_of).collect();
    let start: Vec<u32> = nodes().map(|node| ticks(e, e.timeline.schedule.start(&e.dag, node))).collect();
    let layer: Vec<u32> =
        nodes().map(|node| e.dag.tag(node).layer.map_or(0, |layer| u32::from(layer) + 1)).collect();
    let piece: Vec<u32> = nodes().map(|node| e.dag.tag(node).microbatch).collect();
    let lane: Vec<u32> = e.dag.lane_column().iter().map(|lane| lane.index() as u32).collect();
    let work: Vec<u32> = e.dag.work_column().iter().map(|work| work.index() as u32).collect();
    let path: Vec<u32> = e.critical_path.iter().map(|node| node.index() as u32).collect();
    let works = e.dag.works().iter().zip(&e.prices.works).map(|(work, estimate)| {
        let kind = Kind::ALL.iter().position(|kind| *kind == work.kind);
        json!([kind, what(work), interval(estimate), estimate.basis])
    });
    json!({
        "count": e.dag.len(), "edges": e.dag.edges(), "names": names, "works": works.collect::<Vec<_>>(),
        "lanes": e.dag.lanes(), "start": column(&start), "lane": column(&lane), "work": column(&work),
        "name": column(&name), "layer": column(&layer), "piece": column(&piece), "path": column(&path),
    })
}

/// A time as a part of the makespan in 2^32: a ten-thousandth of a pixel at the closest zoom of a page.
fn ticks(e: &Evaluation, seconds: f64) -> u32 {
    (seconds / e.timeline.schedule.makespan.max(f64::MIN_POSITIVE) * f64::from(u32::MAX)).round() as u32
}

fn what(work: &Work) -> String {
    let text: Vec<String> = (work.ops.iter())
        .map(|(op, n)| if *n == 1 { op.to_string() } else { format!("{n} × {op}") })
        .collect();
    text.join(" + ")
}
