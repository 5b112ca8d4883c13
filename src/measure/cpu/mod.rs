//! The processor of this machine, all its cores as one device: f32, no system library.
//!
//! Ranks of a collective are threads of this process that copy through its memory. Rows of a kernel, blocks of
//! queries of attention and tiles of a product go to all cores; what is left as one row, or as one query of one
//! head, runs on one.

mod arena;
mod attention;
mod barrier;
mod chain;
mod check;
mod exchange;
mod gemm;
mod host;
mod kernel;
mod load;
mod math;
mod pages;
mod rows;
mod team;
mod vector;
mod work;

use std::rc::Rc;
use std::time::{Duration, Instant};

use self::arena::{Arena, Slots};
use self::check::Wrong;
#[cfg(feature = "mpi")]
pub(super) use self::check::{places, sum_error};
use self::exchange::Exchange;
use self::load::CoreClock;
use self::team::{Lost, Team};
use self::work::Work;
use super::chain::{Chain, ChainOp};
use super::exchange::Pattern;
use super::{Backend, Case, Clock, MeasureError, NO_OP, WallClock};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::op::{CollectiveKind, KernelKind, Link, Op, P2p};
use crate::units::Seconds;

/// Ranks that one process may hold, a thread each.
const MOST_RANKS: u64 = 512;

/// Memory left to everything else, in bytes.
const RESERVE: u64 = 256 << 20;

/// The processor as a backend; keeps its buffers from one op to the next.
#[derive(Debug)]
pub struct Cpu {
    threads: usize,
    cache_bytes: u64,
    arena: Arena,
    clock: WallClock,
}

impl Cpu {
    /// This machine's processor with as many threads as rayon's pool has, and random data from `seed`.
    pub fn new(seed: u64) -> Self {
        let cache_bytes = host::cache_bytes();
        let threads = rayon::current_num_threads();
        Cpu { threads, cache_bytes, arena: Arena::new(seed), clock: WallClock::start() }
    }

    /// Bytes to rotate through, and the most that may be taken for it.
    fn rotation(&self) -> (u64, u64) {
        (3 * self.cache_bytes, self.memory() / 4)
    }

    fn prepare_team<'a>(
        &'a mut self,
        op: &Op,
        exchange: Exchange,
    ) -> Result<Box<dyn Case + 'a>, MeasureError> {
        let rotation = self.rotation();
        let team = Team::start(exchange, &mut self.arena, rotation, self.threads)
            .map_err(|lost| failed(op, lost))?;
        let case = Ranked { op: *op, team, arena: &mut self.arena };
        case.team.check().map_err(|lost| failed(op, lost))?.map_err(|wrong| wrong_result(op, wrong))?;
        Ok(Box::new(case))
    }

    fn prepare_work<'a>(&'a mut self, op: &Op, work: Work) -> Result<Box<dyn Case + 'a>, MeasureError> {
        let (input, output) = work.sizes();
        let (rotated_bytes, cap_bytes) = self.rotation();
        let slots = Slots::new(input, output, rotated_bytes, cap_bytes);
        let (inputs, outputs) = self.arena.buffers(slots.inputs(), slots.outputs());
        let (from, to) = (slots.input_of(inputs, 0), slots.output_of(outputs, 0));
        to.fill(f32::NAN);
        work.run(work.operands(from), to);
        work.check(from, to).map_err(|wrong| wrong_result(op, wrong))?;
        Ok(Box::new(Rotated { work, slots, slot: 0, inputs, outputs }))
    }
}

impl Backend for Cpu {
    fn name(&self) -> &'static str {
        "gettime-cpu"
    }

    fn device(&self) -> Device {
        host::device(self.threads)
    }

    /// All ranks on this one node.
    fn cluster(&self, gpus: u64) -> Cluster {
        Cluster { gpus: Some(gpus), gpus_per_node: Some(gpus), ..Cluster::default() }
    }

    fn dtypes(&self) -> &[Dtype] {
        &[Dtype::F32]
    }

    fn remarks(&self) -> Vec<String> {
        match host::others_running() {
            0 => Vec::new(),
            tasks => vec![format!(
                "{tasks} other tasks want the {} cores all the time: times will come out too long",
                self.threads
            )],
        }
    }

    fn supports(&self, op: &Op) -> Result<(), String> {
        supported(op)
    }

    fn need(&self, op: &Op) -> u128 {
        let buffers = match op {
            // Routes are 8 bytes here, and the op counts 4.
            Op::Kernel(op) if op.kind.has_top_k() => {
                op.bytes() + 8 * u128::from(op.rows) * u128::from(op.top_k)
            }
            Op::Kernel(op) if op.kind == KernelKind::Layernorm => op.bytes() + 8 * u128::from(op.cols),
            Op::Collective(op) => {
                // What each rank sends and receives, its part in between, and the rounding of each.
                let reduced = u128::from(op.kind == CollectiveKind::AllReduce) * u128::from(op.bytes);
                u128::from(op.ranks) * (2 * u128::from(op.bytes) + 192) + reduced
            }
            Op::P2p(op) => 4 * u128::from(op.bytes),
            Op::Gemm(_) | Op::Kernel(_) | Op::Attention(_) | Op::Overlap(_) | Op::Chain(_) => op.bytes(),
        };
        // Room for the lines that buffers start on, and for what threads keep beside them.
        buffers + (self.threads as u128) * (1 << 18)
    }

    fn memory(&self) -> u64 {
        (host::available_bytes() + self.arena.bytes()).saturating_sub(RESERVE)
    }

    fn clock(&self) -> Rc<dyn Clock> {
        Rc::new(self.clock)
    }

    /// 50 µs: 1000 times what it takes to read the clock, and long enough that waking the ranks of a
    /// collective, which the first run of a sample feels, does not show.
    fn shortest_sample(&self) -> Duration {
        Duration::from_micros(50)
    }

    fn core_clock(&self) -> Option<Rc<dyn Clock>> {
        CoreClock::new(self.threads).map(|clock| Rc::new(clock) as Rc<dyn Clock>)
    }

    fn waited(&self) -> Option<Seconds> {
        load::waited(self.threads)
    }

    fn pace(&mut self) -> Option<f64> {
        load::pace()
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        supported(op).map_err(|reason| MeasureError::Unsupported { op: *op, reason })?;
        let (asked, available) = (self.need(op), self.memory());
        if asked > u128::from(available) {
            return Err(MeasureError::OutOfMemory { op: *op, asked, available });
        }
        // Of what the last ops left nothing may be of use to this one.
        let (_, cap_bytes) = self.rotation();
        if asked.max(cap_bytes.into()) + u128::from(self.arena.bytes()) > u128::from(available) {
            self.arena.clear();
        }
        match Work::of(op, self.threads) {
            Some(work) => self.prepare_work(op, work),
            None => self.prepare_team(op, exchange(op)),
        }
    }

    fn chain(&mut self, links: &[ChainOp], buffers: &[u64]) -> Result<Box<dyn Chain>, MeasureError> {
        for link in links {
            supported(&link.op).map_err(|reason| MeasureError::Unsupported { op: link.op, reason })?;
        }
        let swept_bytes = 2 * self.cache_bytes;
        chain::Linked::new(links, buffers, (self.threads, swept_bytes), &mut self.arena)
            .map(|chain| Box::new(chain) as Box<dyn Chain>)
    }
}

/// What the ranks of a collective or a send do.
fn exchange(op: &Op) -> Exchange {
    match op {
        Op::Collective(group) => Exchange::new(Pattern::Collective(group.kind), group.bytes, group.ranks),
        op => Exchange::new(Pattern::Send, u64::try_from(op.bytes()).unwrap_or(u64::MAX), 2),
    }
}

/// What an op reads: up to three operands, those that there are not empty.
type Operands<'a> = [&'a [f32]; 3];

/// Whether this backend can run the op, apart from memory.
fn supported(op: &Op) -> Result<(), String> {
    if let Some(dtype) = op.dtype().filter(|&dtype| dtype != Dtype::F32) {
        return Err(format!("the processor is measured with f32, not {dtype}"));
    }
    match op {
        Op::Chain(_) => Err(NO_OP.into()),
        Op::Collective(op) if op.nodes > 1 => Err("the ranks are threads on one node".into()),
        Op::Collective(op) if op.ranks > MOST_RANKS => Err(format!("more than {MOST_RANKS} ranks")),
        Op::P2p(P2p { link: Link::InterNode | Link::Class(_), .. }) => {
            Err("the ranks are threads on one node".into())
        }
        Op::P2p(op) if op.link.is_copy() => Err("a processor has no memory beside the host's".into()),
        Op::Overlap(_) => Err("a product takes all cores, and nothing runs beside it".into()),
        Op::Kernel(op) if op.kind == KernelKind::GateTopk && (op.top_k > op.cols || op.cols > 1 << 24) => {
            Err(format!("top-{} of {} experts", op.top_k, op.cols))
        }
        Op::Kernel(op) if u128::from(op.rows) * u128::from(op.top_k) > u128::from(u32::MAX) => {
            Err("more rows than a 32-bit index reaches".into())
        }
        _ => Ok(()),
    }
}

fn wrong_result(op: &Op, Wrong { place, expected, got }: Wrong) -> MeasureError {
    MeasureError::WrongResult { op: *op, place, expected, got }
}

fn failed(op: &Op, lost: Lost) -> MeasureError {
    let reason = match lost {
        Lost::Start => "a thread could not be started",
        Lost::Rank => "the thread of a rank died",
    };
    MeasureError::Failed { op: *op, reason: reason.into() }
}

/// An op that runs on one slot of its buffers after the other.
struct Rotated<'a> {
    work: Work,
    slots: Slots,
    slot: usize,
    inputs: &'a [f32],
    outputs: &'a mut [f32],
}

impl Case for Rotated<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        let runs = runs.max(1);
        let start = Instant::now();
        for _ in 0..runs {
            self.slot = (self.slot + 1) % self.slots.count;
            let input = self.slots.input_of(self.inputs, self.slot);
            self.work.run(self.work.operands(input), self.slots.output_of(self.outputs, self.slot));
        }
        Ok(Seconds::new(start.elapsed().as_secs_f64() / runs as f64).unwrap_or_default())
    }
}

/// An op of several ranks.
struct Ranked<'a> {
    op: Op,
    team: Team,
    arena: &'a mut Arena,
}

impl Case for Ranked<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        let seconds = self.team.sample(runs.max(1)).map_err(|lost| failed(&self.op, lost))?;
        Ok(Seconds::new(seconds).unwrap_or_default())
    }
}

impl Drop for Ranked<'_> {
    fn drop(&mut self) {
        self.team.dismiss(self.arena);
    }
}
