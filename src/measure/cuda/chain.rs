//! Ops that run one after the other on the same buffers, as the layers of a plan do: as a graph, and as launches.

use super::Cuda;
use super::gpu::Shared;
use super::kernel::Places;
use super::memory::Buffer;
use super::stream::{Event, Graph};
use super::timer::{Timer, Work};
use super::trouble::Trouble;
use crate::dtype::Dtype;
use crate::measure::chain::{Chain, ChainOp, ChainRun, Lap, Way};
use crate::measure::{Backend, MeasureError};
use crate::op::{Kernel, KernelKind, Op};
use crate::units::Seconds;

/// Addresses that kernels read 16 bytes at once from are multiples of it.
const WIDEST: u64 = 16;

/// Replays before the first that counts.
const WARM_UPS: usize = 2;

/// A chain with its buffers and its graphs.
pub(super) struct Linked {
    op: Op,
    steps: usize,
    // In the order in which they must be dropped: graphs before what their nodes use.
    whole: Graph,
    timed: Graph,
    swept: Graph,
    events: Events,
    queue: Queue,
}

/// What is queued, and what it works on.
struct Queue {
    gpu: Shared,
    timer: Timer,
    steps: Vec<Step>,
    /// Read and written by the steps, by address.
    _buffers: Vec<Buffer>,
}

/// One op with its addresses.
struct Step {
    work: Work,
    reads: [u64; 3],
    write: u64,
    /// Rows that a kernel gathers, the experts of a gate, or the workspace of attention.
    beside: u64,
}

/// A moment before each op and one after it.
struct Events {
    begun: Vec<Event>,
    ended: Vec<Event>,
}

/// Allocates and fills the buffers, chooses algorithms and captures the graphs.
pub(super) fn linked(cuda: &mut Cuda, links: &[ChainOp], sizes: &[u64]) -> Result<Linked, MeasureError> {
    let gpu = Shared::clone(&cuda.gpu);
    let Some(first) = links.first().map(|link| link.op) else {
        let op =
            Op::Kernel(Kernel { kind: KernelKind::Copy, rows: 1, cols: 1, top_k: 1, dtype: Dtype::Bf16 });
        return Err(MeasureError::Unsupported { op, reason: "a chain has an op at least".into() });
    };
    for link in links {
        let unsupported = |reason| MeasureError::Unsupported { op: link.op, reason };
        cuda.supports(&link.op).map_err(unsupported)?;
        if link.op.family().is_communication() {
            return Err(unsupported("it moves data that no op of the chain works on".into()));
        }
        if let Op::Attention(attention) = &link.op {
            cuda.plan(attention)?;
        }
    }
    let dtype = first.dtype().unwrap_or(Dtype::Bf16);
    let asked = sizes.iter().map(|elements| u128::from(*elements) * u128::from(dtype.bytes())).sum::<u128>();
    let available = cuda.memory();
    if asked > u128::from(available) {
        return Err(MeasureError::OutOfMemory { op: first, asked, available });
    }
    let of_first = |trouble: Trouble| trouble.of(&first);
    let random = |elements: &u64| cuda.arena.random(dtype, elements * dtype.bytes());
    let mut buffers = sizes.iter().map(random).collect::<Result<Vec<_>, _>>().map_err(of_first)?;
    let mut steps = Vec::with_capacity(links.len());
    for link in links {
        link.check(sizes)?;
        let step = step(cuda, link, dtype, &mut buffers);
        steps.push(
            step.map_err(|trouble| {
                gpu.note::<()>(Err(trouble.clone())).err().unwrap_or(trouble).of(&link.op)
            })?,
        );
    }
    let queue =
        Timer::new(&gpu).map(|timer| Queue { gpu: Shared::clone(&gpu), timer, steps, _buffers: buffers });
    queue.and_then(|queue| Linked::capture(queue, first)).map_err(|trouble| {
        let error = trouble.of(&first);
        let _ = gpu.note::<()>(Err(trouble));
        error
    })
}

fn step(cuda: &mut Cuda, link: &ChainOp, dtype: Dtype, buffers: &mut Vec<Buffer>) -> Result<Step, Trouble> {
    let algorithm = match &link.op {
        Op::Gemm(gemm) => Some(cuda.algorithm(gemm)?),
        _ => None,
    };
    let (mut work, ..) = cuda.work(&link.op)?;
    if let (Work::Product(product), Some(algorithm)) = (&mut work, algorithm) {
        product.choose(algorithm);
    }
    let address = |(buffer, first): (usize, u64)| {
        buffers.get(buffer).map_or(0, |buffer| buffer.address() + first * dtype.bytes())
    };
    let mut reads = [0; 3];
    reads.iter_mut().zip(&link.reads).for_each(|(read, from)| *read = address(*from));
    let write = link.writes.map_or(0, address);
    if reads.iter().chain([&write]).any(|address| address % WIDEST != 0) {
        return Err(Trouble::Misplaced);
    }
    let mut beside = 0;
    match (&work, &link.op) {
        (Work::Kernel(kernel), Op::Kernel(op)) if op.kind == KernelKind::GateTopk => {
            // behind the weights, where the next operand of any type may begin
            let weights = op.rows * op.top_k * dtype.bytes();
            beside = write + weights;
            debug_assert!(kernel.gathered.is_empty());
        }
        (Work::Kernel(kernel), _) if !kernel.gathered.is_empty() => {
            let bytes: Vec<u8> = kernel.gathered.iter().flat_map(|place| place.to_le_bytes()).collect();
            let places = Buffer::new(&cuda.gpu, bytes.len() as u64)?;
            places.upload(&bytes)?;
            beside = places.address();
            buffers.push(places);
        }
        (Work::Attention(fused), _) => {
            let workspace = Buffer::new(&cuda.gpu, fused.workspace_bytes())?;
            beside = workspace.address();
            buffers.push(workspace);
        }
        _ => {}
    }
    Ok(Step { work, reads, write, beside })
}

impl Step {
    fn launch(&self, gpu: &Shared) -> Result<(), Trouble> {
        let [first, second, third] = self.reads;
        match &self.work {
            Work::Product(product) => product.launch_at([first, second], self.write),
            Work::Transfer(_) => Err(Trouble::NoAlgorithm), // refused when the chain was made
            Work::Attention(fused) => fused.launch_at([first, second, third], self.write, self.beside),
            Work::Kernel(kernel) => kernel.launch_at(
                gpu,
                &Places {
                    x: first,
                    beside: kernel.beside_at(second),
                    gathered: self.beside,
                    out: self.write,
                    experts: self.beside,
                },
            ),
        }
    }
}

impl Queue {
    fn launch(&self) -> Result<(), Trouble> {
        self.steps.iter().try_for_each(|step| step.launch(&self.gpu))
    }

    /// With the end of each op, which is where the next begins, as a moment; or each between moments of its own,
    /// behind a sweep of the cache.
    fn launch_timed(&self, events: &Events, swept: bool) -> Result<(), Trouble> {
        for (i, (step, (begun, ended))) in
            self.steps.iter().zip(events.begun.iter().zip(&events.ended)).enumerate()
        {
            if swept {
                self.timer.sweep_all()?;
            }
            if swept || i == 0 {
                begun.record_in_graph()?;
            }
            step.launch(&self.gpu)?;
            ended.record_in_graph()?;
        }
        Ok(())
    }
}

impl Linked {
    fn capture(queue: Queue, op: Op) -> Result<Self, Trouble> {
        let gpu = Shared::clone(&queue.gpu);
        let event = |_: &Step| Event::new(&gpu);
        let events = || queue.steps.iter().map(event).collect::<Result<Vec<_>, _>>();
        let events = Events { begun: events()?, ended: events()? };
        queue.launch()?; // what is loaded for an op is loaded then
        queue.timer.finish(|| ())?;
        let whole = queue.timer.between(|| queue.launch())?;
        let timed = Graph::capture(&gpu, || queue.launch_timed(&events, false))?;
        let swept = Graph::capture(&gpu, || queue.launch_timed(&events, true))?;
        let linked = Linked { op, steps: queue.steps.len(), whole, timed, swept, events, queue };
        for _ in 0..WARM_UPS {
            linked.replayed(&linked.timed)?;
        }
        Ok(linked)
    }

    fn replayed(&self, graph: &Graph) -> Result<(), Trouble> {
        self.queue.gpu.note(graph.launch())?;
        self.queue.timer.finish(|| ())
    }

    /// Op by op. The moments between ops take time of their own: by as much as all are longer than the whole
    /// without them, each is shortened.
    fn laps(&self, graph: &Graph, whole: Option<f64>) -> Result<Vec<Lap>, Trouble> {
        self.replayed(graph)?;
        let Events { begun, ended } = &self.events;
        let swept = whole.is_none();
        let mut seconds = Vec::with_capacity(self.steps);
        for i in 0..self.steps {
            let from = if swept || i == 0 { &begun[i] } else { &ended[i - 1] };
            seconds.push(ended[i].seconds_since(from)?);
        }
        let sum: f64 = seconds.iter().sum();
        let each = whole.map_or(0.0, |whole| ((sum - whole) / self.steps.max(1) as f64).max(0.0));
        let lap = |seconds: f64| lap((seconds - each).max(0.0));
        Ok(seconds.into_iter().map(lap).collect())
    }

    fn try_run(&self, way: Way) -> Result<ChainRun, Trouble> {
        let timer = &self.queue.timer;
        match way {
            Way::Linked => {
                let whole = timer.replay(&self.whole, || ())?;
                Ok(ChainRun { whole: lap(whole), laps: self.laps(&self.timed, Some(whole))? })
            }
            Way::Launched => {
                let whole = timer.streamed(|| self.queue.launch())?;
                Ok(ChainRun { whole: lap(whole), laps: Vec::new() })
            }
            Way::Swept => {
                let laps = self.laps(&self.swept, None)?;
                Ok(ChainRun { whole: lap(laps.iter().map(|lap| lap.seconds.get()).sum()), laps })
            }
        }
    }
}

/// Nobody else has this time.
fn lap(seconds: f64) -> Lap {
    Lap { seconds: Seconds::new(seconds).unwrap_or_default(), busy: None }
}

impl Chain for Linked {
    fn ways(&self) -> &'static [Way] {
        &[Way::Linked, Way::Launched, Way::Swept]
    }

    fn run(&mut self, way: Way) -> Result<ChainRun, MeasureError> {
        self.try_run(way).map_err(|trouble| trouble.of(&self.op))
    }
}
