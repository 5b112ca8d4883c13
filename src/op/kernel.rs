//! Memory-bound kernels: what stands between the matrix products of a layer.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use crate::dtype::Dtype;

/// What a memory-bound kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KernelKind {
    /// Normalises each row, then scales and shifts it.
    Layernorm,
    /// Softmax of each row.
    Softmax,
    /// A nonlinearity on every element (GELU).
    Activation,
    /// `act(gate) · up` on two halves of width `cols` each (SwiGLU).
    GatedActivation,
    /// Sum of two tensors.
    Residual,
    /// Softmax over `cols` experts and the `top_k` largest with their weights.
    GateTopk,
    /// Gathers `rows` rows of `cols` elements into another order by an index.
    Permute,
    /// Weighted sum of the `top_k` rows that belong to each of `rows` tokens.
    Unpermute,
    /// A plain copy: the yardstick of memory bandwidth.
    Copy,
}

impl KernelKind {
    /// Every kind.
    pub const ALL: [KernelKind; 9] = [
        KernelKind::Layernorm,
        KernelKind::Softmax,
        KernelKind::Activation,
        KernelKind::GatedActivation,
        KernelKind::Residual,
        KernelKind::GateTopk,
        KernelKind::Permute,
        KernelKind::Unpermute,
        KernelKind::Copy,
    ];

    /// The name in the column `kind`.
    pub const fn name(self) -> &'static str {
        match self {
            KernelKind::Layernorm => "layernorm",
            KernelKind::Softmax => "softmax",
            KernelKind::Activation => "activation",
            KernelKind::GatedActivation => "gated_activation",
            KernelKind::Residual => "residual",
            KernelKind::GateTopk => "gate_topk",
            KernelKind::Permute => "permute",
            KernelKind::Unpermute => "unpermute",
            KernelKind::Copy => "copy",
        }
    }

    /// Whether the number of experts per token changes the work.
    pub const fn has_top_k(self) -> bool {
        matches!(self, KernelKind::GateTopk | KernelKind::Unpermute)
    }
}

/// Bytes of one routing entry (expert and weight, 2 each), as the golden plans count them.
const ROUTE_BYTES: u128 = 4;

/// A memory-bound kernel on a tensor of `rows × cols`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kernel {
    /// What it does.
    pub kind: KernelKind,
    /// Rows of the output.
    pub rows: u64,
    /// Columns of the output (for a gate: of the input, the number of experts).
    pub cols: u64,
    /// Experts per token, 1 where it does not apply; in the column `k`.
    pub top_k: u64,
    /// Element type.
    pub dtype: Dtype,
}

impl Kernel {
    /// Bytes read and written, each operand once; [`u128::MAX`] where it is beyond that.
    pub fn bytes(&self) -> u128 {
        let rows = u128::from(self.rows);
        let top_k = u128::from(self.top_k);
        let row = u128::from(self.cols) * u128::from(self.dtype.bytes());
        let of_row = match self.kind {
            KernelKind::Layernorm | KernelKind::Softmax | KernelKind::Activation | KernelKind::Copy => {
                2 * row
            }
            KernelKind::GatedActivation | KernelKind::Residual => 3 * row,
            KernelKind::GateTopk => row + top_k * ROUTE_BYTES,
            KernelKind::Permute => 2 * row + ROUTE_BYTES,
            KernelKind::Unpermute => (top_k + 1).saturating_mul(row).saturating_add(top_k * ROUTE_BYTES),
        };
        rows.saturating_mul(of_row)
    }

    pub(super) fn cells(&self) -> Cells {
        Cells {
            op: "kernel".into(),
            kind: self.kind.name().into(),
            dtype: Some(self.dtype),
            rows: Some(self.rows),
            cols: Some(self.cols),
            k: self.kind.has_top_k().then_some(self.top_k),
            ..Cells::default()
        }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "kernel", cells };
        let kind = KernelKind::ALL.into_iter().find(|kind| kind.name() == cells.kind).ok_or_else(|| {
            OpError::UnknownKind {
                op: "kernel",
                kind: cells.kind.clone(),
                known: KernelKind::ALL.map(KernelKind::name).join(", "),
            }
        })?;
        Ok(Kernel {
            kind,
            rows: read.count(Column::Rows, 1)?,
            cols: read.count(Column::Cols, 1)?,
            top_k: if kind.has_top_k() { read.count_or(Column::K, 1)? } else { 1 },
            dtype: read.dtype()?,
        })
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}×{}", self.kind.name(), self.dtype, self.rows, self.cols)?;
        if self.top_k > 1 { write!(f, " top-{}", self.top_k) } else { Ok(()) }
    }
}
