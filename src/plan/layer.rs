//! One layer on one GPU, as steps that read and write tensors.
//!
//! This is the only description of a layer: edges of the graph are "reads what that step wrote", memory is
//! what is live between steps, weights are what the steps hold, shapes are those of the tensors, and the ops
//! are the work. A step states the size of what it reads by itself, so that the two ends of an edge can be
//! compared.

use super::model::{Mlp, Model};
use super::step::{Scope, Share, Step, Tensor};
use crate::dag::Kind;
use crate::dtype::Dtype;
use crate::graph::{Cut, Shape};
use crate::op::{Attention, CollectiveKind, Gemm, Kernel, KernelKind, Op};
use crate::spec::{AttentionMode, Qkv};

/// Writes the steps of one share of a layer.
pub(super) struct Writer<'a> {
    pub model: &'a Model,
    pub dtype: Dtype,
    pub attention: AttentionMode,
    pub share: Share,
}

impl Writer<'_> {
    /// Attention from the first layernorm to the first residual add.
    pub fn attention(&self, steps: &mut Vec<Step>) {
        let Share { sequences, heads, kv_heads, .. } = self.share;
        let Model { hidden, head_dim, sequence, .. } = *self.model;
        let all_tokens = sequences * sequence;
        let normed = self.normed(steps, "ln1", Tensor::X, Tensor::Ln1, Tensor::Ln1Whole);
        let q_width = heads * head_dim;
        let kv_width = kv_heads * head_dim;
        let gemm = |n, count| (self.gemm(1, all_tokens, hidden, n), count);
        let qkv = match self.model.qkv {
            Qkv::Fused => vec![gemm(q_width + 2 * kv_width, 1)],
            Qkv::Separate if heads == kv_heads => vec![gemm(q_width, 3)],
            Qkv::Separate => vec![gemm(q_width, 1), gemm(kv_width, 2)],
        };
        let q = Shape::new(&[sequences, sequence, heads, head_dim]);
        let kv = Shape::new(&[sequences, sequence, kv_heads, head_dim]);
        steps.push(
            Step::on_gpu("qkv", Kind::Gemm, qkv)
                .reads(normed, self.whole(hidden))
                .writes(Tensor::Q, q.clone())
                .writes(Tensor::K, kv.clone())
                .writes(Tensor::V, kv.clone())
                .holds(hidden * (q_width + 2 * kv_width), self.cut(Cut::Column)),
        );
        match self.attention {
            AttentionMode::Fused => {
                let op = Op::Attention(Attention {
                    batch: sequences,
                    heads,
                    seq_q: sequence,
                    seq_kv: sequence,
                    head_dim,
                    dtype: self.dtype,
                });
                steps.push(
                    Step::on_gpu("attention", Kind::Attention, vec![(op, 1)])
                        .reads(Tensor::Q, q.clone())
                        .reads(Tensor::K, kv.clone())
                        .reads(Tensor::V, kv)
                        .writes(Tensor::Context, q.clone())
                        .holds(0, self.cut(Cut::Heads)),
                );
            }
            AttentionMode::Unfused => {
                let batch = sequences * heads;
                let scores = Shape::new(&[sequences, heads, sequence, sequence]);
                let product = self.gemm(batch, sequence, head_dim, sequence);
                steps.push(
                    Step::on_gpu("attn_scores", Kind::Gemm, vec![(product, 1)])
                        .reads(Tensor::Q, q.clone())
                        .reads(Tensor::K, kv.clone())
                        .writes(Tensor::Scores, scores.clone())
                        .holds(0, self.cut(Cut::Heads)),
                );
                let softmax = self.kernel(KernelKind::Softmax, batch * sequence, sequence, 1);
                steps.push(
                    Step::on_gpu("attn_weights", Kind::Mem, vec![(softmax, 1)])
                        .reads(Tensor::Scores, scores.clone())
                        .writes(Tensor::Probs, scores.clone())
                        .holds(0, self.cut(Cut::Heads)),
                );
                let product = self.gemm(batch, sequence, sequence, head_dim);
                steps.push(
                    Step::on_gpu("attn_output", Kind::Gemm, vec![(product, 1)])
                        .reads(Tensor::Probs, scores)
                        .reads(Tensor::V, kv)
                        .writes(Tensor::Context, q.clone())
                        .holds(0, self.cut(Cut::Heads)),
                );
            }
        }
        let product = self.gemm(1, all_tokens, q_width, hidden);
        steps.push(
            Step::on_gpu("o_proj", Kind::Gemm, vec![(product, 1)])
                .reads(Tensor::Context, q)
                .writes(Tensor::Projected, self.whole(hidden))
                .holds(q_width * hidden, self.cut(Cut::Row)),
        );
        let names = ["all_reduce_attn", "reduce_scatter_attn"];
        let reduced = self.reduced(steps, names, Tensor::Projected, Tensor::ProjectedShare);
        steps.push(self.added("res1", Tensor::X, reduced, Tensor::Middle));
    }

    /// The dense MLP from the second layernorm to the second residual add.
    pub fn dense(&self, steps: &mut Vec<Step>) {
        let Share { sequences, ffn, .. } = self.share;
        let hidden = self.model.hidden;
        let normed = self.normed(steps, "ln2", Tensor::Middle, Tensor::Ln2, Tensor::Ln2Whole);
        let [up, act, down] = self.mlp(sequences * self.model.sequence, ffn);
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
        steps.push(self.added("res2", Tensor::Middle, reduced, Tensor::Out));
    }

    /// A layernorm, and the gathering of all tokens where they are split.
    fn normed(
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
        let name = if name == "ln1" { "all_gather_tokens" } else { "all_gather_mlp" };
        let bytes = gathered.bytes(self.dtype.bytes());
        steps.push(
            Step::collective(name, Scope::TensorGroup, CollectiveKind::AllGather, bytes)
                .reads(to, self.stream())
                .writes(whole, gathered),
        );
        whole
    }

    /// The sum over the tensor group: whole on every GPU, or a share where the tokens are split.
    fn reduced(
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

    /// The sum of the residual stream and a change of it.
    pub fn added(&self, name: &'static str, stream: Tensor, change: Tensor, to: Tensor) -> Step {
        let add = self.kernel(KernelKind::Residual, self.share.tokens, self.model.hidden, 1);
        Step::on_gpu(name, Kind::Mem, vec![(add, 1)])
            .reads(stream, self.stream())
            .reads(change, self.stream())
            .writes(to, self.stream())
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
        match self.share.tokens == self.share.sequences * self.model.sequence {
            true => self.whole(self.model.hidden),
            false => Shape::new(&[self.share.tokens, self.model.hidden]),
        }
    }

    /// All tokens of the group.
    fn whole(&self, width: u64) -> Shape {
        Shape::new(&[self.share.sequences, self.model.sequence, width])
    }

    /// The axis, where there is more than one GPU to cut for.
    fn cut(&self, cut: Cut) -> Option<Cut> {
        (self.share.tensor > 1).then_some(cut)
    }
}

/// The model's MLP as experts; `None` where it is dense.
pub(super) const fn moe(model: &Model) -> Option<[u64; 3]> {
    match model.mlp {
        Mlp::Moe { experts, top_k, ffn } => Some([experts, top_k, ffn]),
        Mlp::Dense { .. } => None,
    }
}
