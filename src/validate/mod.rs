//! Predicted against executed: one GPU's share of a plan, run for real as a chain of ops on buffers that they
//! share, beside what the sum of its ops promises.
//!
//! Whatever else a machine does meanwhile lengthens both. So every round runs the chain and the ops alone by turns,
//! and only ratios within a round count; where other programs took the cores, the time that cores worked stands for
//! the time that went by.

mod findings;
mod learn;
mod share;
mod turns;

pub use self::findings::{Link, Reasons, Reference, Tabled, Validation};
pub use self::learn::{Lesson, lessons};

use crate::cost::{Cost, CostError};
use crate::dtype::Dtype;
use crate::graph::Graph;
use crate::measure::{Backend, MeasureError};
use crate::op::{Gemm, Op};
use crate::plan::{self, Choice, Layout, Plan};
use crate::spec::AttentionMode;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Layers to run.
    pub layers: u64,
    /// The share of the tokens to run with; none for as many as run in about half a second.
    pub scale: Option<f64>,
    /// Rounds of running the chain and its ops by turns; none for as many as it takes.
    pub rounds: Option<usize>,
    /// Element type.
    pub dtype: Dtype,
    /// Whether the scores of attention are stored; none for what the plan says.
    pub attention: Option<AttentionMode>,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// An op cannot be run, or the buffers do not fit.
    #[error("{plan}: {why}\n  choose a smaller --scale, or another backend")]
    Measure {
        /// The plan.
        plan: String,
        /// What happened.
        why: MeasureError,
    },
    /// The table does not know an op at this scale.
    #[error("{plan}: {why}\n  leave --table out to measure the ops here and now")]
    Cost {
        /// The plan.
        plan: String,
        /// What is missing.
        why: CostError,
    },
    /// The plan has no op on the GPU.
    #[error("{0} has no op to run")]
    Nothing(String),
}

/// Time that one layer takes at the scale that is chosen, in seconds of this machine by its FLOPs.
const USUAL_SECONDS: f64 = 0.5;

/// Sizes of the products by which the machine's speed is judged: the second where the first is over at once.
const PROBES: [u64; 2] = [512, 4096];

/// A product that takes less says nothing of the machine's speed, in seconds.
const AT_ONCE: f64 = 1e-4;

/// Runs the shares of a plan: that of the first GPU, and of a plan with two groups that of the first expert GPU, too.
/// What ops take alone is measured by turns with them; `cost` is asked beside, where a table is to be judged.
///
/// # Errors
/// When an op cannot be run or priced, or the buffers do not fit.
pub fn validate(
    plan: &Plan,
    backend: &mut dyn Backend,
    cost: Option<&dyn Cost>,
    order: &Order,
) -> Result<Vec<Validation>, ValidateError> {
    let gpus = match &plan.layout {
        Layout::Pipeline(_) => vec![0],
        Layout::Separated(layout) => vec![0, layout.attention as u32],
    };
    let measure = |why: MeasureError| ValidateError::Measure { plan: plan.name.clone(), why };
    let scale = match order.scale {
        Some(scale) => scale,
        None => usual_scale(plan, backend, order, &gpus).map_err(measure)?,
    };
    let (graph, batch) = scaled(plan, scale, order);
    let mut one = |gpu: u32| {
        let share = share::share(&graph, gpu, order.layers, &|op| runs(backend, op));
        if share.links.is_empty() {
            return Err(ValidateError::Nothing(plan.name.clone()));
        }
        let priced = |cost: &dyn Cost| findings::priced(&share, cost);
        let table = cost.map(priced).transpose();
        let table = table.map_err(|why| ValidateError::Cost { plan: plan.name.clone(), why })?;
        let rounds = turns::turns(&share, backend, order.rounds).map_err(measure)?;
        let of = Reference { plan: plan.name.clone(), gpu, batch, dtype: order.dtype };
        Ok(Validation::of(of, share, table, &rounds))
    };
    gpus.into_iter().map(&mut one).collect()
}

/// Whether an op is part of the chain: communication is where there is somebody to talk to.
fn runs(backend: &dyn Backend, op: &Op) -> bool {
    !matches!(op, Op::P2p(_)) && (!op.family().is_communication() || backend.supports(op).is_ok())
}

/// The graph of the plan with fewer sequences, and then shorter ones.
fn scaled(plan: &Plan, scale: f64, order: &Order) -> (Graph, (u64, u64)) {
    let mut plan = plan.clone();
    let replicas = plan.layout.replicas();
    let tokens = (plan.model.batch * plan.model.sequence) as f64 * scale;
    let sequences = (tokens / plan.model.sequence as f64) as u64 / replicas * replicas;
    plan.model.batch = sequences.clamp(replicas, plan.model.batch);
    let length = (tokens / plan.model.batch as f64).round() as u64;
    let all = plan.model.queries == plan.model.sequence;
    plan.model.sequence = length.clamp(1, plan.model.sequence);
    // all of them are computed, or the newest in decoding
    plan.model.queries = if all { plan.model.sequence } else { plan.model.queries };
    let attention = order.attention.unwrap_or(plan.attention);
    let choice = Choice { dtype: order.dtype, gpus_per_node: plan.gpus, microbatches: 1, attention };
    let graph = match plan::lower(&plan, &choice) {
        Ok(dag) => plan::describe(&plan, &choice, &dag),
        Err(_) => Graph::default(),
    };
    (graph, (plan.model.batch, plan.model.sequence))
}

/// As many tokens, by halves, as fit in half of the memory and run in about [`USUAL_SECONDS`].
fn usual_scale(
    plan: &Plan,
    backend: &mut dyn Backend,
    order: &Order,
    gpus: &[u32],
) -> Result<f64, MeasureError> {
    let mut flops_per_s = 1.0;
    for size in PROBES {
        let product = Op::Gemm(Gemm { m: size, k: size, n: size, batch: 1, dtype: order.dtype });
        let seconds = turns::alone(backend, &product)?.least().max(1e-9);
        flops_per_s = product.flops() as f64 / seconds;
        if seconds > AT_ONCE {
            break;
        }
    }
    let mut scale = 1.0;
    for _ in 0..40 {
        let (graph, _) = scaled(plan, scale, order);
        let fits = gpus.iter().all(|gpu| {
            let share = share::share(&graph, *gpu, order.layers, &|op| runs(backend, op));
            let flops: u128 = share.links.iter().map(|link| link.op.flops()).sum();
            let bytes: u128 =
                share.buffers.iter().map(|elements| u128::from(order.dtype.bytes() * *elements)).sum();
            let largest = share.links.iter().map(|link| backend.need(&link.op)).max().unwrap_or(0);
            flops as f64 / flops_per_s <= USUAL_SECONDS && bytes + largest <= u128::from(backend.memory() / 2)
        });
        if fits {
            break;
        }
        scale /= 2.0;
    }
    Ok(scale)
}
