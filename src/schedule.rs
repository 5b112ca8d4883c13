//! When each node of a graph starts and ends, and which chain of nodes decides the end.
//!
//! A node starts when the last of its predecessors has ended. The order on each GPU is fixed by edges when the
//! plan is lowered, so this is a longest path and not a list schedule: a faster op never makes a plan slower
//! (Graham, 1969), and so the lows and highs of the ops bound the makespan's.

mod scenarios;

use crate::cost::{Basis, Cost, CostError, Estimate};
use crate::dag::{Dag, NodeId};
use crate::units::{NotATime, Seconds};

pub use scenarios::{Scenarios, interval, paired};

/// The estimate of every distinct work of a graph.
#[derive(Clone, Debug)]
pub struct Prices {
    /// By [`crate::dag::WorkId`].
    pub works: Vec<Estimate>,
    /// Of each work, the estimate of each of its ops, run once and alone.
    pub parts: Vec<Vec<Estimate>>,
    /// How many times as long each work takes, beside what else runs at the same time, as its parts alone.
    slower: Vec<f64>,
}

/// Ops of the graph that the cost source does not cover.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{first} (for {node}{})", further(.others.len()))]
pub struct Unpriced {
    /// A node that needs the first of them.
    pub node: String,
    /// Why the first has no estimate.
    pub first: Box<CostError>,
    /// Why others have none.
    pub others: Vec<CostError>,
}

fn further(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => "; 1 more op is not covered either".to_owned(),
        n => format!("; {n} more ops are not covered either"),
    }
}

/// Asks `cost` once for every distinct work of the graph.
///
/// # Errors
/// When an op is not covered: the first by name, with a node that needs it, and how many more there are.
pub fn price(dag: &Dag, cost: &dyn Cost) -> Result<Prices, Unpriced> {
    let mut misses = Vec::new();
    let mut works = Vec::with_capacity(dag.works().len());
    let mut parts = Vec::with_capacity(dag.works().len());
    for (index, work) in dag.works().iter().enumerate() {
        match work.ops.iter().map(|(op, _)| cost.cost(op)).collect::<Result<Vec<Estimate>, CostError>>() {
            Ok(each) => {
                works.push(each.iter().zip(&work.ops).map(|(estimate, (_, count))| *estimate * *count).sum());
                parts.push(each);
            }
            Err(miss) => misses.push((index, miss)),
        }
    }
    let mut misses = misses.into_iter();
    let Some((index, first)) = misses.next() else {
        let slower = vec![1.0; works.len()];
        return Ok(Prices { works, parts, slower });
    };
    let node = dag.nodes().find(|node| dag.work_column()[node.index()].index() == index);
    Err(Unpriced {
        node: node.map(|node| dag.id(node)).unwrap_or_default(),
        first: Box::new(first),
        others: misses.map(|(_, miss)| miss).collect(),
    })
}

impl Prices {
    /// The estimate of one node.
    pub fn of(&self, dag: &Dag, node: NodeId) -> Estimate {
        self.works[dag.work_column()[node.index()].index()]
    }

    /// Makes a work `factor` times as long, which is known on this basis.
    pub fn stretch(&mut self, work: usize, factor: f64, basis: Basis) {
        self.slower[work] *= factor;
        let estimate = &mut self.works[work];
        let longer = |seconds: Seconds| Seconds::new(seconds.get() * factor).unwrap_or(seconds);
        let Estimate { seconds, low, high, .. } = *estimate;
        let basis = estimate.basis.max(basis);
        *estimate = Estimate { seconds: longer(seconds), low: longer(low), high: longer(high), basis };
    }

    /// One number of each estimate, by work.
    fn column(&self, pick: impl Fn(&Estimate) -> Seconds) -> Vec<f64> {
        self.works.iter().map(|estimate| pick(estimate).get()).collect()
    }
}

/// When every node ends, under one duration for each work. When it starts, and what it waited for, follows.
#[derive(Clone, Debug, Default)]
pub struct Schedule {
    end: Vec<f64>,
    /// The node that ends last; of several, the one appended last.
    last: Option<NodeId>,
    /// The end of the last node, in seconds.
    pub makespan: f64,
}

/// Schedules the graph with `durations` in seconds by work.
///
/// One pass over nodes and edges in the order of appending, which is topological.
pub fn schedule(dag: &Dag, durations: &[f64]) -> Schedule {
    let mut schedule = Schedule::default();
    schedule.renew(dag, durations);
    schedule
}

/// When the last of some nodes ends; 0 for none.
fn latest(nodes: &[NodeId], end: &[f64]) -> f64 {
    nodes.iter().fold(0.0, |latest, node| later(latest, end[node.index()]))
}

/// The larger of two numbers that are not NaN, in one instruction.
fn later(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// Seconds in which each GPU is occupied; communication beside it does not occupy it.
pub fn busy(dag: &Dag, durations: &[f64]) -> Vec<f64> {
    let mut lanes = vec![0.0; dag.lanes().len()];
    for (work, lane) in dag.work_column().iter().zip(dag.lane_column()) {
        lanes[lane.index()] += durations[work.index()];
    }
    let mut gpus = vec![0.0; dag.gpus() as usize];
    for ((lane, beside), seconds) in dag.lanes().iter().zip(dag.beside()).zip(&lanes) {
        for gpu in lane.iter().filter(|_| !beside) {
            gpus[*gpu as usize] += seconds;
        }
    }
    gpus
}

impl Schedule {
    /// Schedules again, under other durations or another graph, in the memory that it holds already: for large
    /// graphs most of the time of a first pass is the system's, which hands out memory page by page.
    pub fn renew(&mut self, dag: &Dag, durations: &[f64]) {
        self.end.resize(dag.len(), 0.0);
        let ends = self.end.as_mut_slice();
        let mut after = dag.after_column();
        let mut first = 0;
        for (node, (stop, work)) in dag.ends_column().iter().zip(dag.work_column()).enumerate() {
            let (before, rest) = after.split_at((stop - first) as usize);
            (first, after) = (*stop, rest);
            ends[node] = latest(before, ends) + durations[work.index()];
        }
        self.makespan = self.end.iter().copied().fold(0.0, later);
        self.last = self.end.iter().rposition(|end| *end >= self.makespan).and_then(|i| dag.node(i));
    }

    /// When the node starts, in seconds: when the last of its predecessors has ended.
    pub fn start(&self, dag: &Dag, node: NodeId) -> f64 {
        latest(dag.after(node), &self.end)
    }

    /// When the node ends, in seconds.
    pub fn end(&self, node: NodeId) -> f64 {
        self.end[node.index()]
    }

    /// The chain of nodes that decides the makespan, in the order of time: each starts when the one before
    /// it ends. Of nodes that end at the same time, the one appended last.
    pub fn critical_path(&self, dag: &Dag) -> Vec<NodeId> {
        let mut path = Vec::new();
        let mut next = self.last;
        while let Some(node) = next {
            path.push(node);
            let before = dag.after(node).iter().copied();
            next = before.max_by(|a, b| self.end(*a).total_cmp(&self.end(*b)));
        }
        path.reverse();
        path
    }

    /// By how many seconds each node could end later without the makespan growing: 0 on the critical path.
    pub fn slack(&self, dag: &Dag, durations: &[f64]) -> Vec<f64> {
        let mut slack = Vec::new();
        self.slack_in(dag, durations, &mut slack);
        slack
    }

    /// [`Schedule::slack`], in memory that is there already.
    ///
    /// One pass back over nodes and edges. What `slack` holds of a node is the latest time at which it may end,
    /// until the pass comes to it: then all that follow it are done.
    pub fn slack_in(&self, dag: &Dag, durations: &[f64], slack: &mut Vec<f64>) {
        slack.clear();
        slack.resize(dag.len(), self.makespan);
        let (ends, after, work) = (dag.ends_column(), dag.after_column(), dag.work_column());
        let mut stop = after.len();
        for (node, end) in self.end.iter().enumerate().rev() {
            let first = if node == 0 { 0 } else { ends[node - 1] as usize };
            let start = slack[node] - durations[work[node].index()];
            slack[node] = (slack[node] - end).max(0.0);
            for before in &after[first..stop] {
                let latest = &mut slack[before.index()];
                *latest = if start < *latest { start } else { *latest };
            }
            stop = first;
        }
    }
}

/// A plan's runtime with its interval, and the schedule under the estimates themselves.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The makespan; its basis is the worst among the ops of the critical path.
    pub makespan: Estimate,
    /// Starts, ends and the critical path.
    pub schedule: Schedule,
    /// The makespan in every scenario of errors, in seconds; none where no op has an interval. The same
    /// scenario means the same errors of the same ops in every plan.
    pub scenarios: Vec<f64>,
    /// Seconds in which each GPU is occupied.
    pub busy: Vec<f64>,
    /// Durations in seconds, by work.
    pub durations: Vec<f64>,
}

/// Schedules under the estimates, and under 32 scenarios of their errors, whose 5 % and 95 % quantiles are the
/// makespan's low and high: narrower than all lows and all highs, since the errors of different ops partly
/// cancel. A plan of one op has that op's interval.
///
/// # Errors
/// When the makespan is not finite.
pub fn timeline(dag: &Dag, prices: &Prices) -> Result<Timeline, NotATime> {
    timeline_in(dag, prices, &mut Scenarios::default())
}

/// [`timeline`], with the errors of ops that are drawn already, or will be used again.
///
/// # Errors
/// As there.
pub fn timeline_in(dag: &Dag, prices: &Prices, scenarios: &mut Scenarios) -> Result<Timeline, NotATime> {
    let durations = prices.column(|e| e.seconds);
    let schedule = schedule(dag, &durations);
    let seconds = Seconds::new(schedule.makespan)?;
    let scenarios = scenarios.makespans(dag, prices);
    let (low, high) = interval(&scenarios, schedule.makespan);
    let (low, high) = (Seconds::new(low)?, Seconds::new(high)?);
    let path = schedule.critical_path(dag);
    let basis = path
        .iter()
        .filter(|node| !dag.work_of(**node).ops.is_empty())
        .map(|node| prices.of(dag, *node).basis)
        .max()
        .unwrap_or(Basis::Measured);
    let busy = busy(dag, &durations);
    Ok(Timeline { makespan: Estimate { seconds, low, high, basis }, schedule, scenarios, busy, durations })
}
