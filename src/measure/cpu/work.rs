//! An op of one device: a product, a kernel, or attention.

use super::Operands;
use super::attention::Fused;
use super::check::Checked;
use super::gemm::Product;
use super::kernel::Stream;
use crate::op::Op;

/// An op that runs in one thread pool.
#[derive(Debug)]
pub(super) enum Work {
    Gemm(Product),
    Kernel(Stream),
    Attention(Fused),
}

impl Work {
    /// Elements of the input and of the output.
    pub fn sizes(&self) -> (usize, usize) {
        match self {
            Work::Gemm(op) => (op.inputs(), op.outputs()),
            Work::Kernel(op) => (op.inputs(), op.outputs()),
            Work::Attention(op) => (op.inputs(), op.outputs()),
        }
    }

    /// An op with its sizes; `None` for one of several ranks.
    pub fn of(op: &Op, threads: usize) -> Option<Work> {
        match op {
            Op::Gemm(op) => Some(Work::Gemm(Product::new(op, threads))),
            Op::Kernel(op) => Some(Work::Kernel(Stream::new(op, threads))),
            Op::Attention(op) => Some(Work::Attention(Fused::new(op, threads))),
            Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) | Op::Chain(_) => None,
        }
    }

    /// What the op reads, where it lies one behind the other.
    pub fn operands<'a>(&self, input: &'a [f32]) -> Operands<'a> {
        match self {
            Work::Gemm(op) => op.operands(input),
            Work::Kernel(op) => op.operands(input),
            Work::Attention(op) => op.operands(input),
        }
    }

    pub fn run(&self, input: Operands<'_>, output: &mut [f32]) {
        match self {
            Work::Gemm(op) => op.run(input, output),
            Work::Kernel(op) => op.run(input, output),
            Work::Attention(op) => op.run(input, output),
        }
    }

    pub fn check(&self, input: &[f32], output: &[f32]) -> Checked {
        match self {
            Work::Gemm(op) => op.check(input, output),
            Work::Kernel(op) => op.check(input, output),
            Work::Attention(op) => op.check(input, output),
        }
    }
}
