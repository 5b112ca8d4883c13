//! What is computed.

use crate::dtype::Dtype;
use crate::spec::Qkv;

/// A transformer, and a batch of sequences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
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
    /// Multi-head latent attention, in the place of Q, K and V.
    pub mla: Option<Mla>,
    /// Whether Q, K and V are one product or three.
    pub qkv: Qkv,
    /// What follows attention.
    pub mlp: Mlp,
    /// Whether the MLP, or each expert, has a gate matrix besides up and down.
    pub gated: bool,
    /// Sequences in the batch.
    pub batch: u64,
    /// Tokens per sequence that attention looks back on.
    pub sequence: u64,
    /// Tokens per sequence that are computed: all of them, or the newest in decoding.
    pub queries: u64,
    /// Entries of the vocabulary; `None` where embedding and LM head are out of scope.
    pub vocabulary: Option<u64>,
    /// The first layers that have one MLP though the others have experts, and its width.
    pub dense_first: Option<(u64, u64)>,
    /// Experts that every token goes to, besides those that it is routed to.
    pub shared_experts: u64,
    /// The element type that the file asks for.
    pub dtype: Option<Dtype>,
}

/// Widths of multi-head latent attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mla {
    /// Of the latent vector of queries.
    pub q_rank: u64,
    /// Of the latent vector of keys and values.
    pub kv_rank: u64,
    /// Of a head's queries and keys, without what turns with the position.
    pub nope_dim: u64,
    /// Of what turns with the position; one key for all heads.
    pub rope_dim: u64,
    /// Of a head's values.
    pub v_dim: u64,
}

/// What follows attention in every layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// One MLP for all tokens.
    Dense {
        /// Its width.
        ffn: u64,
    },
    /// A gate and experts.
    Moe {
        /// Experts per layer.
        experts: u64,
        /// Experts that each token goes to.
        top_k: u64,
        /// Width of one expert.
        ffn: u64,
    },
}

impl Model {
    /// Matrices into the MLP: up, and the gate where there is one.
    pub const fn up_matrices(&self) -> u64 {
        if self.gated { 2 } else { 1 }
    }

    /// Experts per layer; 0 where there are none.
    pub const fn experts(&self) -> u64 {
        match self.mlp {
            Mlp::Dense { .. } => 0,
            Mlp::Moe { experts, .. } => experts,
        }
    }

    /// Whether a layer has one MLP instead of experts.
    pub fn is_dense(&self, layer: u64) -> bool {
        match self.mlp {
            Mlp::Dense { .. } => true,
            Mlp::Moe { .. } => self.dense_first.is_some_and(|(layers, _)| layer < layers),
        }
    }

    /// Width of the MLP of dense layers; 0 where there are none.
    pub fn dense_ffn(&self) -> u64 {
        match self.mlp {
            Mlp::Dense { ffn } => ffn,
            Mlp::Moe { .. } => self.dense_first.map_or(0, |(_, ffn)| ffn),
        }
    }

    /// Whether two plans compute the same thing, so that their runtimes can be ranked together.
    pub fn computes_the_same(&self, other: &Model) -> bool {
        // one product or three is the same mathematics
        Model { qkv: other.qkv, ..self.clone() } == *other
    }
}
