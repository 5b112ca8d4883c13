//! Attention, from the first layernorm of a layer to its first residual addition.

use super::layer::{Writer, masked};
use super::model::Model;
use super::step::{Share, Step};
use super::tensor::Tensor;
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{Attention, KernelKind, Op};
use crate::spec::{AttentionMode, Qkv};

impl Writer<'_> {
    /// Attention from the first layernorm to the first residual add.
    pub fn attention(&self, steps: &mut Vec<Step>) {
        let Share { heads, kv_heads, .. } = self.share;
        let Model { hidden, head_dim, .. } = *self.model;
        let tokens = self.share.all_tokens();
        let normed = self.normed(steps, "ln1", Tensor::X, Tensor::Ln1, Tensor::Ln1Whole);
        if let Some(mla) = &self.model.mla {
            self.latent(steps, mla, normed);
            return self.projected(steps);
        }
        let (q_width, kv_width) = (heads * head_dim, kv_heads * head_dim);
        let gemm = |n, count| (self.gemm(1, tokens, hidden, n), count);
        let qkv = match self.model.qkv {
            Qkv::Fused => vec![gemm(q_width + 2 * kv_width, 1)],
            Qkv::Separate if heads == kv_heads => vec![gemm(q_width, 3)],
            Qkv::Separate => vec![gemm(q_width, 1), gemm(kv_width, 2)],
        };
        let (q, kv) = (self.heads_of(heads), self.heads_of(kv_heads));
        steps.push(
            Step::on_gpu("qkv", Kind::Gemm, qkv)
                .reads(normed, self.whole(hidden))
                .writes(Tensor::Q, q.clone())
                .writes(Tensor::K, kv.clone())
                .writes(Tensor::V, kv)
                .holds(hidden * (q_width + 2 * kv_width), self.cut(Cut::Column)),
        );
        match self.attention {
            AttentionMode::Fused => steps.push(self.fused()),
            AttentionMode::Unfused => self.unfused(steps),
        }
        self.projected(steps);
    }

    /// From the context of all heads to the first residual add.
    fn projected(&self, steps: &mut Vec<Step>) {
        let Share { heads, .. } = self.share;
        let Model { hidden, head_dim, .. } = *self.model;
        let (q, q_width) = (self.heads_of(heads), heads * head_dim);
        let product = self.gemm(1, self.share.all_tokens(), q_width, hidden);
        steps.push(
            Step::on_gpu("o_proj", Kind::Gemm, vec![(product, 1)])
                .reads(Tensor::Context, q)
                .writes(Tensor::Projected, self.whole(hidden))
                .holds(q_width * hidden, self.cut(Cut::Row)),
        );
        let names = ["all_reduce_attn", "reduce_scatter_attn"];
        let reduced = self.reduced(steps, names, Tensor::Projected, Tensor::ProjectedShare);
        steps.push(self.added("res1", [Tensor::X, reduced], Tensor::Middle, Tensor::AttentionMask));
    }

    /// All of it in one kernel.
    fn fused(&self) -> Step {
        let Share { sequences, heads, kv_heads, .. } = self.share;
        let [rows, sharing] = self.rows();
        let op = Op::Attention(Attention {
            batch: sequences,
            heads: heads / sharing,
            seq_q: rows,
            seq_kv: self.model.sequence,
            head_dim: self.model.head_dim,
            dtype: self.dtype,
        });
        let kv = self.heads_of(kv_heads);
        let step = Step::on_gpu("attention", Kind::Attention, vec![(op, 1)])
            .reads(Tensor::Q, self.heads_of(heads))
            .reads(Tensor::K, kv.clone())
            .reads(Tensor::V, kv)
            .writes(Tensor::Context, self.heads_of(heads))
            .holds(0, self.cut(Cut::Heads));
        self.with_cache(step, 2)
    }

    /// Two batched products with a softmax between, and dropout where there is any.
    fn unfused(&self, steps: &mut Vec<Step>) {
        let Share { sequences, heads, kv_heads, queries, .. } = self.share;
        let Model { head_dim, sequence, .. } = *self.model;
        let [rows, sharing] = self.rows();
        let batch = sequences * heads / sharing;
        let (q, kv) = (self.heads_of(heads), self.heads_of(kv_heads));
        let scores = Shape::new(&[sequences, heads, queries, sequence]);
        let cut = self.cut(Cut::Heads);
        let product = self.gemm(batch, rows, head_dim, sequence);
        let step = Step::on_gpu("attn_scores", Kind::Gemm, vec![(product, 1)])
            .reads(Tensor::Q, q.clone())
            .reads(Tensor::K, kv.clone())
            .writes(Tensor::Scores, scores.clone())
            .holds(0, cut);
        steps.push(self.with_cache(step, 1));
        let softmax = self.kernel(KernelKind::Softmax, batch * rows, sequence, 1);
        steps.push(
            Step::on_gpu("attn_weights", Kind::Mem, vec![(softmax, 1)])
                .reads(Tensor::Scores, scores.clone())
                .writes(Tensor::Probs, scores.clone())
                .holds(0, cut),
        );
        let weights = match self.dropout {
            false => Tensor::Probs,
            true => {
                let drop = self.kernel(KernelKind::Copy, batch * rows, sequence, 1);
                steps.push(
                    Step::on_gpu(
                        "attn_dropout",
                        Kind::Mem,
                        vec![(self.mask_bytes(batch * rows, sequence), 1), (drop, 1)],
                    )
                    .reads(Tensor::Probs, scores.clone())
                    .writes(Tensor::Dropped, scores.clone())
                    .writes(Tensor::DroppedMask, masked(scores.clone()))
                    .holds(0, cut),
                );
                Tensor::Dropped
            }
        };
        let product = self.gemm(batch, rows, sequence, head_dim);
        let step = Step::on_gpu("attn_output", Kind::Gemm, vec![(product, 1)])
            .reads(weights, scores)
            .reads(Tensor::V, kv)
            .writes(Tensor::Context, q)
            .holds(0, cut);
        steps.push(self.with_cache(step, 1));
    }

    /// Rows of queries for each head of keys, and query heads that share these. In decoding, query heads of one
    /// group are rows of one product, so that keys and values are read once for all of them.
    const fn rows(&self) -> [u64; 2] {
        let Share { heads, kv_heads, queries, .. } = self.share;
        let sharing = if queries < self.model.sequence { heads / kv_heads } else { 1 };
        [queries * sharing, sharing]
    }

    /// The heads of the tokens that are computed.
    fn heads_of(&self, heads: u64) -> Shape {
        self.of_heads(heads, self.model.head_dim)
    }

    /// Heads of a width, of the tokens that are computed.
    pub fn of_heads(&self, heads: u64, width: u64) -> Shape {
        Shape::new(&[self.share.sequences, self.share.queries, heads, width])
    }

    /// A step that reads keys or values (`tensors` = 1) or both (2) of all tokens so far. Those of the newest are
    /// written into them.
    fn with_cache(&self, step: Step, tensors: u64) -> Step {
        let Share { sequences, kv_heads, queries, .. } = self.share;
        let Model { sequence, head_dim, .. } = *self.model;
        if queries == sequence {
            return step;
        }
        step.reads(Tensor::Cache, Shape::new(&[tensors, sequences, sequence, kv_heads, head_dim]))
    }
}
