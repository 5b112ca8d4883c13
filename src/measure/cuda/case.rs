//! Timing: launches in a graph, with the events that time them inside it.

use std::time::{Duration, Instant};

use super::arena::Buffers;
use super::gpu::{Argument, Shared};
use super::kernel::Streaming;
use super::memory::Buffer;
use super::product::Product;
use super::ptx::HARNESS;
use super::stream::{Event, Graph};
use super::switch::Switch;
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

/// Launches behind a closed switch at most: the queue must take them all before it is opened.
const MOST_QUEUED: u64 = 256;

/// An op that runs on one kind of engine.
#[derive(Debug)]
pub(super) enum Work {
    Product(Product),
    Kernel(Streaming),
}

impl Work {
    /// Queues one run on the operands of a turn.
    pub fn launch(&self, gpu: &Shared, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        match self {
            Work::Product(product) => product.launch(buffers, turn),
            Work::Kernel(kernel) => kernel.launch(gpu, buffers, turn),
        }
    }
}

/// What timing needs beside the op.
#[derive(Debug)]
pub(super) struct Timer {
    gpu: Shared,
    start: Event,
    stop: Event,
    done: Event,
    switch: Switch,
    /// Read before each sample, so that nothing else is left in the cache: twice its size.
    swept: Buffer,
}

impl Timer {
    pub fn new(gpu: &Shared) -> Result<Self, Trouble> {
        let timer = Timer {
            gpu: Shared::clone(gpu),
            start: Event::new(gpu)?,
            stop: Event::new(gpu)?,
            done: Event::new(gpu)?,
            switch: Switch::new()?,
            swept: Buffer::new(gpu, (2 * gpu.facts.l2_bytes).max(1 << 20))?,
        };
        // Loaded now, these kernels need not be while something is captured or waits.
        timer.swept.set(0, timer.swept.bytes())?;
        timer.sweep(timer.swept.address(), timer.swept.bytes())?;
        timer.switch.hold(gpu)?;
        timer.switch.open();
        timer.finish(|| ())?;
        Ok(timer)
    }

    /// Waits until everything queued so far has ended.
    pub fn finish(&self, meanwhile: impl FnOnce()) -> Result<(), Trouble> {
        self.gpu.note(self.done.record())?;
        self.gpu.wait(|| self.done.is_past(), meanwhile)
    }

    /// Runs an op once, on the operands of the first turn, and waits for it.
    pub fn once(&self, work: &Work, buffers: &Buffers<'_>) -> Result<(), Trouble> {
        work.launch(&self.gpu, buffers, 0)?;
        self.finish(|| ())
    }

    /// Queues a read of `bytes` bytes from `address` on, whole accesses of 16.
    fn sweep(&self, address: u64, bytes: u64) -> Result<(), Trouble> {
        let accesses = u32::try_from(bytes / 16).unwrap_or(u32::MAX);
        let blocks = 8 * self.gpu.facts.multiprocessors.max(1);
        let arguments =
            [Argument::Pointer(address), Argument::Int(accesses), Argument::Pointer(self.swept.address())];
        self.gpu.function(HARNESS, "sweep")?.launch(blocks, (256, 1), &arguments)
    }

    /// Brings the cache into the state that a sample begins with.
    fn prepare(&self, work: &Work, buffers: &Buffers<'_>, cache: Cache) -> Result<(), Trouble> {
        if cache == Cache::Hot {
            return Ok(());
        }
        self.sweep(self.swept.address(), self.swept.bytes())?;
        match work {
            // What the op before wrote is in the cache still; what does not fit never is.
            Work::Product(product)
                if cache == Cache::WeightsCold && 2 * product.a.bytes <= self.gpu.facts.l2_bytes =>
            {
                self.sweep(buffers.inputs.address() + product.a.at(0), product.a.bytes)
            }
            _ => Ok(()),
        }
    }

    /// A graph of `runs` runs between two events.
    pub fn graph(
        &self,
        work: &Work,
        buffers: &Buffers<'_>,
        cache: Cache,
        runs: u64,
    ) -> Result<Graph, Trouble> {
        Graph::capture(&self.gpu, || {
            self.prepare(work, buffers, cache)?;
            self.start.record_in_graph()?;
            (0..runs).try_for_each(|turn| work.launch(&self.gpu, buffers, turn))?;
            self.stop.record_in_graph()
        })
    }

    /// Replays a graph and tells the seconds between its events.
    pub fn replay(&self, graph: &Graph, meanwhile: impl FnOnce()) -> Result<f64, Trouble> {
        self.gpu.note(graph.launch())?;
        self.finish(meanwhile)?;
        self.gpu.note(self.stop.seconds_since(&self.start))
    }

    /// The same without a graph, for what cannot be captured: queued behind a switch, so that the device does
    /// not wait for the host.
    fn queued(
        &self,
        work: &Work,
        buffers: &Buffers<'_>,
        cache: Cache,
        runs: u64,
        meanwhile: impl FnOnce(),
    ) -> Result<f64, Trouble> {
        let queue = || {
            self.switch.hold(&self.gpu)?;
            self.prepare(work, buffers, cache)?;
            self.start.record()?;
            (0..runs).try_for_each(|turn| work.launch(&self.gpu, buffers, turn))?;
            self.stop.record()
        };
        let queued = queue();
        self.switch.open();
        self.gpu.note(queued)?;
        self.finish(meanwhile)?;
        self.gpu.note(self.stop.seconds_since(&self.start))
    }
}

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
    pub graph: Option<(u64, Graph)>,
    /// Whether it cannot be captured.
    pub eager: bool,
    /// Launches of a sample at least, once that is known.
    pub least: Option<u64>,
    pub states: Vec<State>,
    /// When the state was last asked for.
    pub asked: Option<Instant>,
}

impl Timed<'_> {
    fn try_sample(&mut self, runs: u64) -> Result<Seconds, Trouble> {
        let least = match self.least {
            Some(least) => least,
            None => {
                let one = self.sample_of(1)?.get();
                *self.least.insert(if one * LEAST_LAUNCHES as f64 > 1e-3 { 1 } else { LEAST_LAUNCHES })
            }
        };
        self.sample_of(runs.max(least))
    }

    fn sample_of(&mut self, runs: u64) -> Result<Seconds, Trouble> {
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
        // Asking takes about as long as a sample.
        let due = self.asked.is_none_or(|asked| asked.elapsed() > LOOK_PERIOD);
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
            self.states.extend(state);
            self.asked = Some(Instant::now());
        }
        Ok(Seconds::new(seconds / runs as f64).unwrap_or_default())
    }
}

impl Case for Timed<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        self.try_sample(runs).map_err(|trouble| trouble.of(&self.op))
    }

    fn remarks(&self) -> String {
        let mut words = vec![format!("cache={}", self.settings.cache)];
        if let Work::Product(product) = &self.work {
            words.push(format!("policy={}", self.settings.policy));
            words.push(product.words().to_owned());
        }
        let mut clocks: Vec<u32> = self.states.iter().map(|state| state.mhz).collect();
        clocks.sort_unstable();
        if let Some(median) = clocks.get(clocks.len() / 2) {
            words.push(format!("mhz={median}"));
        }
        let any = |of: fn(&State) -> bool| self.states.iter().any(of);
        let flags = [
            ("throttled", any(|state| state.throttled)),
            ("power_capped", any(|state| state.power_capped)),
            ("shared", self.shared),
            ("eager", self.eager),
        ];
        words.extend(flags.into_iter().filter(|(_, set)| *set).map(|(word, _)| word.to_owned()));
        words.join(" ")
    }
}
