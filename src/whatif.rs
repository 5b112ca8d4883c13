//! What would change the runtime: the plan scheduled again with one thing faster.
//!
//! With one lever's works at a share s of their time, every chain of nodes takes c + s·f seconds, and the makespan
//! is the largest of these: convex in s and made of straight pieces. So gains and the points where another chain
//! takes over are found exactly, by scheduling the whole graph anew.

use crate::cost::{Cost, Estimate};
use crate::dag::{NodeId, Part, Work};
use crate::evaluate::Evaluation;
use crate::op::{Family, Link, Op};
use crate::plan;
use crate::schedule::{Schedule, price, timeline};
use crate::units::Seconds;

/// What would change a plan's runtime.
#[derive(Clone, Debug)]
pub struct Outlook {
    /// Seconds of the critical path that each lever moves.
    pub on_path: ByLever,
    /// Seconds that 1 % less time of each lever saves.
    pub per_percent: ByLever,
    /// What comes after the present bottleneck.
    pub takeover: Option<Takeover>,
    /// The runtime if all GPUs were busy with the model's own ops, and with nothing else.
    pub ideal: Option<Estimate>,
    /// By how many seconds each node could end later.
    pub slack: Vec<f64>,
}

impl Outlook {
    /// Of a plan that was priced by `cost`.
    pub fn of(e: &Evaluation, cost: &dyn Cost) -> Self {
        Outlook {
            on_path: on_path(e),
            per_percent: per_percent(e),
            takeover: takeover(e),
            ideal: ideal(e, cost),
            slack: e.timeline.schedule.slack(&e.dag, &e.timeline.durations),
        }
    }
}

/// Something that could be made faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lever {
    /// Matrix products.
    Products,
    /// Fused attention.
    Attention,
    /// Memory-bound kernels.
    Memory,
    /// Collectives and sends within a node.
    IntraNode,
    /// Collectives and sends that cross nodes.
    InterNode,
}

impl Lever {
    /// All levers.
    pub const ALL: [Lever; 5] =
        [Lever::Products, Lever::Attention, Lever::Memory, Lever::IntraNode, Lever::InterNode];

    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Lever::Products => "products",
            Lever::Attention => "fused attention",
            Lever::Memory => "memory-bound ops",
            Lever::IntraNode => "node links",
            Lever::InterNode => "network",
        }
    }

    /// The lever that moves a work; none where it takes no time.
    pub fn of(work: &Work) -> Option<Lever> {
        let op = work.ops.first().map(|(op, _)| op);
        match (work.kind.part()?, op) {
            (Part::Products, Some(op)) if op.family() == Family::Attention => Some(Lever::Attention),
            (Part::Products, _) => Some(Lever::Products),
            (Part::Memory, _) => Some(Lever::Memory),
            (Part::Communication, Some(Op::Collective(op))) if op.nodes > 1 => Some(Lever::InterNode),
            (Part::Communication, Some(Op::P2p(op))) if op.link == Link::InterNode => Some(Lever::InterNode),
            (Part::Communication, _) => Some(Lever::IntraNode),
        }
    }
}

/// Seconds by lever, in the order of [`Lever::ALL`].
pub type ByLever = [f64; Lever::ALL.len()];

/// Seconds of the critical path that each lever moves.
pub fn on_path(e: &Evaluation) -> ByLever {
    Bench::new(e).of(&e.critical_path)
}

/// Seconds by which the makespan shrinks when everything that `lever` moves takes `factor` of its time.
///
/// Exact: the whole graph is scheduled again, so a path that becomes critical meanwhile is seen.
pub fn gain(e: &Evaluation, lever: Lever, factor: f64) -> f64 {
    e.timeline.schedule.makespan - Bench::new(e).schedule(lever, factor)
}

/// [`gain`] of each lever for 1 % less of its time.
pub fn per_percent(e: &Evaluation) -> ByLever {
    let mut bench = Bench::new(e);
    Lever::ALL.map(|lever| e.timeline.schedule.makespan - bench.schedule(lever, 0.99))
}

/// What holds the plan up once that which holds it up now is faster.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Takeover {
    /// What the critical path spends most on now.
    pub from: Lever,
    /// What it spends as much on when `from` is `speedup` times as fast.
    pub to: Lever,
    /// At least 1.
    pub speedup: f64,
}

/// Straight pieces of the makespan that are looked at, from 1 on down: beyond that many paths of nearly the same
/// length the answer would mean nothing.
const MOST_PIECES: usize = 32;

/// Where another lever becomes the largest on the critical path while the largest of now is made faster; `None`
/// where nothing else takes time.
pub fn takeover(e: &Evaluation) -> Option<Takeover> {
    let mut bench = Bench::new(e);
    let now = bench.of(&e.critical_path);
    let from = largest(&now, None)?;
    let mut line = Line { lever: from, on: now };
    for _ in 0..MOST_PIECES {
        let (ends, next) = bench.piece(line);
        let to = largest(&line.on, Some(from));
        let (share, to) = to.map_or((0.0, from), |to| (line.on[to as usize] / line.on[from as usize], to));
        if share > 0.0 && share >= ends {
            // rounding must not make it slower
            return Some(Takeover { from, to, speedup: 1.0 / share.min(1.0) });
        }
        line = next?;
        // the new path may spend most on something else from its first point on
        if let Some(to) =
            largest(&line.on, Some(from)).filter(|to| line.on[*to as usize] > ends * line.slope())
        {
            return Some(Takeover { from, to, speedup: 1.0 / ends });
        }
    }
    None
}

/// The lever with most seconds, but for one; `None` where all have none.
fn largest(on: &ByLever, but: Option<Lever>) -> Option<Lever> {
    let levers = Lever::ALL.into_iter().filter(|lever| Some(*lever) != but && on[*lever as usize] > 0.0);
    levers.max_by(|a, b| on[*a as usize].total_cmp(&on[*b as usize]))
}

/// The time on one GPU of all that the model itself computes, shared out over the plan's GPUs: nothing waits,
/// nothing is sent. `None` where the source does not cover an op of the undivided model.
pub fn ideal(e: &Evaluation, cost: &dyn Cost) -> Option<Estimate> {
    let (alone, choice) = e.plan.on_one_gpu(&e.choice);
    let dag = plan::lower(&alone, &choice).ok()?;
    let whole = timeline(&dag, &price(&dag, cost).ok()?).ok()?.makespan;
    let shared = |seconds: Seconds| Seconds::new(seconds.get() / e.plan.gpus as f64).unwrap_or(seconds);
    Some(Estimate {
        seconds: shared(whole.seconds),
        low: shared(whole.low),
        high: shared(whole.high),
        basis: whole.basis,
    })
}

/// A chain of nodes as a function of the share of its time that a lever takes.
#[derive(Clone, Copy, Debug)]
struct Line {
    lever: Lever,
    /// At a share of 1.
    on: ByLever,
}

impl Line {
    fn slope(&self) -> f64 {
        self.on[self.lever as usize]
    }

    fn at(&self, share: f64) -> f64 {
        self.on.iter().sum::<f64>() - (1.0 - share) * self.slope()
    }

    /// Where it meets another line that is less steep.
    fn meets(&self, other: &Line) -> f64 {
        (other.at(0.0) - self.at(0.0)) / (self.slope() - other.slope())
    }
}

/// A plan whose works are sorted by lever, and memory to schedule it in again and again.
struct Bench<'a> {
    e: &'a Evaluation,
    /// By work.
    levers: Vec<Option<Lever>>,
    durations: Vec<f64>,
    schedule: Schedule,
}

impl<'a> Bench<'a> {
    fn new(e: &'a Evaluation) -> Self {
        let levers = e.dag.works().iter().map(Lever::of).collect();
        Bench { e, levers, durations: Vec::new(), schedule: Schedule::default() }
    }

    /// Seconds of a path by lever, under the estimates themselves.
    fn of(&self, path: &[NodeId]) -> ByLever {
        let mut on = ByLever::default();
        for node in path {
            let work = self.e.dag.work_column()[node.index()].index();
            if let Some(lever) = self.levers[work] {
                on[lever as usize] += self.e.timeline.durations[work];
            }
        }
        on
    }

    /// The makespan when `lever` takes `share` of its time.
    fn schedule(&mut self, lever: Lever, share: f64) -> f64 {
        let scaled = |(own, seconds): (&Option<Lever>, &f64)| match *own == Some(lever) {
            true => seconds * share,
            false => *seconds,
        };
        self.durations.clear();
        self.durations.extend(self.levers.iter().zip(&self.e.timeline.durations).map(scaled));
        self.schedule.renew(&self.e.dag, &self.durations);
        self.schedule.makespan
    }

    /// Down to which share `line` is the longest chain, and the one that is so below; Newton's method from the
    /// left, which ends after as many steps as there are pieces.
    fn piece(&mut self, line: Line) -> (f64, Option<Line>) {
        let (mut share, mut found) = (0.0, None);
        loop {
            let makespan = self.schedule(line.lever, share);
            // what rounding adds up to is no longer chain
            if makespan <= line.at(share) * (1.0 + 1e-12) {
                return (share, found);
            }
            let other = Line { on: self.of(&self.schedule.critical_path(&self.e.dag)), ..line };
            // of several chains as long, the given one may be the steepest: then its piece is a point
            let meets = line.meets(&other).min(1.0);
            // not a number where both are as steep
            if meets.is_nan() || meets <= share {
                return (share, found);
            }
            (share, found) = (meets, Some(other));
        }
    }
}
