//! What a GPU must hold: its weights, and the most that is alive at once within a layer.
//!
//! Every op is out of place except collectives; no workspace and no communication buffers are counted.

use super::role::{self, Role};
use super::step::{Step, Tensor};
use super::{Choice, Plan};

/// What one GPU holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Weights of all its layers.
    pub weight_bytes: u64,
    /// Weights, and the peak of live tensors in one layer for the largest micro-batch.
    pub peak_bytes: u64,
}

/// What each GPU holds when the plan runs as chosen.
pub fn footprints(plan: &Plan, choice: &Choice) -> Vec<Footprint> {
    let share = plan.model.batch / plan.layout.replicas();
    of_sequences(plan, choice, share.div_ceil(choice.microbatches))
}

/// Where the search for the number of sequences ends: the largest batch of a plan.
const MOST_SEQUENCES: u64 = 1 << 20;

/// The most sequences that can be in flight at once through the plan, over all replicas, when every GPU has
/// `memory_bytes`; 0 where not even one fits, at most 2^20 on each replica.
pub fn max_sequences(plan: &Plan, choice: &Choice, memory_bytes: u64) -> u64 {
    let fits =
        |sequences| of_sequences(plan, choice, sequences).iter().all(|gpu| gpu.peak_bytes <= memory_bytes);
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

fn of_sequences(plan: &Plan, choice: &Choice, sequences: u64) -> Vec<Footprint> {
    let mut footprints = vec![Footprint::default(); plan.gpus as usize];
    for role in role::roles(plan, choice, sequences) {
        let width = choice.dtype.bytes();
        let weight_bytes = weights(&role).saturating_mul(width);
        let peak_bytes = weight_bytes.saturating_add(peak(&role.steps, role.entering.bytes(width), width));
        for gpu in role.gpus {
            footprints[gpu as usize] = Footprint { weight_bytes, peak_bytes };
        }
    }
    footprints
}

/// Parameters on one GPU of the role.
fn weights(role: &Role) -> u64 {
    let layer = role.steps.iter().map(|step| step.parameters.saturating_mul(step.times));
    role.layers.saturating_mul(layer.fold(0, u64::saturating_add))
}

/// The most bytes alive at once: a tensor lives from the step that writes it to the last that reads it.
fn peak(steps: &[Step], entering_bytes: u64, element_bytes: u64) -> u64 {
    let mut last_read = [usize::MAX; Tensor::COUNT];
    for (i, step) in steps.iter().enumerate() {
        for (tensor, _) in &step.reads {
            last_read[*tensor as usize] = i;
        }
    }
    let mut alive = [0u64; Tensor::COUNT];
    alive[Tensor::X as usize] = entering_bytes;
    let mut peak = entering_bytes;
    for (i, step) in steps.iter().enumerate() {
        for (tensor, shape) in &step.writes {
            alive[*tensor as usize] = shape.bytes(element_bytes).saturating_mul(step.times);
        }
        peak = peak.max(alive.iter().fold(0, |sum, bytes| sum.saturating_add(*bytes)));
        for (tensor, _) in &step.reads {
            // what a step writes in place stays
            let rewritten = step.writes.iter().any(|(written, _)| written == tensor);
            if last_read[*tensor as usize] == i && !rewritten {
                alive[*tensor as usize] = 0;
            }
        }
    }
    peak
}
