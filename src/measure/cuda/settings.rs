//! What can be asked of a GPU's measurement, and why there may be none.

use std::fmt;

use super::library::Missing;

/// What the cache holds when an op begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// Whatever the op's last run left: the same operands again and again.
    Hot,
    /// Nothing of the op's operands.
    Cold,
    /// Of a product, the activations (A) but not the weights (B); nothing of a kernel's operands.
    #[default]
    WeightsCold,
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Cache::Hot => "hot",
            Cache::Cold => "cold",
            Cache::WeightsCold => "weights-cold",
        })
    }
}

/// How the algorithm of a product is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The library's first choice: what frameworks get.
    #[default]
    Heuristic,
    /// The fastest of the library's first eight.
    BestOf8,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Policy::Heuristic => "heuristic",
            Policy::BestOf8 => "best-of-8",
        })
    }
}

/// How a GPU is to be measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The number of the GPU among those that can be seen.
    pub device: i32,
    /// What the cache holds.
    pub cache: Cache,
    /// How algorithms are chosen.
    pub policy: Policy,
    /// Whether to measure although another process computes on the device; the rows say so.
    pub allow_shared: bool,
    /// Seed of the random data.
    pub seed: u64,
}

/// Why a GPU cannot be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// A library is missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// There is a driver and no GPU.
    #[error("the driver shows no GPU: {0}")]
    NoDevice(String),
    /// The kernels need a newer GPU.
    #[error("{name} has compute capability {major}.{minor}; 8.0 or later is needed")]
    TooOld {
        /// The GPU.
        name: String,
        /// Its compute capability.
        major: i32,
        /// Its compute capability, behind the point.
        minor: i32,
    },
    /// The kernels are compiled for a newer driver.
    #[error(
        "the driver speaks CUDA {}.{}, and the kernels are made for 13.0\n  update it to 580 or later",
        version / 1000,
        version % 1000 / 10
    )]
    OldDriver {
        /// Of CUDA, as the driver has it: 12080 is 12.8.
        version: i32,
    },
    /// Another process computes on it.
    #[error(
        "{others} other process(es) compute on {name}\n  wait for them, or measure beside them: --allow-shared"
    )]
    InUse {
        /// The GPU.
        name: String,
        /// How many.
        others: usize,
    },
    /// It could not be made ready.
    #[error("the GPU could not be made ready: {0}")]
    Unusable(String),
}
