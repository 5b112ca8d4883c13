//! Where the difference of two plans' runtimes comes from, and whether they can be told apart.
//!
//! A plan's runtime is accounted for twice. On average over the GPUs, which are busy with something or wait; and
//! along the critical path, on which nothing waits. Both accounts add up to the runtime, and so do their
//! differences, to the last bit: every figure is put on a grid fine enough to be beyond measure (a 10¹⁵th of the
//! longer runtime) and coarse enough for sums on it to be exact.

use std::collections::{BTreeMap, BTreeSet};

use crate::dag;
use crate::evaluate::Evaluation;
use crate::schedule::{interval, paired};
use crate::whatif::Lever;

/// What a part of a runtime goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Something is done.
    Doing(Lever),
    /// Nothing has come in yet.
    Filling,
    /// Something is still to come.
    Stalled,
    /// All is done, and others are not.
    Draining,
}

impl Cause {
    /// The name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Doing(lever) => lever.name(),
            Cause::Filling => "waiting for the first",
            Cause::Stalled => "waiting in between",
            Cause::Draining => "waiting after the last",
        }
    }

    /// Whether nothing is done.
    pub const fn waits(self) -> bool {
        !matches!(self, Cause::Doing(_))
    }
}

/// A part of both runtimes.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// What it goes to.
    pub cause: Cause,
    /// The role of the ops, such as `mlp_up`; empty where nothing is done.
    pub role: String,
    /// Seconds of the first plan.
    pub first: f64,
    /// Seconds of the second plan.
    pub second: f64,
}

impl Term {
    /// Seconds that the second plan takes more.
    pub const fn difference(&self) -> f64 {
        self.second - self.first
    }
}

/// The second plan against the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Runtimes of both, in seconds.
    pub makespans: [f64; 2],
    /// On average over the GPUs of each plan.
    pub per_gpu: Vec<Term>,
    /// Along the critical paths.
    pub on_path: Vec<Term>,
    /// The second less the first in every scenario of the table's errors, the same for both plans; none where
    /// nothing was measured.
    pub scenarios: Vec<f64>,
}

impl Difference {
    /// Seconds that the second plan takes more.
    pub const fn seconds(&self) -> f64 {
        self.makespans[1] - self.makespans[0]
    }

    /// What holds 90 % of the scenarios.
    pub fn interval(&self) -> (f64, f64) {
        interval(&self.scenarios, self.seconds())
    }

    /// Whether the scenarios agree on which is faster; `None` where there are none.
    pub fn told_apart(&self) -> Option<bool> {
        let (low, high) = self.interval();
        (!self.scenarios.is_empty()).then_some(low > 0.0 || high < 0.0)
    }

    /// In how many scenarios the first plan is faster.
    pub fn first_faster(&self) -> usize {
        self.scenarios.iter().filter(|seconds| **seconds > 0.0).count()
    }
}

/// The difference of two plans that were priced from one source.
pub fn difference(first: &Evaluation, second: &Evaluation) -> Difference {
    let makespans = [first, second].map(|e| e.timeline.schedule.makespan);
    let grid = Grid::of(makespans[0].max(makespans[1]));
    let per_gpu = [first, second].map(|e| grid.account(per_gpu(e), e.timeline.schedule.makespan));
    let on_path = [first, second].map(|e| grid.account(on_path(e), e.timeline.schedule.makespan));
    Difference {
        makespans: makespans.map(|seconds| grid.nearest(seconds)),
        per_gpu: terms(per_gpu),
        on_path: terms(on_path),
        scenarios: paired(in_scenarios(first), in_scenarios(second)),
    }
}

fn in_scenarios(e: &Evaluation) -> (f64, &[f64]) {
    (e.timeline.schedule.makespan, &e.timeline.scenarios)
}

/// Seconds by cause and role.
type Account = BTreeMap<(Cause, String), f64>;

fn terms([first, second]: [Account; 2]) -> Vec<Term> {
    let keys: BTreeSet<_> = first.keys().chain(second.keys()).cloned().collect();
    let of = |account: &Account, key: &_| account.get(key).copied().unwrap_or(0.0);
    keys.into_iter()
        .map(|key| Term { first: of(&first, &key), second: of(&second, &key), cause: key.0, role: key.1 })
        .collect()
}

fn on_path(e: &Evaluation) -> Account {
    let mut account = Account::new();
    for node in &e.critical_path {
        if let Some(lever) = Lever::of(e.dag.work_of(*node)) {
            let work = e.dag.work_column()[node.index()];
            let key = (Cause::Doing(lever), e.dag.role_of(*node).to_owned());
            *account.entry(key).or_default() += e.timeline.durations[work.index()];
        }
    }
    account
}

fn per_gpu(e: &Evaluation) -> Account {
    let gpus = f64::from(e.dag.gpus().max(1));
    let makespan = e.timeline.schedule.makespan;
    // the first start and the last end on each GPU
    let mut spans = vec![(makespan, 0.0f64); e.dag.gpus() as usize];
    // many nodes have one name and do one thing
    let mut sums: BTreeMap<(Lever, &str), f64> = BTreeMap::new();
    for node in e.dag.nodes() {
        let Some(lever) = Lever::of(e.dag.work_of(node)) else { continue };
        let on = e.dag.gpus_of(node);
        let seconds = e.timeline.durations[e.dag.work_column()[node.index()].index()];
        // what runs beside the GPUs' own work does not occupy them
        if seconds == 0.0 || e.dag.beside()[e.dag.lane_column()[node.index()].index()] {
            continue;
        }
        *sums.entry((lever, e.dag.name_of(node))).or_default() += seconds * on.len() as f64;
        let (start, end) = (e.timeline.schedule.start(&e.dag, node), e.timeline.schedule.end(node));
        for gpu in on {
            let span = &mut spans[*gpu as usize];
            *span = (span.0.min(start), span.1.max(end));
        }
    }
    let busy: f64 = sums.values().sum();
    let mut account = Account::new();
    for ((lever, name), seconds) in sums {
        let key = (Cause::Doing(lever), dag::role(name).to_owned());
        *account.entry(key).or_default() += seconds / gpus;
    }
    let mut waits = |cause, seconds: f64| {
        if seconds > 0.0 {
            account.insert((cause, String::new()), seconds / gpus);
        }
    };
    // a GPU that does nothing at all waits for the first to the end
    let filling: f64 = spans.iter().map(|(start, _)| start).sum();
    let draining: f64 = spans.iter().map(|(start, end)| makespan - end.max(*start)).sum();
    waits(Cause::Filling, filling);
    waits(Cause::Draining, draining);
    waits(Cause::Stalled, makespan * gpus - busy - filling - draining);
    account
}

/// Multiples of a power of 2 whose sums are exact.
struct Grid {
    step: f64,
}

impl Grid {
    /// For sums of up to eight times `largest`.
    fn of(largest: f64) -> Self {
        let exponent = if largest > 0.0 { largest.log2().ceil() as i32 } else { 0 };
        Grid { step: 2f64.powi(exponent - 50).max(f64::MIN_POSITIVE) }
    }

    fn nearest(&self, seconds: f64) -> f64 {
        (seconds / self.step).round() * self.step
    }

    /// The account on the grid. What rounding leaves over goes to its largest term.
    fn account(&self, mut account: Account, whole: f64) -> Account {
        account.values_mut().for_each(|seconds| *seconds = self.nearest(*seconds));
        let left = self.nearest(whole) - account.values().sum::<f64>();
        if let Some(largest) = account.values_mut().max_by(|a, b| a.total_cmp(b)) {
            *largest += left;
        }
        account
    }
}
