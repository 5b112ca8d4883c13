//! Which GPU holds what.

use std::ops::Range;

/// How a model is spread over GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Stages of `tensor × data` GPUs.
    Pipeline(Pipeline),
    /// One group for attention and one for experts.
    Separated(Separated),
}

/// Stages one after the other; stage s holds the GPUs `s·tensor·data ..`, a replica its `tensor` neighbours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    /// The layers of each part of the model, in the order of the model. Part i is on stage i mod `pipeline`:
    /// there are as many parts as stages, or a whole number of times as many where they are interleaved.
    pub parts: Vec<Range<u64>>,
    /// Stages.
    pub pipeline: u64,
    /// GPUs that share every layer.
    pub tensor: u64,
    /// Replicas of attention in a stage, each with its share of the sequences.
    pub data: u64,
    /// Neighbouring GPUs of a stage that share its experts.
    pub expert: u64,
    /// Whether the tokens are split over the tensor group outside attention and MLP.
    pub sequence_parallel: bool,
    /// Whether the GPUs of a tensor group, which hold the same, send a share each, and the next stage gathers
    /// them.
    pub scatter_sends: bool,
}

/// GPUs `0 .. attention` do attention, the next `moe` GPUs the experts, for all layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Separated {
    /// GPUs of the attention group; heads are dealt as evenly as they go.
    pub attention: u64,
    /// GPUs of the expert group; each takes an equal share of the tokens.
    pub moe: u64,
}

impl Layout {
    /// Replicas that share out the sequences of the batch.
    pub const fn replicas(&self) -> u64 {
        match self {
            Layout::Pipeline(pipeline) => pipeline.data,
            Layout::Separated(_) => 1,
        }
    }
}

impl Pipeline {
    /// GPUs of one stage.
    pub const fn stage_gpus(&self) -> u64 {
        self.tensor * self.data
    }

    /// The stage that holds a part.
    pub const fn stage(&self, part: usize) -> usize {
        part % self.pipeline as usize
    }

    /// The GPUs that hold a part.
    pub fn gpus(&self, part: usize) -> Range<u32> {
        let (stage, size) = (self.stage(part) as u32, self.stage_gpus() as u32);
        stage * size..(stage + 1) * size
    }
}

impl Separated {
    /// Query heads of one GPU of the attention group: the first ones take one more where they do not go up.
    pub const fn heads(&self, gpu: u64, heads: u64) -> u64 {
        heads / self.attention + if gpu < heads % self.attention { 1 } else { 0 }
    }
}

/// Deals layers to parts; the first parts take one more where they do not go up.
pub(super) fn deal(layers: u64, parts: u64) -> Vec<Range<u64>> {
    let start = |part: u64| part * (layers / parts) + part.min(layers % parts);
    (0..parts).map(|part| start(part)..start(part + 1)).collect()
}
