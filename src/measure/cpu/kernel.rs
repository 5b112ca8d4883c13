//! Memory-bound kernels over blocks of rows, on all threads, and their checks.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rayon::prelude::*;

use super::Operands;
use super::check::{Checked, all_written, compare, places, sum_error};
use super::rows;
use super::vector::vectorised;
use crate::op::{Kernel, KernelKind};

/// Elements below which a tensor is not shared among threads.
const SHARED: usize = 1 << 14;

/// Elements of an output that are compared.
const CHECKED: usize = 64;

/// A memory-bound kernel with its sizes, and the rows it gathers where it gathers any.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    kind: KernelKind,
    rows: usize,
    cols: usize,
    top_k: usize,
    threads: usize,
    gathered: Vec<u32>,
}

impl Stream {
    /// The kernel of `op`; its sizes have been checked against memory.
    pub fn new(op: &Kernel, threads: usize) -> Self {
        let (rows, cols, top_k) = (op.rows as usize, op.cols as usize, op.top_k as usize);
        let gathered = match op.kind {
            KernelKind::Permute => permutation(rows),
            KernelKind::Unpermute => permutation(rows * top_k),
            _ => Vec::new(),
        };
        Stream { kind: op.kind, rows, cols, top_k, threads, gathered }
    }

    /// Elements read, per-column and per-row weights included. An index counts as none: it lies beside.
    pub fn inputs(&self) -> usize {
        let tensor = self.rows * self.cols;
        match self.kind {
            KernelKind::Layernorm => tensor + 2 * self.cols,
            KernelKind::GatedActivation | KernelKind::Residual => 2 * tensor,
            KernelKind::Unpermute => tensor * self.top_k + self.rows * self.top_k,
            _ => tensor,
        }
    }

    /// Elements written; of a gate, the weights and then the experts of each row.
    pub fn outputs(&self) -> usize {
        self.rows * self.width()
    }

    /// Elements of one row of the output.
    fn width(&self) -> usize {
        if self.kind == KernelKind::GateTopk { 2 * self.top_k } else { self.cols }
    }

    /// What it reads, where it lies one behind the other: the tensor, and what comes with it.
    pub fn operands<'a>(&self, input: &'a [f32]) -> Operands<'a> {
        let tensor = self.rows * self.cols;
        let first = match self.kind {
            KernelKind::Layernorm | KernelKind::Residual => tensor,
            KernelKind::Unpermute => tensor * self.top_k,
            _ => input.len(),
        };
        let (first, rest) = input.split_at(first);
        [first, rest, &[]]
    }

    /// Runs the kernel once.
    pub fn run(&self, [input, rest, _]: Operands<'_>, output: &mut [f32]) {
        let cols = self.cols;
        match self.kind {
            KernelKind::Layernorm => {
                let (scale, shift) = rest.split_at(cols);
                self.each_row(
                    output,
                    #[inline(always)]
                    |row, out| rows::layernorm(&input[row * cols..][..cols], scale, shift, out),
                );
            }
            KernelKind::Softmax => {
                self.each_row(
                    output,
                    #[inline(always)]
                    |row, out| rows::softmax(&input[row * cols..][..cols], out),
                );
            }
            KernelKind::Activation => {
                self.each_block(
                    output,
                    #[inline(always)]
                    |at, out| rows::activation(&input[at..][..out.len()], out),
                );
            }
            KernelKind::GatedActivation => self.each_row(
                output,
                #[inline(always)]
                |row, out| {
                    let (gate, up) = input[row * 2 * cols..][..2 * cols].split_at(cols);
                    rows::gated_activation(gate, up, out);
                },
            ),
            KernelKind::Residual => {
                self.each_block(
                    output,
                    #[inline(always)]
                    |at, out| rows::residual(&input[at..][..out.len()], &rest[at..][..out.len()], out),
                );
            }
            KernelKind::GateTopk => self.each_row_block(
                output,
                #[inline(always)]
                |first, block| {
                    let mut scratch = vec![0.0; cols];
                    for (i, out) in block.chunks_mut(2 * self.top_k).enumerate() {
                        let (weights, experts) = out.split_at_mut(self.top_k);
                        rows::gate_topk(&input[(first + i) * cols..][..cols], &mut scratch, weights, experts);
                    }
                },
            ),
            KernelKind::Permute => self.each_row(
                output,
                #[inline(always)]
                |row, out| {
                    out.copy_from_slice(&input[self.gathered[row] as usize * cols..][..cols]);
                },
            ),
            KernelKind::Unpermute => self.each_row(
                output,
                #[inline(always)]
                |row, out| rows::unpermute(self.parts(input, rest, row), out),
            ),
            KernelKind::Copy => {
                self.each_block(
                    output,
                    #[inline(always)]
                    |at, out| out.copy_from_slice(&input[at..][..out.len()]),
                );
            }
        }
    }

    /// Compares some elements with binary64.
    pub fn check(&self, input: &[f32], output: &[f32]) -> Checked {
        all_written(output)?;
        let (cols, tensor) = (self.cols, self.rows * self.cols);
        let sum = sum_error(cols) + 4e-6;
        for place in places(CHECKED, output.len()) {
            let (row, col) = (place / self.width(), place % self.width());
            let x = |cols: usize| &input[row * cols..][..cols];
            // The expected value, and the size that its error is relative to.
            let (expected, size) = match self.kind {
                KernelKind::Layernorm => {
                    let (scale, shift) = input[tensor..].split_at(cols);
                    let expected = rows::layernorm_exact(x(cols), scale, shift, col);
                    (expected, expected.abs() + f64::from(scale[col].abs() + shift[col].abs()))
                }
                KernelKind::Softmax => (rows::softmax_exact(x(cols), col), 1e-30),
                KernelKind::Activation => (rows::activation_exact(input[place]), 0.1),
                KernelKind::GatedActivation => {
                    (rows::gated_activation_exact(x(2 * cols)[col], x(2 * cols)[cols + col]), 1e-30)
                }
                KernelKind::Residual => (f64::from(input[place]) + f64::from(input[tensor + place]), 1e-30),
                KernelKind::GateTopk => {
                    let ranked = ranked(x(cols));
                    match col.checked_sub(self.top_k) {
                        None => (rows::softmax_exact(x(cols), ranked[col]), 1e-30),
                        Some(rank) => (ranked[rank] as f64, -1.0), // an expert is right or wrong
                    }
                }
                KernelKind::Permute => (f64::from(input[self.gathered[row] as usize * cols + col]), -1.0),
                KernelKind::Copy => (f64::from(input[place]), -1.0),
                KernelKind::Unpermute => {
                    let [values, weights, _] = self.operands(input);
                    let terms = self
                        .parts(values, weights, row)
                        .map(|(weight, row)| f64::from(weight) * f64::from(row[col]));
                    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
                }
            };
            let bound = if size < 0.0 { 0.0 } else { sum * (expected.abs() + size) + 1e-37 };
            compare(|| format!("row {row}, column {col}"), expected, output[place], bound)?;
        }
        Ok(())
    }

    /// The weights and rows that make up row `row` of an unpermuted output.
    fn parts<'a>(
        &'a self,
        values: &'a [f32],
        weights: &'a [f32],
        row: usize,
    ) -> impl Iterator<Item = (f32, &'a [f32])> {
        let mine = row * self.top_k..(row + 1) * self.top_k;
        weights[mine.clone()]
            .iter()
            .zip(&self.gathered[mine])
            .map(|(&weight, &from)| (weight, &values[from as usize * self.cols..][..self.cols]))
    }

    /// Calls `f` with each row's number and its output.
    fn each_row(&self, output: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let width = self.width();
        self.each_row_block(
            output,
            #[inline(always)]
            |first, block| {
                for (i, out) in block.chunks_mut(width).enumerate() {
                    f(first + i, out);
                }
            },
        );
    }

    /// Calls `f` with blocks of whole rows, each with the number of its first row.
    fn each_row_block(&self, output: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        let width = self.width();
        // Four blocks a thread, so that one held up by something else does not hold up the rest.
        let least = SHARED.div_ceil(self.cols.max(width) * 2);
        let block = self.rows.div_ceil(4 * self.threads).max(least);
        let run = |first: usize, out: &mut [f32]| {
            vectorised(
                out,
                #[inline(always)]
                |out: &mut [f32]| f(first, out),
            )
        };
        if block >= self.rows || self.threads == 1 {
            run(0, output);
        } else {
            output.par_chunks_mut(block * width).enumerate().for_each(|(i, out)| run(i * block, out));
        }
    }

    /// Calls `f` with blocks of elements, each with the place of its first: for kernels that know no rows.
    fn each_block(&self, output: &mut [f32], f: impl Fn(usize, &mut [f32]) + Sync) {
        // One block a thread: the C library's copy passes the caches by only in long blocks.
        let block = output.len().div_ceil(self.threads).next_multiple_of(16);
        let run = |at: usize, out: &mut [f32]| {
            vectorised(
                out,
                #[inline(always)]
                |out: &mut [f32]| f(at, out),
            )
        };
        if output.len() <= SHARED {
            run(0, output);
        } else {
            output.par_chunks_mut(block).enumerate().for_each(|(i, out)| run(i * block, out));
        }
    }
}

/// The numbers below `count` in a random order that is the same on every run.
fn permutation(count: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    order.shuffle(&mut StdRng::seed_from_u64(count as u64));
    order
}

/// The places of a row's elements, the largest first, of equal ones the first first.
fn ranked(x: &[f32]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..x.len()).collect();
    places.sort_by(|&a, &b| x[b].total_cmp(&x[a]));
    places
}

#[cfg(test)]
mod tests {
    use super::Stream;
    use crate::dtype::Dtype;
    use crate::op::{Kernel, KernelKind};

    #[test]
    fn every_wrong_element_of_a_small_kernel_is_found() {
        for kind in KernelKind::ALL {
            let top_k = if kind.has_top_k() { 2 } else { 1 };
            let kernel = Stream::new(&Kernel { kind, rows: 3, cols: 5, top_k, dtype: Dtype::F32 }, 2);
            let input: Vec<f32> = (0..kernel.inputs()).map(|i| (i as f32 * 0.7).sin()).collect();
            let mut output = vec![f32::NAN; kernel.outputs()];
            kernel.run(kernel.operands(&input), &mut output);
            kernel.check(&input, &output).unwrap();
            for place in 0..output.len() {
                let right = output[place];
                for wrong in [right + 1e-3, f32::NAN] {
                    output[place] = wrong;
                    assert!(kernel.check(&input, &output).is_err(), "{kind:?} {place}");
                }
                output[place] = right;
            }
        }
    }
}
