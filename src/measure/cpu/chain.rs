//! Ops that run one after the other on the same buffers, as the layers of a plan do.
//!
//! What is only read, the weights above all, lies in the arena from which ops alone take their inputs, too: the
//! same memory, be it fast or slow, for both.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rayon::prelude::*;

use super::arena::{Arena, lines};
use super::load::CoreClock;
use super::pages::Pages;
use super::team::Team;
use super::{Work, exchange, failed, host};
use crate::measure::chain::{Chain, ChainOp, ChainRun, Lap, Way};
use crate::measure::{Clock, MeasureError};
use crate::units::Seconds;

/// Bytes left to the system and to the ranks of collectives.
const RESERVE: u64 = 512 << 20;

/// A chain with its buffers.
pub(super) struct Linked {
    steps: Vec<Step>,
    buffers: Vec<Buffer>,
    /// What is only read.
    inputs: Arc<Pages>,
    /// Buffers of ranks.
    ranks: Arena,
    /// Read where the caches are to hold nothing else.
    swept: Pages,
    threads: usize,
}

/// A buffer of the chain.
enum Buffer {
    /// Read alone: where it begins in the inputs that all share.
    Read(usize),
    Written(Pages),
}

/// One op.
struct Step {
    link: ChainOp,
    doing: Doing,
}

enum Doing {
    /// On all cores, with the lengths of its operands and of its result.
    Work(Work, [usize; 3], usize),
    /// By threads of their own, with buffers of their own.
    Ranks(Box<Team>),
}

impl Linked {
    /// Allocates and fills the buffers, and starts the ranks.
    pub fn new(
        links: &[ChainOp],
        sizes: &[u64],
        (threads, swept_bytes): (usize, u64),
        arena: &mut Arena,
    ) -> Result<Self, MeasureError> {
        let asked = sizes.iter().map(|elements| 4 * u128::from(*elements)).sum::<u128>();
        let available = (host::available_bytes() + arena.bytes()).saturating_sub(RESERVE);
        if let Some(first) = links.first()
            && asked > u128::from(available)
        {
            return Err(MeasureError::OutOfMemory { op: first.op, asked, available });
        }
        // of what the arena holds the chain takes a part only, and beside the rest it may not fit
        if asked + u128::from(arena.bytes()) > u128::from(available) {
            arena.clear();
        }
        let mut is_written = vec![false; sizes.len()];
        for (to, _) in links.iter().filter_map(|link| link.writes) {
            is_written.get_mut(to).into_iter().for_each(|is_written| *is_written = true);
        }
        let kept = sizes.iter().zip(&is_written).filter(|(_, is_written)| !**is_written);
        let (inputs, mut next) = arena.shared(kept.map(|(elements, _)| lines(*elements as usize)).sum());
        let mut buffer = |(elements, is_written): (&u64, &bool)| {
            if *is_written {
                return Buffer::Written(arena.random(*elements as usize));
            }
            let first = next;
            next += lines(*elements as usize);
            Buffer::Read(first)
        };
        let buffers = sizes.iter().zip(&is_written).map(&mut buffer).collect();
        let mut ranks = Arena::new(0);
        let mut steps = Vec::with_capacity(links.len());
        for link in links {
            let doing = match Work::of(&link.op, threads) {
                Some(work) => {
                    let (input, output) = work.sizes();
                    // of the operands only the lengths are asked for: any elements will do
                    let whole = vec![0.0; input];
                    let lengths = work.operands(&whole).map(<[f32]>::len);
                    link.check(sizes)?;
                    Doing::Work(work, lengths, output)
                }
                None => {
                    let team = Team::start(exchange(&link.op), &mut ranks, (1, u64::MAX), threads);
                    Doing::Ranks(Box::new(team.map_err(|lost| failed(&link.op, lost))?))
                }
            };
            steps.push(Step { link: link.clone(), doing });
        }
        let swept = arena.random(swept_bytes as usize / 4);
        Ok(Linked { steps, buffers, inputs, ranks, swept, threads })
    }
}

impl Linked {
    /// Runs one op.
    fn step(&mut self, i: usize) -> Result<(), MeasureError> {
        let Some(Step { link, doing }) = self.steps.get(i) else { return Ok(()) };
        match doing {
            Doing::Work(work, lengths, output) => {
                let Some((to, first)) = link.writes else { return Ok(()) };
                // out of its place while it is written, so that the others can be read
                let Buffer::Written(mut written) = std::mem::replace(&mut self.buffers[to], Buffer::Read(0))
                else {
                    return Ok(());
                };
                let mut operands: [&[f32]; 3] = [&[]; 3];
                for ((operand, (buffer, first)), length) in operands.iter_mut().zip(&link.reads).zip(lengths)
                {
                    let from = match &self.buffers[*buffer] {
                        Buffer::Read(begin) => &self.inputs[*begin..],
                        Buffer::Written(values) => values,
                    };
                    *operand = &from[*first as usize..][..*length];
                }
                work.run(operands, &mut written[first as usize..][..*output]);
                self.buffers[to] = Buffer::Written(written);
                Ok(())
            }
            Doing::Ranks(team) => team.sample(1).map(|_| ()).map_err(|lost| failed(&link.op, lost)),
        }
    }

    /// Reads more than the caches hold, on all cores.
    fn sweep(&self) {
        let part = self.swept.len().div_ceil(self.threads).max(1);
        let sum = |part: &[f32]| part.iter().step_by(16).sum::<f32>();
        std::hint::black_box(self.swept.par_chunks(part).map(sum).sum::<f32>());
    }
}

/// A moment by both clocks.
#[derive(Clone, Copy)]
struct Moment(Instant, Option<Duration>);

impl Moment {
    fn now(cores: Option<CoreClock>) -> Self {
        Moment(Instant::now(), cores.map(|clock| clock.now()))
    }

    fn since(&self, before: &Moment) -> Lap {
        let seconds = |apart: Duration| Seconds::new(apart.as_secs_f64()).unwrap_or_default();
        let cores = before.1.zip(self.1);
        Lap {
            seconds: seconds(self.0 - before.0),
            busy: cores.map(|(from, to)| seconds(to.saturating_sub(from))),
        }
    }
}

impl Chain for Linked {
    /// Whoever calls an op here is who launches it.
    fn ways(&self) -> &'static [Way] {
        &[Way::Linked, Way::Swept]
    }

    fn run(&mut self, way: Way) -> Result<ChainRun, MeasureError> {
        let mut run = ChainRun { laps: Vec::with_capacity(self.steps.len()), ..ChainRun::default() };
        let cores = CoreClock::new(self.threads);
        let begun = Moment::now(cores);
        let mut last = begun;
        for i in 0..self.steps.len() {
            if way == Way::Swept {
                self.sweep();
                last = Moment::now(cores);
            }
            self.step(i)?;
            let now = Moment::now(cores);
            run.laps.push(now.since(&last));
            last = now;
        }
        run.whole = last.since(&begun);
        Ok(run)
    }
}

impl Drop for Linked {
    fn drop(&mut self) {
        for step in &mut self.steps {
            if let Doing::Ranks(team) = &mut step.doing {
                team.dismiss(&mut self.ranks);
            }
        }
    }
}
