//! Fused attention.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use crate::dtype::Dtype;

/// `softmax(Q·Kᵀ)·V` for every sequence and head, without storing the scores; no causal mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attention {
    /// Sequences.
    pub batch: u64,
    /// Query heads on this device.
    pub heads: u64,
    /// Query positions per sequence; in the column `m`.
    pub seq_q: u64,
    /// Key and value positions per sequence; in the column `n`.
    pub seq_kv: u64,
    /// Width of a head; in the column `k`.
    pub head_dim: u64,
    /// Element type.
    pub dtype: Dtype,
}

impl Attention {
    /// `4·batch·heads·seq_q·seq_kv·head_dim`: both products; [`u128::MAX`] where it is beyond that.
    pub fn flops(&self) -> u128 {
        self.heads_times([4, self.seq_q.into(), self.seq_kv.into(), self.head_dim.into()])
    }

    /// Q, K and V read once, the output written once; [`u128::MAX`] where it is beyond that.
    pub fn bytes(&self) -> u128 {
        let positions = u128::from(self.seq_q) + u128::from(self.seq_kv);
        self.heads_times([2, positions, self.head_dim.into(), self.dtype.bytes().into()])
    }

    fn heads_times(&self, factors: [u128; 4]) -> u128 {
        let heads = u128::from(self.batch) * u128::from(self.heads);
        factors.into_iter().fold(heads, u128::saturating_mul)
    }

    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "attention".into(),
            dtype: Some(self.dtype),
            batch: Some(self.batch),
            heads: Some(self.heads),
            m: Some(self.seq_q),
            k: Some(self.head_dim),
            n: Some(self.seq_kv),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "attention", cells };
        Ok(Attention {
            batch: read.count_or(Column::Batch, 1)?,
            heads: read.count(Column::Heads, 1)?,
            seq_q: read.count(Column::M, 1)?,
            seq_kv: read.count(Column::N, 1)?,
            head_dim: read.count(Column::K, 1)?,
            dtype: read.dtype()?,
        })
    }
}

impl fmt::Display for Attention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Attention { batch, heads, seq_q, seq_kv, head_dim, dtype } = self;
        write!(f, "attention {dtype} {batch}×{heads} heads {seq_q}×{head_dim}×{seq_kv}")
    }
}
