//! Steps that a graph knows, so that appending them looks nothing up.

use super::step::{Doing, Scope, Step};
use super::tensor::Tensor;
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
    /// Its ops, and those of the most wanted expert where they are others.
    Ops { work: WorkId, hottest: Option<WorkId> },
    /// Its group, and with it its op, is known when it is appended.
    Collective(CollectiveKind, u64),
}

impl Prepared {
    /// Makes a step known to the graph.
    pub fn new(step: &Step, dag: &mut Dag) -> Result<Self, TooLarge> {
        Ok(Prepared {
            name: dag.name(&step.name)?,
            scope: step.scope,
            work: match &step.doing {
                Doing::Ops(kind, ops) => {
                    let mut work = |ops: &Vec<_>| dag.work(Work { kind: *kind, ops: ops.clone() });
                    let hottest = step.hottest.as_ref().map(|hottest| work(&hottest.ops));
                    PreparedWork::Ops { work: work(ops), hottest }
                }
                Doing::Collective(kind, bytes) => PreparedWork::Collective(*kind, *bytes),
            },
            reads: step.reads.iter().map(|(tensor, _)| *tensor).collect(),
            writes: step.writes.iter().map(|(tensor, _)| *tensor).collect(),
        })
    }
}
