//! The pipeline from a machine to a table: what is worth measuring, measured, and how well it fits.

use std::time::Duration;

use crate::device::Device;
use crate::dtype::Dtype;
use crate::grid::{self, Bounds, Speed};
use crate::measure::campaign::{self, Limits, Outcome, Progress};
use crate::measure::sampler::Sampling;
use crate::measure::{Backend, MeasureError};
use crate::op::{Attention, Collective, CollectiveKind, Family, Gemm, Kernel, KernelKind, Op};
use crate::plan::{self, Choice, Plan};
use crate::table::{Record, Table};
use crate::units::Seconds;

/// What is asked of a campaign.
#[derive(Clone, Debug)]
pub struct Order {
    /// Devices that plans will use, and the most ranks of a collective.
    pub gpus: u64,
    /// Time for all of it.
    pub budget: Duration,
    /// How often each op is measured.
    pub passes: u32,
    /// Element types, the most important first; none for the backend's first.
    pub dtypes: Vec<Dtype>,
    /// The plans whose ops come before the general grid.
    pub plans: Vec<Plan>,
    /// Ops that come before those, just as they are.
    pub ops: Vec<Op>,
    /// The families to measure; none for all.
    pub families: Vec<Family>,
    /// Whether those are all.
    pub only: bool,
    /// When the samples of one op in one pass are enough.
    pub sampling: Sampling,
    /// What measuring an op without work takes at most, in seconds.
    pub most_case_seconds: f64,
}

/// A campaign that is about to begin.
pub struct Campaign {
    /// The ops, chosen.
    pub ops: Vec<Op>,
    /// Of these, the ops of plans in the sizes that can be run.
    pub of_plans: usize,
    /// About how long it will take; 0 where that is not known.
    pub estimate: Duration,
    limits: Limits,
}

/// The share of the budget that the first look at the machine may take.
const FIRST_LOOK: f64 = 0.05;

/// A product of 512³ that takes less than this, in seconds, runs on more than it can fill.
const SHORT_PRODUCT: f64 = 1e-4;

/// The share of the budget for the first of several element types.
const FIRST_TYPE: f64 = 0.6;

/// Looks at the machine for a moment and chooses what to measure.
///
/// # Errors
/// When an op of that first look gives a wrong result or fails.
pub fn prepare(backend: &mut dyn Backend, order: &Order) -> Result<Campaign, MeasureError> {
    let clock = backend.clock();
    let start = clock.now();
    let dtypes = match order.dtypes.as_slice() {
        [] => backend.dtypes().iter().take(1).copied().collect(),
        dtypes => dtypes.to_vec(),
    };
    let mut campaign = Campaign {
        ops: Vec::new(),
        of_plans: 0,
        estimate: Duration::ZERO,
        limits: Limits { passes: order.passes, sampling: order.sampling, ..Limits::default() },
    };
    if order.only {
        campaign.ops.clone_from(&order.ops);
        campaign.limits.budget = order.budget;
        return Ok(campaign);
    }
    let mut seconds = 0.0;
    for (i, &dtype) in dtypes.iter().enumerate() {
        let speed = first_look(backend, order, dtype)?;
        let left = order.budget.saturating_sub(clock.now().saturating_sub(start));
        let share = match (i, dtypes.len()) {
            (_, 1) => 1.0,
            (0, _) => FIRST_TYPE,
            (_, types) => (1.0 - FIRST_TYPE) / (types - 1) as f64,
        };
        let bounds = Bounds {
            speed,
            // what is foreseen is rough, and more samples are always welcome
            budget_seconds: left.as_secs_f64() * 0.8 * share,
            passes: order.passes,
            memory_bytes: backend.memory(),
            gpus: order.gpus,
            gpus_per_node: backend.cluster(order.gpus).gpus_per_node.unwrap_or(order.gpus),
            dtype,
        };
        let wanted = needed(backend, order, dtype);
        // what the backend cannot run fits in no memory
        let need = |op: &Op| if backend.supports(op).is_ok() { backend.need(op) } else { u128::MAX };
        let mut bounds = bounds;
        for op in order.ops.iter().filter(|op| op.dtype().is_none_or(|of| of == dtype)) {
            let cost = bounds.cost(op);
            if need(op) <= u128::from(bounds.memory_bytes) && cost <= bounds.budget_seconds {
                bounds.budget_seconds -= cost;
                seconds += cost;
                campaign.ops.push(*op);
            }
        }
        let asked = |op: &Op| order.families.is_empty() || order.families.contains(&op.family());
        let mut candidates: Vec<Op> = match backend.ops() {
            Some(ops) => ops.iter().copied().filter(|op| op.dtype().is_none_or(|of| of == dtype)).collect(),
            None => grid::lattice(&bounds),
        };
        candidates.retain(asked);
        let choice = grid::choose(&wanted, &candidates, &bounds, need);
        seconds += choice.ops.iter().map(|op| bounds.cost(op)).sum::<f64>();
        campaign.of_plans += choice.of_plans;
        campaign.ops.extend(choice.ops);
    }
    campaign.limits.budget = order.budget.saturating_sub(clock.now().saturating_sub(start));
    campaign.estimate =
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(campaign.limits.budget);
    Ok(campaign)
}

/// Runs ops of every kind at small and awkward sizes, compares their results, and times each once: in these element
/// types, or where none is named in all that the backend has. Ops that it does not support are left out.
pub fn check(backend: &mut dyn Backend, dtypes: &[Dtype]) -> Vec<(Op, Result<Seconds, MeasureError>)> {
    let mut ops = Vec::new();
    let dtypes = if dtypes.is_empty() { backend.dtypes() } else { dtypes };
    for &dtype in dtypes {
        for (m, k, n) in [(1, 64, 64), (16, 16, 16), (33, 65, 129), (128, 4096, 256), (1024, 512, 2048)] {
            ops.extend([1, 3].map(|batch| Op::Gemm(Gemm { m, k, n, batch, dtype })));
        }
        for kind in KernelKind::ALL {
            let top_ks: &[u64] = if kind.has_top_k() { &[1, 2, 8] } else { &[1] };
            for (rows, cols) in [(1, 8), (7, 33), (300, 64), (129, 256), (64, 1000), (5, 8192), (3, 40_000)] {
                let kernels = top_ks.iter().map(|&top_k| Kernel { kind, rows, cols, top_k, dtype });
                ops.extend(kernels.map(Op::Kernel));
            }
        }
        for (batch, heads, seq_q, seq_kv, head_dim) in [
            (1, 1, 1, 64, 64),
            (2, 3, 17, 33, 72),
            (1, 2, 128, 500, 128),
            (1, 2, 300, 300, 64),
            (1, 1, 65, 129, 512),
        ] {
            ops.push(Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, dtype }));
        }
    }
    ops.retain(|op| backend.supports(op).is_ok());
    let check = |op| (op, backend.prepare(&op).and_then(|mut case| case.sample(1)));
    ops.into_iter().map(check).collect()
}

/// The table of a campaign for `gpus` devices before its first row.
pub fn table(backend: &dyn Backend, gpus: u64, about: toml::Table) -> Table {
    Table {
        device: Some(backend.device()).filter(|device| *device != Device::default()),
        cluster: backend.cluster(gpus),
        run: about,
        records: Vec::new(),
    }
}

/// Measures what was chosen.
///
/// # Errors
/// When an op gives a wrong result: then nothing of the campaign is to be trusted.
pub fn run(
    backend: &mut dyn Backend,
    campaign: &Campaign,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Outcome, MeasureError> {
    campaign::run(backend, &campaign.ops, &campaign.limits, progress)
}

/// The distinct ops of the plans that the backend can run, fused and unfused attention.
fn needed(backend: &dyn Backend, order: &Order, dtype: Dtype) -> Vec<Op> {
    let gpus_per_node = backend.cluster(order.gpus).gpus_per_node;
    let mut ops = Vec::new();
    for plan in &order.plans {
        let gpus_per_node = gpus_per_node.or(plan.gpus_per_node).unwrap_or(order.gpus);
        for attention in [crate::spec::AttentionMode::Unfused, crate::spec::AttentionMode::Fused] {
            let choice = Choice { dtype, gpus_per_node, microbatches: 1, attention };
            let Ok(dag) = plan::lower(plan, &choice) else { continue };
            ops.extend(dag.works().iter().flat_map(|work| &work.ops).map(|(op, _)| *op));
        }
    }
    ops.retain(|op| backend.supports(op).is_ok());
    ops.retain(|op| order.families.is_empty() || order.families.contains(&op.family()));
    ops.sort_unstable();
    ops.dedup();
    ops
}

/// A product, a copy and two collectives, for a moment each; a larger product where that one is too short to
/// tell anything. On a record of measurements, what it has that is most like them.
fn first_look(backend: &mut dyn Backend, order: &Order, dtype: Dtype) -> Result<Speed, MeasureError> {
    let product = |size| Op::Gemm(Gemm { m: size, k: size, n: size, batch: 1, dtype });
    let copy = |rows, cols| Op::Kernel(Kernel { kind: KernelKind::Copy, rows, cols, top_k: 1, dtype });
    let cluster = backend.cluster(order.gpus);
    let ranks = cluster.gpus.map_or(order.gpus, |there| there.min(order.gpus)).max(2);
    let nodes = cluster.gpus_per_node.map_or(1, |each| ranks.div_ceil(each.max(1)));
    let reduce = |bytes| {
        let kind = CollectiveKind::AllReduce;
        Op::Collective(Collective { kind, bytes, ranks, nodes, dtype })
    };
    let there = |op: Op| nearest(backend.ops(), op);
    let (gemm, large_gemm) = (there(product(512)), there(product(4096)));
    let (tiny, copy) = (there(copy(1, 64)), there(copy(4096, 4096)));
    let (small, large) = (there(reduce(256)), there(reduce(1 << 20)));
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
    ops.retain(|op| backend.supports(op).is_ok());
    let clock = backend.clock();
    let start = clock.now();
    let mut outcome = campaign::run(backend, &ops, &limits, &mut |_| {})?;
    let case = clock.now().saturating_sub(start).as_secs_f64() / ops.len().max(1) as f64;
    let is_short = |record: &Record| record.op == gemm && record.summary.seconds.get() < SHORT_PRODUCT;
    if outcome.failure.is_none() && outcome.records.iter().any(is_short) {
        let more = campaign::run(backend, &[large_gemm], &limits, &mut |_| {})?;
        outcome.records.extend(more.records);
        outcome.failure = more.failure;
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let fused = Attention { batch: 1, heads: 1, seq_q: 64, seq_kv: 64, head_dim: 64, dtype };
    let attention = [Op::Attention(fused)];
    let mut attention_seconds = 0.0;
    if backend.ops().is_none() && backend.supports(&attention[0]).is_ok() {
        let start = clock.now();
        outcome.failure = campaign::run(backend, &attention, &limits, &mut |_| {})?.failure;
        attention_seconds = (clock.now().saturating_sub(start).as_secs_f64() - case).max(0.0);
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let seconds = |op: &Op| {
        let record = outcome.records.iter().find(|record| record.op == *op)?;
        Some(record.summary.seconds.get()).filter(|seconds| *seconds > 0.0)
    };
    // where the look was too short to tell, a slow machine is assumed: then too little is chosen, not too much
    let rate = |op: &Op, work: u128, slow: f64| seconds(op).map_or(slow, |s| work as f64 / s);
    // without a copy, what the products have moved
    let moved = outcome.records.iter().filter(|record| !record.op.family().is_communication());
    let moved = moved.map(|record| record.op.bytes() as f64 / record.summary.seconds.get().max(1e-9));
    let moved = moved.fold(0.0, f64::max);
    let latency = seconds(&small).unwrap_or(1e-3);
    let exchange = (seconds(&large).unwrap_or(0.1) - latency).max(1e-6);
    Ok(Speed {
        flops_per_s: rate(&large_gemm, large_gemm.flops(), rate(&gemm, gemm.flops(), 1e10)),
        bytes_per_s: rate(&copy, copy.bytes(), if moved > 0.0 { moved } else { 1e9 }),
        exchange_bytes_per_s: 2.0 * ranks as f64 * large.bytes() as f64 / exchange,
        rank_latency_seconds: latency / ranks as f64,
        case_seconds: case.min(order.most_case_seconds),
        attention_seconds,
    })
}

/// Of the ops that a record has, the one of the same family, and where it can be of the same kind, that moves
/// about as many bytes as `op`; `op` itself on a device that runs any.
fn nearest(recorded: Option<&[Op]>, op: Op) -> Op {
    let bytes = |op: &Op| (op.bytes().max(1) as f64).log2();
    let away = |other: &&Op| {
        let is_other = other.cells().kind != op.cells().kind;
        (is_other, Seconds::new((bytes(other) - bytes(&op)).abs()).unwrap_or_default())
    };
    let family = recorded.unwrap_or_default().iter().filter(|other| other.family() == op.family());
    family.min_by_key(away).copied().unwrap_or(op)
}
