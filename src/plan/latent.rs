//! Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): queries, keys and values are made of latent
//! vectors, and only the keys' and values' latent vector is cached.
//!
//! Whole sequences make keys and values of every head from the latent vector. A new token's queries are turned
//! into the latent space instead, where all heads share one key of `kv_rank + rope` and one value of `kv_rank`.
//! The widths of keys and values differ; one attention op has their mean, which has the FLOPs of both products.
//! In decoding that counts the cache's bytes as a key and a value, though the value is part of the key: 1.9 times
//! what must be read.

use super::layer::Writer;
use super::model::Mla;
use super::step::{Share, Step};
use super::tensor::Tensor;
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{Attention, KernelKind, Op};

impl Writer<'_> {
    /// From the normed tokens to the context of every head.
    pub fn latent(&self, steps: &mut Vec<Step>, mla: &Mla, normed: Tensor) {
        let Share { heads, queries, .. } = self.share;
        let hidden = self.model.hidden;
        let Mla { q_rank, kv_rank, nope_dim, rope_dim, v_dim } = *mla;
        let tokens = self.share.all_tokens();
        let column = self.cut(Cut::Column);
        let product = |name, k, n| Step::on_gpu(name, Kind::Gemm, vec![(self.gemm(1, tokens, k, n), 1)]);
        steps.push(
            product("q_down", hidden, q_rank)
                .reads(normed, self.whole(hidden))
                .writes(Tensor::QLatent, self.whole(q_rank))
                .holds(hidden * q_rank, None),
        );
        steps.push(self.latent_norm("q_norm", Tensor::QLatent, Tensor::QNormed, q_rank));
        steps.push(
            product("q_up", q_rank, heads * (nope_dim + rope_dim))
                .reads(Tensor::QNormed, self.whole(q_rank))
                .writes(Tensor::Q, self.of_heads(heads, nope_dim))
                .writes(Tensor::QRope, self.of_heads(heads, rope_dim))
                .holds(q_rank * heads * (nope_dim + rope_dim), column),
        );
        steps.push(
            product("kv_down", hidden, kv_rank + rope_dim)
                .reads(normed, self.whole(hidden))
                .writes(Tensor::KvLatent, self.whole(kv_rank))
                .writes(Tensor::KRope, self.whole(rope_dim))
                .holds(hidden * (kv_rank + rope_dim), None),
        );
        steps.push(self.latent_norm("kv_norm", Tensor::KvLatent, Tensor::KvNormed, kv_rank));
        if queries < self.model.sequence {
            return self.absorbed(steps, mla);
        }
        steps.push(
            product("kv_up", kv_rank, heads * (nope_dim + v_dim))
                .reads(Tensor::KvNormed, self.whole(kv_rank))
                .writes(Tensor::K, self.of_heads(heads, nope_dim))
                .writes(Tensor::V, self.of_heads(heads, v_dim))
                .holds(kv_rank * heads * (nope_dim + v_dim), column),
        );
        steps.push(
            self.latent_attention(heads, queries, (nope_dim + rope_dim + v_dim) / 2)
                .reads(Tensor::Q, self.of_heads(heads, nope_dim))
                .reads(Tensor::QRope, self.of_heads(heads, rope_dim))
                .reads(Tensor::K, self.of_heads(heads, nope_dim))
                .reads(Tensor::KRope, self.whole(rope_dim))
                .reads(Tensor::V, self.of_heads(heads, v_dim))
                .writes(Tensor::Context, self.of_heads(heads, v_dim)),
        );
    }

    /// A new token against the cache of latent vectors.
    fn absorbed(&self, steps: &mut Vec<Step>, mla: &Mla) {
        let Share { sequences, heads, queries, .. } = self.share;
        let Mla { kv_rank, nope_dim, rope_dim, v_dim, .. } = *mla;
        let tokens = self.share.all_tokens();
        let of_head = |name, k, n| Step::on_gpu(name, Kind::Gemm, vec![(self.gemm(heads, tokens, k, n), 1)]);
        steps.push(
            of_head("q_absorb", nope_dim, kv_rank)
                .reads(Tensor::Q, self.of_heads(heads, nope_dim))
                .writes(Tensor::QAbsorbed, self.of_heads(heads, kv_rank))
                .holds(heads * nope_dim * kv_rank, self.cut(Cut::Heads)),
        );
        let cached = Shape::new(&[1, sequences, self.model.sequence, 1, kv_rank + rope_dim]);
        steps.push(
            self.latent_attention(1, queries * heads, (2 * kv_rank + rope_dim) / 2)
                .reads(Tensor::QAbsorbed, self.of_heads(heads, kv_rank))
                .reads(Tensor::QRope, self.of_heads(heads, rope_dim))
                .reads(Tensor::KvNormed, self.whole(kv_rank))
                .reads(Tensor::KRope, self.whole(rope_dim))
                .reads(Tensor::Cache, cached)
                .writes(Tensor::LatentContext, self.of_heads(heads, kv_rank)),
        );
        steps.push(
            of_head("v_up", kv_rank, v_dim)
                .reads(Tensor::LatentContext, self.of_heads(heads, kv_rank))
                .writes(Tensor::Context, self.of_heads(heads, v_dim))
                .holds(heads * kv_rank * v_dim, self.cut(Cut::Heads)),
        );
    }

    fn latent_attention(&self, heads: u64, seq_q: u64, head_dim: u64) -> Step {
        let (batch, seq_kv) = (self.share.sequences, self.model.sequence);
        let op = Attention { batch, heads, seq_q, seq_kv, head_dim, dtype: self.dtype };
        let step = Step::on_gpu("attention", Kind::Attention, vec![(Op::Attention(op), 1)]);
        step.holds(0, self.cut(Cut::Heads))
    }

    fn latent_norm(&self, name: &'static str, from: Tensor, to: Tensor, width: u64) -> Step {
        let op = self.kernel(KernelKind::Layernorm, self.share.all_tokens(), width, 1);
        Step::on_gpu(name, Kind::Mem, vec![(op, 1)])
            .reads(from, self.whole(width))
            .writes(to, self.whole(width))
            .holds(width, None)
    }
}
