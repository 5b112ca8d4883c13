//! Fused attention: an online softmax over blocks of keys, the scores of one block at a time.

use std::sync::Mutex;

use rayon::prelude::*;

use super::Operands;
use super::check::{Checked, all_written, compare, places, sum_error};
use super::gemm::{Matrix, multiply_here};
use super::rows::{exponentials, largest};
use super::vector::vectorised;
use crate::op::Attention;

/// Queries and keys of one block: their scores, 256 KiB, stay in the second cache.
const QUERIES: usize = 128;
const KEYS: usize = 512;

/// Rows of an output that are compared.
const CHECKED: usize = 12;

/// Attention with its sizes, and room for each thread's block.
#[derive(Debug)]
pub(super) struct Fused {
    heads: usize,
    seq_q: usize,
    seq_kv: usize,
    head_dim: usize,
    queries: usize,
    scratch: Vec<Mutex<Scratch>>,
}

/// What one thread needs for one block of queries.
#[derive(Debug)]
struct Scratch {
    scores: Vec<f32>,
    /// Largest score of each query so far, and the sum of its exponentials relative to that.
    largest: Vec<f32>,
    sums: Vec<f32>,
}

impl Fused {
    /// The attention of `op`; its sizes have been checked against memory.
    pub fn new(op: &Attention, threads: usize) -> Self {
        let heads = (op.batch * op.heads) as usize;
        let (seq_q, seq_kv) = (op.seq_q as usize, op.seq_kv as usize);
        // Shorter blocks where there would be fewer than four for each thread.
        let queries = (heads * seq_q).div_ceil(4 * threads).clamp(16, QUERIES).min(seq_q);
        let scratch = || Scratch {
            scores: vec![0.0; queries * KEYS.min(seq_kv)],
            largest: vec![0.0; queries],
            sums: vec![0.0; queries],
        };
        let scratch = (0..threads).map(|_| Mutex::new(scratch())).collect();
        Fused { heads, seq_q, seq_kv, head_dim: op.head_dim as usize, queries, scratch }
    }

    /// Elements of Q, K and V, each `[batch·heads, sequence, head_dim]`.
    pub fn inputs(&self) -> usize {
        self.heads * (self.seq_q + 2 * self.seq_kv) * self.head_dim
    }

    /// Elements of the output, shaped as Q.
    pub fn outputs(&self) -> usize {
        self.heads * self.seq_q * self.head_dim
    }

    /// Q, K and V of all heads, where they lie one behind the other.
    pub fn operands<'a>(&self, input: &'a [f32]) -> Operands<'a> {
        let (q, rest) = input.split_at(self.heads * self.seq_q * self.head_dim);
        let (k, v) = rest.split_at(self.heads * self.seq_kv * self.head_dim);
        [q, k, v]
    }

    /// Runs once.
    pub fn run(&self, input: Operands<'_>, output: &mut [f32]) {
        let width = self.head_dim;
        output
            .par_chunks_mut(self.seq_q * width)
            .enumerate()
            .flat_map(|(head, out)| {
                let blocks = out.par_chunks_mut(self.queries * width).enumerate();
                blocks.map(move |(block, out)| (head, block * self.queries, out))
            })
            .for_each(|(head, first, out)| {
                let thread = rayon::current_thread_index().unwrap_or(0) % self.scratch.len();
                // A panic elsewhere leaves nothing in it that is read again.
                let mut scratch =
                    self.scratch[thread].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                self.run_block(input, head, first, out, &mut scratch);
            });
    }

    /// The queries from `first` on, as many as `out` has rows.
    fn run_block(
        &self,
        input: Operands<'_>,
        head: usize,
        first: usize,
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let width = self.head_dim;
        let (q, k, v) = self.of_head(input, head);
        let rows = out.len() / width;
        let q = Matrix::new(&q[first * width..], width);
        let scale = self.scale();
        let Scratch { scores, largest: most, sums } = scratch;
        most[..rows].fill(f32::NEG_INFINITY);
        sums[..rows].fill(0.0);
        for from in (0..self.seq_kv).step_by(KEYS) {
            let keys = KEYS.min(self.seq_kv - from);
            let transposed = Matrix { values: &k[from * width..], row: 1, column: width };
            let scores = &mut scores[..rows * keys];
            multiply_here(scores, (rows, width, keys), q, transposed, false, scale);
            vectorised(
                (&mut *scores, &mut *out, &mut *most, &mut *sums),
                #[inline(always)]
                |(scores, out, most, sums): (&mut [f32], &mut [f32], &mut Vec<f32>, &mut Vec<f32>)| {
                    for (row, scores) in scores.chunks_mut(keys).enumerate() {
                        let now = largest(scores).max(most[row]);
                        // 0 in the first block: e^−∞.
                        let shrink = (most[row] - now).exp();
                        most[row] = now;
                        sums[row] = sums[row] * shrink + exponentials(scores, now);
                        if from > 0 {
                            for out in &mut out[row * width..][..width] {
                                *out *= shrink;
                            }
                        }
                    }
                },
            );
            let v = Matrix::new(&v[from * width..], width);
            multiply_here(out, (rows, keys, width), Matrix::new(scores, keys), v, from > 0, 1.0);
        }
        for (out, sum) in out.chunks_mut(width).zip(sums.iter()) {
            let factor = 1.0 / sum;
            out.iter_mut().for_each(|out| *out *= factor);
        }
    }

    /// Q, K and V of one head.
    fn of_head<'a>(&self, [q, k, v]: Operands<'a>, head: usize) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let (query, key) = (self.seq_q * self.head_dim, self.seq_kv * self.head_dim);
        (&q[head * query..][..query], &k[head * key..][..key], &v[head * key..][..key])
    }

    /// 1/√head_dim.
    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    /// Compares some rows with binary64.
    pub fn check(&self, input: &[f32], output: &[f32]) -> Checked {
        all_written(output)?;
        let width = self.head_dim;
        for place in places(CHECKED, self.heads * self.seq_q) {
            let (head, query) = (place / self.seq_q, place % self.seq_q);
            let (q, k, v) = self.of_head(self.operands(input), head);
            let q = &q[query * width..][..width];
            let (mut scores, mut widest) = (Vec::with_capacity(self.seq_kv), 0.0_f64);
            for key in k.chunks(width) {
                let terms =
                    q.iter().zip(key).map(|(&x, &y)| f64::from(x) * f64::from(y) * f64::from(self.scale()));
                let (score, absolute) = terms.fold((0.0, 0.0), |(s, a), term| (s + term, a + term.abs()));
                scores.push(score);
                widest = widest.max(absolute);
            }
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
            let sum: f64 = weights.iter().sum();
            // Errors of a score and of the exponential go into both the weights and their sum.
            let relative = 2.0 * (sum_error(width) * widest + 4e-6) + 2.0 * sum_error(self.seq_kv);
            let (mut expected, mut absolute) = (vec![0.0; width], vec![0.0; width]);
            for (weight, v) in weights.iter().zip(v.chunks(width)) {
                for ((expected, absolute), &v) in expected.iter_mut().zip(&mut absolute).zip(v) {
                    *expected += weight / sum * f64::from(v);
                    *absolute += weight / sum * f64::from(v).abs();
                }
            }
            for (column, (expected, absolute)) in expected.into_iter().zip(absolute).enumerate() {
                let name = || format!("head {head}, query {query}, column {column}");
                compare(name, expected, output[place * width + column], relative * absolute + 1e-37)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Fused;
    use crate::dtype::Dtype;
    use crate::op::Attention;

    #[test]
    fn every_wrong_element_of_a_small_attention_is_found() {
        let op = Attention { batch: 1, heads: 2, seq_q: 3, seq_kv: 7, head_dim: 5, dtype: Dtype::F32 };
        let attention = Fused::new(&op, 2);
        let input: Vec<f32> = (0..attention.inputs()).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut output = vec![f32::NAN; attention.outputs()];
        attention.run(attention.operands(&input), &mut output);
        attention.check(&input, &output).unwrap();
        for place in 0..output.len() {
            let right = output[place];
            for wrong in [right + 1e-3, f32::NAN] {
                output[place] = wrong;
                assert!(attention.check(&input, &output).is_err(), "{place}");
            }
            output[place] = right;
        }
    }
}
