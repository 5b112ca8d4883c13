//! The pipeline from a machine to a table: what is worth measuring, measured, and how well it fits.

mod look;

use std::time::Duration;

use crate::device::Device;
use crate::dtype::Dtype;
use crate::grid::{self, Bounds};
use crate::measure::campaign::{self, Limits, Outcome};
use crate::measure::sampler::Sampling;
use crate::measure::{Backend, MeasureError};
use crate::op::{Attention, Family, Gemm, Kernel, KernelKind, Op};
use crate::plan::{self, Choice, Plan};
use crate::refine::{self, Event, Goal, Pool};
use crate::table::Table;
use crate::units::Seconds;
use look::first_look;

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
    /// Element types in which collectives are measured beside those.
    pub exchanged: Vec<Dtype>,
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
    /// The median error of products in the plans' domain that is good enough, in percent.
    pub target: f64,
    /// Products to measure at most. Where it is given, they are few at first, and all others are chosen by what the
    /// fit of these doubts.
    pub most_shapes: Option<usize>,
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
    goal: Goal,
    /// Products that may be measured beside those of `ops`.
    pub pool: Vec<Op>,
    /// Of `ops`, the products that were drawn at random.
    drawn: Vec<Op>,
    /// The ops of plans at their true size.
    wanted: Vec<Op>,
}

/// The share of the budget that is kept for what the fit of the first rows doubts.
const REFINING: f64 = 0.3;

/// The share of the budget that one run of a product may take to be worth refining by.
const LONGEST_PRODUCT: f64 = 5e-4;

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
        goal: Goal { target: order.target, most_shapes: order.most_shapes.unwrap_or(usize::MAX) },
        pool: Vec::new(),
        drawn: Vec::new(),
        wanted: Vec::new(),
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
            budget_seconds: left.as_secs_f64() * 0.8 * (1.0 - REFINING) * share,
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
            None => {
                let exchanged = order.exchanged.iter().filter(|of| i == 0 && !dtypes.contains(of));
                let exchanges = exchanged.flat_map(|of| grid::collectives(&Bounds { dtype: *of, ..bounds }));
                grid::lattice(&bounds).into_iter().chain(rows_of(&wanted)).chain(exchanges).collect()
            }
        };
        candidates.retain(asked);
        let pool = affordable(&candidates, &bounds, need);
        if let Some(most) = order.most_shapes {
            candidates.retain(|op| op.family() != Family::Gemm);
            candidates.extend(refine::seeds(&pool, most));
        }
        // where products are few, what plans need of them is a matter of the refinement
        let mut cut = wanted.clone();
        cut.retain(|op| order.most_shapes.is_none() || op.family() != Family::Gemm);
        let choice = grid::choose(&cut, &candidates, &bounds, need);
        seconds += choice.ops.iter().map(|op| bounds.cost(op)).sum::<f64>();
        campaign.of_plans += choice.of_plans;
        campaign.drawn.extend(choice.ops[choice.of_plans..].iter().filter(|op| op.family() == Family::Gemm));
        campaign.ops.extend(choice.ops);
        campaign.pool.extend(pool);
        campaign.wanted.extend(wanted);
    }
    let mut products = 0;
    campaign.ops.retain(|op| {
        products += usize::from(op.family() == Family::Gemm);
        op.family() != Family::Gemm || products <= campaign.goal.most_shapes
    });
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

/// Measures what was chosen, and then what the fit of that doubts, until its error is small enough or the budget is
/// spent. `table` is the one of [`table`].
///
/// # Errors
/// When an op gives a wrong result: then nothing of the campaign is to be trusted.
pub fn run(
    backend: &mut dyn Backend,
    campaign: &Campaign,
    table: &Table,
    event: &mut dyn FnMut(Event<'_>),
) -> Result<Outcome, MeasureError> {
    let start = backend.clock().now();
    let limits = &campaign.limits;
    let kept = if campaign.pool.is_empty() { 0.0 } else { REFINING };
    let first = Limits { budget: limits.budget.mul_f64(1.0 - kept), ..*limits };
    let mut outcome =
        campaign::run(backend, &campaign.ops, &first, &mut |done| event(Event::Measured(done)))?;
    if campaign.pool.is_empty() || outcome.failure.is_some() {
        return Ok(outcome);
    }
    let table = Table { records: outcome.records.clone(), ..table.clone() };
    let pool = Pool { candidates: &campaign.pool, wanted: &campaign.wanted, drawn: &campaign.drawn };
    let more = refine::run(backend, &table, &pool, (limits, start), &campaign.goal, event)?;
    outcome.records.extend(more.records);
    outcome.skipped.extend(more.skipped);
    outcome.failure = more.failure;
    Ok(outcome)
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
    // a record has hardly an op of a plan at its true size, and may have it cut
    ops.retain(|op| backend.ops().is_some() || backend.supports(op).is_ok());
    ops.retain(|op| order.families.is_empty() || order.families.contains(&op.family()));
    ops.sort_unstable();
    ops.dedup();
    ops
}

/// The inner sizes and columns of plans' products, with as many rows as the lattice has.
fn rows_of(wanted: &[Op]) -> impl Iterator<Item = Op> {
    let products = wanted.iter().filter_map(|op| if let Op::Gemm(op) = op { Some(*op) } else { None });
    products.flat_map(|op| {
        (0..=15).flat_map(|e| [1 << e, 3 << e]).map(move |m| Op::Gemm(Gemm { m, batch: 1, ..op }))
    })
}

/// Of `candidates`, the products that fit in memory, and of which one run takes a small share of the time.
fn affordable(candidates: &[Op], bounds: &Bounds, need: impl Fn(&Op) -> u128) -> Vec<Op> {
    let most = bounds.budget_seconds * LONGEST_PRODUCT;
    let products = candidates.iter().filter(|op| op.family() == Family::Gemm);
    let fits = |op: &&Op| need(op) <= u128::from(bounds.memory_bytes) && bounds.speed.seconds(op) <= most;
    products.filter(fits).copied().collect()
}
