//! What a graph claims to compute, and on what machine.

use crate::dtype::Dtype;

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
}

impl Facts {
    /// Tokens in the batch.
    pub const fn tokens(&self) -> u64 {
        self.batch * self.sequence
    }

    /// Parameters of the matrices of one layer.
    pub fn layer_matrices(&self) -> u128 {
        let mlp = self.mlp_matrices();
        let after = match self.experts {
            0 => mlp,
            experts => u128::from(experts) * (mlp + u128::from(self.hidden)),
        };
        self.projections() + after
    }

    /// FLOPs of the products of a forward pass over the batch: `2·m·k·n` of every product of the model before
    /// anything is cut, attention over all pairs of a sequence's tokens.
    pub fn forward_flops(&self) -> u128 {
        let [hidden, dim, sequence] = [self.hidden, self.head_dim, self.sequence].map(u128::from);
        let pairs = 2 * u128::from(self.heads) * dim * sequence;
        let after = match self.experts {
            0 => self.mlp_matrices(),
            experts => u128::from(self.top_k) * self.mlp_matrices() + hidden * u128::from(experts),
        };
        let token = self.projections() + pairs + after;
        let layers = 2 * u128::from(self.layers) * u128::from(self.tokens());
        layers.saturating_mul(token)
    }

    /// Parameters of Q, K, V and the output projection.
    fn projections(&self) -> u128 {
        let widths = u128::from(2 * self.heads + 2 * self.kv_heads);
        widths * u128::from(self.head_dim) * u128::from(self.hidden)
    }

    /// Parameters of one MLP or expert.
    fn mlp_matrices(&self) -> u128 {
        u128::from(self.up_matrices + 1) * u128::from(self.hidden) * u128::from(self.ffn)
    }
}
