//! One pass over one case: warm it up, then sample until the median is known well enough.

use std::time::Duration;

use super::{Case, Clock, MeasureError};
use crate::stats;
use crate::units::Seconds;

/// Bound of the warm-up, for a replayed table's clock, which may stand still.
const MOST_WARM_UPS: usize = 2000;

/// When the samples of one pass are enough.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Samples that a pass takes at least, time permitting.
    pub least: usize,
    /// The same for an op whose run takes longer than [`Sampling::slow`].
    pub least_slow: usize,
    /// The time of one run from which an op counts as slow.
    pub slow: Seconds,
    /// Time that the samples of a pass take at least together, where the op is not slow: what goes before them, an
    /// op made ready and warmed up, should not be most of it.
    pub least_time: Duration,
    /// Samples that a pass takes at most.
    pub most: usize,
    /// Half-width of the median's 95 % interval, as a share of the median, that is good enough.
    pub half_width: f64,
    /// Warm-up before the first sample, where the time limit allows it.
    pub warm_up: Duration,
}

impl Default for Sampling {
    /// 10 samples (3 of runs over 50 ms) to 1000, ±1 %, 10 ms of warm-up.
    fn default() -> Self {
        Sampling {
            least: 10,
            least_slow: 3,
            slow: Seconds::new(0.05).unwrap_or_default(),
            least_time: Duration::ZERO,
            most: 1000,
            half_width: 0.01,
            warm_up: Duration::from_millis(10),
        }
    }
}

/// Samples of one pass and the rule that ends it; knows no clock.
///
/// The rule looks at the interval again and again, which makes it a little too hopeful: a pass tends to stop
/// where the interval happens to be narrow. Joining passes by their medians makes up for it.
#[derive(Clone, Debug)]
pub struct StopRule {
    sampling: Sampling,
    least: usize,
    least_in_time: usize,
    limit: Duration,
    in_time_order: Vec<Seconds>,
    sorted: Vec<Seconds>,
    next_look: usize,
    narrow: bool,
}

impl StopRule {
    /// A rule for an op whose run takes about `run`, one sample of which lasts about `sample`, in a pass that
    /// may last `limit`.
    pub fn new(sampling: Sampling, run: Seconds, sample: Seconds, limit: Duration) -> Self {
        let filling = sampling.least_time.as_secs_f64() / sample.get().max(f64::MIN_POSITIVE);
        let least = if run > sampling.slow {
            sampling.least_slow
        } else {
            sampling.least.max((filling.ceil() as usize).min(sampling.most))
        };
        let least = least.max(1);
        // When time is short: as many as fit, 3 being enough for a median, and one in any case.
        let fitting = limit.as_secs_f64() / sample.get().max(f64::MIN_POSITIVE);
        let least_in_time = (fitting as usize).clamp(1, least.min(3));
        StopRule {
            sampling,
            least,
            least_in_time,
            limit,
            in_time_order: Vec::new(),
            sorted: Vec::new(),
            next_look: least,
            narrow: false,
        }
    }

    /// Takes one more sample.
    pub fn add(&mut self, sample: Seconds) {
        self.in_time_order.push(sample);
        let place = self.sorted.partition_point(|&other| other <= sample);
        self.sorted.insert(place, sample);
        if self.sorted.len() >= self.next_look {
            // Every tenth more, so that looking costs little beside short samples.
            self.next_look += self.next_look.div_ceil(10);
            self.narrow = self.half_width().is_some_and(|half| half <= self.sampling.half_width);
        }
    }

    /// Whether the pass is over, `elapsed` after it began.
    pub fn is_done(&self, elapsed: Duration) -> bool {
        let taken = self.sorted.len();
        (taken >= self.least && (self.narrow || taken >= self.sampling.most))
            || (taken >= self.least_in_time && elapsed >= self.limit)
    }

    /// The samples in the order of time.
    pub fn into_samples(self) -> Vec<Seconds> {
        self.in_time_order
    }

    fn half_width(&self) -> Option<f64> {
        let median = stats::median_of_sorted(&self.sorted)?;
        let (low, high) = stats::interval_of_sorted(&self.sorted)?;
        Some(0.5 * (high.get() - low.get()) / median.get().max(f64::MIN_POSITIVE))
    }
}

/// The samples of one pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampled {
    /// In the order of time, at least one.
    pub samples: Vec<Seconds>,
    /// Runs in each of them.
    pub runs: u64,
}

/// Samples `case` for at most about `limit`.
///
/// The run that checked the result counts as the first of the warm-up. Ops shorter than `shortest_sample`
/// run several times in a sample, so that the clock's resolution does not show.
///
/// # Errors
/// When a run fails.
pub fn sample_pass(
    case: &mut dyn Case,
    clock: &dyn Clock,
    sampling: Sampling,
    shortest_sample: Duration,
    limit: Duration,
) -> Result<Sampled, MeasureError> {
    let start = clock.now();
    let elapsed = || clock.now().saturating_sub(start);
    let mut run = case.sample(1)?;
    if elapsed() >= limit {
        return Ok(Sampled { samples: vec![run], runs: 1 }); // a single run takes all the time there is
    }
    // A first run may be slow, so the estimate is taken again with more runs until it holds.
    let (shortest, limit_s) = (shortest_sample.as_secs_f64(), limit.as_secs_f64());
    let mut runs = 1;
    while run.get() * (runs as f64) < shortest && elapsed() * 4 < limit {
        let wanted = (1.2 * shortest / run.get().max(1e-12)).ceil();
        runs = (wanted as u64).clamp(runs + 1, runs * 10).min(1 << 20);
        run = case.sample(runs)?;
        if runs == 1 << 20 {
            break;
        }
    }
    let warm_up = sampling.warm_up.min(Duration::from_secs_f64(0.2 * limit_s));
    for _ in 0..MOST_WARM_UPS {
        if elapsed() >= warm_up {
            break;
        }
        run = case.sample(runs)?;
    }
    let sample = Seconds::new(run.get() * runs as f64).unwrap_or(run);
    let mut rule = StopRule::new(sampling, run, sample, limit.saturating_sub(elapsed()));
    let sampled_from = clock.now();
    while !rule.is_done(clock.now().saturating_sub(sampled_from)) {
        rule.add(case.sample(runs)?);
    }
    Ok(Sampled { samples: rule.into_samples(), runs })
}

/// Samples of twice as many runs, with which those of a pass are compared.
const TWICE: usize = 7;

/// Difference of the time of one run, as a share of it, above which what surrounds the runs of a sample shows.
const OVERHEAD: f64 = 0.02;

/// The longest sample of twice as many runs, in seconds.
const LONGEST_TWICE: f64 = 0.05;

/// Whether a run seems shorter when twice as many make a sample: then a part of the time belongs to the sample and
/// not to the runs. Of long samples nothing is asked.
///
/// # Errors
/// When a run fails.
pub fn is_overhead_bound(case: &mut dyn Case, sampled: &Sampled) -> Result<bool, MeasureError> {
    let Some(once) = stats::median(&sampled.samples) else { return Ok(false) };
    let runs = 2 * sampled.runs;
    if once.get() * runs as f64 > LONGEST_TWICE {
        return Ok(false);
    }
    case.sample(runs)?; // what is made ready for the new number of runs is not timed
    let twice = (0..TWICE).map(|_| case.sample(runs)).collect::<Result<Vec<_>, _>>()?;
    let (Some(median), Some((low, high))) = (stats::median(&twice), stats::interval(&twice)) else {
        return Ok(false);
    };
    let (known_low, known_high) = stats::interval(&sampled.samples).unwrap_or((once, once));
    let is_apart = (once.get() - median.get()).abs() > OVERHEAD * median.get();
    Ok(is_apart && (high < known_low || known_high < low))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Sampling, Seconds, StopRule};

    const SECOND: Duration = Duration::from_secs(1);

    fn rule(run: f64, limit: Duration) -> StopRule {
        let run = Seconds::new(run).unwrap();
        StopRule::new(Sampling::default(), run, run, limit)
    }

    fn taken(rule: &mut StopRule, elapsed: Duration, law: impl Fn(usize) -> f64) -> usize {
        (0..5000)
            .find(|&i| {
                let done = rule.is_done(elapsed);
                if !done {
                    rule.add(Seconds::new(law(i)).unwrap());
                }
                done
            })
            .unwrap()
    }

    #[test]
    fn steady_ops_stop_at_the_least() {
        assert_eq!(taken(&mut rule(1e-3, SECOND), Duration::ZERO, |_| 1e-3), 10);
        assert_eq!(taken(&mut rule(0.1, SECOND), Duration::ZERO, |_| 0.1), 3);
    }

    #[test]
    fn short_samples_fill_the_least_time() {
        let sampling = Sampling { least_time: Duration::from_millis(100), ..Sampling::default() };
        let rule =
            |run| StopRule::new(sampling, Seconds::new(run).unwrap(), Seconds::new(run).unwrap(), SECOND);
        assert_eq!(taken(&mut rule(1e-3), Duration::ZERO, |_| 1e-3), 100);
        assert_eq!(taken(&mut rule(0.02), Duration::ZERO, |_| 0.02), 10);
        assert_eq!(taken(&mut rule(0.06), Duration::ZERO, |_| 0.06), 3);
    }

    #[test]
    fn noise_goes_on_to_the_most() {
        let law = |i: usize| if i.is_multiple_of(2) { 1e-3 } else { 2e-3 };
        assert_eq!(taken(&mut rule(1e-3, SECOND), Duration::ZERO, law), 1000);
    }

    #[test]
    fn a_few_outliers_do_not_keep_it_going() {
        let law = |i: usize| if i % 10 == 5 { 1.0 } else { 1e-3 };
        assert_eq!(taken(&mut rule(1e-3, SECOND), Duration::ZERO, law), 10);
    }

    #[test]
    fn when_time_is_up_three_are_enough_or_one() {
        let law = |i: usize| 1e-3 * (1.0 + i as f64);
        assert_eq!(taken(&mut rule(1e-3, SECOND), SECOND, law), 3);
        assert_eq!(taken(&mut rule(0.4, SECOND), SECOND, law), 2);
        assert_eq!(taken(&mut rule(5.0, SECOND), SECOND, law), 1);
    }

    #[test]
    fn samples_keep_the_order_of_time() {
        let mut rule = rule(1.0, SECOND);
        for value in [3.0, 1.0, 2.0] {
            rule.add(Seconds::new(value).unwrap());
        }
        assert_eq!(rule.into_samples().iter().map(|s| s.get()).collect::<Vec<_>>(), [3.0, 1.0, 2.0]);
    }
}
