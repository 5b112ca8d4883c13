//! Predicted against executed: one GPU's share of a plan, run for real as a chain of ops on buffers that they
//! share, beside what the sum of its ops promises.

mod share;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use crate::cost::{Cost, CostError};
use crate::dtype::Dtype;
use crate::graph::Graph;
use crate::measure::sampler::{Sampling, sample_pass};
use crate::measure::{Backend, MeasureError};
use crate::op::{Gemm, Op};
use crate::plan::{self, Choice, Layout, Plan};
use crate::spec::AttentionMode;
use crate::stats;
use crate::units::Seconds;

use self::share::Share;

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    /// Layers to run.
    pub layers: u64,
    /// The share of the tokens to run with; none for as many as run in about a second.
    pub scale: Option<f64>,
    /// Rounds of measuring and running.
    pub rounds: usize,
    /// Element type.
    pub dtype: Dtype,
    /// Whether the scores of attention are stored.
    pub attention: AttentionMode,
}

/// Why nothing can be told.
#[derive(Debug, thiserror::Error)]
pub enum ValidateError {
    /// An op cannot be run, or the buffers do not fit.
    #[error("{0}\n  choose a smaller --scale, or another backend")]
    Measure(#[from] MeasureError),
    /// The table does not know an op at this scale.
    #[error("{0}\n  leave --table out to measure the ops here and now")]
    Cost(#[from] CostError),
    /// The plan has no op on the GPU.
    #[error("{0} has no op to run")]
    Nothing(String),
}

/// One op of the chain, predicted and executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The node, such as `mlp_up`.
    pub name: String,
    /// What runs.
    pub op: Op,
    /// The median of its time alone.
    pub predicted: f64,
    /// The median of its time in the chain.
    pub executed: f64,
    /// What can be told of the difference; empty where it is within 3 %.
    pub reason: String,
}

/// One share of a plan, predicted and executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// The GPU whose share it is.
    pub gpu: u32,
    /// Sequences and tokens of each that were run.
    pub batch: (u64, u64),
    /// In the order of the chain.
    pub links: Vec<Link>,
    /// Of each round, the sum of the ops' times alone, and the time of the chain, in seconds.
    pub rounds: Vec<(f64, f64)>,
    /// Nodes that were not run.
    pub left_out: Vec<String>,
}

impl Validation {
    /// By how much the chain takes longer than the sum of its ops, as a share of the sum: the median of all rounds.
    pub fn error(&self) -> f64 {
        let mut errors = self.errors();
        errors.sort_unstable_by(f64::total_cmp);
        errors.get(errors.len() / 2).copied().unwrap_or(0.0)
    }

    /// The same, of each round.
    pub fn errors(&self) -> Vec<f64> {
        self.rounds.iter().map(|(sum, chain)| chain / sum - 1.0).collect()
    }
}

/// FLOPs of one layer at the scale that is chosen, in seconds of this machine.
const USUAL_SECONDS: f64 = 1.0;

/// Time for one op alone in one round.
const ALONE: std::time::Duration = std::time::Duration::from_millis(300);

/// Runs of the chain in one round.
const RUNS: usize = 3;

/// Differences below this are not worth a reason.
const SMALL: f64 = 0.03;

/// Runs the shares of a plan: that of the first GPU, and of a plan with two groups that of the first expert GPU, too.
/// What ops take alone is asked of `cost`, or measured in between, so that whatever else the machine does in a round
/// concerns both.
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
    let scale = match order.scale {
        Some(scale) => scale,
        None => usual_scale(plan, backend, order, &gpus)?,
    };
    let (graph, batch) = scaled(plan, scale, order);
    let one = |gpu: u32| {
        let share = share::share(&graph, gpu, order.layers);
        if share.links.is_empty() {
            return Err(ValidateError::Nothing(plan.name.clone()));
        }
        run(&share, backend, cost, (gpu, batch, order.rounds))
    };
    gpus.into_iter().map(one).collect()
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
    let choice =
        Choice { dtype: order.dtype, gpus_per_node: plan.gpus, microbatches: 1, attention: order.attention };
    let graph = match plan::lower(&plan, &choice) {
        Ok(dag) => plan::describe(&plan, &choice, &dag),
        Err(_) => Graph::default(),
    };
    (graph, (plan.model.batch, plan.model.sequence))
}

/// As many tokens, by halves, as fit in half of the memory and run in about a second.
fn usual_scale(
    plan: &Plan,
    backend: &mut dyn Backend,
    order: &Order,
    gpus: &[u32],
) -> Result<f64, ValidateError> {
    let product = Op::Gemm(Gemm { m: 512, k: 512, n: 512, batch: 1, dtype: order.dtype });
    let seconds = alone(backend, &product)?.max(1e-9);
    let flops_per_s = product.flops() as f64 / seconds;
    let mut scale = 1.0;
    for _ in 0..40 {
        let (graph, _) = scaled(plan, scale, order);
        let fits = gpus.iter().all(|gpu| {
            let share = share::share(&graph, *gpu, order.layers);
            let flops: u128 = share.links.iter().map(|link| link.op.flops()).sum();
            let bytes: u128 = share.buffers.iter().map(|elements| 4 * u128::from(*elements)).sum();
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

/// The median time of an op alone, as a campaign measures it.
fn alone(backend: &mut dyn Backend, op: &Op) -> Result<f64, MeasureError> {
    let (clock, shortest) = (backend.clock(), backend.shortest_sample());
    let mut case = backend.prepare(op)?;
    let samples = sample_pass(&mut *case, &*clock, Sampling::default(), shortest, ALONE)?;
    Ok(stats::median(&samples.samples).unwrap_or_default().get())
}

fn run(
    share: &Share,
    backend: &mut dyn Backend,
    cost: Option<&dyn Cost>,
    (gpu, batch, rounds): (u32, (u64, u64), usize),
) -> Result<Validation, ValidateError> {
    let mut chain = backend.chain(&share.links, &share.buffers)?;
    let mut predicted: BTreeMap<Op, Vec<f64>> = BTreeMap::new();
    let mut executed: Vec<Vec<Seconds>> = vec![Vec::new(); share.links.len()];
    let mut sums = Vec::new();
    chain.run()?; // the first touches what no later one does
    for _ in 0..rounds.max(1) {
        let mut now: BTreeMap<Op, f64> = BTreeMap::new();
        for link in &share.links {
            if let Entry::Vacant(entry) = now.entry(link.op) {
                let seconds = match cost {
                    Some(cost) => cost.cost(&link.op)?.seconds.get(),
                    None => alone(backend, &link.op)?,
                };
                entry.insert(seconds);
                predicted.entry(link.op).or_default().push(seconds);
            }
        }
        let mut wholes = Vec::new();
        for _ in 0..RUNS {
            let times = chain.run()?;
            wholes.push(times.iter().copied().sum::<Seconds>());
            executed.iter_mut().zip(times).for_each(|(all, time)| all.push(time));
        }
        let sum = share.links.iter().map(|link| now.get(&link.op).copied().unwrap_or(0.0)).sum();
        sums.push((sum, stats::median(&wholes).unwrap_or_default().get()));
    }
    let cache = cache_bytes(backend);
    let link = |(i, link): (usize, &crate::measure::ChainOp)| {
        let mut alone = predicted.get(&link.op).cloned().unwrap_or_default();
        alone.sort_unstable_by(f64::total_cmp);
        let predicted = alone.get(alone.len() / 2).copied().unwrap_or(0.0);
        let times = executed.get(i).map_or(&[][..], Vec::as_slice);
        let executed = stats::median(times).unwrap_or_default().get();
        let after = i.checked_sub(1).and_then(|i| share.links.get(i)).map(|link| link.op);
        let reason = reason(executed / predicted - 1.0, predicted, share.passed[i], cache, after);
        Link { name: share.names[i].clone(), op: link.op, predicted, executed, reason }
    };
    let links = share.links.iter().enumerate().map(link).collect();
    Ok(Validation { gpu, batch, links, rounds: sums, left_out: share.left_out.clone() })
}

/// Bytes of the cache that matters, where the backend says it.
fn cache_bytes(backend: &dyn Backend) -> Option<u64> {
    let details = backend.device().details;
    let bytes = ["cache_bytes", "l2_bytes"].into_iter().find_map(|key| details.get(key)?.as_integer());
    bytes.and_then(|bytes| u64::try_from(bytes).ok())
}

/// What can be told of a difference: an op alone finds its operands in memory, and always runs after itself.
fn reason(off: f64, predicted: f64, passed: u64, cache: Option<u64>, after: Option<Op>) -> String {
    use crate::units::human_bytes;
    if off.abs() < SMALL || !off.is_finite() {
        return String::new();
    }
    let in_cache = cache.filter(|cache| passed > 0 && passed <= *cache);
    match (off < 0.0, in_cache, after) {
        (true, Some(cache), _) => {
            format!("{} from the op before, in a cache of {}", human_bytes(passed), human_bytes(cache))
        }
        (false, _, Some(after)) if after.family().is_communication() => {
            "the cores come back from the ranks of a collective".to_owned()
        }
        (false, _, _) if predicted < 2e-4 => "waking the threads, which runs back to back do once".to_owned(),
        _ => "not told apart".to_owned(),
    }
}
