//! Ops that run one after the other on the same buffers, as the layers of a plan do.

use std::time::Instant;

use super::arena::Arena;
use super::team::Team;
use super::{Work, exchange, failed, host};
use crate::measure::{Chain, ChainOp, MeasureError};
use crate::units::Seconds;

/// Bytes left to the system and to the ranks of collectives.
const RESERVE: u64 = 512 << 20;

/// A chain with its buffers.
pub(super) struct Linked {
    steps: Vec<Step>,
    buffers: Vec<Vec<f32>>,
    /// Buffers of ranks.
    ranks: Arena,
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
        threads: usize,
        arena: &mut Arena,
    ) -> Result<Self, MeasureError> {
        let asked = sizes.iter().map(|elements| 4 * u128::from(*elements)).sum::<u128>();
        let available = (host::available_bytes() + arena.bytes()).saturating_sub(RESERVE);
        if let Some(first) = links.first()
            && asked > u128::from(available)
        {
            return Err(MeasureError::OutOfMemory { op: first.op, asked, available });
        }
        arena.clear();
        let buffers: Vec<Vec<f32>> = sizes.iter().map(|elements| arena.random(*elements as usize)).collect();
        let mut ranks = Arena::new(0);
        let mut steps = Vec::with_capacity(links.len());
        for link in links {
            let doing = match Work::of(&link.op, threads) {
                Some(work) => {
                    let (input, output) = work.sizes();
                    // of the operands only the lengths are asked for: any elements will do
                    let whole = vec![0.0; input];
                    let lengths = work.operands(&whole).map(<[f32]>::len);
                    check(link, &lengths, output, sizes)?;
                    Doing::Work(work, lengths, output)
                }
                None => {
                    let team = Team::start(exchange(&link.op), &mut ranks, (1, u64::MAX), threads);
                    Doing::Ranks(Box::new(team.map_err(|lost| failed(&link.op, lost))?))
                }
            };
            steps.push(Step { link: link.clone(), doing });
        }
        Ok(Linked { steps, buffers, ranks })
    }
}

/// That every operand lies within its buffer, and none in the one that is written.
fn check(link: &ChainOp, lengths: &[usize; 3], output: usize, sizes: &[u64]) -> Result<(), MeasureError> {
    let wrong = |reason: String| Err(MeasureError::Unsupported { op: link.op, reason });
    let holds = |(buffer, first): (usize, u64), length: usize| {
        sizes.get(buffer).is_some_and(|size| first.checked_add(length as u64).is_some_and(|end| end <= *size))
    };
    let Some(to) = link.writes else { return wrong("it writes nowhere".to_owned()) };
    let there = lengths.iter().filter(|length| **length > 0).count();
    if link.reads.len() != there {
        return wrong(format!("it reads {there} operands, not {}", link.reads.len()));
    }
    if !holds(to, output) || !link.reads.iter().zip(lengths).all(|(from, length)| holds(*from, *length)) {
        return wrong("an operand is longer than its buffer".to_owned());
    }
    match link.reads.iter().any(|(buffer, _)| *buffer == to.0) {
        true => wrong("it reads the buffer that it writes".to_owned()),
        false => Ok(()),
    }
}

impl Chain for Linked {
    fn run(&mut self) -> Result<Vec<Seconds>, MeasureError> {
        let mut times = Vec::with_capacity(self.steps.len());
        let mut last = Instant::now();
        for Step { link, doing } in &self.steps {
            match doing {
                Doing::Work(work, lengths, output) => {
                    let Some((to, first)) = link.writes else { continue };
                    // out of its place while it is written, so that the others can be read
                    let mut written = std::mem::take(&mut self.buffers[to]);
                    let mut operands: [&[f32]; 3] = [&[]; 3];
                    for ((operand, (buffer, first)), length) in
                        operands.iter_mut().zip(&link.reads).zip(lengths)
                    {
                        *operand = &self.buffers[*buffer][*first as usize..][..*length];
                    }
                    work.run(operands, &mut written[first as usize..][..*output]);
                    self.buffers[to] = written;
                }
                Doing::Ranks(team) => {
                    team.sample(1).map_err(|lost| failed(&link.op, lost))?;
                }
            }
            let now = Instant::now();
            times.push(Seconds::new((now - last).as_secs_f64()).unwrap_or_default());
            last = now;
        }
        Ok(times)
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
