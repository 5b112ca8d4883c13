//! What a graph claims to compute, and on what machine.

use crate::dtype::Dtype;
use crate::spec::{Phase, Recompute};

/// The model, the batch and the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Transformer layers.
    pub layers: u64,
    /// Width of the residual stream.
    pub hidden: u64,
    /// Query heads.
    pub heads: u64,
    /// Key/value heads.
    pub kv_heads: u64,
    /// Width of a head.
    pub head_dim: u64,
    /// Width of the MLP, or of one expert.
    pub ffn: u64,
    /// Matrices into the MLP: 2 where it is gated, else 1.
    pub up_matrices: u64,
    /// Experts per layer; 0 for a dense MLP.
    pub experts: u64,
    /// Experts of each token; 0 for a dense MLP.
    pub top_k: u64,
    /// Sequences in the batch.
    pub batch: u64,
    /// Tokens per sequence.
    pub sequence: u64,
    /// In how many pieces the batch is cut.
    pub microbatches: u64,
    /// Whether attention is one op.
    pub fused: bool,
    /// GPUs in all.
    pub gpus: u64,
    /// GPUs on one node.
    pub gpus_per_node: u64,
    /// Element type.
    pub dtype: Dtype,
    /// What is computed of the model.
    pub phase: Phase,
    /// Entries of the vocabulary; 0 where embedding and LM head are out of scope.
    pub vocabulary: u64,
    /// The first layers that have one MLP though the others have experts.
    pub dense_layers: u64,
    /// Width of the MLP of layers without experts.
    pub dense_ffn: u64,
    /// Experts that every token goes to besides.
    pub shared_experts: u64,
    /// Whether one expert is more wanted than the others.
    pub uneven: bool,
    /// What the backward pass computes again.
    pub recompute: Recompute,
    /// Widths of multi-head latent attention: of the latent vectors of queries, and of keys and values, and of a
    /// head without position, with it, and of values; zeros where there is none.
    pub mla: [u64; 5],
    /// Bytes of gradient for each parameter; 0 but in training.
    pub gradient_bytes: u64,
    /// Bytes of the optimizer's state for each parameter that it updates.
    pub state_bytes: u64,
}

impl Facts {
    /// Tokens that are computed.
    pub const fn tokens(&self) -> u64 {
        self.batch * self.queries()
    }

    /// Tokens of each sequence that are computed.
    pub const fn queries(&self) -> u64 {
        match self.phase {
            Phase::Decode => 1,
            Phase::Prefill | Phase::Train => self.sequence,
        }
    }

    /// Whether a layer has one MLP instead of experts.
    pub const fn is_dense(&self, layer: u64) -> bool {
        self.experts == 0 || layer < self.dense_layers
    }

    /// Layers with one MLP, and layers with experts.
    pub fn layers_by_kind(&self) -> [u64; 2] {
        let dense = if self.experts == 0 { self.layers } else { self.dense_layers.min(self.layers) };
        [dense, self.layers - dense]
    }

    /// Parameters of the matrices of all layers, each once.
    pub fn matrices(&self) -> u128 {
        let [dense, routed] = self.layers_by_kind().map(u128::from);
        let experts = u128::from(self.experts) * (self.mlp_matrices(self.ffn) + u128::from(self.hidden))
            + self.mlp_matrices(self.shared_experts * self.ffn);
        u128::from(self.layers) * self.projections()
            + dense * self.mlp_matrices(self.dense_ffn)
            + routed * experts
    }

    /// FLOPs of the products over the batch: `2·m·k·n` of every product of the model before anything is cut,
    /// attention over all pairs of a sequence's tokens; in training the forward pass, the backward pass of twice
    /// its products (of two and a half times its fused attention), and what is computed again.
    pub fn flops(&self) -> u128 {
        let [hidden, dim, sequence] = [self.hidden, self.head_dim, self.sequence].map(u128::from);
        let [dense, routed] = self.layers_by_kind().map(u128::from);
        let [tokens, layers] = [self.tokens(), self.layers].map(u128::from);
        let experts = u128::from(self.top_k) * self.mlp_matrices(self.ffn)
            + self.mlp_matrices(self.shared_experts * self.ffn)
            + hidden * u128::from(self.experts);
        let weights =
            layers * self.projections() + dense * self.mlp_matrices(self.dense_ffn) + routed * experts;
        let linear = 2 * tokens * weights;
        let [_, kv_rank, nope, rope, v] = self.mla.map(u128::from);
        // twice the mean width of keys and values
        let widths = match (kv_rank, self.phase) {
            (0, _) => 2 * dim,
            (_, Phase::Decode) => 2 * kv_rank + rope,
            (_, Phase::Prefill | Phase::Train) => nope + rope + v,
        };
        let per_key = 2 * tokens * layers * u128::from(self.heads) * widths;
        let attention = per_key * sequence;
        let scored = if self.phase == Phase::Train { tokens } else { u128::from(self.batch) };
        let head = 2 * scored * hidden * u128::from(self.vocabulary);
        let forward = linear + attention + head;
        if self.phase != Phase::Train {
            return forward;
        }
        let pairs = match self.fused {
            true => 2 * attention + per_key * sequence.div_ceil(2),
            false => 2 * attention,
        };
        let again = match self.recompute {
            Recompute::None => 0,
            Recompute::Selective if self.fused => 0,
            Recompute::Selective => attention,
            Recompute::Full => linear + attention,
        };
        forward + 2 * (linear + head) + pairs + again
    }

    /// Parameters of Q, K, V and the output projection.
    fn projections(&self) -> u128 {
        let [q_rank, kv_rank, nope, rope, v] = self.mla.map(u128::from);
        if kv_rank > 0 {
            let [hidden, heads] = [self.hidden, self.heads].map(u128::from);
            let of_heads = q_rank * (nope + rope) + kv_rank * (nope + v) + v * hidden;
            return heads * of_heads + self.latents();
        }
        let widths = u128::from(2 * self.heads + 2 * self.kv_heads);
        widths * u128::from(self.head_dim) * u128::from(self.hidden)
    }

    /// Parameters of the products that make latent vectors, which every GPU of a tensor group holds.
    pub fn latents(&self) -> u128 {
        let [q_rank, kv_rank, _, rope, _] = self.mla.map(u128::from);
        u128::from(self.hidden) * (q_rank + kv_rank + rope)
    }

    /// Parameters of one MLP of a width.
    fn mlp_matrices(&self, ffn: u64) -> u128 {
        u128::from(self.up_matrices + 1) * u128::from(self.hidden) * u128::from(ffn)
    }
}
