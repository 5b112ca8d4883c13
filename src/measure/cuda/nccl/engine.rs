//! One rank of a run on its GPU: buffers, groups, and what it does of an order.

mod both;
mod timing;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use self::both::Compute;
use super::comm::{Comm, Registry};
use super::log::{Log, function};
use super::result::{compare, first_sent};
use crate::dtype::Dtype;
use crate::measure::cuda::arena::{Arena, Part, Zone, copies};
use crate::measure::cuda::gpu::{self, Gpu, Shared};
use crate::measure::cuda::library;
use crate::measure::cuda::memory::Buffer;
use crate::measure::cuda::stream::Event;
use crate::measure::cuda::switch::Switch;
use crate::measure::cuda::trouble::Trouble as DeviceTrouble;
use crate::measure::exchange::Shape;
use crate::measure::fabric::{Ends, Engine, Group, Mode, NUMBERS, Steps, WORDS, Wrong, members, wanted};
use crate::nccl_log::Told;
use crate::op::Op;
use crate::world::meeting::Peer;
use crate::world::watch::Trouble;

/// Copies of an op's buffers at most.
const MOST_COPIES: u64 = 64;

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
    group: Group,
    shape: Shape,
    dtype: Dtype,
    /// Addresses of the buffers that both parts lie in.
    buffers: (u64, u64),
    sent: Part,
    received: Part,
}

pub(super) struct Nccl {
    groups: HashMap<Group, Standing>,
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
    /// What computes beside the exchanges, once that is asked for.
    compute: Option<Compute>,
    seed: u64,
    /// NCCL's log, where this rank reads it.
    log: Option<Log>,
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
        (seed, log): (u64, Option<Log>),
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
            compute: None,
            seed,
            log,
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

    fn told(&mut self, group: Option<Group>, function: Option<&str>) -> Told {
        self.log.as_mut().map_or_else(Told::default, |log| log.told(group, function))
    }

    fn comm(&self, group: Group) -> Option<&Comm> {
        match self.groups.get(&group)? {
            Standing::World => Some(&self.world),
            Standing::Member(comm) => Some(comm),
            Standing::Outside => None,
        }
    }

    /// Makes the group, on all ranks together.
    fn join(&mut self, group: Group) -> Result<(), Trouble> {
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

    fn prepare(&mut self, op: &Op, ends: Option<Ends>) -> Result<Result<Told, Wrong>, Trouble> {
        self.task = None;
        let outside = Ok(Ok(Told::default()));
        let Some(group) = wanted(op, ends) else { return outside };
        // what has been said until now is of orders, which all ranks exchange
        self.told(None, None);
        self.join(group)?;
        let Some(rank) = self.comm(group).map(|comm| comm.rank) else { return outside };
        let dtype = op.dtype().unwrap_or(Dtype::Bf16);
        let Some(shape) = Shape::of(op, dtype.bytes()) else { return outside };
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
        let known = if matches!(self.groups.get(&group), Some(Standing::World)) { None } else { Some(group) };
        let told = self.told(known, function(shape.pattern));
        // the same buffers as above: they are there
        let buffers = self.arena.held().ok_or_else(|| own(DeviceTrouble::Lost))?;
        let compared = compare(&shape, dtype, rank, (buffers, received.at(0))).map_err(own)?;
        if let Op::Overlap(op) = op {
            self.prepare_product(&op.gemm())?;
        }
        Ok(compared.map(|()| told))
    }

    fn both(&mut self, products: u64, exchanges: u64) -> Result<Option<[f64; 2]>, Trouble> {
        let Some(group) = self.task.as_ref().map(|task| task.group) else { return Ok(None) };
        self.both_runs(group, products, exchanges).map(Some)
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
