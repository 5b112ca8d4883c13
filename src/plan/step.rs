//! A step of a block: what it reads and writes on one GPU, and what it does.

use std::borrow::Cow;

use super::tensor::Tensor;
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{CollectiveKind, Op};

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

/// One step of a block.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub name: Cow<'static, str>,
    pub scope: Scope,
    pub doing: Doing,
    /// What it needs on this GPU, with the size it expects; of one expert where the scope is [`Scope::Expert`].
    pub reads: Vec<(Tensor, Shape)>,
    /// What it leaves on this GPU, likewise.
    pub writes: Vec<(Tensor, Shape)>,
    /// How often this GPU does it: once, or once for each of its experts.
    pub times: u64,
    /// Parameters that it holds, of one expert where the scope is [`Scope::Expert`].
    pub parameters: u64,
    /// Along which axis it is spread.
    pub cut: Option<Cut>,
    /// Of the most wanted expert, where it has more rows than the others.
    pub hottest: Option<Hottest>,
}

/// What the most wanted expert does in a step.
#[derive(Clone, Debug)]
pub(super) struct Hottest {
    /// Its rows.
    pub rows: u64,
    /// Its ops.
    pub ops: Vec<(Op, u64)>,
}

impl Step {
    /// A step of each GPU for itself.
    pub fn on_gpu(name: impl Into<Cow<'static, str>>, kind: Kind, ops: Vec<(Op, u64)>) -> Self {
        Step::new(name.into(), Scope::Gpu, Doing::Ops(kind, ops))
    }

    /// A collective of `bytes`.
    pub fn collective(
        name: impl Into<Cow<'static, str>>,
        scope: Scope,
        kind: CollectiveKind,
        bytes: u64,
    ) -> Self {
        Step::new(name.into(), scope, Doing::Collective(kind, bytes))
    }

    const fn new(name: Cow<'static, str>, scope: Scope, doing: Doing) -> Self {
        Step {
            name,
            scope,
            doing,
            reads: Vec::new(),
            writes: Vec::new(),
            times: 1,
            parameters: 0,
            cut: None,
            hottest: None,
        }
    }

    pub fn reads(mut self, tensor: Tensor, shape: Shape) -> Self {
        self.reads.push((tensor, shape));
        self
    }

    pub fn writes(mut self, tensor: Tensor, shape: Shape) -> Self {
        self.writes.push((tensor, shape));
        self
    }

    pub fn holds(self, parameters: u64, cut: Option<Cut>) -> Self {
        Step { parameters, cut, ..self }
    }

    /// For each of the GPU's experts, one after the other.
    pub fn for_experts(self, experts: u64) -> Self {
        Step { scope: Scope::Expert, times: experts, ..self }
    }
}

/// The part of a layer that one GPU holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Sequences of this replica in this micro-batch.
    pub sequences: u64,
    /// Tokens of each of them that are computed.
    pub queries: u64,
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

impl Share {
    /// Tokens of all GPUs of the tensor group.
    pub const fn all_tokens(&self) -> u64 {
        self.sequences * self.queries
    }
}
