//! Processes that MPI started, and its own collectives among them: f32 in the processors' memory.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mpi::collective::SystemOperation;
use mpi::environment::Universe;
use mpi::topology::{Color, SimpleCommunicator};
use mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::cpu::{places, sum_error};
use super::exchange::{Origin, Pattern, Shape};
use super::fabric::{
    Ends, Engine, Group, Kind, Make, Mode, NUMBERS, Run, Steps, WORDS, Wrong, members, wanted,
};
use crate::dtype::Dtype;
use crate::nccl_log::Told;
use crate::op::{CollectiveKind, Op};
use crate::world::meeting::{Met, Peer, host};
use crate::world::watch::Trouble;
use crate::world::{Launcher, World};

/// Random numbers that the ranks send from, each from another place on; prime, as on a GPU.
const BLOCK: usize = 1_000_003;

/// Elements of each rank's result that are compared.
const CHECKED: usize = 64;

/// How long a rank that waits for an order looks for it without a pause.
const EAGER: Duration = Duration::from_millis(1);

/// The pauses after that. MPI itself would wait at full speed, and take a core from what the leader measures.
const PAUSE: Duration = Duration::from_micros(200);

/// Longest name of a host.
const NAME: usize = 256;

/// MPI, for as long as it lives.
pub struct Mpi {
    universe: Universe,
}

impl Mpi {
    /// Joins the processes that were started together; none where MPI was before or will not.
    pub fn start() -> Option<Mpi> {
        let (universe, _) = mpi::initialize_with_threading(mpi::Threading::Serialized)?;
        Some(Mpi { universe })
    }

    /// This process among the others.
    pub fn world(&self) -> World {
        let world = self.universe.world();
        let (rank, size) = (world.rank() as u64, world.size() as u64);
        World { rank, size, launcher: Launcher::OpenMpi, ..World::alone() }
    }

    /// Ends all processes, without a success.
    pub fn abort(&self) -> ! {
        self.universe.world().abort(1)
    }

    /// Starts this process's rank.
    pub fn run(&self, deadline: Duration, seed: u64) -> Run {
        let roster = self.roster();
        let world = self.world();
        let on_node = roster.iter().filter(|peer| peer.node == roster[0].node).count() as u64;
        let mut details = toml::Table::new();
        let version = mpi::environment::library_version().unwrap_or_default();
        let version = version.split(',').next().unwrap_or_default().trim_end_matches('\0').to_owned();
        details.insert("mpi".to_owned(), version.into());
        let nodes = roster.iter().map(|peer| peer.node + 1).max().unwrap_or(1);
        details.insert("nodes".to_owned(), i64::try_from(nodes).unwrap_or(i64::MAX).into());
        let kind = Kind {
            source: "mpi",
            dtypes: vec![Dtype::F32],
            has_streams: false,
            has_graphs: false,
            sharing: on_node,
            link_classes: Vec::new(),
            details,
        };
        let met = Met::elsewhere(roster.clone());
        let make: Make = Box::new(move |steps| {
            Ok(Box::new(Process::new(roster, world.rank as usize, seed, steps)) as Box<dyn Engine>)
        });
        // mpirun itself ends all processes when one fails
        Run::start(kind, met, vec![(world.rank, make)], std::sync::Arc::new(|| ()), deadline)
    }

    /// All ranks with their hosts.
    fn roster(&self) -> Vec<Peer> {
        let world = self.universe.world();
        let mut own = [0_u8; NAME];
        let name = crate::world::environment("NCCL_HOSTID").unwrap_or_else(host);
        let length = name.len().min(NAME);
        own[..length].copy_from_slice(&name.as_bytes()[..length]);
        let mut all = vec![0_u8; NAME * world.size() as usize];
        world.all_gather_into(&own[..], &mut all[..]);
        let mut hosts: Vec<String> = Vec::new();
        let mut roster: Vec<Peer> = Vec::new();
        for (rank, name) in all.chunks(NAME).enumerate() {
            let host = String::from_utf8_lossy(name).trim_end_matches('\0').to_owned();
            let node = hosts.iter().position(|known| *known == host).unwrap_or_else(|| {
                hosts.push(host.clone());
                hosts.len() - 1
            }) as u64;
            let local_rank = roster.iter().filter(|peer| peer.node == node).count() as u64;
            roster.push(Peer { rank: rank as u64, host, node, local_rank });
        }
        roster
    }
}

/// One process.
struct Process {
    world: SimpleCommunicator,
    /// Groups by ranks and nodes; none where this process is not in it.
    groups: HashMap<Group, Option<SimpleCommunicator>>,
    roster: Vec<Peer>,
    rank: usize,
    steps: Steps,
    block: Vec<f32>,
    task: Option<(Shape, Group)>,
    sent: Vec<f32>,
    received: Vec<f32>,
}

/// Where rank `rank` of a group begins to send from in the random numbers.
const fn first_sent(rank: usize) -> usize {
    1024 * rank
}

impl Process {
    fn new(roster: Vec<Peer>, rank: usize, seed: u64, steps: Steps) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let block =
            <StandardNormal as Distribution<f32>>::sample_iter(StandardNormal, random).take(BLOCK).collect();
        let (groups, task, sent, received) = Default::default();
        Process {
            world: SimpleCommunicator::world(),
            groups,
            roster,
            rank,
            steps,
            block,
            task,
            sent,
            received,
        }
    }

    fn exchange(&mut self, shape: &Shape, group: Group) {
        let Some(Some(comm)) = self.groups.get(&group) else { return };
        let (sent, received) = (&self.sent[..], &mut self.received[..]);
        match shape.pattern {
            Pattern::Collective(CollectiveKind::AllReduce) => {
                comm.all_reduce_into(sent, received, SystemOperation::sum());
            }
            Pattern::Collective(CollectiveKind::AllGather) => comm.all_gather_into(sent, received),
            Pattern::Collective(CollectiveKind::ReduceScatter) => {
                comm.reduce_scatter_block_into(sent, received, SystemOperation::sum());
            }
            Pattern::Collective(CollectiveKind::AllToAll) => comm.all_to_all_into(sent, received),
            Pattern::Collective(CollectiveKind::Broadcast) => {
                // in place: who sends holds it
                comm.process_at_rank(0).broadcast_into(received);
            }
            Pattern::Send if comm.rank() == 0 => comm.process_at_rank(1).send(sent),
            Pattern::Send => drop(comm.process_at_rank(0).receive_into(received)),
        }
        self.steps.enter();
    }

    fn value(&self, rank: usize, at: usize) -> f32 {
        self.block[(first_sent(rank) + at) % BLOCK]
    }

    fn check(&self, shape: &Shape, rank: usize) -> Result<(), Wrong> {
        for place in places(CHECKED, self.received.len()) {
            let (expected, size) = match shape.origin(rank, place) {
                None => return Ok(()),
                Some(Origin::Copy(from, at)) => (f64::from(self.value(from, at)), 0.0),
                Some(Origin::Sum(at)) => (0..shape.ranks)
                    .map(|from| f64::from(self.value(from, at)))
                    .fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs())),
            };
            let got = f64::from(self.received[place]);
            let is_right = (got - expected).abs() <= size * sum_error(shape.ranks); // NaN is not
            if !is_right {
                return Err(Wrong { place, expected, got });
            }
        }
        Ok(())
    }
}

impl Engine for Process {
    fn broadcast(&mut self, words: &mut [u64; WORDS]) -> Result<(), Trouble> {
        if self.rank == 0 {
            for other in 1..self.world.size() {
                self.world.process_at_rank(other).send(&words[..]);
            }
        } else {
            let leader = self.world.process_at_rank(0);
            let start = Instant::now();
            while leader.immediate_probe().is_none() {
                if start.elapsed() > EAGER {
                    std::thread::sleep(PAUSE);
                }
            }
            leader.receive_into(&mut words[..]);
        }
        self.steps.enter();
        Ok(())
    }

    fn gather(&mut self, own: [f64; NUMBERS]) -> Result<Vec<[f64; NUMBERS]>, Trouble> {
        let mut all = vec![0.0; NUMBERS * self.roster.len()];
        self.world.all_gather_into(&own[..], &mut all[..]);
        self.steps.enter();
        Ok(all.as_chunks::<NUMBERS>().0.to_vec())
    }

    fn prepare(&mut self, op: &Op, ends: Option<Ends>) -> Result<Result<Told, Wrong>, Trouble> {
        self.task = None;
        let (Some(group), Some(shape)) = (wanted(op, ends), Shape::of(op, 4)) else {
            return Ok(Ok(Told::default()));
        };
        if !self.groups.contains_key(&group) {
            let members = members(&self.roster, group).unwrap_or_default();
            let is_member = members.contains(&(self.rank as u64));
            let color = if is_member { Color::with_value(0) } else { Color::undefined() };
            self.groups.insert(group, self.world.split_by_color(color));
        }
        let Some(Some(comm)) = self.groups.get(&group) else { return Ok(Ok(Told::default())) };
        let rank = comm.rank() as usize;
        self.sent = (0..shape.sent()).map(|at| self.value(rank, at)).collect();
        self.received.clear();
        self.received.resize(shape.received(), f32::NAN);
        if rank == 0 && shape.pattern == Pattern::Collective(CollectiveKind::Broadcast) {
            self.received.copy_from_slice(&self.sent);
        }
        self.task = Some((shape, group));
        self.exchange(&shape, group);
        Ok(self.check(&shape, rank).map(|()| Told::default()))
    }

    /// Without a thread of its own MPI moves nothing while a product runs.
    fn both(&mut self, _: u64, _: u64) -> Result<Option<[f64; 2]>, Trouble> {
        Ok(None)
    }

    fn time(&mut self, _: Mode, runs: u64) -> Result<Option<f64>, Trouble> {
        let Some((shape, group)) = self.task else { return Ok(None) };
        let runs = runs.max(1);
        if let Some(Some(comm)) = self.groups.get(&group) {
            comm.barrier();
        }
        let start = Instant::now();
        for _ in 0..runs {
            self.exchange(&shape, group);
        }
        Ok(Some(start.elapsed().as_secs_f64() / runs as f64))
    }
}
