//! One row of each memory-bound kernel, in loops that a compiler turns into vector instructions, and the
//! same in binary64 to compare with.

use super::math::{exp, gelu, silu};

/// Partial sums of a reduction: one sum alone would have to be added in order, one number at a time.
const LANES: usize = 64;

/// Added to the variance under the root, as in PyTorch's default.
const EPSILON: f32 = 1e-5;

/// `(x − mean)/√(variance + ε)·scale + shift`, with mean and variance from one pass over the row.
#[inline(always)]
pub(super) fn layernorm(x: &[f32], scale: &[f32], shift: &[f32], out: &mut [f32]) {
    // Taken relative to one element, the squares lose no digits to a large mean.
    let origin = x.first().copied().unwrap_or(0.0);
    let (mut sums, mut squares) = ([0.0_f32; LANES], [0.0_f32; LANES]);
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            let d = block[lane] - origin;
            sums[lane] += d;
            squares[lane] += d * d;
        }
    }
    for (lane, &x) in rest.iter().enumerate() {
        let d = x - origin;
        sums[lane] += d;
        squares[lane] += d * d;
    }
    let count = x.len() as f32;
    let mean = sums.iter().sum::<f32>() / count;
    let variance = (squares.iter().sum::<f32>() / count - mean * mean).max(0.0);
    let factor = 1.0 / (variance + EPSILON).sqrt();
    let mean = mean + origin;
    for (((out, &x), &scale), &shift) in out.iter_mut().zip(x).zip(scale).zip(shift) {
        *out = (x - mean) * factor * scale + shift;
    }
}

/// [`layernorm`] at one place, in binary64 and two passes.
pub(super) fn layernorm_exact(x: &[f32], scale: &[f32], shift: &[f32], place: usize) -> f64 {
    let count = x.len() as f64;
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let normal = (f64::from(x[place]) - mean) / (variance + f64::from(EPSILON)).sqrt();
    normal * f64::from(scale[place]) + f64::from(shift[place])
}

/// The largest element; −∞ of none.
#[inline(always)]
pub(super) fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &x) in lanes.iter_mut().zip(block) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane = if x > *lane { x } else { *lane };
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, f32::max)
}

/// Turns each x into `exp(x − largest)` and returns their sum.
#[inline(always)]
pub(super) fn exponentials(x: &mut [f32], largest: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        for (lane, x) in lanes.iter_mut().zip(block) {
            *x = exp(*x - largest);
            *lane += *x;
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp(*x - largest);
        *lane += *x;
    }
    lanes.iter().sum()
}

/// Softmax: `exp(x − max)/Σ exp(x − max)`.
#[inline(always)]
pub(super) fn softmax(x: &[f32], out: &mut [f32]) {
    let most = largest(x);
    out.copy_from_slice(x); // into the first cache, where the exponentials work
    let factor = 1.0 / exponentials(out, most);
    for out in out {
        *out *= factor;
    }
}

/// [`softmax`] at one place, in binary64.
pub(super) fn softmax_exact(x: &[f32], place: usize) -> f64 {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: f32| (f64::from(x) - f64::from(most)).exp();
    weight(x[place]) / x.iter().map(|&x| weight(x)).sum::<f64>()
}

/// GELU of each element.
#[inline(always)]
pub(super) fn activation(x: &[f32], out: &mut [f32]) {
    for (out, &x) in out.iter_mut().zip(x) {
        *out = gelu(x);
    }
}

/// [`activation`] of one element, in binary64.
pub(super) fn activation_exact(x: f32) -> f64 {
    let x = f64::from(x);
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// `SiLU(gate)·up`.
#[inline(always)]
pub(super) fn gated_activation(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((out, &gate), &up) in out.iter_mut().zip(gate).zip(up) {
        *out = silu(gate) * up;
    }
}

/// [`gated_activation`] of one pair, in binary64.
pub(super) fn gated_activation_exact(gate: f32, up: f32) -> f64 {
    let gate = f64::from(gate);
    gate / (1.0 + (-gate).exp()) * f64::from(up)
}

/// Sum of two tensors.
#[inline(always)]
pub(super) fn residual(x: &[f32], y: &[f32], out: &mut [f32]) {
    for ((out, &x), &y) in out.iter_mut().zip(x).zip(y) {
        *out = x + y;
    }
}

/// The largest of a row of logits as `weights`, in descending order, which are their share of the softmax
/// over the whole row, and the places they stand at as `experts`. As many as the two slices are long.
#[inline(always)]
pub(super) fn gate_topk(logits: &[f32], scratch: &mut [f32], weights: &mut [f32], experts: &mut [f32]) {
    weights.fill(f32::NEG_INFINITY);
    let last = weights.len() - 1;
    for (expert, &logit) in logits.iter().enumerate() {
        if logit > weights[last] {
            let mut place = last;
            while place > 0 && weights[place - 1] < logit {
                weights[place] = weights[place - 1];
                experts[place] = experts[place - 1];
                place -= 1;
            }
            weights[place] = logit;
            experts[place] = expert as f32;
        }
    }
    let most = weights[0];
    scratch.copy_from_slice(logits);
    let factor = 1.0 / exponentials(scratch, most);
    for weight in weights {
        *weight = exp(*weight - most) * factor;
    }
}

/// Weighted sum of rows.
#[inline(always)]
pub(super) fn unpermute<'a>(rows: impl Iterator<Item = (f32, &'a [f32])>, out: &mut [f32]) {
    for (i, (weight, row)) in rows.enumerate() {
        if i == 0 {
            for (out, &x) in out.iter_mut().zip(row) {
                *out = weight * x;
            }
        } else {
            for (out, &x) in out.iter_mut().zip(row) {
                *out += weight * x;
            }
        }
    }
}
