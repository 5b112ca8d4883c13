//! Which ops are worth measuring: those that plans need, cut to what the machine can run, and a general grid
//! around them, as many as the budget allows.

mod lattice;

use std::collections::HashSet;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

pub use self::lattice::{collectives, lattice};

use crate::dtype::Dtype;
use crate::op::{Attention, Collective, Family, Gemm, Kernel, Op, Overlap, P2p};

/// A rough idea of a machine's speed, from a few ops measured at the start. It chooses what is measured, and
/// no estimate rests on it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// FLOPs of a large product.
    pub flops_per_s: f64,
    /// Memory traffic of a large copy.
    pub bytes_per_s: f64,
    /// Traffic of a large collective, all ranks together.
    pub exchange_bytes_per_s: f64,
    /// A collective without data, per rank.
    pub rank_latency_seconds: f64,
    /// Any op without work, with what it takes to set it up.
    pub case_seconds: f64,
    /// What a shape of attention takes the first time, beside that: a kernel may be compiled for it.
    pub attention_seconds: f64,
}

impl Speed {
    /// About how long one run of `op` takes, in seconds.
    pub fn seconds(&self, op: &Op) -> f64 {
        let bytes = op.bytes() as f64;
        match op {
            Op::Collective(op) => {
                let ranks = op.ranks as f64;
                2.0 * ranks * bytes / self.exchange_bytes_per_s + ranks * self.rank_latency_seconds
            }
            Op::P2p(_) => bytes / self.exchange_bytes_per_s + 2.0 * self.rank_latency_seconds,
            Op::Overlap(op) => {
                let [one, other] = [Op::Gemm(op.gemm()), Op::Collective(op.all_reduce())];
                self.seconds(&one).max(self.seconds(&other))
            }
            _ => op.flops() as f64 / self.flops_per_s + bytes / self.bytes_per_s,
        }
    }
}

/// What the choice has to keep to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// How fast the machine is, roughly.
    pub speed: Speed,
    /// Time for all ops and passes, in seconds.
    pub budget_seconds: f64,
    /// How often each op is measured.
    pub passes: u32,
    /// Memory for the buffers of one op.
    pub memory_bytes: u64,
    /// The most devices in a group.
    pub gpus: u64,
    /// Devices on one node.
    pub gpus_per_node: u64,
    /// Element type of all ops.
    pub dtype: Dtype,
}

impl Bounds {
    /// About how long all passes over `op` take, in seconds.
    pub fn cost(&self, op: &Op) -> f64 {
        let run = self.speed.seconds(op);
        let once = if matches!(op, Op::Attention(_)) { self.speed.attention_seconds } else { 0.0 };
        once + f64::from(self.passes) * (self.speed.case_seconds + runs(run) * run)
    }
}

/// What was chosen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chosen {
    /// The ops, each once.
    pub ops: Vec<Op>,
    /// How many of them are ops of plans in a size that can be run.
    pub of_plans: usize,
}

/// Of each family: its share of the budget, and the share of that which one run may take. Large ops tell how a
/// law goes on, so the families that plans extend furthest may run longest.
const SHARES: [(Family, f64, f64); 6] = [
    (Family::Gemm, 0.45, 0.001),
    (Family::Kernel, 0.20, 0.003),
    (Family::Attention, 0.08, 0.004),
    (Family::Collective, 0.24, 0.006),
    (Family::P2p, 0.03, 0.02),
    (Family::Overlap, 0.03, 0.05),
];

/// Runs that a visit takes, warm-up included: enough for a narrow interval where they are cheap.
const fn runs(seconds: f64) -> f64 {
    if seconds < 5e-3 { 20.0 } else { 6.0 }
}

/// Chooses the ops of a campaign: of plans those `wanted`, and beside them some of `candidates`. `need` tells the
/// bytes of an op's buffers.
///
/// The shares of families without an op that fits in memory fall to the others.
pub fn choose(wanted: &[Op], candidates: &[Op], bounds: &Bounds, need: impl Fn(&Op) -> u128) -> Chosen {
    let holds = |op: &Op| need(op) <= u128::from(bounds.memory_bytes);
    let lattices = SHARES.map(|(family, share, longest)| {
        let of_family = candidates.iter().filter(|op| op.family() == family);
        let lattice: Vec<Op> = of_family.copied().filter(&holds).collect();
        let there = !lattice.is_empty() || wanted.iter().any(|op| op.family() == family);
        (family, if there { share } else { 0.0 }, longest, lattice)
    });
    let shared: f64 = lattices.iter().map(|(_, share, ..)| share).sum();
    let mut chosen = Chosen::default();
    for (family, share, longest, lattice) in lattices {
        let budget = bounds.budget_seconds * share / shared.max(f64::MIN_POSITIVE);
        let fits = |op: &Op| holds(op) && bounds.speed.seconds(op) <= budget * longest;
        let of_plans = wanted.iter().filter(|op| op.family() == family);
        let mut first: Vec<Op> = of_plans.flat_map(|op| cuts(op, &fits)).collect();
        let mut rest: Vec<Op> = lattice.iter().copied().filter(|op| fits(op)).collect();
        // every part of the range is there however soon the budget ends, the same ones on every run
        let mut order = StdRng::seed_from_u64(0);
        first.shuffle(&mut order);
        rest.shuffle(&mut order);
        if family.is_communication() {
            // all kinds at sizes far apart before some kinds at sizes between them
            rest.sort_by_key(rank_of_size);
        }
        let (mut seen, mut groups) = (HashSet::new(), HashSet::new());
        let mut left = budget;
        // Of every kind and group one op, the smallest, however long it takes: a table without it has no answer. Plans
        // have theirs without pairs of ops, and a family without any time has none for its smallest either.
        let smallest = if family == Family::Overlap || budget <= 0.0 { rest.clone() } else { lattice };
        let mut one_of_each = [first.clone(), smallest];
        for ops in &mut one_of_each {
            ops.sort_by_key(Op::bytes);
            ops.retain(|op| {
                let cells = op.cells();
                groups.insert((cells.kind, cells.dtype, cells.ranks, cells.nodes))
            });
        }
        let [of_plans, of_lattice] = one_of_each;
        let at_any_cost = f64::NEG_INFINITY;
        let rounds = [
            (at_any_cost, true, of_plans),
            (at_any_cost, false, of_lattice),
            (0.5, true, first),
            (0.0, false, rest),
        ];
        for (kept_back, is_of_plans, ops) in rounds {
            for op in ops {
                let cost = bounds.cost(&op);
                if cost > left - kept_back * budget || !seen.insert(op) {
                    continue;
                }
                left -= cost;
                chosen.of_plans += usize::from(is_of_plans);
                chosen.ops.push(op);
            }
        }
    }
    chosen
}

/// In which round the size of a message comes: every 2⁸th in the first, then those halfway between, and so on.
fn rank_of_size(op: &Op) -> u32 {
    let octave = op.bytes().max(1).ilog2();
    (octave % 8).trailing_zeros().min(3).abs_diff(3)
}

/// An op in sizes that can be run: as large as fits, and two smaller ones, so that the way from there to its
/// true size is measured too. Products are cut along m and batch, kernels along rows, attention along
/// sequences and queries, messages in bytes.
fn cuts(op: &Op, fits: &impl Fn(&Op) -> bool) -> Vec<Op> {
    let mut out = Vec::new();
    let mut size = longest(op);
    let mut taken = 0;
    while taken < 3 {
        let cut = cut(op, size);
        if fits(&cut) {
            out.push(cut);
            taken += 1;
            if let Some(more) = wider(&cut, op).filter(fits) {
                out.push(more);
            }
            size /= 2;
        }
        if size <= 1 {
            break;
        }
        size /= 2;
    }
    out
}

/// The dimension that is cut, as a power of two that is not above it.
fn longest(op: &Op) -> u64 {
    let size = match op {
        Op::Gemm(op) => op.m,
        Op::Kernel(op) => op.rows,
        Op::Attention(op) => op.seq_q,
        Op::Collective(op) => op.bytes,
        Op::P2p(op) => op.bytes,
        Op::Overlap(op) => op.m.into(),
        Op::Chain(_) => 1,
    };
    1 << size.max(1).ilog2()
}

fn cut(op: &Op, size: u64) -> Op {
    match *op {
        Op::Gemm(op) => Op::Gemm(Gemm { m: size, batch: 1, ..op }),
        Op::Kernel(op) => Op::Kernel(Kernel { rows: size, ..op }),
        Op::Attention(op) => Op::Attention(Attention { seq_q: size, batch: 1, heads: 1, ..op }),
        Op::Collective(op) => Op::Collective(Collective { bytes: size, ..op }),
        Op::P2p(op) => Op::P2p(P2p { bytes: size, ..op }),
        // what was a count of 32 bits is cut to one
        Op::Overlap(op) => Op::Overlap(Overlap { m: size as u32, ..op }),
        Op::Chain(_) => *op,
    }
}

/// The same in a small batch, where the op has one.
fn wider(cut: &Op, whole: &Op) -> Option<Op> {
    match (*cut, whole) {
        (Op::Gemm(cut), Op::Gemm(whole)) if whole.batch > 1 => {
            Some(Op::Gemm(Gemm { batch: whole.batch.min(4), ..cut }))
        }
        (Op::Attention(cut), Op::Attention(whole)) if whole.heads > 1 => {
            Some(Op::Attention(Attention { heads: whole.heads.min(4), ..cut }))
        }
        _ => None,
    }
}
