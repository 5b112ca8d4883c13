//! What ops take within a layer beside what they take alone.

use std::fmt;

use super::cells::{Cells, Column, OpError, Reader};
use super::{Family, Op};
use crate::dtype::Dtype;

/// A second's worth of one family's ops, measured alone, as they run one after the other in a layer: its time in
/// seconds is the factor between the two. 1.03 s says that ops of the family take 3 % longer in a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Chained {
    /// The family of the ops.
    pub family: Family,
    /// Their element type.
    pub dtype: Dtype,
}

impl Chained {
    /// The row that speaks of `op`; none of transfers, which have no element type.
    pub fn of(op: &Op) -> Option<Chained> {
        match op.family() {
            Family::Chain | Family::Overlap => None,
            family => Some(Chained { family, dtype: op.dtype()? }),
        }
    }

    pub(super) fn cells(&self) -> Cells {
        let kind = self.family.name().into();
        Cells { op: "chain".into(), kind, dtype: Some(self.dtype), ..Cells::default() }
    }

    pub(super) fn from_cells(cells: &Cells) -> Result<Self, OpError> {
        let read = Reader { op: "chain", cells };
        if cells.kind.is_empty() {
            return Err(OpError::Missing { op: "chain", column: Column::Kind });
        }
        let family = KNOWN.into_iter().find(|family| family.name() == cells.kind);
        let family = family.ok_or_else(|| OpError::UnknownKind {
            op: "chain",
            kind: cells.kind.clone(),
            known: KNOWN.map(Family::name).join(", "),
        })?;
        Ok(Chained { family, dtype: read.dtype()? })
    }
}

/// Families that have an element type.
const KNOWN: [Family; 4] = [Family::Gemm, Family::Kernel, Family::Attention, Family::Collective];

impl fmt::Display for Chained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1 s of {} {} in a layer", self.family, self.dtype)
    }
}
