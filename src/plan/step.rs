//! A step of a layer: what it reads and writes on one GPU, and what it does.

use crate::dag::Kind;
use crate::op::{CollectiveKind, Op};

/// A tensor of one layer on one GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub(super) enum Tensor {
    /// The residual stream as it enters the layer.
    X,
    Ln1,
    /// `Ln1` of all GPUs of the tensor group together.
    Ln1Whole,
    Q,
    K,
    V,
    Scores,
    Probs,
    Context,
    Projected,
    /// This GPU's tokens of the reduced projection.
    ProjectedShare,
    /// The residual stream after attention.
    Middle,
    Ln2,
    Ln2Whole,
    Up,
    Act,
    Down,
    DownShare,
    Logits,
    /// Experts and weights of every token.
    Routes,
    Permuted,
    /// Tokens that came to this GPU's experts.
    Received,
    ExpertOut,
    Combined,
    Moe,
    /// The residual stream as it leaves the layer.
    Out,
}

impl Tensor {
    /// How many tensors there are.
    pub const COUNT: usize = Tensor::Out as usize + 1;
}

/// Who takes part in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Each GPU for itself.
    Gpu,
    /// Each GPU for itself, once for each of its experts, one expert after the other.
    Expert,
    /// The GPUs that share attention and MLP, together.
    TensorGroup,
    /// The GPUs that share the experts, together.
    ExpertGroup,
}

/// What a step does, before it is known where its group stands.
#[derive(Clone, Debug)]
pub(super) enum Doing {
    /// Ops with their counts, of one expert where the scope is [`Scope::Expert`].
    Ops(Kind, Vec<(Op, u64)>),
    /// A collective of the scope's group, and its size in bytes.
    Collective(CollectiveKind, u64),
}

/// One step of a layer.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: &'static str,
    pub scope: Scope,
    pub doing: Doing,
    pub reads: Vec<Tensor>,
    /// With the bytes on this GPU, all its experts together.
    pub writes: Vec<(Tensor, u64)>,
}

/// The part of a layer that one GPU holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Sequences of this replica in this micro-batch.
    pub sequences: u64,
    /// Tokens that this GPU owns outside attention and MLP.
    pub tokens: u64,
    /// GPUs of the tensor group.
    pub tensor: u64,
    /// Query heads here.
    pub heads: u64,
    /// Key/value heads here.
    pub kv_heads: u64,
    /// Width of the dense MLP here.
    pub ffn: u64,
    /// GPUs that share the experts.
    pub expert: u64,
    /// Whether the tokens are split over the tensor group.
    pub sequence_parallel: bool,
}
