//! One rank of a run on its GPU: buffers, groups, and the three ways of timing.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::comm::{Comm, Registry};
use super::result::{compare, first_sent};
use crate::dtype::Dtype;
use crate::measure::cuda::arena::{Arena, Part, Zone, copies};
use crate::measure::cuda::gpu::{self, Gpu, Shared};
use crate::measure::cuda::library;
use crate::measure::cuda::memory::Buffer;
use crate::measure::cuda::stream::{Event, Graph};
use crate::measure::cuda::switch::Switch;
use crate::measure::cuda::trouble::Trouble as DeviceTrouble;
use crate::measure::exchange::Shape;
use crate::measure::fabric::{Engine, Mode, NUMBERS, Steps, WORDS, Wrong, members, wanted};
use crate::op::Op;
use crate::world::meeting::Peer;
use crate::world::watch::Trouble;

/// Copies of an op's buffers at most.
const MOST_COPIES: u64 = 64;

/// How often a graph is replayed; the middle one counts.
const REPLAYS: usize = 3;

/// How often NCCL is asked whether it still works.
const POLL: Duration = Duration::from_millis(1);

/// For how long waiting keeps a core busy, where each rank has one.
const SPIN: Duration = Duration::from_millis(2);

/// Where a rank stands to a group.
enum Standing {
    /// The group is the whole run.
    World,
    Member(Comm),
    Outside,
}

/// An op that this rank takes part in, with its buffers.
struct Task {
    group: (u64, u64),
    shape: Shape,
    dtype: Dtype,
    /// Addresses of the buffers that both parts lie in.
    buffers: (u64, u64),
    sent: Part,
    received: Part,
}

pub(super) struct Nccl {
    groups: HashMap<(u64, u64), Standing>,
    task: Option<Task>,
    turn: u64,
    roster: Vec<Peer>,
    steps: Steps,
    spin: Duration,
    start: Event,
    stop: Event,
    switch: Switch,
    /// Words of an order, this rank's numbers, everybody's, and two for the barrier.
    control: [Buffer; 4],
    arena: Arena,
    world: Comm,
    gpu: Shared,
}

fn own(trouble: DeviceTrouble) -> Trouble {
    Trouble { text: trouble.to_string(), is_echo: false }
}

impl Nccl {
    /// Takes the device of this rank, and joins the run.
    pub fn open(
        roster: Vec<Peer>,
        rank: u64,
        id: &[u8],
        registry: &Registry,
        seed: u64,
        steps: Steps,
    ) -> Result<Nccl, Trouble> {
        let refused = |text: String| Trouble { text, is_echo: false };
        let library = library::find().map_err(|missing| refused(missing.to_string()))?;
        let devices = library::devices().map_err(own)?;
        let peer = roster.get(rank as usize).ok_or_else(|| refused("it is in no roster".to_owned()))?;
        if devices == 0 {
            return Err(refused("the driver shows it no GPU".to_owned()));
        }
        let facts = gpu::facts((peer.local_rank % devices) as i32).map_err(own)?;
        let gpu = Shared::new(Gpu::open(facts, library).map_err(own)?);
        let size = roster.len();
        let world = Comm::all(&gpu, registry, id, (rank as usize, size))?;
        let numbers = 8 * NUMBERS as u64;
        let sizes = [8 * WORDS as u64, numbers, numbers * size as u64, 512];
        let mut control = Vec::with_capacity(sizes.len());
        for bytes in sizes {
            let buffer = Buffer::new(&gpu, bytes).map_err(own)?;
            buffer.upload(&vec![0; bytes as usize]).map_err(own)?;
            control.push(buffer);
        }
        let control = control.try_into().map_err(|_| refused("its buffers are not all there".to_owned()))?;
        let on_node = roster.iter().filter(|other| other.node == peer.node).count();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Nccl {
            groups: HashMap::new(),
            task: None,
            turn: 0,
            roster,
            steps,
            spin: if on_node <= cores { SPIN } else { Duration::ZERO },
            start: Event::new(&gpu).map_err(own)?,
            stop: Event::new(&gpu).map_err(own)?,
            switch: Switch::new().map_err(own)?,
            control,
            arena: Arena::new(&gpu, seed),
            world,
            gpu,
        })
    }

    /// Waits until all that was queued has ended, for as long as NCCL and the other ranks are well.
    fn finish(&self, event: &Event) -> Result<(), Trouble> {
        let begun = Instant::now();
        let mut polled = begun;
        while !self.gpu.note(event.is_past()).map_err(own)? {
            if polled.elapsed() > POLL {
                self.world.poll()?;
                polled = Instant::now();
            }
            let waited = begun.elapsed();
            if waited > self.spin {
                // who has waited long can wait a little longer
                std::thread::sleep((waited / 16).clamp(Duration::from_micros(20), Duration::from_millis(1)));
            }
        }
        Ok(())
    }

    fn comm(&self, group: (u64, u64)) -> Option<&Comm> {
        match self.groups.get(&group)? {
            Standing::World => Some(&self.world),
            Standing::Member(comm) => Some(comm),
            Standing::Outside => None,
        }
    }

    /// Makes the group, on all ranks together.
    fn join(&mut self, group: (u64, u64)) -> Result<(), Trouble> {
        if self.groups.contains_key(&group) {
            return Ok(());
        }
        let members = members(&self.roster, group).unwrap_or_default();
        let standing = if members.len() == self.roster.len() {
            Standing::World
        } else {
            let place = members.iter().position(|rank| *rank == self.world.rank as u64);
            let comm = self.world.split(place)?;
            self.steps.enter();
            comm.map_or(Standing::Outside, Standing::Member)
        };
        self.groups.insert(group, standing);
        Ok(())
    }

    /// Queues one run on the next copy of the buffers.
    fn queue(&mut self) -> Result<(), Trouble> {
        let Some(task) = &self.task else { return Ok(()) };
        let Some(comm) = self.comm(task.group) else { return Ok(()) };
        let (from, to) = task.buffers;
        let (from, to) = (from + task.sent.at(self.turn), to + task.received.at(self.turn));
        comm.queue(&task.shape, task.dtype, from, to)?;
        self.steps.enter();
        self.turn += 1;
        Ok(())
    }

    /// Queues `queue` behind a closed switch and a barrier of the group, opens it, and waits.
    fn behind_barrier(
        &mut self,
        group: (u64, u64),
        queue: impl FnOnce(&mut Self) -> Result<(), Trouble>,
    ) -> Result<f64, Trouble> {
        self.switch.hold(&self.gpu).map_err(own)?;
        let barrier = self.control[3].address();
        let queued = match self.comm(group) {
            Some(comm) => comm.queue_barrier(barrier, barrier + 256),
            None => Ok(()),
        };
        self.steps.enter();
        let queued = queued.and_then(|()| queue(self));
        self.switch.open();
        queued?;
        let done = Event::new(&self.gpu).map_err(own)?;
        done.record().map_err(own)?;
        self.finish(&done)?;
        self.stop.seconds_since(&self.start).map_err(own)
    }

    /// Seconds of so many runs between two events.
    fn runs(&mut self, group: (u64, u64), runs: u64) -> Result<f64, Trouble> {
        self.behind_barrier(group, |rank| {
            rank.start.record().map_err(own)?;
            (0..runs).try_for_each(|_| rank.queue())?;
            rank.stop.record().map_err(own)
        })
    }

    /// The same in a graph.
    fn graph(&mut self, group: (u64, u64), runs: u64) -> Result<f64, Trouble> {
        let mut queued = Ok(());
        let gpu = Shared::clone(&self.gpu);
        let graph = Graph::capture(&gpu, || {
            self.start.record_in_graph()?;
            queued = (0..runs).try_for_each(|_| self.queue());
            self.stop.record_in_graph()
        });
        queued?;
        let graph = graph.map_err(own)?;
        let mut seconds = Vec::with_capacity(REPLAYS);
        for _ in 0..REPLAYS {
            seconds.push(self.behind_barrier(group, |_| graph.launch().map_err(own))?);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[REPLAYS / 2])
    }
}

impl Engine for Nccl {
    fn broadcast(&mut self, words: &mut [u64; WORDS]) -> Result<(), Trouble> {
        let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        if self.world.rank == 0 {
            self.control[0].upload(&bytes).map_err(own)?;
        }
        self.world.queue_broadcast(self.control[0].address(), WORDS)?;
        self.steps.enter();
        self.stop.record().map_err(own)?;
        self.finish(&self.stop)?;
        self.control[0].download(0, &mut bytes).map_err(own)?;
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        Ok(())
    }

    fn gather(&mut self, numbers: [f64; NUMBERS]) -> Result<Vec<[f64; NUMBERS]>, Trouble> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
        self.control[1].upload(&bytes).map_err(own)?;
        self.world.queue_gather(self.control[1].address(), self.control[2].address(), NUMBERS)?;
        self.steps.enter();
        self.stop.record().map_err(own)?;
        self.finish(&self.stop)?;
        let mut all = vec![0; bytes.len() * self.roster.len()];
        self.control[2].download(0, &mut all).map_err(own)?;
        let numbers: Vec<f64> =
            all.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        Ok(numbers.as_chunks::<NUMBERS>().0.to_vec())
    }

    fn prepare(&mut self, op: &Op) -> Result<Result<(), Wrong>, Trouble> {
        self.task = None;
        let Some(group) = wanted(op) else { return Ok(Ok(())) };
        self.join(group)?;
        let Some(rank) = self.comm(group).map(|comm| comm.rank) else { return Ok(Ok(())) };
        let dtype = op.dtype().unwrap_or(Dtype::Bf16);
        let Some(shape) = Shape::of(op, dtype.bytes()) else { return Ok(Ok(())) };
        let [sent, received] = [shape.sent(), shape.received()].map(|count| count as u64 * dtype.bytes());
        let room = (self.gpu.free_bytes() + self.arena.bytes()) / 4;
        let turns = copies(sent + received, 3 * self.gpu.facts.l2_bytes, MOST_COPIES, room);
        let (mut inputs, mut outputs) = (Zone::default(), Zone::default());
        inputs.part(first_sent(rank as u64), 1);
        let (sent, received) = (inputs.part(sent, turns), outputs.part(received, turns));
        let buffers = self.arena.buffers(dtype, inputs.bytes, outputs.bytes, &[]).map_err(own)?;
        // bytes that are no number, so that what is not written is seen
        buffers.outputs.set(0xff, outputs.bytes).map_err(own)?;
        let addresses = (buffers.inputs.address(), buffers.outputs.address());
        self.task = Some(Task { group, shape, dtype, buffers: addresses, sent, received });
        self.turn = 0;
        self.queue()?;
        self.stop.record().map_err(own)?;
        self.finish(&self.stop)?;
        // the same buffers as above: they are there
        let buffers = self.arena.held().ok_or_else(|| own(DeviceTrouble::Lost))?;
        match &self.task {
            Some(task) => compare(&task.shape, task.dtype, rank, (buffers, task.received.at(0))).map_err(own),
            None => Ok(Ok(())),
        }
    }

    fn time(&mut self, mode: Mode, runs: u64) -> Result<Option<f64>, Trouble> {
        let Some(group) = self.task.as_ref().map(|task| task.group) else { return Ok(None) };
        let runs = runs.max(1);
        let seconds = match mode {
            Mode::Isolated | Mode::Pipelined => self.runs(group, runs)?,
            Mode::Graph => self.graph(group, runs)?,
        };
        Ok(Some(seconds / runs as f64))
    }
}
