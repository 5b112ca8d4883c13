//! Statistics of repeated measurements: medians with intervals, never bare numbers.

mod modes;

use std::fmt;

use statrs::distribution::{Binomial, DiscreteCDF};

pub use self::modes::BIMODAL;
use self::modes::is_bimodal;
use crate::units::Seconds;

/// Half-width of the interval, as a share of the value, above which a row is called `noisy`.
pub const NOISY: f64 = 0.02;

/// Difference of two medians, as a share of the value, above which a row may be called `drift`: above the
/// 4 % that the medians of two passes can differ by in a row that is not even noisy.
pub const DRIFT: f64 = 0.05;

/// Samples of one pass below which its halves are not compared: of 5 against 5 samples without drift, 1 in
/// 126 has two halves that do not overlap; of 3 against 3 it is 1 in 10.
const LEAST_FOR_HALVES: usize = 10;

/// What is known of one op after measuring it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    /// The median.
    pub seconds: Seconds,
    /// The interval that holds the true median with 95 % confidence; `None` where whoever measured did not say.
    pub interval: Option<(Seconds, Seconds)>,
    /// How many samples it rests on; `None` where whoever measured did not say.
    pub samples: Option<u64>,
}

impl Summary {
    /// Half the width of the interval as a share of the median; `None` without an interval or at 0 s.
    pub fn half_width(&self) -> Option<f64> {
        let (low, high) = self.interval?;
        let seconds = self.seconds.get();
        (seconds > 0.0).then(|| 0.5 * (high.get() - low.get()) / seconds)
    }

    /// The interval, or the time alone where none was given.
    pub fn ends(&self) -> (Seconds, Seconds) {
        self.interval.unwrap_or((self.seconds, self.seconds))
    }

    /// Whether the intervals of the two have no time in common.
    pub fn is_apart(&self, other: &Summary) -> bool {
        let ((low, high), (other_low, other_high)) = (self.ends(), other.ends());
        high < other_low || other_high < low
    }
}

/// How far the medians of an op's passes lie apart, as a share of their median: what repeating a measurement
/// at another moment, with other buffers, changes. As a word of the column `flags`: `spread=0.42%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread(pub f64);

impl Spread {
    /// Of the passes that have samples; `None` for fewer than two.
    pub fn of(passes: &[Vec<Seconds>]) -> Option<Spread> {
        let medians: Vec<Seconds> = passes.iter().filter_map(|pass| median(pass)).collect();
        let (least, most) = (medians.iter().min()?, medians.iter().max()?);
        let middle = median(&medians).filter(|middle| *middle > Seconds::ZERO)?.get();
        (medians.len() > 1).then(|| Spread((most.get() - least.get()) / middle))
    }

    /// Among the words of a row's flags.
    pub fn in_flags(flags: &str) -> Option<Spread> {
        let word = flags.split_whitespace().find_map(|word| word.strip_prefix("spread="))?;
        let percent: f64 = word.strip_suffix('%')?.parse().ok()?;
        (percent.is_finite() && percent >= 0.0).then_some(Spread(percent / 100.0))
    }
}

/// `spread=0.42%`.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spread={:.2}%", 100.0 * self.0)
    }
}

/// Remarks on a measurement, in the words of the column `flags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// The interval is wider than ±[`NOISY`] of the value.
    pub noisy: bool,
    /// The op got faster or slower while it was measured: two passes, or two halves of a pass, have medians
    /// more than [`DRIFT`] apart and intervals that do not overlap.
    pub drift: bool,
    /// The samples of a pass fall into two groups more than [`BIMODAL`] apart, to and fro.
    pub bimodal: bool,
}

/// The words that apply, with a blank between them.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = [("noisy", self.noisy), ("drift", self.drift), ("bimodal", self.bimodal)];
        let words: Vec<&str> = words.into_iter().filter(|(_, set)| *set).map(|(word, _)| word).collect();
        f.pad(&words.join(" "))
    }
}

/// The median: the middle sample, or the mean of the two middle ones. `None` without samples.
pub fn median(samples: &[Seconds]) -> Option<Seconds> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    median_of_sorted(&sorted)
}

/// The 95 % interval of the median, whatever the distribution: see [`interval_of_sorted`]. `None` without
/// samples.
pub fn interval(samples: &[Seconds]) -> Option<(Seconds, Seconds)> {
    let mut sorted = samples.to_vec();
    sorted.sort_unstable();
    interval_of_sorted(&sorted)
}

/// [`median`] of samples in ascending order.
pub fn median_of_sorted(sorted: &[Seconds]) -> Option<Seconds> {
    let low = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
    let high = *sorted.get(sorted.len() / 2)?;
    // Halves before the sum: no overflow; equal neighbours stay what they are, to the bit.
    Some(if low == high { low } else { Seconds::new(0.5 * low.get() + 0.5 * high.get()).unwrap_or(low) })
}

/// The interval between two order statistics, of samples in ascending order, that holds the true median
/// with at least 95 % confidence.
///
/// Each sample lies below the median with probability ½, whatever the distribution, so the number of those
/// below follows Binomial(n, ½) (Conover, Practical Nonparametric Statistics, 3rd ed. 1999, 3.2). Below 6
/// samples 95 % cannot be reached, and the interval is the smallest and the largest.
pub fn interval_of_sorted(sorted: &[Seconds]) -> Option<(Seconds, Seconds)> {
    let rank = lower_rank(sorted.len());
    Some((*sorted.get(rank - 1)?, *sorted.get(sorted.len() - rank)?))
}

/// The largest rank r (from 1) for which the interval from the r-th smallest to the r-th largest of `n`
/// samples has 95 % confidence; 1 where none has.
pub fn lower_rank(n: usize) -> usize {
    let Ok(below) = Binomial::new(0.5, n as u64) else { return 1 };
    // The r-th smallest lies above the median when at most r−1 samples lie below it.
    let (mut least, mut beyond) = (1, n / 2 + 1);
    while beyond - least > 1 {
        let middle = least + (beyond - least) / 2;
        if below.cdf(middle as u64 - 1) <= 0.025 { least = middle } else { beyond = middle }
    }
    least
}

/// What several passes over the same op, each in its order of time, say together; passes without samples
/// do not count. `None` without any sample.
///
/// The value is the median of the pass medians, so that a pass with many samples has no more say than one
/// with few. The interval is the union of the pooled samples' 95 % interval and of the range of the pass
/// medians: samples of one pass share its state (clocks, placement of buffers, what ran before), so they
/// are not independent, and the pooled interval alone shrinks with their number while that state does not
/// average out.
pub fn join(passes: &[Vec<Seconds>]) -> Option<(Summary, Flags)> {
    let medians: Vec<Seconds> = passes.iter().filter_map(|pass| median(pass)).collect();
    let seconds = median(&medians)?;
    let pooled: Vec<Seconds> = passes.iter().flatten().copied().collect();
    let (low, high) = interval(&pooled)?;
    let low = medians.iter().copied().fold(low, Seconds::min);
    let high = medians.iter().copied().fold(high, Seconds::max);
    let summary = Summary { seconds, interval: Some((low, high)), samples: Some(pooled.len() as u64) };
    let noisy = summary.half_width().is_some_and(|half| half > NOISY);
    let pairs = passes
        .iter()
        .enumerate()
        .flat_map(|(i, one)| passes[i + 1..].iter().map(|other| (&one[..], &other[..])));
    let halves =
        passes.iter().filter(|pass| pass.len() >= LEAST_FOR_HALVES).map(|pass| pass.split_at(pass.len() / 2));
    let drift = pairs.chain(halves).any(|(one, other)| moved(one, other));
    let bimodal = passes.iter().any(|pass| is_bimodal(pass));
    Some((summary, Flags { noisy, drift, bimodal }))
}

/// Whether two sets of samples have medians further apart than [`DRIFT`] of the smaller, and by more than
/// noise explains.
fn moved(one: &[Seconds], other: &[Seconds]) -> bool {
    let (Some(a), Some(b)) = (median(one), median(other)) else { return false };
    let (Some((a_low, a_high)), Some((b_low, b_high))) = (interval(one), interval(other)) else {
        return false;
    };
    let far = (a.get() - b.get()).abs() > DRIFT * a.min(b).get();
    far && (a_high < b_low || b_high < a_low)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::{Flags, Seconds, interval, join, lower_rank, median};

    fn seconds(values: &[f64]) -> Vec<Seconds> {
        values.iter().map(|&value| Seconds::new(value).unwrap()).collect()
    }

    fn one_to(n: u32) -> Vec<Seconds> {
        seconds(&(1..=n).rev().map(f64::from).collect::<Vec<_>>())
    }

    #[test]
    fn medians_by_hand() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&seconds(&[3.0])).unwrap().get(), 3.0);
        assert_eq!(median(&seconds(&[9.0, 1.0, 4.0])).unwrap().get(), 4.0);
        assert_eq!(median(&seconds(&[9.0, 1.0, 4.0, 2.0])).unwrap().get(), 3.0);
        assert_eq!(median(&seconds(&[f64::MAX, f64::MAX])).unwrap().get(), f64::MAX);
    }

    /// Table A3 of Conover (binomial, p = ½), and P(X ≤ 1 | n = 10) = 11/1024, P(X ≤ 2 | n = 10) = 56/1024.
    #[test]
    fn ranks_of_known_sizes() {
        let known = [(6, 1), (7, 1), (8, 1), (9, 2), (10, 2), (12, 3), (15, 4), (20, 6), (30, 10), (100, 40)];
        for (n, rank) in known {
            assert_eq!(lower_rank(n), rank, "n = {n}");
        }
        let (low, high) = interval(&one_to(10)).unwrap();
        assert_eq!((low.get(), high.get()), (2.0, 9.0));
        let (low, high) = interval(&one_to(100)).unwrap();
        assert_eq!((low.get(), high.get()), (40.0, 61.0));
    }

    /// The exact binomial sum, in integers, for every size up to 60.
    #[test]
    fn ranks_against_exact_sums() {
        for n in 1..=60_usize {
            let mut choose = 1_u128;
            let (mut cumulative, mut rank) = (0_u128, 0);
            for k in 0..=n / 2 {
                cumulative += choose;
                if cumulative * 40 > 1 << n {
                    break;
                }
                rank = k + 1;
                choose = choose * (n - k) as u128 / (k as u128 + 1);
            }
            assert_eq!(lower_rank(n), rank.max(1), "n = {n}");
        }
    }

    #[test]
    fn few_samples_give_the_whole_range() {
        assert_eq!(interval(&[]), None);
        for n in 1..6 {
            let (low, high) = interval(&one_to(n)).unwrap();
            assert_eq!((low.get(), high.get()), (1.0, f64::from(n)));
        }
    }

    /// A skewed law (exponential, median ln 2): the interval must hold the median in 95 % of the cases.
    #[test]
    fn interval_covers_the_median() {
        let mut random = StdRng::seed_from_u64(7);
        for n in [10, 15, 31, 100] {
            let hits = (0..2000).filter(|_| {
                let draws: Vec<f64> = (0..n).map(|_| -(1.0 - random.random::<f64>()).ln()).collect();
                let (low, high) = interval(&seconds(&draws)).unwrap();
                (low.get()..=high.get()).contains(&std::f64::consts::LN_2)
            });
            let hits = hits.count();
            assert!(hits >= 1860, "n = {n}: {hits} of 2000");
        }
    }

    #[test]
    fn passes_join_by_their_medians() {
        // Medians 2, 3 and 10; the nine pooled samples have the interval of ranks 2 and 8.
        let passes = [seconds(&[1.0, 2.0, 2.0]), seconds(&[3.0, 3.0, 4.0]), seconds(&[10.0, 10.0, 11.0])];
        let (summary, flags) = join(&passes).unwrap();
        assert_eq!(summary.seconds.get(), 3.0);
        assert_eq!(summary.interval.map(|(low, high)| (low.get(), high.get())), Some((2.0, 10.0)));
        assert_eq!(summary.samples, Some(9));
        assert_eq!(flags, Flags { noisy: true, drift: true, bimodal: false });
        assert_eq!(flags.to_string(), "noisy drift");
        assert_eq!(join(&[Vec::new(), Vec::new()]), None);
    }

    #[test]
    fn pass_medians_widen_the_interval() {
        let many = |value: f64| vec![Seconds::new(value).unwrap(); 100];
        let (summary, flags) = join(&[many(1.0), many(1.0), many(1.03)]).unwrap();
        assert_eq!(summary.interval.map(|(_, high)| high.get()), Some(1.03));
        assert_eq!(flags, Flags::default()); // ±1.5 %
    }

    #[test]
    fn noise_is_not_drift_and_drift_is_seen_within_a_pass() {
        let noise: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { 1.5 }).collect();
        assert_eq!(join(&[seconds(&noise)]).unwrap().1, Flags { noisy: true, drift: false, bimodal: true });
        let step: Vec<f64> = (0..20).map(|i| if i < 10 { 1.0 } else { 1.06 }).collect();
        assert!(join(&[seconds(&step)]).unwrap().1.drift);
        let small: Vec<f64> = (0..20).map(|i| if i < 10 { 1.0 } else { 1.03 }).collect();
        assert!(!join(&[seconds(&small)]).unwrap().1.drift);
    }
}
