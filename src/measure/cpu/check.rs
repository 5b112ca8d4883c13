//! What a result is compared with, and where: an op is timed only after it has passed.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Unit roundoff of binary32, 2⁻²⁴.
const UNIT: f64 = 5.960_464_477_539_063e-8;

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

/// The result of a check.
pub(super) type Checked = Result<(), Wrong>;

/// Compares one element; `bound` is the largest error that rounding explains.
pub(super) fn compare(place: impl FnOnce() -> String, expected: f64, got: f32, bound: f64) -> Checked {
    let got = f64::from(got);
    // Written so that NaN fails.
    if (got - expected).abs() <= bound { Ok(()) } else { Err(Wrong { place: place(), expected, got }) }
}

/// Whether an op wrote every element of its output, which held NaN before.
pub(super) fn all_written(output: &[f32]) -> Checked {
    match output.iter().position(|value| value.is_nan()) {
        Some(place) => Err(Wrong { place: format!("element {place}"), expected: 0.0, got: f64::NAN }),
        None => Ok(()),
    }
}

/// Bound of the relative error of a sum of `terms` products in binary32, relative to the sum of their
/// absolute values.
///
/// The smaller of n·u/(1−n·u), which holds always (Higham, Accuracy and Stability of Numerical Algorithms,
/// 2nd ed. 2002, 3.1), and of λ·√n·u with λ = 10, which holds for independent roundings but with probability
/// 2n·exp(−λ²/2) ≈ n·4e-22 (Higham and Mary, SIAM J. Sci. Comput. 41, 2019) and tells wrong from right in
/// long sums too.
pub(in crate::measure) fn sum_error(terms: usize) -> f64 {
    let n = terms as f64 + 1.0;
    let always = if n * UNIT < 0.5 { n * UNIT / (1.0 - n * UNIT) } else { f64::INFINITY };
    always.min(10.0 * n.sqrt() * UNIT)
}

/// Up to `count` of the numbers below `total`: the first, the last, and random ones between.
pub(in crate::measure) fn places(count: usize, total: usize) -> Vec<usize> {
    if total <= count {
        return (0..total).collect();
    }
    let mut random = StdRng::seed_from_u64(total as u64);
    let mut places: Vec<usize> = (2..count).map(|_| random.random_range(0..total)).collect();
    places.extend([0, total - 1]);
    places
}

#[cfg(test)]
mod tests {
    use super::{all_written, compare, places, sum_error};

    #[test]
    fn nan_never_passes() {
        assert!(compare(String::new, 1.0, f32::NAN, 1e30).is_err());
        assert_eq!(all_written(&[0.0, f32::NAN]).unwrap_err().place, "element 1");
        assert!(all_written(&[0.0, f32::INFINITY]).is_ok()); // written; that it is wrong, others say
    }

    #[test]
    fn places_hold_both_ends() {
        assert_eq!(places(10, 3), [0, 1, 2]);
        let some = places(10, 1000);
        assert_eq!(some.len(), 10);
        assert!(some.contains(&0) && some.contains(&999));
    }

    #[test]
    fn bounds_grow_with_the_sum() {
        assert!((sum_error(1) - 2.0 * 5.96e-8).abs() < 1e-9);
        assert!(sum_error(1_000_000) < 1e-3 && sum_error(1_000_000) > sum_error(1000));
    }
}
