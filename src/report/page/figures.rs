//! What the plots of a plan show.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::cost::Estimate;
use crate::evaluate::Evaluation;
use crate::op::Op;
use crate::plan::{self, Choice};
use crate::source::Source;
use crate::whatif::{Lever, gain};

/// Every distinct product of the plan: FLOPs per byte, FLOP/s with its interval, and its share of the GPUs'
/// time; with the peak and the bandwidth of the data sheet that stands behind the times, where one does.
pub fn roofline(e: &Evaluation, source: &Source) -> Value {
    let all = e.timeline.schedule.makespan * f64::from(e.dag.gpus());
    let mut points: BTreeMap<Op, (BTreeSet<&str>, Estimate, f64)> = BTreeMap::new();
    for node in e.dag.nodes() {
        let work = e.dag.work_column()[node.index()].index();
        for ((op, count), estimate) in e.dag.works()[work].ops.iter().zip(&e.prices.parts[work]) {
            if op.flops() > 0 {
                let point = points.entry(*op).or_insert_with(|| (BTreeSet::new(), *estimate, 0.0));
                point.0.insert(e.dag.role_of(node));
                point.2 += estimate.seconds.get() * *count as f64;
            }
        }
    }
    let points = points.into_iter().filter(|(_, (_, estimate, _))| estimate.seconds.get() > 0.0);
    let points = points.map(|(op, (names, estimate, seconds))| {
        let flops = op.flops() as f64;
        let names: Vec<&str> = names.into_iter().collect();
        let [rate, high, low] =
            [estimate.seconds, estimate.low, estimate.high].map(|seconds| flops / seconds.get());
        let share = if all > 0.0 { seconds / all } else { 0.0 };
        json!([
            names.join(", "),
            op.to_string(),
            flops / op.bytes() as f64,
            [rate, low, high],
            estimate.basis,
            share
        ])
    });
    let sheet = source.sheet.as_ref();
    let peak = sheet.and_then(|sheet| sheet.flops_per_s.get(&e.choice.dtype));
    json!({
        "points": points.collect::<Vec<_>>(), "sheet": sheet.map(|sheet| &sheet.name), "peak": peak,
        "bandwidth": sheet.map(|sheet| sheet.memory_bandwidth_bytes_per_s),
    })
}

/// What the fullest GPU holds, and how much of it are weights, for numbers of micro-batches up to the largest.
pub fn memory(e: &Evaluation) -> Value {
    let most = e.plan.most_microbatches();
    let mut pieces: BTreeSet<u64> = (0..u64::BITS).map(|i| 1 << i).take_while(|n| *n <= most).collect();
    pieces.extend([most, e.choice.microbatches]);
    pieces.extend(e.memory.and_then(|memory| memory.fewest_microbatches));
    let holds = pieces.into_iter().map(|microbatches| {
        let choice = Choice { microbatches, ..e.choice };
        let fullest = plan::footprints(&e.plan, &choice).into_iter().max_by_key(|gpu| gpu.peak_bytes);
        let fullest = fullest.unwrap_or_default();
        json!([microbatches, fullest.peak_bytes, fullest.weight_bytes])
    });
    holds.collect()
}

/// Seconds that each lever gains when what it moves is 10 % faster, and twice as fast.
pub fn gains(e: &Evaluation) -> Value {
    Lever::ALL
        .iter()
        .map(|lever| json!([lever.name(), gain(e, *lever, 1.0 / 1.1), gain(e, *lever, 0.5)]))
        .collect()
}
