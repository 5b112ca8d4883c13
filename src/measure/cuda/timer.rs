//! Launches in a graph, with the events that time them inside it.

use super::arena::Buffers;
use super::attention::Fused;
use super::gpu::{Argument, Shared};
use super::kernel::Streaming;
use super::memory::Buffer;
use super::product::Product;
use super::ptx::HARNESS;
use super::settings::Cache;
use super::stream::{Event, Graph};
use super::switch::Switch;
use super::transfer::Transfer;
use super::trouble::Trouble;

/// Launches of a graph that does nothing, and how often it is replayed.
const EMPTY: (u64, usize) = (512, 5);

/// An op that runs on one kind of engine.
#[derive(Debug)]
pub(super) enum Work {
    Product(Product),
    Kernel(Streaming),
    Attention(Fused),
    Transfer(Transfer),
}

impl Work {
    /// Queues one run on the operands of a turn.
    pub fn launch(&self, gpu: &Shared, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        match self {
            Work::Product(product) => product.launch(buffers, turn),
            Work::Kernel(kernel) => kernel.launch(gpu, buffers, turn),
            Work::Attention(fused) => fused.launch(buffers, turn),
            Work::Transfer(transfer) => transfer.launch(gpu, buffers, turn),
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

    /// Seconds of a launch that does nothing, among many of a graph: the least of some samples.
    pub fn empty(&self) -> Result<f64, Trouble> {
        let graph = Graph::capture(&self.gpu, || {
            self.start.record_in_graph()?;
            (0..EMPTY.0).try_for_each(|_| self.sweep(self.swept.address(), 0))?;
            self.stop.record_in_graph()
        })?;
        let least = (0..EMPTY.1)
            .try_fold(f64::INFINITY, |least: f64, _| Ok(least.min(self.replay(&graph, || ())?)))?;
        Ok(least / EMPTY.0 as f64)
    }

    /// Queues that nothing else is left in the cache.
    pub fn sweep_all(&self) -> Result<(), Trouble> {
        self.sweep(self.swept.address(), self.swept.bytes())
    }

    /// Queues a read of `bytes` bytes from `address` on, whole accesses of 16; of none, by one block.
    fn sweep(&self, address: u64, bytes: u64) -> Result<(), Trouble> {
        let accesses = u32::try_from(bytes / 16).unwrap_or(u32::MAX);
        let blocks = if accesses == 0 { 1 } else { 8 * self.gpu.facts.multiprocessors.max(1) };
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

    /// A graph of what `queue` queues, between the two events of [`Timer::replay`].
    pub fn between(&self, queue: impl FnOnce() -> Result<(), Trouble>) -> Result<Graph, Trouble> {
        Graph::capture(&self.gpu, || {
            self.start.record_in_graph()?;
            queue()?;
            self.stop.record_in_graph()
        })
    }

    /// Queues, launch by launch while the device runs, and tells the seconds from the first to the end of the last.
    pub fn streamed(&self, queue: impl FnOnce() -> Result<(), Trouble>) -> Result<f64, Trouble> {
        self.gpu.note(self.start.record())?;
        self.gpu.note(queue())?;
        self.gpu.note(self.stop.record())?;
        self.finish(|| ())?;
        self.gpu.note(self.stop.seconds_since(&self.start))
    }

    /// Replays a graph and tells the seconds between its events.
    pub fn replay(&self, graph: &Graph, meanwhile: impl FnOnce()) -> Result<f64, Trouble> {
        self.gpu.note(graph.launch())?;
        self.finish(meanwhile)?;
        self.gpu.note(self.stop.seconds_since(&self.start))
    }

    /// The same without a graph, for what cannot be captured: queued behind a switch, so that the device does
    /// not wait for the host.
    pub fn queued(
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
