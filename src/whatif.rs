//! What would change the runtime: the plan scheduled again with one thing faster.

use crate::dag::{Part, Work};
use crate::evaluate::Evaluation;
use crate::op::{Link, Op};
use crate::schedule::schedule;

/// Something that could be made faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lever {
    /// Matrix products, those of fused attention included.
    Products,
    /// Memory-bound kernels.
    Memory,
    /// Collectives and sends within a node.
    IntraNode,
    /// Collectives and sends that cross nodes.
    InterNode,
}

impl Lever {
    /// All levers.
    pub const ALL: [Lever; 4] = [Lever::Products, Lever::Memory, Lever::IntraNode, Lever::InterNode];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Lever::Products => "products",
            Lever::Memory => "memory-bound",
            Lever::IntraNode => "node links",
            Lever::InterNode => "network",
        }
    }

    /// The lever that moves a work; none where it takes no time.
    fn of(work: &Work) -> Option<Lever> {
        match work.kind.part()? {
            Part::Products => Some(Lever::Products),
            Part::Memory => Some(Lever::Memory),
            Part::Communication => work.ops.first().map(|(op, _)| match op {
                Op::Collective(op) if op.nodes > 1 => Lever::InterNode,
                Op::P2p(op) if op.link == Link::InterNode => Lever::InterNode,
                _ => Lever::IntraNode,
            }),
        }
    }
}

/// Seconds by which the makespan shrinks when everything that `lever` moves takes `factor` of its time.
///
/// Exact: the whole graph is scheduled again, so a path that becomes critical meanwhile is seen.
pub fn gain(e: &Evaluation, lever: Lever, factor: f64) -> f64 {
    let scaled: Vec<f64> = (e.dag.works().iter().zip(&e.timeline.durations))
        .map(|(work, seconds)| if Lever::of(work) == Some(lever) { seconds * factor } else { *seconds })
        .collect();
    e.timeline.schedule.makespan - schedule(&e.dag, &scaled).makespan
}
