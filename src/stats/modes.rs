//! Whether samples fall into two groups: the device has two ways to run the op, or two clocks.

use super::median_of_sorted;
use crate::units::Seconds;

/// Samples below which nothing is said: of so few, even those of one law may leave a gap.
const LEAST: usize = 20;

/// The share of the samples in the smaller group, at least.
const SHARE: f64 = 0.1;

/// Distance of the groups' medians, as a share of the smaller, from which a row is called `bimodal`.
pub const BIMODAL: f64 = 0.02;

/// The part of that distance that is empty, at least. Groups as far apart as that have Ashman's D above 10, where 2
/// already means two clearly separate ones (Ashman, Bird and Zepf, Astronomical Journal 108, 1994, 2348); 20 samples
/// of one uniform law leave such a gap in about 1 of 1,000 cases.
const EMPTY: f64 = 2.0 / 3.0;

/// How often samples change from one group to the other, at least: once is a drift, and not two groups.
const LEAST_CHANGES: usize = 3;

/// Whether the samples of one pass, in the order of time, fall into two groups well apart, between which they
/// change to and fro.
pub(super) fn is_bimodal(samples: &[Seconds]) -> bool {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    let count = sorted.len();
    let few = ((SHARE * count as f64).ceil() as usize).max(2);
    if count < LEAST {
        return false;
    }
    // The largest gap that leaves enough on both sides.
    let gap = |at: usize| sorted[at].get() - sorted[at - 1].get();
    let Some(split) = (few..=count - few).max_by(|&a, &b| gap(a).total_cmp(&gap(b))) else { return false };
    let (Some(fast), Some(slow)) = (median_of_sorted(&sorted[..split]), median_of_sorted(&sorted[split..]))
    else {
        return false;
    };
    let apart = slow.get() - fast.get();
    let changes =
        samples.windows(2).filter(|pair| (pair[0] < sorted[split]) != (pair[1] < sorted[split])).count();
    apart > BIMODAL * fast.get() && gap(split) >= EMPTY * apart && changes >= LEAST_CHANGES
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::is_bimodal;
    use crate::units::Seconds;

    fn seconds(values: impl IntoIterator<Item = f64>) -> Vec<Seconds> {
        values.into_iter().map(|value| Seconds::new(value).unwrap()).collect()
    }

    #[test]
    fn two_groups_are_seen_and_one_is_not() {
        let noisy = |i: usize, by: f64| 1.0 + by * ((i * 7919 % 1000) as f64 / 1000.0);
        assert!(is_bimodal(&seconds((0..30).map(|i| noisy(i, 0.005) * if i % 3 == 0 { 1.05 } else { 1.0 }))));
        assert!(!is_bimodal(&seconds((0..30).map(|i| noisy(i, 0.1)))));
        assert!(!is_bimodal(&seconds((0..30).map(|_| 1.0))));
        // groups 1 % apart are no more than noise; a step is a drift; one sample in 30 is an outlier
        assert!(!is_bimodal(&seconds((0..30).map(|i| if i % 3 == 0 { 1.01 } else { 1.0 }))));
        assert!(!is_bimodal(&seconds((0..30).map(|i| if i < 15 { 1.05 } else { 1.0 }))));
        assert!(!is_bimodal(&seconds((0..30).map(|i| if i == 9 { 2.0 } else { 1.0 }))));
        assert!(!is_bimodal(&seconds((0..19).map(|i| if i % 2 == 0 { 1.05 } else { 1.0 }))));
    }

    /// Of one law, whatever it is: uniform, and one with a long tail.
    #[test]
    fn one_law_does_not_pass_for_two() {
        let mut random = StdRng::seed_from_u64(1);
        let mut draws = |tail: bool| {
            let draw = |random: &mut StdRng| match (tail, random.random::<f64>()) {
                (true, x) => 1.0 - (1.0 - x).ln(),
                (false, x) => 1.0 + x,
            };
            seconds((0..20).map(|_| draw(&mut random)).collect::<Vec<_>>())
        };
        let uniform = (0..5000).filter(|_| is_bimodal(&draws(false))).count();
        let tailed = (0..5000).filter(|_| is_bimodal(&draws(true))).count();
        assert!(uniform <= 10 && tailed <= 100, "{uniform} and {tailed} of 5000");
    }
}
