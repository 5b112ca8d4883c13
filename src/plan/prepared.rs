//! Steps that a graph knows, so that appending them looks nothing up.

use super::step::{Doing, Scope, Step, Tensor};
use crate::dag::{Dag, NameId, TooLarge, Work, WorkId};
use crate::op::CollectiveKind;

/// A step whose name and ops are known to the graph.
pub(super) struct Prepared {
    pub name: NameId,
    pub scope: Scope,
    pub work: PreparedWork,
    pub reads: Vec<Tensor>,
    pub writes: Vec<Tensor>,
}

/// What a prepared step does.
pub(super) enum PreparedWork {
    Ops(WorkId),
    /// Its group, and with it its op, is known when it is appended.
    Collective(CollectiveKind, u64),
}

impl Prepared {
    /// Makes a step known to the graph.
    pub fn new(step: &Step, dag: &mut Dag) -> Result<Self, TooLarge> {
        Ok(Prepared {
            name: dag.name(step.name)?,
            scope: step.scope,
            work: match &step.doing {
                Doing::Ops(kind, ops) => PreparedWork::Ops(dag.work(Work { kind: *kind, ops: ops.clone() })),
                Doing::Collective(kind, bytes) => PreparedWork::Collective(*kind, *bytes),
            },
            reads: step.reads.iter().map(|(tensor, _)| *tensor).collect(),
            writes: step.writes.iter().map(|(tensor, _)| *tensor).collect(),
        })
    }
}
