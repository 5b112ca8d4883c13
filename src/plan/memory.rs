//! What a GPU must hold: weights, what training and decoding keep from pass to pass, and the most that is alive
//! at once.
//!
//! Every op is out of place except collectives; no workspace and no communication buffers are counted.

use super::layout::{Layout, Pipeline};
use super::order::order;
use super::role::{self, Block, Role};
use super::step::{Scope, Step};
use super::tensor::Tensor;
use super::update::{GRADIENT, Parameters};
use super::{Choice, Plan};
use crate::graph::Shape;
use crate::spec::{Schedule, TrainSpec};

/// What one GPU holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Weights of all its layers.
    pub weight_bytes: u64,
    /// Gradients and the optimizer's state, in training.
    pub state_bytes: u64,
    /// Keys and values of all sequences, in decoding.
    pub cache_bytes: u64,
    /// All of these, and the peak of live tensors for the largest micro-batch; in training those of all
    /// micro-batches whose backward pass is still to come.
    pub peak_bytes: u64,
}

impl Footprint {
    /// The most live tensors at once.
    pub const fn activation_bytes(&self) -> u64 {
        self.peak_bytes.saturating_sub(self.weight_bytes + self.state_bytes + self.cache_bytes)
    }
}

/// What each GPU holds when the plan runs as chosen.
pub fn footprints(plan: &Plan, choice: &Choice) -> Vec<Footprint> {
    let share = plan.model.batch / plan.layout.replicas();
    of_sequences(plan, choice, share.div_ceil(choice.microbatches), choice.microbatches)
}

/// The fullest of these.
pub fn fullest(plan: &Plan, choice: &Choice) -> Footprint {
    footprints(plan, choice).into_iter().max_by_key(|gpu| gpu.peak_bytes).unwrap_or_default()
}

/// Where the search for the number of sequences ends: the largest batch of a plan.
const MOST_SEQUENCES: u64 = 1 << 20;

/// The most sequences that a micro-batch can have, over all replicas, when every GPU has `memory_bytes`; 0 where
/// not even one fits, at most 2^20 on each replica.
pub fn max_sequences(plan: &Plan, choice: &Choice, memory_bytes: u64) -> u64 {
    let share = plan.model.batch / plan.layout.replicas();
    let fits = |sequences: u64| {
        let microbatches = share.div_ceil(sequences).max(1);
        of_sequences(plan, choice, sequences, microbatches).iter().all(|gpu| gpu.peak_bytes <= memory_bytes)
    };
    let (mut fitting, mut too_many) = (0, MOST_SEQUENCES + 1);
    while too_many - fitting > 1 {
        let middle = fitting + (too_many - fitting) / 2;
        if fits(middle) {
            fitting = middle;
        } else {
            too_many = middle;
        }
    }
    fitting * plan.layout.replicas()
}

fn of_sequences(plan: &Plan, choice: &Choice, sequences: u64, microbatches: u64) -> Vec<Footprint> {
    let width = choice.dtype.bytes();
    let roles = role::roles(plan, choice, sequences);
    let share = plan.model.batch / plan.layout.replicas();
    let mut footprints = vec![Footprint::default(); plan.gpus as usize];
    // the most that is alive at once, where the most wanted expert is and where it is not
    let mut alive = vec![0u64; plan.gpus as usize];
    for role in &roles {
        let parameters = Parameters::of_role(role);
        let state = plan.train.map_or(0, |train| state_bytes(plan, &train, parameters));
        let cache = role.held().map(|block| cache_bytes(block, width) / sequences.max(1));
        let cache = cache.fold(0, u64::saturating_add).saturating_mul(share);
        let peaks = [false, true].map(|hottest| forward_peak(role, hottest, width));
        for (i, gpu) in role.gpus.iter().enumerate() {
            let footprint = &mut footprints[*gpu as usize];
            let add = |sum: &mut u64, more: u64| *sum = sum.saturating_add(more);
            add(&mut footprint.weight_bytes, parameters.all().saturating_mul(width));
            add(&mut footprint.state_bytes, state);
            add(&mut footprint.cache_bytes, cache);
            let hottest = (i as u64).is_multiple_of(role.share.expert);
            alive[*gpu as usize] = alive[*gpu as usize].max(peaks[usize::from(hottest)]);
        }
    }
    if let (Layout::Pipeline(layout), true) = (&plan.layout, plan.train.is_some()) {
        for stage in 0..layout.pipeline as usize {
            let of_stage = [false, true]
                .map(|hottest| training_peak(plan, layout, &roles, stage, microbatches, hottest, width));
            for (i, gpu) in layout.gpus(stage).enumerate() {
                alive[gpu as usize] = of_stage[usize::from((i as u64).is_multiple_of(layout.expert))];
            }
        }
    }
    for (footprint, alive) in footprints.iter_mut().zip(alive) {
        let held = [footprint.weight_bytes, footprint.state_bytes, footprint.cache_bytes, alive];
        footprint.peak_bytes = held.into_iter().fold(0, u64::saturating_add);
    }
    footprints
}

/// Bytes of gradients and of the optimizer's state.
fn state_bytes(plan: &Plan, train: &TrainSpec, parameters: Parameters) -> u64 {
    let kept = match (&plan.layout, train.shard_optimizer) {
        (Layout::Pipeline(layout), true) => {
            parameters.divided(layout.data, layout.stage_gpus() / layout.expert)
        }
        _ => parameters.all(),
    };
    let gradients = parameters.all().saturating_mul(GRADIENT.bytes());
    gradients.saturating_add(kept.saturating_mul(train.optimizer.state_bytes()))
}

/// Bytes of keys and values that a block reads of the cache.
fn cache_bytes(block: &Block, width: u64) -> u64 {
    let reads = block.forward.iter().flat_map(|step| &step.reads);
    reads.filter(|(tensor, _)| *tensor == Tensor::Cache).map(|(_, shape)| shape.bytes(width)).sum()
}

fn forward_peak(role: &Role, hottest: bool, width: u64) -> u64 {
    let entering = (Tensor::X, role.entering.bytes(width));
    let peak = |kind: &usize| peak(&role.kinds[*kind].forward, entering, &[], hottest, width);
    kinds(role).iter().map(peak).max().unwrap_or(0)
}

/// The kinds of blocks of a role, each once.
fn kinds(role: &Role) -> Vec<usize> {
    let mut kinds: Vec<usize> = role.blocks.iter().map(|(_, kind)| *kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// The most that is alive on a stage while it goes through its schedule.
fn training_peak(
    plan: &Plan,
    layout: &Pipeline,
    roles: &[Role],
    stage: usize,
    microbatches: u64,
    hottest: bool,
    width: u64,
) -> u64 {
    let of_block = |role: &Role, block: &Block| {
        let entering = role.entering.bytes(width);
        let keeps: Vec<Tensor> = block.backward.kept.iter().map(|(tensor, ..)| *tensor).collect();
        let more = extra(&block.forward, hottest);
        let kept = block
            .backward
            .kept
            .iter()
            .map(|(tensor, shape, times)| size(*tensor, shape, *times, &more, width));
        let forward = peak(&block.forward, (Tensor::X, entering), &keeps, hottest, width);
        let back = peak(&block.backward.steps, (Tensor::Out.gradient(), entering), &[], hottest, width);
        (kept.fold(0, u64::saturating_add), forward, back)
    };
    // of each part: what is kept of it, and the peaks of its passes, what they keep included
    let of_part = |part: usize| {
        let role = &roles[part];
        let kinds: Vec<(u64, u64, u64)> = role.kinds.iter().map(|block| of_block(role, block)).collect();
        let (mut kept, mut forward, mut backward) = (0u64, 0u64, 0u64);
        for (_, kind) in &role.blocks {
            let (keeps, ahead, back) = kinds[*kind];
            forward = forward.max(kept.saturating_add(ahead));
            kept = kept.saturating_add(keeps);
            backward = backward.max(kept.saturating_add(back));
        }
        (kept, forward, backward)
    };
    let stages = layout.pipeline as usize;
    let parts: Vec<(u64, u64, u64)> = (stage..layout.parts.len()).step_by(stages).map(of_part).collect();
    let (mut kept, mut most) = (0u64, 0u64);
    // what is alive does not change any more once the pipeline is full, unless all forward passes come first
    let enough = match plan.schedule {
        Schedule::Gpipe => microbatches,
        Schedule::OneFOneB | Schedule::Interleaved(_) => microbatches.min(2 * layout.parts.len() as u64),
    };
    for unit in order(plan.schedule, stage, stages, enough as u32, true) {
        let (keeps, forward, backward) = parts[unit.part / stages];
        if unit.backward {
            kept = kept.saturating_sub(keeps);
            most = most.max(kept.saturating_add(backward));
        } else {
            most = most.max(kept.saturating_add(forward));
            kept = kept.saturating_add(keeps);
        }
    }
    most
}

/// Tensors of experts, and by how many rows they are longer where the most wanted expert is.
fn extra(steps: &[Step], hottest: bool) -> Vec<(Tensor, u64)> {
    let mut more = Vec::new();
    for step in steps.iter().filter(|step| hottest && step.scope == Scope::Expert) {
        let Some(most) = &step.hottest else { continue };
        for (tensor, shape) in step.reads.iter().chain(&step.writes) {
            let rows = u64::try_from(shape.rows()).unwrap_or(u64::MAX);
            more.push((*tensor, most.rows.saturating_sub(rows)));
        }
    }
    more
}

fn size(tensor: Tensor, shape: &Shape, times: u64, more: &[(Tensor, u64)], width: u64) -> u64 {
    let whole = shape.bytes(width).saturating_mul(times);
    let rows = more.iter().find(|(other, _)| *other == tensor).map_or(0, |(_, rows)| *rows);
    whole.saturating_add(rows.saturating_mul(shape.width()).saturating_mul(width))
}

/// The most bytes alive at once: a tensor lives from the step that writes it to the last that reads it, what is
/// to be kept until the end.
fn peak(steps: &[Step], entering: (Tensor, u64), keeps: &[Tensor], hottest: bool, width: u64) -> u64 {
    let more = extra(steps, hottest);
    let mut last_read = [usize::MAX; Tensor::COUNT];
    for (i, step) in steps.iter().enumerate() {
        for (tensor, _) in &step.reads {
            last_read[tensor.index()] = i;
        }
    }
    let mut alive = [0u64; Tensor::COUNT];
    alive[entering.0.index()] = entering.1;
    let mut peak = entering.1;
    for (i, step) in steps.iter().enumerate() {
        for (tensor, shape) in &step.writes {
            alive[tensor.index()] = size(*tensor, shape, step.times, &more, width);
        }
        peak = peak.max(alive.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)));
        for (tensor, _) in &step.reads {
            // what a step writes in place stays
            let rewritten = step.writes.iter().any(|(written, _)| written == tensor);
            if last_read[tensor.index()] == i && !rewritten && !keeps.contains(tensor) {
                alive[tensor.index()] = 0;
            }
        }
    }
    peak
}
