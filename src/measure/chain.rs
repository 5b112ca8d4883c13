//! Ops that run one after the other on buffers that they share, as in a layer.

use super::MeasureError;
use crate::op::{Kernel, KernelKind, Op};
use crate::units::Seconds;

/// An op of a chain. What it reads or writes is a buffer's number and the first element there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainOp {
    /// What runs.
    pub op: Op,
    /// Its operands in their order; none for ops of several ranks, which have buffers of their own.
    pub reads: Vec<(usize, u64)>,
    /// Where its result goes.
    pub writes: Option<(usize, u64)>,
}

impl ChainOp {
    /// Sees to it that every operand lies within its buffer, and none in the one that is written.
    ///
    /// # Errors
    /// What is wrong.
    pub fn check(&self, sizes: &[u64]) -> Result<(), MeasureError> {
        let (reads, written) = lengths(&self.op);
        if written == 0 {
            return Ok(()); // ranks have buffers of their own
        }
        let holds = |(buffer, first): (usize, u64), length: u64| {
            let end = first.checked_add(length);
            sizes.get(buffer).zip(end).is_some_and(|(size, end)| end <= *size)
        };
        let mut both = self.reads.iter().zip(&reads);
        let wrong = match self.writes {
            None => Some("it writes nowhere".to_owned()),
            Some(_) if self.reads.len() != reads.len() => Some(format!("it reads {} operands", reads.len())),
            Some(to) if !holds(to, written) || !both.all(|(from, length)| holds(*from, *length)) => {
                Some("an operand is longer than its buffer".to_owned())
            }
            Some((to, _)) if self.reads.iter().any(|(from, _)| *from == to) => {
                Some("it reads the buffer that it writes".to_owned())
            }
            Some(_) => None,
        };
        wrong.map_or(Ok(()), |reason| Err(MeasureError::Unsupported { op: self.op, reason }))
    }
}

/// Elements of each operand of an op, in their order, and of its result; none of ops of several ranks. Head by head:
/// how heads lie in a projection's result is left aside, as it is in a plan.
pub fn lengths(op: &Op) -> (Vec<u64>, u64) {
    match op {
        Op::Gemm(op) => (vec![op.batch * op.m * op.k, op.batch * op.k * op.n], op.batch * op.m * op.n),
        Op::Kernel(op) => of_kernel(op),
        Op::Attention(op) => {
            let heads = op.batch * op.heads * op.head_dim;
            let (q, kv) = (heads * op.seq_q, heads * op.seq_kv);
            (vec![q, kv, kv], q)
        }
        Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) | Op::Chain(_) => (Vec::new(), 0),
    }
}

fn of_kernel(op: &Kernel) -> (Vec<u64>, u64) {
    let tensor = op.rows * op.cols;
    match op.kind {
        KernelKind::Layernorm => (vec![tensor, 2 * op.cols], tensor),
        KernelKind::GatedActivation => (vec![2 * tensor], tensor),
        KernelKind::Residual => (vec![tensor, tensor], tensor),
        KernelKind::GateTopk => (vec![tensor], 2 * op.rows * op.top_k),
        KernelKind::Unpermute => (vec![tensor * op.top_k, op.rows * op.top_k], tensor),
        KernelKind::Softmax | KernelKind::Activation | KernelKind::Permute | KernelKind::Copy => {
            (vec![tensor], tensor)
        }
    }
}

/// How the ops of a chain follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// One at once after the other: on a GPU as a graph.
    Linked,
    /// Each launched by the host when it comes to it.
    Launched,
    /// Each after the caches were swept, so that it finds nothing there that the op before left.
    Swept,
}

/// How long something took, by two clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Lap {
    /// From its beginning to its end.
    pub seconds: Seconds,
    /// Time that cores worked on it, over their number, which other programs do not lengthen; `None` of a device
    /// whose time is not shared.
    pub busy: Option<Seconds>,
}

/// One run of a chain.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainRun {
    /// All of it.
    pub whole: Lap,
    /// Op by op; empty where the way leaves no room for clocks between them.
    pub laps: Vec<Lap>,
}

/// Ops that run one after the other.
pub trait Chain {
    /// The ways in which it can run; the first is [`Way::Linked`].
    fn ways(&self) -> &'static [Way];

    /// Runs all of them once.
    ///
    /// # Errors
    /// When one cannot run to its end, or not in this way.
    fn run(&mut self, way: Way) -> Result<ChainRun, MeasureError>;
}
