//! Timing an op: how many launches make a sample, what the clocks were meanwhile, and what to say of it.

use std::time::{Duration, Instant};

use super::arena::Buffers;
use super::gpu::Shared;
use super::stream::Graph;
use super::timer::{Timer, Work};
use super::trouble::Trouble;
use super::watch::{State, Watch};
use super::{Cache, Settings};
use crate::measure::{Case, MeasureError};
use crate::op::Op;
use crate::units::Seconds;

/// Launches of one graph at most: enough for a millisecond of the shortest kernels.
pub(super) const MOST_LAUNCHES: u64 = 1024;

/// Launches of one graph at least, for ops of which as many take less than a sample should last: between two
/// events alone, the events themselves would show.
const LEAST_LAUNCHES: u64 = 8;

/// How often the clock is looked at while samples are taken.
const LOOK_PERIOD: Duration = Duration::from_millis(4);

/// How much longer than a launch that does nothing an op takes at least, as a share of it, if it shows at all.
const SHOWS: f64 = 0.1;

/// The share of all samples, but one in any case, that is discarded at most because a fault held the clock down:
/// what is throttled for longer runs like that.
const DISCARDED: f64 = 0.2;

/// Launches behind a closed switch at most: the queue must take them all before it is opened.
const MOST_QUEUED: u64 = 256;

/// An op with its buffers, checked and ready to be timed.
pub(super) struct Timed<'a> {
    pub op: Op,
    pub work: Work,
    pub gpu: &'a Shared,
    pub timer: &'a Timer,
    pub buffers: Buffers<'a>,
    pub settings: &'a Settings,
    pub watch: &'a Watch,
    pub shared: bool,
    /// What making it ready took and will not take again.
    pub once: Duration,
    pub graph: Option<(u64, Graph)>,
    /// Whether it cannot be captured.
    pub eager: bool,
    /// Launches of a sample at least, once that is known.
    pub least: Option<u64>,
    /// What was seen while samples were taken that are kept.
    pub states: Vec<State>,
    /// What was seen last.
    pub state: Option<State>,
    /// Samples that were taken again, as the clock was held down meanwhile.
    pub discarded: usize,
    /// Seconds of a launch that does nothing.
    pub launch_seconds: Option<f64>,
    /// What was told so far, in seconds.
    pub taken: Vec<f64>,
    /// When the state was last asked for.
    pub asked: Option<Instant>,
}

impl Timed<'_> {
    fn try_sample(&mut self, runs: u64) -> Result<Seconds, Trouble> {
        let least = match self.least {
            Some(least) => least,
            None => {
                let one = self.kept(1)?.get();
                *self.least.insert(if one * LEAST_LAUNCHES as f64 > 1e-3 { 1 } else { LEAST_LAUNCHES })
            }
        };
        self.kept(runs.max(least))
    }

    /// A sample while nothing held the clock down, or one of those that make up the rest.
    fn kept(&mut self, runs: u64) -> Result<Seconds, Trouble> {
        loop {
            let (seconds, seen) = self.sample_of(runs)?;
            self.state = seen.or(self.state);
            let is_throttled = self.state.is_some_and(|state| state.throttled);
            let all = self.taken.len() + self.discarded + 1;
            let most = (DISCARDED * all as f64).max(1.0);
            if is_throttled && (self.discarded + 1) as f64 <= most {
                self.discarded += 1;
                continue;
            }
            self.states.extend(seen);
            self.taken.push(seconds);
            return Ok(Seconds::new(seconds).unwrap_or_default());
        }
    }

    /// Seconds of one run, and the state meanwhile where it was asked for.
    fn sample_of(&mut self, runs: u64) -> Result<(f64, Option<State>), Trouble> {
        let runs = runs.clamp(1, if self.eager { MOST_QUEUED } else { MOST_LAUNCHES });
        if !self.eager && self.graph.as_ref().is_none_or(|(known, _)| *known != runs) {
            self.graph = None; // gives its memory back first
            match self.timer.graph(&self.work, &self.buffers, self.settings.cache, runs) {
                Ok(graph) => self.graph = Some((runs, graph)),
                Err(trouble) if trouble.is_final() => return self.gpu.note(Err(trouble)),
                Err(_) => self.eager = true,
            }
        }
        let mut state = None;
        // Asking takes about as long as a sample. A fault may end any moment.
        let due = self.asked.is_none_or(|asked| asked.elapsed() > LOOK_PERIOD)
            || self.state.is_some_and(|state| state.throttled);
        let meanwhile = || {
            if due {
                state = self.watch.state();
            }
        };
        let (seconds, runs) = match &self.graph {
            Some((runs, graph)) => (self.timer.replay(graph, meanwhile)?, *runs),
            None => {
                let runs = runs.min(MOST_QUEUED);
                let (work, cache) = (&self.work, self.settings.cache);
                (self.timer.queued(work, &self.buffers, cache, runs, meanwhile)?, runs)
            }
        };
        if due {
            self.asked = Some(Instant::now());
        }
        Ok((seconds / runs as f64, state))
    }

    /// Whether the op takes no longer than a launch alone, and whether it was faster than the device can be.
    fn at_the_ends(&self) -> (bool, bool) {
        let mut taken = self.taken.clone();
        taken.sort_unstable_by(f64::total_cmp);
        let Some(median) = taken.get(taken.len() / 2) else { return (false, false) };
        let launch_bound = self.launch_seconds.is_some_and(|launch| *median <= launch * (1.0 + SHOWS));
        let highest = self.states.iter().map(|state| state.mhz).max();
        let cold = self.settings.cache != Cache::Hot;
        let least = self.gpu.facts.peaks.least_seconds(&self.op, highest, cold);
        (launch_bound, least.is_some_and(|least| *median < least))
    }
}

impl Case for Timed<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        self.try_sample(runs).map_err(|trouble| trouble.of(&self.op))
    }

    fn once(&self) -> Duration {
        self.once
    }

    fn remarks(&self) -> String {
        let mut words = vec![format!("cache={}", self.settings.cache)];
        match &self.work {
            Work::Product(product) => {
                words.push(format!("policy={}", self.settings.policy));
                words.push(product.words().to_owned());
            }
            Work::Attention(fused) => words.push(fused.words().to_owned()),
            Work::Transfer(transfer) => words.push(transfer.words().to_owned()),
            Work::Kernel(_) => {}
        }
        let mut clocks: Vec<u32> = self.states.iter().map(|state| state.mhz).collect();
        clocks.sort_unstable();
        if let Some(median) = clocks.get(clocks.len() / 2) {
            words.push(format!("mhz={median}"));
        }
        if self.discarded > 0 {
            words.push(format!("discarded={}", self.discarded));
        }
        let any = |of: fn(&State) -> bool| self.states.iter().any(of);
        let (launch_bound, beyond_peak) = self.at_the_ends();
        let flags = [
            ("launch_bound", launch_bound),
            ("beyond_peak", beyond_peak),
            ("throttled", any(|state| state.throttled)),
            ("power_capped", any(|state| state.power_capped)),
            ("shared", self.shared),
            ("eager", self.eager),
        ];
        words.extend(flags.into_iter().filter(|(_, set)| *set).map(|(word, _)| word.to_owned()));
        words.join(" ")
    }
}
