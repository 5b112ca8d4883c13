//! The tensors of a block, by name.

/// A tensor of one block on one GPU: a value, or the gradient of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tensor(u8);

macro_rules! tensors {
    ($($(#[$doc:meta])* $name:ident $text:literal)*) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Position { $($name),*, End }

        #[allow(non_upper_case_globals)] // written like the variants of an enum, which they are
        impl Tensor {
            $($(#[$doc])* pub const $name: Tensor = Tensor(Position::$name as u8);)*

            const VALUES: usize = Position::End as usize;
            const NAMES: [&str; Tensor::COUNT] = [$($text),*, $(concat!("d_", $text)),*];
        }
    };
}

tensors! {
    /// The tokens' numbers as they enter the embedding.
    Tokens "tokens"
    /// The residual stream as it enters the block.
    X "x"
    Ln1 "ln1"
    /// `Ln1` of all GPUs of the tensor group together.
    Ln1Whole "ln1_whole"
    Q "q"
    K "k"
    V "v"
    /// The latent vectors that queries, and keys and values, are made of.
    QLatent "q_latent"
    QNormed "q_normed"
    KvLatent "kv_latent"
    KvNormed "kv_normed"
    /// What turns with the position.
    QRope "q_rope"
    KRope "k_rope"
    /// Queries in the space of the keys' latent vectors, and what attention makes of these.
    QAbsorbed "q_absorbed"
    LatentContext "latent_ctx"
    /// Keys and values of earlier tokens, which are there from one pass to the next.
    Cache "cache"
    Scores "scores"
    Probs "probs"
    /// What dropout leaves of `Probs`, and where it left something.
    Dropped "dropped"
    DroppedMask "dropped_mask"
    Context "ctx"
    Projected "o"
    /// This GPU's tokens of the reduced projection.
    ProjectedShare "o_share"
    AttentionMask "attn_mask"
    /// The residual stream after attention.
    Middle "h1"
    Ln2 "ln2"
    Ln2Whole "ln2_whole"
    Up "up"
    Act "act"
    Down "down"
    DownShare "down_share"
    MlpMask "mlp_mask"
    Logits "logits"
    /// Experts and weights of every token.
    Routes "routes"
    Permuted "permuted"
    /// Tokens that came to this GPU's experts.
    Received "received"
    ExpertOut "expert_out"
    Combined "combined"
    Moe "moe"
    MoeSum "moe_sum"
    SharedUp "shared_up"
    SharedAct "shared_act"
    SharedDown "shared_down"
    /// The last token of each sequence.
    Newest "newest"
    /// Probabilities of the vocabulary's entries here.
    Chances "chances"
    /// What the tensor group must know of each token for its loss.
    Losses "losses"
    /// The residual stream as it leaves the block.
    Out "out"
}

impl Tensor {
    /// How many there are, gradients included.
    pub const COUNT: usize = 2 * Tensor::VALUES;

    /// The position among all of them.
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The gradient of a value.
    pub const fn gradient(self) -> Tensor {
        Tensor(self.0 + Tensor::VALUES as u8)
    }

    /// Whether it is a gradient.
    pub const fn is_gradient(self) -> bool {
        self.index() >= Tensor::VALUES
    }

    /// The name in graphs.
    pub const fn name(self) -> &'static str {
        Tensor::NAMES[self.index()]
    }
}
