//! A plan's timeline as a trace in Chrome's JSON format, which ui.perfetto.dev and chrome://tracing open: a
//! track for each GPU's work and one for its communication, the critical path on a track of its own, arrows
//! along sends and through groups, and a counter of live memory for each GPU.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::check::lifetimes;
use crate::dag::{Kind, Part};
use crate::evaluate::Evaluation;
use crate::plan;

/// Process of the tracks of GPUs.
const GPUS: u32 = 1;
/// Process of the critical path.
const PATH: u32 = 2;

/// The trace; times are in microseconds, as the format has it.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn perfetto(e: &Evaluation) -> serde_json::Result<String> {
    let mut events = names(e);
    let mut flow = 0u64;
    let start = |node| e.timeline.schedule.start(&e.dag, node) * 1e6;
    let end = |node| e.timeline.schedule.end(node) * 1e6;
    for node in e.dag.nodes() {
        let kind = e.dag.work_of(node).kind;
        let (ts, dur) = (start(node), end(node) - start(node));
        let track = |gpu: u32| 2 * gpu + u32::from(kind.part() == Some(Part::Communication));
        let gpus = e.dag.gpus_of(node);
        for gpu in gpus.iter().filter(|_| dur > 0.0 || kind == Kind::Recv) {
            let ops: Vec<String> =
                e.dag.work_of(node).ops.iter().map(|(op, n)| format!("{n} × {op}")).collect();
            let estimate = e.prices.of(&e.dag, node);
            events.push(json!({
                "name": e.dag.name_of(node), "cat": kind.name(), "ph": "X", "pid": GPUS, "tid": track(*gpu),
                "ts": ts, "dur": dur,
                "args": {
                    "id": e.dag.id(node), "ops": ops, "basis": estimate.basis,
                    "low_s": estimate.low.get(), "high_s": estimate.high.get(),
                },
            }));
        }
        let mut arrow = |from: u32, to: u32, leaves: f64, arrives: f64| {
            flow += 1;
            let end_of = |phase: &str, tid: u32, ts: f64| {
                json!({
                    "name": e.dag.name_of(node), "cat": "flow", "ph": phase, "bp": "e", "id": flow,
                    "pid": GPUS, "tid": tid, "ts": ts,
                })
            };
            events.push(end_of("s", from, leaves));
            events.push(end_of("f", to, arrives));
        };
        match (kind, gpus) {
            (Kind::Collective, [first, others @ ..]) if dur > 0.0 => {
                for other in others {
                    arrow(track(*first), track(*other), ts, ts + dur / 2.0);
                }
            }
            (Kind::Recv, [gpu]) => {
                for before in e.dag.after(node) {
                    if let [from] = e.dag.gpus_of(*before) {
                        arrow(2 * from + 1, track(*gpu), start(*before), ts);
                    }
                }
            }
            _ => {}
        }
    }
    for node in &e.critical_path {
        let dur = end(*node) - start(*node);
        if dur > 0.0 {
            events.push(json!({
                "name": e.dag.name_of(*node), "cat": e.dag.work_of(*node).kind.name(), "ph": "X", "pid": PATH,
                "tid": 0, "ts": start(*node), "dur": dur, "args": { "id": e.dag.id(*node) },
            }));
        }
    }
    events.extend(memory(e));
    serde_json::to_string(&json!({ "displayTimeUnit": "ms", "traceEvents": events })).map(|text| text + "\n")
}

fn names(e: &Evaluation) -> Vec<Value> {
    let name = |what: &str, pid: u32, tid: u32, name: String| json!({ "name": what, "ph": "M", "pid": pid, "tid": tid, "args": { "name": name } });
    let mut events = vec![
        name("process_name", GPUS, 0, e.plan.name.clone()),
        name("process_name", PATH, 0, "critical path".to_owned()),
        name("thread_name", PATH, 0, e.makespan().seconds.to_string()),
    ];
    for gpu in 0..e.dag.gpus() {
        events.push(name("thread_name", GPUS, 2 * gpu, format!("GPU {gpu} compute")));
        events.push(name("thread_name", GPUS, 2 * gpu + 1, format!("GPU {gpu} communication")));
    }
    events
}

/// Weights and live tensors on each GPU, wherever they change.
fn memory(e: &Evaluation) -> Vec<Value> {
    let graph = plan::describe(&e.plan, &e.choice, &e.dag);
    let nodes: Vec<_> = e.dag.nodes().collect();
    // by GPU and time in nanoseconds, which are exact enough and have an order
    let mut changes: BTreeMap<(u32, u64), i128> = BTreeMap::new();
    let at = |seconds: f64| (seconds * 1e9) as u64;
    for life in lifetimes(&graph, &graph.order(), e.choice.dtype.bytes()) {
        // what is written in place begins where its operand ends
        let begins = match life.in_place {
            true => e.timeline.schedule.end(nodes[life.writer]),
            false => e.timeline.schedule.start(&e.dag, nodes[life.writer]),
        };
        let ends = e.timeline.schedule.end(nodes[life.last_reader]);
        *changes.entry((life.gpu, at(begins))).or_default() += i128::from(life.bytes);
        *changes.entry((life.gpu, at(ends))).or_default() -= i128::from(life.bytes);
    }
    let mut alive: BTreeMap<u32, i128> = BTreeMap::new();
    changes
        .into_iter()
        .filter(|(_, change)| *change != 0)
        .map(|((gpu, nanoseconds), change)| {
            let now = alive.entry(gpu).or_default();
            *now += change;
            let weights = e.footprints.get(gpu as usize).map_or(0, |holds| holds.weight_bytes);
            json!({
                "name": format!("GPU {gpu} memory, GB"), "ph": "C", "pid": GPUS, "tid": 2 * gpu,
                "ts": nanoseconds as f64 / 1e3,
                "args": { "weights": weights as f64 / 1e9, "activations": *now as f64 / 1e9 },
            })
        })
        .collect()
}
