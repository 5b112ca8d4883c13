//! Element types of matrices and buffers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The element type of an operation's operands. Sums are kept in 32 bits by every backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// IEEE binary32.
    F32,
    /// 32 bits in memory, 19 in the tensor core.
    Tf32,
    /// IEEE binary16.
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit float with 4 exponent bits.
    F8E4m3,
    /// 8-bit float with 5 exponent bits.
    F8E5m2,
    /// 8-bit integer.
    I8,
}

impl Dtype {
    /// Every element type, in the order of the enum.
    pub const ALL: [Dtype; 7] =
        [Dtype::F32, Dtype::Tf32, Dtype::F16, Dtype::Bf16, Dtype::F8E4m3, Dtype::F8E5m2, Dtype::I8];

    /// Bytes of one element in memory.
    pub const fn bytes(self) -> u64 {
        match self {
            Dtype::F32 | Dtype::Tf32 => 4,
            Dtype::F16 | Dtype::Bf16 => 2,
            Dtype::F8E4m3 | Dtype::F8E5m2 | Dtype::I8 => 1,
        }
    }

    /// The name used in tables, plans and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Tf32 => "tf32",
            Dtype::F16 => "f16",
            Dtype::Bf16 => "bf16",
            Dtype::F8E4m3 => "f8e4m3",
            Dtype::F8E5m2 => "f8e5m2",
            Dtype::I8 => "i8",
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no element type.
#[derive(Debug, thiserror::Error)]
#[error("\"{0}\" is not an element type; known are f32, tf32, f16, bf16, f8e4m3, f8e5m2, i8")]
pub struct UnknownDtype(pub String);

impl FromStr for Dtype {
    type Err = UnknownDtype;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        Dtype::ALL.into_iter().find(|d| d.name() == s).ok_or_else(|| UnknownDtype(s.to_owned()))
    }
}
