//! One layer on one GPU, as steps that read and write tensors.
//!
//! This is the only description of a layer: edges of the graph are "reads what that step wrote", memory is
//! what is live between steps, weights are what the steps hold, shapes are those of the tensors, and the ops
//! are the work. A step states the size of what it reads by itself, so that the two ends of an edge can be
//! compared.

use super::model::{Mlp, Model};
use super::step::{Doing, Scope, Share, Step};
use super::tensor::Tensor;
use crate::dag::Kind;
use crate::dtype::Dtype;
use crate::graph::{Cut, Shape};
use crate::op::{CollectiveKind, Gemm, Kernel, KernelKind, Op};
use crate::spec::AttentionMode;

/// Writes the steps of one share of a layer.
pub(super) struct Writer<'a> {
    pub model: &'a Model,
    pub dtype: Dtype,
    pub attention: AttentionMode,
    pub share: Share,
    /// Whether dropout follows attention's weights and precedes both residual additions.
    pub dropout: bool,
    /// The share of the routed tokens that goes to the most wanted expert, where it is not that of the others.
    pub hottest: Option<f64>,
}

impl Writer<'_> {
    /// The dense MLP from the second layernorm to the second residual add.
    pub fn dense(&self, steps: &mut Vec<Step>) {
        let Share { ffn, .. } = self.share;
        let hidden = self.model.hidden;
        let normed = self.normed(steps, "ln2", Tensor::Middle, Tensor::Ln2, Tensor::Ln2Whole);
        let [up, act, down] = self.mlp(self.share.all_tokens(), ffn);
        let up_width = self.model.up_matrices() * ffn;
        steps.push(
            Step::on_gpu("mlp_up", Kind::Gemm, vec![(up, 1)])
                .reads(normed, self.whole(hidden))
                .writes(Tensor::Up, self.whole(up_width))
                .holds(hidden * up_width, self.cut(Cut::Column)),
        );
        steps.push(
            Step::on_gpu("mlp_act", Kind::Mem, vec![(act, 1)])
                .reads(Tensor::Up, self.whole(up_width))
                .writes(Tensor::Act, self.whole(ffn)),
        );
        steps.push(
            Step::on_gpu("mlp_down", Kind::Gemm, vec![(down, 1)])
                .reads(Tensor::Act, self.whole(ffn))
                .writes(Tensor::Down, self.whole(hidden))
                .holds(ffn * hidden, self.cut(Cut::Row)),
        );
        let names = ["all_reduce_mlp", "reduce_scatter_mlp"];
        let reduced = self.reduced(steps, names, Tensor::Down, Tensor::DownShare);
        steps.push(self.added("res2", [Tensor::Middle, reduced], Tensor::Out, Tensor::MlpMask));
    }

    /// A layernorm, and the gathering of all tokens where they are split.
    pub fn normed(
        &self,
        steps: &mut Vec<Step>,
        name: &'static str,
        from: Tensor,
        to: Tensor,
        whole: Tensor,
    ) -> Tensor {
        steps.push(self.layernorm(name, from, to));
        if !self.share.sequence_parallel {
            return to;
        }
        let gathered = self.whole(self.model.hidden);
        let name = match name {
            "ln1" => "all_gather_tokens",
            "ln2" => "all_gather_mlp",
            _ => "all_gather_head",
        };
        let bytes = gathered.bytes(self.dtype.bytes());
        steps.push(
            Step::collective(name, Scope::TensorGroup, CollectiveKind::AllGather, bytes)
                .reads(to, self.stream())
                .writes(whole, gathered),
        );
        whole
    }

    /// The sum over the tensor group: whole on every GPU, or a share where the tokens are split.
    pub fn reduced(
        &self,
        steps: &mut Vec<Step>,
        [whole, share]: [&'static str; 2],
        from: Tensor,
        to: Tensor,
    ) -> Tensor {
        if self.share.tensor == 1 {
            return from;
        }
        let summed = self.whole(self.model.hidden);
        let bytes = summed.bytes(self.dtype.bytes());
        let (name, kind, to, written) = match self.share.sequence_parallel {
            true => (share, CollectiveKind::ReduceScatter, to, self.stream()),
            false => (whole, CollectiveKind::AllReduce, from, summed.clone()),
        };
        let step = Step::collective(name, Scope::TensorGroup, kind, bytes);
        steps.push(step.reads(from, summed).writes(to, written));
        to
    }

    pub fn layernorm(&self, name: &'static str, from: Tensor, to: Tensor) -> Step {
        let hidden = self.model.hidden;
        let op = self.kernel(KernelKind::Layernorm, self.share.tokens, hidden, 1);
        // a scale and a shift for every column
        Step::on_gpu(name, Kind::Mem, vec![(op, 1)])
            .reads(from, self.stream())
            .writes(to, self.stream())
            .holds(2 * hidden, None)
    }

    /// The sum of the residual stream and a change of it, of which dropout leaves what `mask` says.
    pub fn added(&self, name: &'static str, [stream, change]: [Tensor; 2], to: Tensor, mask: Tensor) -> Step {
        let add = self.kernel(KernelKind::Residual, self.share.tokens, self.model.hidden, 1);
        let step = Step::on_gpu(name, Kind::Mem, vec![(add, 1)])
            .reads(stream, self.stream())
            .reads(change, self.stream())
            .writes(to, self.stream());
        match self.dropout {
            false => step,
            true => {
                let written = self.mask_bytes(self.share.tokens, self.model.hidden);
                let ops = vec![(written, 1), (add, 1)];
                Step { doing: Doing::Ops(Kind::Mem, ops), ..step }.writes(mask, masked(self.stream()))
            }
        }
    }

    /// A byte for each element, read or written, as a copy that moves as many bytes.
    pub fn mask_bytes(&self, rows: u64, cols: u64) -> Op {
        self.kernel(KernelKind::Copy, rows, cols.div_ceil(2 * self.dtype.bytes()), 1)
    }

    /// Up, activation and down of an MLP of width `ffn`.
    pub fn mlp(&self, rows: u64, ffn: u64) -> [Op; 3] {
        let hidden = self.model.hidden;
        let act = if self.model.gated { KernelKind::GatedActivation } else { KernelKind::Activation };
        [
            self.gemm(1, rows, hidden, self.model.up_matrices() * ffn),
            self.kernel(act, rows, ffn, 1),
            self.gemm(1, rows, ffn, hidden),
        ]
    }

    pub fn gemm(&self, batch: u64, m: u64, k: u64, n: u64) -> Op {
        Op::Gemm(Gemm { m, k, n, batch, dtype: self.dtype })
    }

    pub fn kernel(&self, kind: KernelKind, rows: u64, cols: u64, top_k: u64) -> Op {
        Op::Kernel(Kernel { kind, rows, cols, top_k, dtype: self.dtype })
    }

    /// The residual stream: this GPU's tokens.
    pub fn stream(&self) -> Shape {
        match self.share.tokens == self.share.all_tokens() {
            true => self.whole(self.model.hidden),
            false => Shape::new(&[self.share.tokens, self.model.hidden]),
        }
    }

    /// All tokens of the group.
    pub fn whole(&self, width: u64) -> Shape {
        Shape::new(&[self.share.sequences, self.share.queries, width])
    }

    /// The axis, where there is more than one GPU to cut for.
    pub fn cut(&self, cut: Cut) -> Option<Cut> {
        (self.share.tensor > 1).then_some(cut)
    }
}

/// A byte for each element.
pub(super) fn masked(shape: Shape) -> Shape {
    Shape { element_bytes: Some(1), ..shape }
}

/// The model's MLP as experts; `None` where it is dense.
pub(super) const fn moe(model: &Model) -> Option<[u64; 3]> {
    match model.mlp {
        Mlp::Moe { experts, top_k, ffn } => Some([experts, top_k, ffn]),
        Mlp::Dense { .. } => None,
    }
}
