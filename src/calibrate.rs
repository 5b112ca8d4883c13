//! The pipeline from a machine to a table: what is worth measuring, measured, and how well it fits.

use std::time::Duration;

use crate::dtype::Dtype;
use crate::grid::{self, Bounds, Speed};
use crate::measure::campaign::{self, Limits, Outcome, Progress};
use crate::measure::{Backend, MeasureError};
use crate::op::{Collective, CollectiveKind, Gemm, Kernel, KernelKind, Op};
use crate::plan::{self, Choice, Plan};
use crate::table::Table;

/// What is asked of a campaign.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Devices that plans will use, and the most ranks of a collective.
    pub gpus: u64,
    /// Time for all of it.
    pub budget: Duration,
    /// How often each op is measured.
    pub passes: u32,
}

/// A campaign that is about to begin.
pub struct Campaign {
    /// The ops, chosen.
    pub ops: Vec<Op>,
    limits: Limits,
    gpus: u64,
}

/// The share of the budget that the first look at the machine may take.
const FIRST_LOOK: f64 = 0.05;

/// Looks at the machine for a moment and chooses what to measure.
///
/// # Errors
/// When an op of that first look gives a wrong result or fails.
pub fn prepare(backend: &mut dyn Backend, order: &Order) -> Result<Campaign, MeasureError> {
    let clock = backend.clock();
    let start = clock.now();
    let Some(&dtype) = backend.dtypes().first() else {
        return Ok(Campaign { ops: Vec::new(), limits: Limits::default(), gpus: order.gpus });
    };
    let speed = first_look(backend, order, dtype)?;
    let left = order.budget.saturating_sub(clock.now().saturating_sub(start));
    let bounds = Bounds {
        speed,
        // what is foreseen is rough, and more samples are always welcome
        budget_seconds: left.as_secs_f64() * 0.8,
        passes: order.passes,
        memory_bytes: backend.memory(),
        gpus: order.gpus,
        dtype,
    };
    let wanted = needed(dtype, order.gpus, backend.cluster(order.gpus).gpus_per_node.unwrap_or(order.gpus));
    let ops = grid::choose(&wanted, &bounds, |op| backend.need(op));
    let limits = Limits { budget: left, passes: order.passes, ..Limits::default() };
    Ok(Campaign { ops, limits, gpus: order.gpus })
}

/// Measures what was chosen.
///
/// # Errors
/// When an op gives a wrong result or fails: then nothing of the campaign is to be trusted.
pub fn run(
    backend: &mut dyn Backend,
    campaign: &Campaign,
    about: toml::Table,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(Table, Outcome), MeasureError> {
    let outcome = campaign::run(backend, &campaign.ops, &campaign.limits, progress)?;
    let table = Table {
        device: Some(backend.device()),
        cluster: backend.cluster(campaign.gpus),
        run: about,
        records: outcome.records.clone(),
    };
    Ok((table, outcome))
}

/// The distinct ops of the built-in plans that fit on `gpus` devices, fused and unfused attention.
fn needed(dtype: Dtype, gpus: u64, gpus_per_node: u64) -> Vec<Op> {
    let mut ops = Vec::new();
    for (name, text) in plan::BUILT_IN {
        let Ok(plan) = Plan::parse(name, text) else { continue };
        if plan.gpus > gpus {
            continue;
        }
        for attention in [crate::spec::AttentionMode::Unfused, crate::spec::AttentionMode::Fused] {
            let choice = Choice { dtype, gpus_per_node, microbatches: 1, attention };
            let Ok(dag) = plan::lower(&plan, &choice) else { continue };
            ops.extend(dag.works().iter().flat_map(|work| &work.ops).map(|(op, _)| *op));
        }
    }
    ops.sort_unstable();
    ops.dedup();
    ops
}

/// A product, a copy and two collectives, for a moment each.
fn first_look(backend: &mut dyn Backend, order: &Order, dtype: Dtype) -> Result<Speed, MeasureError> {
    let gemm = Op::Gemm(Gemm { m: 512, k: 512, n: 512, batch: 1, dtype });
    let copy = Op::Kernel(Kernel { kind: KernelKind::Copy, rows: 4096, cols: 4096, top_k: 1, dtype });
    let tiny = Op::Kernel(Kernel { kind: KernelKind::Copy, rows: 1, cols: 64, top_k: 1, dtype });
    let ranks = order.gpus.max(2);
    let reduce = |bytes| {
        let kind = CollectiveKind::AllReduce;
        Op::Collective(Collective { kind, bytes, ranks, nodes: 1, dtype })
    };
    let (small, large) = (reduce(256), reduce(1 << 20));
    let mut ops = vec![gemm, copy, tiny];
    if order.gpus > 1 {
        ops.extend([small, large]);
    }
    let limits = Limits {
        budget: order.budget.mul_f64(FIRST_LOOK),
        passes: 1,
        case: order.budget.mul_f64(FIRST_LOOK / 5.0),
        ..Limits::default()
    };
    let clock = backend.clock();
    let start = clock.now();
    let outcome = campaign::run(backend, &ops, &limits, &mut |_| {})?;
    let case = clock.now().saturating_sub(start).as_secs_f64() / ops.len() as f64;
    let seconds = |op: &Op| {
        let record = outcome.records.iter().find(|record| record.op == *op)?;
        Some(record.summary.seconds.get()).filter(|seconds| *seconds > 0.0)
    };
    // where the look was too short to tell, a slow machine is assumed: then too little is chosen, not too much
    let rate = |op: &Op, work: u128, slow: f64| seconds(op).map_or(slow, |s| work as f64 / s);
    let latency = seconds(&small).unwrap_or(1e-3);
    let exchange = (seconds(&large).unwrap_or(0.1) - latency).max(1e-6);
    Ok(Speed {
        flops_per_s: rate(&gemm, gemm.flops(), 1e10),
        bytes_per_s: rate(&copy, copy.bytes(), 1e9),
        exchange_bytes_per_s: 2.0 * ranks as f64 * large.bytes() as f64 / exchange,
        rank_latency_seconds: latency / ranks as f64,
        case_seconds: case.min(3e-3),
    })
}
