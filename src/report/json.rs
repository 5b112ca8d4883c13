//! The answers for programs. Integers are exact, times are in seconds.

use serde::Serialize;
use serde_json::Value;

use crate::cost::{Basis, Estimate};
use crate::dag::NodeId;
use crate::evaluate::{Beside, Evaluation};
use crate::formula::Evaluated;
use crate::whatif::{Lever, Outlook};

#[derive(Serialize)]
struct Interval {
    seconds: f64,
    low: f64,
    high: f64,
    basis: Basis,
}

impl From<Estimate> for Interval {
    fn from(estimate: Estimate) -> Self {
        Interval {
            seconds: estimate.seconds.get(),
            low: estimate.low.get(),
            high: estimate.high.get(),
            basis: estimate.basis,
        }
    }
}

#[derive(Serialize)]
struct PlanAnswer<'a> {
    plan: &'a str,
    dtype: &'a str,
    microbatches: u64,
    nodes: usize,
    edges: usize,
    makespan: Interval,
    critical_path: Vec<Step>,
    gpus: Vec<Gpu>,
    utilisation: f64,
    fits: Option<bool>,
    max_sequences: Option<u64>,
    levers: Vec<Pull>,
    takeover: Option<Takeover>,
    ideal: Option<Interval>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overlap: Option<Overlapped>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ops: Option<Vec<Timed>>,
}

/// How many times as long products and communication take at the same time.
#[derive(Serialize)]
struct Overlapped {
    measured: bool,
    products: f64,
    communication: f64,
}

impl From<Beside> for Overlapped {
    fn from(beside: Beside) -> Self {
        match beside {
            Beside::AsAlone => Overlapped { measured: false, products: 1.0, communication: 1.0 },
            Beside::Slower { products, communication } => {
                Overlapped { measured: true, products, communication }
            }
        }
    }
}

#[derive(Serialize)]
struct Pull {
    lever: &'static str,
    critical_path_seconds: f64,
    gain_seconds_per_percent: f64,
}

#[derive(Serialize)]
struct Takeover {
    from: &'static str,
    to: &'static str,
    speedup: f64,
}

#[derive(Serialize)]
struct Timed {
    id: String,
    start: f64,
    end: f64,
    slack: f64,
}

#[derive(Serialize)]
struct Step {
    id: String,
    kind: &'static str,
    seconds: f64,
    basis: Basis,
}

#[derive(Serialize)]
struct Gpu {
    gpu: usize,
    busy_seconds: f64,
    gemm_flops: u128,
    weight_bytes: u64,
    peak_bytes: u64,
}

/// A list of plans; all ops with their slack where `detail` is asked for.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn json(evaluations: &[Evaluation], outlooks: &[Outlook], detail: bool) -> serde_json::Result<String> {
    let both = evaluations.iter().zip(outlooks);
    let answers: Vec<PlanAnswer> = both.map(|(e, outlook)| answer(e, outlook, detail)).collect();
    serde_json::to_string_pretty(&answers).map(|text| text + "\n")
}

fn answer<'a>(e: &'a Evaluation, outlook: &Outlook, detail: bool) -> PlanAnswer<'a> {
    let critical_path = e.critical_path.iter().map(|node| {
        let estimate = e.prices.of(&e.dag, *node);
        Step {
            id: e.dag.id(*node),
            kind: e.dag.work_of(*node).kind.name(),
            seconds: estimate.seconds.get(),
            basis: estimate.basis,
        }
    });
    let busy = e.timeline.busy.iter();
    let gpus = busy.zip(&e.gemm_flops).zip(&e.footprints).enumerate();
    PlanAnswer {
        plan: &e.plan.name,
        dtype: e.choice.dtype.name(),
        microbatches: e.choice.microbatches,
        nodes: e.dag.len(),
        edges: e.dag.edges(),
        makespan: e.makespan().into(),
        critical_path: critical_path.collect(),
        gpus: gpus
            .map(|(gpu, ((busy_seconds, gemm_flops), footprint))| Gpu {
                gpu,
                busy_seconds: *busy_seconds,
                gemm_flops: *gemm_flops,
                weight_bytes: footprint.weight_bytes,
                peak_bytes: footprint.peak_bytes,
            })
            .collect(),
        utilisation: e.utilisation(),
        fits: e.fits(),
        max_sequences: e.memory.map(|memory| memory.max_sequences),
        levers: Lever::ALL
            .map(|lever| Pull {
                lever: lever.name(),
                critical_path_seconds: outlook.on_path[lever as usize],
                gain_seconds_per_percent: outlook.per_percent[lever as usize],
            })
            .into(),
        takeover: outlook.takeover.map(|t| Takeover {
            from: t.from.name(),
            to: t.to.name(),
            speedup: t.speedup,
        }),
        ideal: outlook.ideal.map(Interval::from),
        overlap: e.beside.map(Overlapped::from),
        ops: detail.then(|| timed(e, outlook)),
    }
}

fn timed(e: &Evaluation, outlook: &Outlook) -> Vec<Timed> {
    let schedule = &e.timeline.schedule;
    let op = |(node, slack): (NodeId, &f64)| Timed {
        id: e.dag.id(node),
        start: schedule.start(&e.dag, node),
        end: schedule.end(node),
        slack: *slack,
    };
    e.dag.nodes().zip(&outlook.slack).map(op).collect()
}

/// One time.
///
/// # Errors
/// As [`json`].
pub fn time_json(estimate: &Estimate) -> serde_json::Result<String> {
    serde_json::to_string_pretty(&Interval::from(*estimate)).map(|text| text + "\n")
}

/// Formulas with their calls.
///
/// # Errors
/// As [`json`].
pub fn formulas_json(formulas: &[Evaluated]) -> serde_json::Result<String> {
    let formulas: Vec<Value> = formulas
        .iter()
        .map(|formula| {
            let calls: Vec<Value> = formula
                .calls
                .iter()
                .map(|call| {
                    let gemm = &call.gemm;
                    let mut entry = serde_json::json!({
                        "m": gemm.m, "k": gemm.k, "n": gemm.n, "count": whole(call.count),
                        "seconds": call.estimate.seconds.get(), "basis": call.estimate.basis,
                    });
                    if gemm.batch > 1 {
                        entry["batch"] = gemm.batch.into();
                    }
                    entry
                })
                .collect();
            serde_json::json!({
                "name": formula.name, "seconds": formula.seconds.get(), "low": formula.low.get(),
                "high": formula.high.get(), "basis": formula.basis, "calls": calls,
            })
        })
        .collect();
    let all = serde_json::json!({ "formulas": formulas });
    serde_json::to_string_pretty(&all).map(|text| text + "\n")
}

/// A count as an integer where it is one.
pub(super) fn whole(count: f64) -> Value {
    if count.fract() == 0.0 && count.abs() < 9e15 { (count as i64).into() } else { count.into() }
}
