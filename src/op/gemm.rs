//! Matrix products.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use crate::dtype::Dtype;

/// `C[m,n] = A[m,k] · B[k,n]`, `batch` times with operands of their own: `Get_Time(m, k, n)`.
///
/// The order of the fields is that of the formula; there is no positional constructor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gemm {
    /// Rows of A and C.
    pub m: u64,
    /// Columns of A, rows of B.
    pub k: u64,
    /// Columns of B and C.
    pub n: u64,
    /// Independent products in one call.
    pub batch: u64,
    /// Element type of A, B and C.
    pub dtype: Dtype,
}

impl Gemm {
    /// `2·batch·m·k·n`, or [`u128::MAX`] where it is beyond that.
    pub fn flops(&self) -> u128 {
        [self.batch, self.m, self.k, self.n].iter().fold(2, |all: u128, n| all.saturating_mul((*n).into()))
    }

    /// `batch·(m·k + k·n + m·n)` elements: A and B read once, C written once; [`u128::MAX`] where it is beyond
    /// that.
    pub fn bytes(&self) -> u128 {
        let (m, k, n) = (u128::from(self.m), u128::from(self.k), u128::from(self.n));
        let elements = (m * k).saturating_add(k * n).saturating_add(m * n);
        elements.saturating_mul(self.batch.into()).saturating_mul(self.dtype.bytes().into())
    }

    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "gemm".into(),
            dtype: Some(self.dtype),
            m: Some(self.m),
            k: Some(self.k),
            n: Some(self.n),
            batch: Some(self.batch),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "gemm", cells };
        Ok(Gemm {
            m: read.count(Column::M, 1)?,
            k: read.count(Column::K, 1)?,
            n: read.count(Column::N, 1)?,
            batch: read.count_or(Column::Batch, 1)?,
            dtype: read.dtype()?,
        })
    }
}

/// `gemm bf16 [2048] 10000×512×10000`, the batch only where there is one.
impl fmt::Display for Gemm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gemm { m, k, n, batch, dtype } = self;
        match batch {
            1 => write!(f, "gemm {dtype} {m}×{k}×{n}"),
            _ => write!(f, "gemm {dtype} [{batch}] {m}×{k}×{n}"),
        }
    }
}
