//! What a result is compared with: an op is timed only after it has passed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::trouble::Trouble;

/// An element that is not what it should be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wrong {
    /// Which element.
    pub place: String,
    /// What it should be.
    pub expected: f64,
    /// What it is.
    pub got: f64,
}

/// Why a check did not pass.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Unchecked {
    /// An element is wrong.
    Wrong(Wrong),
    /// The result could not be read.
    Trouble(Trouble),
}

impl From<Trouble> for Unchecked {
    fn from(trouble: Trouble) -> Self {
        Unchecked::Trouble(trouble)
    }
}

/// Compares one element; `bound` is the largest error that rounding explains.
pub(super) fn compare(
    place: impl FnOnce() -> String,
    expected: f64,
    got: f64,
    bound: f64,
) -> Result<(), Unchecked> {
    // Written so that NaN fails.
    if (got - expected).abs() <= bound {
        Ok(())
    } else {
        Err(Unchecked::Wrong(Wrong { place: place(), expected, got }))
    }
}

/// Up to `count` of the numbers below `total`: the first, the last, and random ones between.
pub(super) fn places(count: usize, total: u64) -> Vec<u64> {
    if total <= count as u64 {
        return (0..total).collect();
    }
    let mut random = StdRng::seed_from_u64(total);
    let mut places: Vec<u64> = (2..count).map(|_| random.random_range(0..total)).collect();
    places.extend([0, total - 1]);
    places
}

/// Layernorm of a row at one place: `(x − mean)/√(variance + 1e-5)·scale + shift`.
pub(super) fn layernorm(row: &[f64], place: usize, scale: f64, shift: f64) -> f64 {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (row[place] - mean) / (variance + 1e-5).sqrt() * scale + shift
}

/// Softmax of a row at one place.
pub(super) fn softmax(row: &[f64], place: usize) -> f64 {
    weights(row)[place]
}

/// Softmax of a row.
pub(super) fn weights(row: &[f64]) -> Vec<f64> {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = row.iter().map(|x| (x - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// GELU in its tanh form.
pub(super) fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

/// SiLU.
pub(super) fn silu(x: f64) -> f64 {
    x / (1.0 + (-x).exp())
}

/// The place of the `rank`-th largest of a row, of equal ones the first first.
pub(super) fn ranked(row: &[f64], rank: usize) -> usize {
    let mut places: Vec<usize> = (0..row.len()).collect();
    places.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    places[rank]
}

#[cfg(test)]
mod tests {
    use super::{compare, gelu, layernorm, places, ranked, silu, softmax};

    #[test]
    fn nan_never_passes() {
        assert!(compare(String::new, 1.0, f64::NAN, 1e30).is_err());
        assert!(compare(String::new, 1.0, 1.0, 0.0).is_ok());
    }

    #[test]
    fn places_hold_both_ends() {
        assert_eq!(places(10, 3), [0, 1, 2]);
        assert!(places(10, 1000).contains(&0) && places(10, 1000).contains(&999));
    }

    /// By hand: rows of two, and tables of GELU and SiLU at 1.
    #[test]
    fn formulas() {
        assert!((layernorm(&[1.0, 3.0], 1, 2.0, 0.5) - (2.0 / 1.000_005 + 0.5)).abs() < 1e-5);
        assert!((softmax(&[0.0, 3.0_f64.ln()], 1) - 0.75).abs() < 1e-12);
        assert!((gelu(1.0) - 0.841_192).abs() < 1e-6 && (silu(1.0) - 0.731_059).abs() < 1e-6);
        assert_eq!((ranked(&[1.0, 5.0, 5.0, 2.0], 0), ranked(&[1.0, 5.0, 5.0, 2.0], 1)), (1, 2));
        assert_eq!(ranked(&[1.0, 5.0, 5.0, 2.0], 2), 3);
    }
}
