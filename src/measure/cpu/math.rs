//! Exponentials that a compiler can turn into vector instructions.

use std::f32::consts::LOG2_E;

/// 1.5·2²³: added to a number below 2²², it leaves the nearest integer in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// ln 2 in two parts, the first with few enough bits that its product with an exponent is exact.
const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);

/// eˣ with a relative error below 1e-6, for x within ±87; outside, e to the nearer bound.
///
/// Range reduction by ln 2 and a polynomial of degree 7, both of Cephes' `expf` (Moshier, 1992).
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * LOG2_E + ROUND;
    let power = shifted - ROUND;
    let r = x - power * LN_2.0 - power * LN_2.1;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_6e-1;
    p = p * r + 5e-1;
    let fraction = p * (r * r) + r + 1.0;
    // The low bits of `shifted` are the integer: moved into the exponent, they are its power of two.
    fraction * f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23))
}

/// GELU in its tanh form, x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))/2, with ½(1 + tanh u) = 1/(1 + e⁻²ᵘ)
/// (Hendrycks and Gimpel, 2016).
#[inline(always)]
pub(super) fn gelu(x: f32) -> f32 {
    x / (1.0 + exp(-1.595_769 * x * (1.0 + 0.044_715 * x * x)))
}

/// SiLU, x/(1 + e⁻ˣ).
#[inline(always)]
pub(super) fn silu(x: f32) -> f32 {
    x / (1.0 + exp(-x))
}

#[cfg(test)]
mod tests {
    use super::{exp, gelu, silu};

    fn grid() -> impl Iterator<Item = f32> {
        (-8700..=8700).map(|i| i as f32 / 100.0 + 0.003_7 * (i % 7) as f32)
    }

    #[test]
    fn exp_is_accurate_to_1e_6() {
        for x in grid().filter(|x| x.abs() <= 87.0) {
            let true_value = f64::from(x).exp();
            assert!((f64::from(exp(x)) / true_value - 1.0).abs() < 1e-6, "exp({x}) = {}", exp(x));
        }
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn activations_follow_their_formulas() {
        for x in grid().filter(|x| x.abs() < 10.0) {
            let wide = f64::from(x);
            let tanh = ((2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3))).tanh();
            assert!((f64::from(gelu(x)) - 0.5 * wide * (1.0 + tanh)).abs() < 2e-6 * (1.0 + wide.abs()));
            assert!((f64::from(silu(x)) - wide / (1.0 + (-wide).exp())).abs() < 2e-6 * (1.0 + wide.abs()));
        }
        // Far out nothing overflows.
        assert_eq!((gelu(1e10), gelu(-1e10).abs() < 1e-20, silu(-1e4).abs() < 1e-20), (1e10, true, true));
    }
}
