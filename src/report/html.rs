//! All plans on one page that needs nothing else: ranked, each with a timeline that pans and zooms, the facts
//! of every op, and its critical path. The page's own script draws only what a pixel can show, so that a
//! timeline of a hundred thousand ops moves as one of a hundred does.

use serde_json::{Value, json};

use super::rows::groups;
use crate::dag::{Kind, Part};
use crate::evaluate::Evaluation;
use crate::source::Source;

const PAGE: &str = include_str!("page.html");

/// The page; plans of one model together, the fastest of each first.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn html(evaluations: &[Evaluation], source: &Source) -> serde_json::Result<String> {
    let mut order: Vec<&Evaluation> = evaluations.iter().collect();
    let class = |e: &Evaluation| {
        evaluations.iter().position(|other| other.plan.model.computes_the_same(&e.plan.model)).unwrap_or(0)
    };
    order.sort_by_key(|e| (class(e), e.makespan().seconds));
    let kinds: Vec<Value> = Kind::ALL.iter().map(|kind| json!([kind.name(), kind.color()])).collect();
    let plans: Vec<Value> = order.into_iter().map(|e| plan(e, class(e))).collect();
    let data = json!({ "source": source.headline, "kinds": kinds, "plans": plans });
    // what looks like the end of a script would be one
    let data = serde_json::to_string(&data)?.replace('<', "\\u003c");
    Ok(PAGE.replacen("/*DATA*/", &data, 1))
}

fn plan(e: &Evaluation, model: usize) -> Value {
    let mut names: Vec<&str> = Vec::new();
    let mut known = std::collections::HashMap::new();
    let digits = (9.0 - e.timeline.schedule.makespan.max(1e-9).log10()).clamp(0.0, 17.0) as usize;
    let ops: Vec<Value> = e
        .dag
        .nodes()
        .map(|node| {
            let name = e.dag.name_of(node);
            let name = *known.entry(name).or_insert_with(|| {
                names.push(name);
                names.len() - 1
            });
            // a billionth of the whole run is less than a pixel at any zoom that the page has
            let start = e.timeline.schedule.start(&e.dag, node);
            let start: f64 = format!("{start:.digits$}").parse().unwrap_or(start);
            let tag = e.dag.tag(node);
            let mut op = vec![
                json!(start),
                e.dag.lane_column()[node.index()].index().into(),
                e.dag.work_column()[node.index()].index().into(),
                name.into(),
                tag.layer.map_or(-1, i64::from).into(),
            ];
            if tag.microbatch > 0 {
                op.push(tag.microbatch.into());
            }
            Value::from(op)
        })
        .collect();
    let works = e.dag.works().iter().zip(&e.prices.works).map(|(work, estimate)| {
        let kind = Kind::ALL.iter().position(|kind| *kind == work.kind);
        let text =
            |(op, n): &(crate::op::Op, u64)| if *n == 1 { op.to_string() } else { format!("{n} × {op}") };
        let what: Vec<String> = work.ops.iter().map(text).collect();
        json!([
            kind,
            what.join(" + "),
            estimate.basis,
            estimate.low.get(),
            estimate.high.get(),
            estimate.seconds.get()
        ])
    });
    let works: Vec<Value> = works.collect();
    let terms = groups(e).into_iter().flat_map(|group| group.rows).map(|row| {
        let error = match row.total.relative_half_width() {
            0.0 => "–".to_owned(),
            width => format!("{:.1} %", width * 100.0),
        };
        json!([row.name, row.op, row.count, row.total.seconds.get(), error, row.total.basis])
    });
    let makespan = e.makespan();
    json!({
        "model": model, "name": e.plan.name, "title": e.plan.title, "gpus": e.dag.gpus(), "pieces": e.choice.microbatches,
        "makespan": makespan.seconds.get(), "low": makespan.low.get(), "high": makespan.high.get(),
        "basis": makespan.basis, "peak": e.fullest().peak_bytes, "fits": e.fits(), "shares": shares(e),
        "names": names, "works": works, "lanes": e.dag.lanes(), "ops": ops,
        "path": e.critical_path.iter().map(|node| node.index()).collect::<Vec<_>>(),
        "terms": terms.collect::<Vec<Value>>(),
    })
}

/// Of all GPUs' time: computing, communicating, idle.
fn shares(e: &Evaluation) -> [f64; 3] {
    let mut communicates = 0.0;
    for node in e.dag.nodes() {
        if e.dag.work_of(node).kind.part() == Some(Part::Communication) {
            let seconds = e.timeline.durations[e.dag.work_column()[node.index()].index()];
            communicates += seconds * e.dag.gpus_of(node).len() as f64;
        }
    }
    let all = e.timeline.schedule.makespan * f64::from(e.dag.gpus());
    if all <= 0.0 {
        return [0.0, 0.0, 1.0];
    }
    let busy = e.utilisation();
    let communicates = (communicates / all).min(busy);
    [busy - communicates, communicates, 1.0 - busy]
}
