//! The pipeline from a plan and a source of times to an answer.

mod beside;
mod flops;

pub use beside::Beside;
use flops::gemm_flops;

use crate::cost::Estimate;
use crate::dag::{Dag, NodeId, Part, TooLarge};
use crate::dtype::Dtype;
use crate::plan::{self, Choice, Footprint, Plan};
use crate::schedule::{self, Prices, Timeline, Unpriced};
use crate::source::Source;
use crate::spec::{AttentionMode, Microbatches, Schedule};
use crate::units::{NotATime, grouped};

/// What the command line says instead of the plan's own words.
#[derive(Clone, Copy, Debug, Default)]
pub struct Overrides {
    /// Element type.
    pub dtype: Option<Dtype>,
    /// In how many pieces the batch is cut.
    pub microbatches: Option<Microbatches>,
    /// Whether the scores of attention are stored.
    pub attention: Option<AttentionMode>,
    /// The order of micro-batches in a pipeline.
    pub schedule: Option<Schedule>,
    /// The most nodes that a graph may have, instead of [`MOST_NODES`].
    pub most_nodes: Option<u64>,
}

/// Nodes that a graph may have where nobody allows more: about 1 GB, and seconds.
pub const MOST_NODES: u64 = 20_000_000;

/// Why a plan has no answer.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// The source does not cover an op.
    #[error("{plan}: {unpriced}")]
    Unpriced {
        /// The plan.
        plan: String,
        /// The op, and a node that needs it.
        unpriced: Unpriced,
    },
    /// No source says how many GPUs a node has.
    #[error(
        "{source_name} does not say how many GPUs a node has, and neither does the plan {plan}\n  add the \
         lines \"# [cluster]\" and \"# gpus_per_node = 8\" to the table, or gpus_per_node to the plan's \
         [cluster]"
    )]
    NodeSize {
        /// The plan.
        plan: String,
        /// The table or sheet.
        source_name: String,
    },
    /// The element type has to be chosen.
    #[error("{source_name} has no products in bf16, but in {known}: choose one with --dtype")]
    Dtype {
        /// The table.
        source_name: String,
        /// The types it has.
        known: String,
    },
    /// The batch cannot be cut so small.
    #[error("{plan}: {asked} micro-batches are more than the {most} sequences of a replica")]
    TooManyMicrobatches {
        /// The plan.
        plan: String,
        /// What was asked for.
        asked: u64,
        /// Sequences of a replica.
        most: u64,
    },
    /// The plan has no such schedule.
    #[error("{plan}: {why}")]
    Schedule {
        /// The plan.
        plan: String,
        /// Why not, and what would do.
        why: String,
    },
    /// Interleaved stages take micro-batches in whole rounds.
    #[error(
        "{plan}: {asked} micro-batches are no multiple of the {stages} stages, which {schedule} takes them in \
         rounds of\n  use {remedy}"
    )]
    Rounds {
        /// The plan.
        plan: String,
        /// What was asked for.
        asked: u64,
        /// Stages.
        stages: u64,
        /// The schedule.
        schedule: Schedule,
        /// What would do.
        remedy: String,
    },
    /// The graph cannot be counted.
    #[error("{plan}: {why}: choose fewer micro-batches or layers")]
    TooLarge {
        /// The plan.
        plan: String,
        /// Which column is full.
        why: TooLarge,
    },
    /// The graph is larger than was to be expected of a few lines.
    #[error(
        "{plan}: {size} are more than {} nodes\n  choose fewer micro-batches or layers, or allow it: --max-nodes {}",
        grouped((*most).into()), most.saturating_mul(10)
    )]
    TooManyNodes {
        /// The plan.
        plan: String,
        /// GPUs × layers × micro-batches.
        size: String,
        /// Nodes that are allowed.
        most: u64,
    },
    /// The times add up beyond every bound.
    #[error("{plan}: the makespan is not finite: {why}")]
    NotFinite {
        /// The plan.
        plan: String,
        /// The sum.
        why: NotATime,
    },
}

/// Whether a plan's tensors fit in a device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Memory of one device.
    pub capacity_bytes: u64,
    /// The most sequences in flight at once that fit, over all replicas.
    pub max_sequences: u64,
    /// The smallest number of micro-batches that fits; `None` where not even single sequences fit.
    pub fewest_microbatches: Option<u64>,
}

/// The answer for one plan.
pub struct Evaluation {
    /// The plan.
    pub plan: Plan,
    /// How it was lowered.
    pub choice: Choice,
    /// Its graph.
    pub dag: Dag,
    /// The estimates of its works.
    pub prices: Prices,
    /// When everything runs.
    pub timeline: Timeline,
    /// The nodes that decide the makespan, in the order of time.
    pub critical_path: Vec<NodeId>,
    /// What each GPU holds.
    pub footprints: Vec<Footprint>,
    /// Against the device's memory; `None` where its size is not known.
    pub memory: Option<Memory>,
    /// FLOPs of products on each GPU.
    pub gemm_flops: Vec<u128>,
    /// How ops were priced that run at the same time; none where none do.
    pub beside: Option<Beside>,
}

impl Evaluation {
    /// The makespan.
    pub const fn makespan(&self) -> Estimate {
        self.timeline.makespan
    }

    /// Busy seconds of all GPUs over GPUs × makespan, from 0 to 1.
    pub fn utilisation(&self) -> f64 {
        let busy: f64 = self.timeline.busy.iter().sum();
        let all = self.timeline.schedule.makespan * f64::from(self.dag.gpus());
        if all > 0.0 { busy / all } else { 0.0 }
    }

    /// Whether every GPU's peak fits; `None` where the device's memory is not known.
    pub fn fits(&self) -> Option<bool> {
        let memory = self.memory?;
        Some(self.footprints.iter().all(|gpu| gpu.peak_bytes <= memory.capacity_bytes))
    }

    /// The fullest GPU.
    pub fn fullest(&self) -> Footprint {
        self.footprints.iter().copied().max_by_key(|gpu| gpu.peak_bytes).unwrap_or_default()
    }

    /// Seconds of the critical path that are spent on `part`.
    pub fn seconds_on(&self, part: Part) -> f64 {
        let of = |node: &NodeId| self.timeline.durations[self.dag.work_column()[node.index()].index()];
        self.critical_path
            .iter()
            .filter(|node| self.dag.work_of(**node).kind.part() == Some(part))
            .map(of)
            .fold(0.0, |sum, seconds| sum + seconds) // the sum of none is -0 in f64
    }
}

/// The element type that a plan is evaluated in: the command line's, the plan's, bf16 where the source has it,
/// or the only one that the source has.
///
/// # Errors
/// When the source has several, and bf16 is not among them.
pub fn dtype(wanted: Option<Dtype>, plan: Option<&Plan>, source: &Source) -> Result<Dtype, EvaluateError> {
    let wanted = wanted.or(plan.and_then(Plan::dtype));
    match (wanted, source.dtypes.as_slice()) {
        (Some(dtype), _) => Ok(dtype),
        (None, [only]) => Ok(*only),
        (None, known) if known.is_empty() || known.contains(&Dtype::Bf16) => Ok(Dtype::Bf16),
        (None, known) => Err(EvaluateError::Dtype {
            source_name: source.name.clone(),
            known: known.iter().map(|dtype| dtype.name()).collect::<Vec<_>>().join(", "),
        }),
    }
}

/// What a plan is lowered with, the batch undivided.
///
/// # Errors
/// When nobody says how many GPUs a node has, or the element type has to be chosen.
pub fn choice(plan: &Plan, source: &Source, overrides: &Overrides) -> Result<Choice, EvaluateError> {
    let no_size = || EvaluateError::NodeSize { plan: plan.name.clone(), source_name: source.name.clone() };
    Ok(Choice {
        dtype: dtype(overrides.dtype, Some(plan), source)?,
        gpus_per_node: source.gpus_per_node.or(plan.gpus_per_node).ok_or_else(no_size)?,
        microbatches: 1,
        attention: overrides.attention.unwrap_or(plan.attention),
    })
}

/// Evaluates one plan.
///
/// # Errors
/// When an op is not covered, or a choice cannot be made; each says what to do.
pub fn evaluate(plan: Plan, source: &Source, overrides: &Overrides) -> Result<Evaluation, EvaluateError> {
    let plan = match overrides.schedule {
        None => plan,
        Some(schedule) => {
            let name = plan.name.clone();
            plan.with_schedule(schedule).map_err(|why| EvaluateError::Schedule { plan: name, why })?
        }
    };
    let name = || plan.name.clone();
    let mut choice = choice(&plan, source, overrides)?;
    let memory = source.memory_bytes.map(|capacity_bytes| memory(&plan, &choice, capacity_bytes));
    let most = plan.most_microbatches();
    choice.microbatches = match overrides.microbatches.unwrap_or(plan.microbatches) {
        Microbatches::Exactly(asked) if asked > most => {
            return Err(EvaluateError::TooManyMicrobatches { plan: name(), asked, most });
        }
        Microbatches::Exactly(asked) => asked,
        // where not even one sequence fits, one is still the nearest to fitting
        Microbatches::Auto => {
            let fewest = memory.map_or(1, |memory| memory.fewest_microbatches.unwrap_or(most));
            fewest.next_multiple_of(plan.rounds()).min(most)
        }
    };
    if let Some(remedy) = plan.unfit(choice.microbatches) {
        let (asked, stages, schedule) = (choice.microbatches, plan.rounds(), plan.schedule);
        return Err(EvaluateError::Rounds { plan: name(), asked, stages, schedule, remedy });
    }
    let most = overrides.most_nodes.unwrap_or(MOST_NODES);
    let dag = plan::lower_within(&plan, &choice, most).map_err(|why| match why {
        TooLarge("nodes") if most < u64::from(u32::MAX) => {
            let (gpus, layers, pieces) = (plan.gpus, plan.model.layers, choice.microbatches);
            let size = format!("{gpus} GPUs × {layers} layers × {pieces} micro-batches");
            EvaluateError::TooManyNodes { plan: name(), size, most }
        }
        why => EvaluateError::TooLarge { plan: name(), why },
    })?;
    let mut prices = schedule::price(&dag, source)
        .map_err(|unpriced| EvaluateError::Unpriced { plan: name(), unpriced })?;
    let beside = beside::slow_down(&dag, &mut prices, &source.slowdowns);
    let timeline =
        schedule::timeline(&dag, &prices).map_err(|why| EvaluateError::NotFinite { plan: name(), why })?;
    Ok(Evaluation {
        critical_path: timeline.schedule.critical_path(&dag),
        footprints: plan::footprints(&plan, &choice),
        memory,
        gemm_flops: gemm_flops(&dag),
        beside,
        plan,
        choice,
        dag,
        prices,
        timeline,
    })
}

fn memory(plan: &Plan, choice: &Choice, capacity_bytes: u64) -> Memory {
    let max_sequences = plan::max_sequences(plan, choice, capacity_bytes);
    let replicas = plan.layout.replicas();
    let at_once = max_sequences / replicas;
    let fewest_microbatches = (at_once > 0).then(|| (plan.model.batch / replicas).div_ceil(at_once).max(1));
    Memory { capacity_bytes, max_sequences, fewest_microbatches }
}
