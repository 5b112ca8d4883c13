//! A plan file: model × cluster × parallel layout.

use serde::Deserialize;
use serde::de::{Deserializer, Error};
use toml::Spanned;

use super::passes::{Overlap, Phase, Schedule, TrainSpec};
use crate::dtype::Dtype;

/// A whole number and where it stands in the file.
pub type Count = Spanned<u64>;

/// A plan as its author wrote it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanSpec {
    /// The name on the command line and in reports.
    pub name: String,
    /// One line that says what it is.
    pub title: Option<String>,
    /// Where it comes from.
    pub source: Option<String>,
    /// In how many pieces the batch is cut; 1 if left out.
    #[serde(default = "one_piece")]
    pub microbatches: Microbatches,
    /// Whether the scores of attention are stored; unfused if left out.
    #[serde(default)]
    pub attention: AttentionMode,
    /// What is computed of the model; a forward pass over whole sequences if left out.
    pub phase: Option<Spanned<Phase>>,
    /// The order of micro-batches in a pipeline; 1f1b if left out.
    pub schedule: Option<Spanned<Schedule>>,
    /// What communication has a stream of its own beside the products; none if left out.
    #[serde(default)]
    pub overlap: Overlap,
    /// How it is trained; only with `phase = "train"`.
    pub train: Option<Spanned<TrainSpec>>,
    /// What is computed.
    pub model: ModelSpec,
    /// On how many GPUs.
    pub cluster: ClusterSpec,
    /// How it is spread over them.
    #[serde(default)]
    pub parallel: ParallelSpec,
}

/// The model, and `batch` sequences of `sequence` tokens.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Transformer layers.
    pub layers: Count,
    /// Width of the residual stream.
    pub hidden: Count,
    /// Query heads.
    pub heads: Count,
    /// Key/value heads; as many as query heads if left out.
    pub kv_heads: Option<Count>,
    /// Width of a head; hidden / heads if left out.
    pub head_dim: Option<Count>,
    /// Width of the MLP; left out where `moe` says it for all layers.
    pub ffn: Option<Count>,
    /// Whether the MLP has a gate matrix besides up and down.
    #[serde(default)]
    pub gated: bool,
    /// Whether Q, K and V are one product or three.
    #[serde(default)]
    pub qkv: Qkv,
    /// Sequences in the batch.
    pub batch: Count,
    /// Tokens per sequence; in decoding those that the cache holds, the new one included.
    pub sequence: Count,
    /// Entries of the vocabulary; embedding and LM head are out of scope if left out.
    pub vocabulary: Option<Count>,
    /// Element type; bf16 if left out and `--dtype` does not say.
    pub dtype: Option<Dtype>,
    /// Experts instead of one MLP.
    pub moe: Option<MoeSpec>,
    /// Multi-head latent attention instead of Q, K and V; always fused.
    pub mla: Option<MlaSpec>,
}

/// Widths of multi-head latent attention.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlaSpec {
    /// Of the latent vector of queries.
    pub q_rank: Count,
    /// Of the latent vector of keys and values, which is cached.
    pub kv_rank: Count,
    /// Of a head's queries and keys, without what turns with the position.
    pub nope_dim: Count,
    /// Of what turns with the position; one key for all heads, which is cached.
    pub rope_dim: Count,
    /// Of a head's values.
    pub v_dim: Count,
}

/// A mixture of experts in the place of every MLP.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeSpec {
    /// Experts per layer.
    pub experts: Count,
    /// Experts that each token goes to.
    pub top_k: Count,
    /// Width of one expert.
    pub ffn: Count,
    /// Experts that every token goes to besides; none if left out.
    pub shared: Option<Count>,
    /// The first layers that have one MLP instead, of width `ffn` of the model; none if left out.
    pub dense_layers: Option<Count>,
    /// The share of all routed tokens that goes to the most wanted expert; the others share the rest alike. As
    /// much as the others if left out.
    pub hottest: Option<Spanned<f64>>,
}

/// The cluster that the plan is made for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterSpec {
    /// GPUs in all.
    pub gpus: Count,
    /// GPUs per node, where neither the cost table nor the data sheet says it.
    pub gpus_per_node: Option<Count>,
}

/// The layout: `tensor × pipeline × data` GPUs, or two groups.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParallelSpec {
    /// GPUs that share every layer.
    pub tensor: Option<Count>,
    /// Stages.
    pub pipeline: Option<Count>,
    /// Replicas of attention, each with its share of the sequences.
    pub data: Option<Count>,
    /// GPUs that share the experts; a whole stage if left out.
    pub expert: Option<Count>,
    /// Whether the tokens are split over the tensor group outside attention and MLP.
    #[serde(default)]
    pub sequence_parallel: bool,
    /// Whether GPUs that hold the same send a share of it each to the next stage, which gathers the shares.
    #[serde(default)]
    pub scatter_sends: bool,
    /// GPUs that do only attention; together with `moe_gpus`, and with nothing else.
    pub attention_gpus: Option<Count>,
    /// GPUs that do only experts.
    pub moe_gpus: Option<Count>,
}

/// Whether Q, K and V are one product.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Qkv {
    /// One product of three times the width.
    #[default]
    Fused,
    /// Three products.
    Separate,
}

/// Whether the scores of attention are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AttentionMode {
    /// One kernel that never stores them.
    Fused,
    /// Two batched products with a softmax between.
    #[default]
    Unfused,
}

/// In how many pieces the batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Microbatches {
    /// As few as fit in memory.
    Auto,
    /// This many.
    Exactly(u64),
}

const fn one_piece() -> Microbatches {
    Microbatches::Exactly(1)
}

impl std::str::FromStr for Microbatches {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        match s.parse() {
            _ if s == "auto" => Ok(Microbatches::Auto),
            Ok(n) if n >= 1 => Ok(Microbatches::Exactly(n)),
            _ => Err(format!("\"{s}\" is neither \"auto\" nor a whole number of at least 1")),
        }
    }
}

impl<'de> Deserialize<'de> for Microbatches {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(i64),
            Word(String),
        }
        let expected = "microbatches is \"auto\" or a whole number of at least 1";
        match Raw::deserialize(deserializer) {
            Ok(Raw::Number(n)) if n >= 1 => Ok(Microbatches::Exactly(n.unsigned_abs())),
            Ok(Raw::Word(word)) => word.parse().map_err(|_| D::Error::custom(expected)),
            _ => Err(D::Error::custom(expected)),
        }
    }
}
