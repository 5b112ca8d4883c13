//! All plans on one page that needs nothing else: ranked, and of each a timeline that pans and zooms, the facts
//! of every op, the critical path, what the GPUs' time goes to, the roofline, and what would change the answer.
//!
//! Axes, scales and lines are uPlot's (vendor/uPlot-1.6.32, MIT), compiled in. The page draws only what a pixel
//! can show, so that a timeline of a hundred thousand ops moves as one of a hundred does.

mod column;
mod figures;
mod ops;

use serde_json::{Value, json};

use super::ranking::by_model;
use super::rows::{Group, groups};
use crate::cost::Estimate;
use crate::dag::Kind;
use crate::evaluate::Evaluation;
use crate::occupancy::{Occupancy, occupancy};
use crate::source::Source;

/// The page with the places that the others are put in.
const PAGE: &str = include_str!("page.html");

/// What stands where: the library first, with its licence in its own words.
const PARTS: [(&str, &str); 6] = [
    ("/*LICENSE*/", include_str!("../../../vendor/uPlot-1.6.32/LICENSE")),
    ("/*UPLOT.CSS*/", include_str!("../../../vendor/uPlot-1.6.32/uPlot.min.css")),
    ("/*UPLOT*/", include_str!("../../../vendor/uPlot-1.6.32/uPlot.iife.min.js")),
    ("/*STYLE*/", include_str!("page.css")),
    ("/*TIMELINE*/", include_str!("timeline.js")),
    ("/*SCRIPT*/", include_str!("page.js")),
];

/// The page; plans of one model together, the fastest of each first.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn html(evaluations: &[Evaluation], source: &Source) -> serde_json::Result<String> {
    let kinds: Vec<Value> = Kind::ALL.iter().map(|kind| json!([kind.name(), kind.color()])).collect();
    let mut plans = Vec::new();
    for (model, group) in by_model(evaluations).iter().enumerate() {
        plans.extend(group.iter().map(|e| plan(e, model, group, source)));
    }
    let data = json!({ "source": source.headline, "kinds": kinds, "plans": plans });
    // what looks like the end of a script would be one
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    let page = PARTS.iter().fold(PAGE.to_owned(), |page, (place, text)| page.replacen(place, text, 1));
    Ok(page.replacen("/*DATA*/", &data, 1))
}

fn plan(e: &Evaluation, model: usize, group: &[&Evaluation], source: &Source) -> Value {
    let makespan = e.makespan();
    let best = group[0].makespan().seconds.get();
    let rank = rank(e, group);
    let others = group.iter().filter(|other| other.plan.name != e.plan.name);
    let Occupancy { products, memory, communication, bubble, idle } = occupancy(e);
    json!({
        "model": model, "rank": rank, "ties": others.filter(|other| self::rank(other, group) == rank).count(),
        "ratio": if best > 0.0 { makespan.seconds.get() / best } else { 1.0 },
        "name": e.plan.name, "title": e.plan.title, "gpus": e.dag.gpus(), "pieces": e.choice.microbatches,
        "dtype": e.choice.dtype.name(), "makespan": interval(&makespan), "basis": makespan.basis,
        "peak": e.fullest().peak_bytes, "capacity": e.memory.map(|memory| memory.capacity_bytes),
        "shares": [products, memory, communication, bubble, idle],
        "ops": ops::ops(e), "groups": groups(e).iter().map(terms).collect::<Vec<_>>(),
        "roofline": figures::roofline(e, source), "memory": figures::memory(e), "gains": figures::gains(e),
    })
}

/// 1 for a plan that none of its model surely beats, whatever the error bars; one more for each that does.
fn rank(e: &Evaluation, group: &[&Evaluation]) -> usize {
    1 + group.iter().filter(|other| other.makespan().high < e.makespan().low).count()
}

fn interval(estimate: &Estimate) -> [f64; 3] {
    [estimate.seconds, estimate.low, estimate.high].map(|seconds| seconds.get())
}

/// A group of layers of the critical path with its rows.
fn terms(group: &Group) -> Value {
    let rows = group.rows.iter().map(|row| {
        json!([row.name, row.op, row.count, interval(&row.total), row.total.basis, row.kind.color()])
    });
    json!({ "layers": group.layers, "total": interval(&group.total()), "rows": rows.collect::<Vec<_>>() })
}
