//! One layer on one GPU, as steps that read and write tensors.
//!
//! This is the only description of a layer: edges of the graph are "reads what that step wrote", memory is
//! what is live between steps, and the ops are the work.

use super::model::{Mlp, Model};
use super::step::{Doing, Scope, Share, Step, Tensor};
use crate::dag::Kind;
use crate::dtype::Dtype;
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
        let Share { sequences, tokens, heads, kv_heads, .. } = self.share;
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
        let width = |n| self.size(all_tokens, n);
        steps.push(self.step(
            "qkv",
            Kind::Gemm,
            qkv,
            &[normed],
            &[(Tensor::Q, width(q_width)), (Tensor::K, width(kv_width)), (Tensor::V, width(kv_width))],
        ));
        let context = [(Tensor::Context, width(q_width))];
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
                let reads = [Tensor::Q, Tensor::K, Tensor::V];
                steps.push(self.step("attention", Kind::Attention, vec![(op, 1)], &reads, &context));
            }
            AttentionMode::Unfused => {
                let batch = sequences * heads;
                let scores = self.size(batch * sequence, sequence);
                let product = self.gemm(batch, sequence, head_dim, sequence);
                let reads = [Tensor::Q, Tensor::K];
                let writes = [(Tensor::Scores, scores)];
                steps.push(self.step("attn_scores", Kind::Gemm, vec![(product, 1)], &reads, &writes));
                let softmax = self.kernel(KernelKind::Softmax, batch * sequence, sequence, 1);
                let writes = [(Tensor::Probs, scores)];
                let reads = [Tensor::Scores];
                steps.push(self.step("attn_weights", Kind::Mem, vec![(softmax, 1)], &reads, &writes));
                let product = self.gemm(batch, sequence, sequence, head_dim);
                let reads = [Tensor::Probs, Tensor::V];
                steps.push(self.step("attn_output", Kind::Gemm, vec![(product, 1)], &reads, &context));
            }
        }
        let product = self.gemm(1, all_tokens, q_width, hidden);
        let writes = [(Tensor::Projected, width(hidden))];
        steps.push(self.step("o_proj", Kind::Gemm, vec![(product, 1)], &[Tensor::Context], &writes));
        let names = ["all_reduce_attn", "reduce_scatter_attn"];
        let reduced = self.reduced(steps, names, Tensor::Projected, Tensor::ProjectedShare);
        let add = self.kernel(KernelKind::Residual, tokens, hidden, 1);
        let writes = [(Tensor::Middle, self.size(tokens, hidden))];
        steps.push(self.step("res1", Kind::Mem, vec![(add, 1)], &[Tensor::X, reduced], &writes));
    }

    /// The dense MLP from the second layernorm to the second residual add.
    pub fn dense(&self, steps: &mut Vec<Step>) {
        let Share { sequences, tokens, ffn, .. } = self.share;
        let all_tokens = sequences * self.model.sequence;
        let normed = self.normed(steps, "ln2", Tensor::Middle, Tensor::Ln2, Tensor::Ln2Whole);
        let [up, act, down] = self.mlp(all_tokens, ffn);
        let widths = self.mlp_sizes(all_tokens, ffn);
        let writes = [(Tensor::Up, widths[0])];
        steps.push(self.step("mlp_up", Kind::Gemm, vec![(up, 1)], &[normed], &writes));
        let writes = [(Tensor::Act, widths[1])];
        steps.push(self.step("mlp_act", Kind::Mem, vec![(act, 1)], &[Tensor::Up], &writes));
        let writes = [(Tensor::Down, widths[2])];
        steps.push(self.step("mlp_down", Kind::Gemm, vec![(down, 1)], &[Tensor::Act], &writes));
        let names = ["all_reduce_mlp", "reduce_scatter_mlp"];
        let reduced = self.reduced(steps, names, Tensor::Down, Tensor::DownShare);
        self.leave(steps, Tensor::Middle, reduced, tokens);
    }

    /// The experts from the layernorm `norm` of `stream` to the second residual add.
    pub fn experts(&self, steps: &mut Vec<Step>, norm: &'static str, stream: Tensor) {
        let Mlp::Moe { experts, top_k, ffn } = self.model.mlp else { return };
        let Share { tokens, expert: group, .. } = self.share;
        let hidden = self.model.hidden;
        let here = experts / group;
        let copies = tokens * top_k;
        // routing is taken as uniform: every expert gets its share of the group's tokens, rounded up
        let rows = (u128::from(copies) * u128::from(group)).div_ceil(experts.into()) as u64;
        let message = self.size(copies, hidden);

        let op = self.kernel(KernelKind::Layernorm, tokens, hidden, 1);
        let writes = [(Tensor::Ln2, self.size(tokens, hidden))];
        steps.push(self.step(norm, Kind::Mem, vec![(op, 1)], &[stream], &writes));
        let op = self.gemm(1, tokens, hidden, experts);
        let writes = [(Tensor::Logits, self.size(tokens, experts))];
        steps.push(self.step("gate", Kind::Gemm, vec![(op, 1)], &[Tensor::Ln2], &writes));
        let op = self.kernel(KernelKind::GateTopk, tokens, experts, top_k);
        let writes = [(Tensor::Routes, 4 * copies)];
        steps.push(self.step("gate_topk", Kind::Mem, vec![(op, 1)], &[Tensor::Logits], &writes));

        // Several experts on a GPU need the rows that arrive sorted by expert, and put back in order
        // afterwards. The graph has no nodes of their own for that: the steps beside the exchange take it on.
        let sorts = u64::from(here > 1 && group > 1);
        let permute = self.kernel(KernelKind::Permute, copies, hidden, 1);
        let writes = [(Tensor::Permuted, message)];
        let reads = [Tensor::Ln2, Tensor::Routes];
        steps.push(self.step("permute", Kind::Mem, vec![(permute, 1 + sorts)], &reads, &writes));
        let exchange = |name, from, to| Step {
            name,
            scope: Scope::ExpertGroup,
            doing: Doing::Collective(CollectiveKind::AllToAll, message),
            reads: vec![from],
            writes: vec![(to, message)],
        };
        let (arrives, returns) = match group {
            1 => (Tensor::Permuted, Tensor::ExpertOut),
            _ => (Tensor::Received, Tensor::Combined),
        };
        if group > 1 {
            steps.push(exchange("dispatch", Tensor::Permuted, Tensor::Received));
        }
        let [up, act, down] = self.mlp(rows, ffn);
        let widths = self.mlp_sizes(rows, ffn).map(|bytes| bytes.saturating_mul(here));
        let names = ["expert_up", "expert_act", "expert_down"];
        let kinds = [Kind::Gemm, Kind::Mem, Kind::Gemm];
        let chain = [arrives, Tensor::Up, Tensor::Act, Tensor::ExpertOut];
        for (i, op) in [up, act, down].into_iter().enumerate() {
            let writes = [(chain[i + 1], widths[i])];
            let step = self.step(names[i], kinds[i], vec![(op, 1)], &[chain[i]], &writes);
            steps.push(Step { scope: Scope::Expert, ..step });
        }
        if group > 1 {
            steps.push(exchange("combine", Tensor::ExpertOut, Tensor::Combined));
        }
        let mut gather = vec![(self.kernel(KernelKind::Unpermute, tokens, hidden, top_k), 1)];
        if sorts > 0 {
            gather.insert(0, (permute, sorts));
        }
        let writes = [(Tensor::Moe, self.size(tokens, hidden))];
        let reads = [returns, Tensor::Routes];
        steps.push(self.step("expert_agg", Kind::Mem, gather, &reads, &writes));
        self.leave(steps, stream, Tensor::Moe, tokens);
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
        let Share { sequences, tokens, .. } = self.share;
        let hidden = self.model.hidden;
        let op = self.kernel(KernelKind::Layernorm, tokens, hidden, 1);
        let writes = [(to, self.size(tokens, hidden))];
        steps.push(self.step(name, Kind::Mem, vec![(op, 1)], &[from], &writes));
        if !self.share.sequence_parallel {
            return to;
        }
        let bytes = self.size(sequences * self.model.sequence, hidden);
        steps.push(Step {
            name: if name == "ln1" { "all_gather_tokens" } else { "all_gather_mlp" },
            scope: Scope::TensorGroup,
            doing: Doing::Collective(CollectiveKind::AllGather, bytes),
            reads: vec![to],
            writes: vec![(whole, bytes)],
        });
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
        let Share { sequences, tokens, tensor, sequence_parallel, .. } = self.share;
        if tensor == 1 {
            return from;
        }
        let bytes = self.size(sequences * self.model.sequence, self.model.hidden);
        let (name, kind, to, written) = match sequence_parallel {
            true => (share, CollectiveKind::ReduceScatter, to, self.size(tokens, self.model.hidden)),
            false => (whole, CollectiveKind::AllReduce, from, bytes),
        };
        steps.push(Step {
            name,
            scope: Scope::TensorGroup,
            doing: Doing::Collective(kind, bytes),
            reads: vec![from],
            writes: vec![(to, written)],
        });
        to
    }

    fn leave(&self, steps: &mut Vec<Step>, stream: Tensor, change: Tensor, tokens: u64) {
        let add = self.kernel(KernelKind::Residual, tokens, self.model.hidden, 1);
        let writes = [(Tensor::Out, self.size(tokens, self.model.hidden))];
        steps.push(self.step("res2", Kind::Mem, vec![(add, 1)], &[stream, change], &writes));
    }

    /// Up, activation and down of an MLP of width `ffn`.
    fn mlp(&self, rows: u64, ffn: u64) -> [Op; 3] {
        let hidden = self.model.hidden;
        let act = if self.model.gated { KernelKind::GatedActivation } else { KernelKind::Activation };
        [
            self.gemm(1, rows, hidden, self.model.up_matrices() * ffn),
            self.kernel(act, rows, ffn, 1),
            self.gemm(1, rows, ffn, hidden),
        ]
    }

    /// Bytes that the three of them write.
    fn mlp_sizes(&self, rows: u64, ffn: u64) -> [u64; 3] {
        let widths = [self.model.up_matrices() * ffn, ffn, self.model.hidden];
        widths.map(|width| self.size(rows, width))
    }

    fn gemm(&self, batch: u64, m: u64, k: u64, n: u64) -> Op {
        Op::Gemm(Gemm { m, k, n, batch, dtype: self.dtype })
    }

    fn kernel(&self, kind: KernelKind, rows: u64, cols: u64, top_k: u64) -> Op {
        Op::Kernel(Kernel { kind, rows, cols, top_k, dtype: self.dtype })
    }

    fn size(&self, rows: u64, cols: u64) -> u64 {
        rows.saturating_mul(cols).saturating_mul(self.dtype.bytes())
    }

    fn step(
        &self,
        name: &'static str,
        kind: Kind,
        ops: Vec<(Op, u64)>,
        reads: &[Tensor],
        writes: &[(Tensor, u64)],
    ) -> Step {
        Step {
            name,
            scope: Scope::Gpu,
            doing: Doing::Ops(kind, ops),
            reads: reads.to_vec(),
            writes: writes.to_vec(),
        }
    }
}
