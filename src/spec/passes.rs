//! What a plan runs, and in which order: forward alone or training, and the schedule of a pipeline.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::{Deserializer, Error};

/// What is computed of the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// One forward pass over whole sequences.
    #[default]
    Prefill,
    /// One more token of every sequence, whose keys and values are in the cache.
    Decode,
    /// Forward and backward pass and the optimizer's step: one iteration.
    Train,
}

impl Phase {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Phase::Prefill => "prefill",
            Phase::Decode => "decode",
            Phase::Train => "train",
        }
    }
}

/// The name in a graph; prefill where there is none.
impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Phase::Prefill, Phase::Decode, Phase::Train];
        one_of(text, "phase", &known, Phase::name)
    }
}

/// What has that name; the default where it is empty.
fn one_of<T: Copy + Default>(
    text: &str,
    key: &str,
    known: &[T],
    name: fn(T) -> &'static str,
) -> Result<T, String> {
    if text.is_empty() {
        return Ok(T::default());
    }
    known.iter().copied().find(|value| name(*value) == text).ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(|value| name(*value)).collect();
        format!("{key} = \"{text}\" is none of {}", known.join(", "))
    })
}

/// In which order a stage of a pipeline takes micro-batches, and in how many parts its layers are dealt out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// All forward passes, then all backward passes (Huang et al., 2019).
    Gpipe,
    /// One forward, one backward: a stage holds no more micro-batches than stages follow it (Narayanan et al.,
    /// 2021).
    #[default]
    OneFOneB,
    /// One forward, one backward, with this many parts of the model on every stage, so that the pipeline fills
    /// faster (arXiv 2104.04473).
    Interleaved(u64),
}

impl Schedule {
    /// Parts of the model on every stage.
    pub const fn parts(self) -> u64 {
        match self {
            Schedule::Interleaved(parts) => parts,
            Schedule::Gpipe | Schedule::OneFOneB => 1,
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Gpipe => f.pad("gpipe"),
            Schedule::OneFOneB => f.pad("1f1b"),
            Schedule::Interleaved(parts) => f.pad(&format!("interleaved:{parts}")),
        }
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = match text.split_once(':') {
            None if text == "gpipe" => return Ok(Schedule::Gpipe),
            None if text == "1f1b" => return Ok(Schedule::OneFOneB),
            None if text == "interleaved" => Some(2),
            Some(("interleaved", parts)) => parts.parse().ok().filter(|parts| (2..=1024).contains(parts)),
            _ => None,
        };
        parts.map(Schedule::Interleaved).ok_or_else(|| {
            format!(
                "\"{text}\" is no schedule: use gpipe, 1f1b, interleaved or interleaved:3 (2 to 1,024 parts of \
                 the model on every stage; 2 if left out)"
            )
        })
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// What communication has a stream of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// None: all in line with the rest.
    #[default]
    None,
    /// Only what the backward pass gathers again, beside the product that does not need it (arXiv 2205.05198,
    /// section 4.2.2).
    Regather,
    /// All of it.
    All,
}

impl<'de> Deserialize<'de> for Overlap {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            All(bool),
            Word(String),
        }
        match Raw::deserialize(deserializer) {
            Ok(Raw::All(true)) => Ok(Overlap::All),
            Ok(Raw::All(false)) => Ok(Overlap::None),
            Ok(Raw::Word(word)) if word == "regather" => Ok(Overlap::Regather),
            _ => Err(D::Error::custom("overlap is true, false or \"regather\"")),
        }
    }
}

/// How a plan is trained; only with `phase = "train"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// What the backward pass computes again instead of keeping it; nothing if left out.
    #[serde(default)]
    pub recompute: Recompute,
    /// Whether attention's weights and both residual additions go through dropout; they do not if left out.
    #[serde(default)]
    pub dropout: bool,
    /// What updates the weights; Adam if left out.
    #[serde(default)]
    pub optimizer: Optimizer,
    /// Whether the replicas share out the optimizer's state; each holds all of it if left out.
    #[serde(default)]
    pub shard_optimizer: bool,
}

/// What the backward pass computes again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Nothing: every activation is kept.
    #[default]
    None,
    /// Scores, softmax and output of attention (arXiv 2205.05198); fused attention does so by itself.
    Selective,
    /// The whole layer: only what enters it is kept.
    Full,
}

impl Recompute {
    /// The name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Recompute::None => "none",
            Recompute::Selective => "selective",
            Recompute::Full => "full",
        }
    }
}

/// The name in a graph; nothing where there is none.
impl FromStr for Recompute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        one_of(text, "recompute", &[Recompute::None, Recompute::Selective, Recompute::Full], Recompute::name)
    }
}

/// What updates the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimizer {
    /// Adam in mixed precision: weights, momentum and variance in f32 (Rajbhandari et al., arXiv 1910.02054).
    #[default]
    Adam,
    /// Nothing: forward and backward pass only.
    None,
}

impl Optimizer {
    /// Bytes of state for each parameter.
    pub const fn state_bytes(self) -> u64 {
        match self {
            Optimizer::Adam => 12,
            Optimizer::None => 0,
        }
    }

    /// Bytes that a step moves for each parameter besides the weight that it writes: the gradient is read for
    /// its norm, clipped in place and read again; the state is read and written.
    pub const fn moved_bytes(self) -> u64 {
        match self {
            Optimizer::Adam => 4 + 2 * 4 + 4 + 2 * self.state_bytes(),
            Optimizer::None => 0,
        }
    }
}
