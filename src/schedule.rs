//! When each node of a graph starts and ends, and which chain of nodes decides the end.
//!
//! A node starts when the last of its predecessors has ended. The order on each GPU is fixed by edges when the
//! plan is lowered, so this is a longest path and not a list schedule: a faster op never makes a plan slower
//! (Graham, 1969), and so the lows and highs of the ops bound the makespan's.

mod scenarios;

use crate::cost::{Cost, CostError, Estimate};
use crate::dag::{Dag, NodeId};
use crate::units::Seconds;

/// The estimate of every distinct work of a graph.
#[derive(Clone, Debug)]
pub struct Prices {
    /// By [`crate::dag::WorkId`].
    pub works: Vec<Estimate>,
    /// Of each work, the estimate of each of its ops, run once.
    pub parts: Vec<Vec<Estimate>>,
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
    let Some((index, first)) = misses.next() else { return Ok(Prices { works, parts }) };
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

    /// One number of each estimate, by work.
    fn column(&self, pick: impl Fn(&Estimate) -> Seconds) -> Vec<f64> {
        self.works.iter().map(|estimate| pick(estimate).get()).collect()
    }
}

/// When every node ends, under one duration for each work. When it starts, and what it waited for, follows.
#[derive(Clone, Debug)]
pub struct Schedule {
    end: Vec<f64>,
    /// The end of the last node, in seconds.
    pub makespan: f64,
}

/// Schedules the graph with `durations` in seconds by work.
///
/// One pass over nodes and edges in the order of appending, which is topological.
pub fn schedule(dag: &Dag, durations: &[f64]) -> Schedule {
    let mut end = vec![0.0; dag.len()];
    let mut after = dag.after_column();
    let mut first = 0;
    for (node, (stop, work)) in dag.ends_column().iter().zip(dag.work_column()).enumerate() {
        let (before, rest) = after.split_at((stop - first) as usize);
        (first, after) = (*stop, rest);
        end[node] = latest(before, &end) + durations[work.index()];
    }
    let makespan = end.iter().copied().fold(0.0, later);
    Schedule { end, makespan }
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
        let last_of = |nodes: &mut dyn Iterator<Item = NodeId>| {
            nodes.max_by(|a, b| self.end(*a).total_cmp(&self.end(*b)))
        };
        let mut path = Vec::new();
        let mut next = last_of(&mut dag.nodes());
        while let Some(node) = next {
            path.push(node);
            next = last_of(&mut dag.after(node).iter().copied());
        }
        path.reverse();
        path
    }

    /// By how many seconds each node could end later without the makespan growing: 0 on the critical path.
    ///
    /// One pass back over nodes and edges.
    pub fn slack(&self, dag: &Dag, durations: &[f64]) -> Vec<f64> {
        let mut latest = vec![self.makespan; dag.len()];
        for node in dag.nodes().rev() {
            let start = latest[node.index()] - durations[dag.work_column()[node.index()].index()];
            for before in dag.after(node) {
                let end = &mut latest[before.index()];
                *end = end.min(start);
            }
        }
        for (latest, end) in latest.iter_mut().zip(&self.end) {
            *latest = (*latest - end).max(0.0);
        }
        latest
    }
}

/// A plan's runtime with its interval, and the schedule under the estimates themselves.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// The makespan; its basis is the worst among the ops of the critical path.
    pub makespan: Estimate,
    /// Starts, ends and the critical path.
    pub schedule: Schedule,
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
pub fn timeline(dag: &Dag, prices: &Prices) -> Result<Timeline, crate::units::NotATime> {
    let durations = prices.column(|e| e.seconds);
    let schedule = schedule(dag, &durations);
    let seconds = Seconds::new(schedule.makespan)?;
    let (low, high) = scenarios::interval(dag, prices, schedule.makespan);
    let (low, high) = (Seconds::new(low)?, Seconds::new(high)?);
    let path = schedule.critical_path(dag);
    let basis = path
        .iter()
        .filter(|node| !dag.work_of(**node).ops.is_empty())
        .map(|node| prices.of(dag, *node).basis)
        .max()
        .unwrap_or(crate::cost::Basis::Measured);
    let busy = busy(dag, &durations);
    Ok(Timeline { makespan: Estimate { seconds, low, high, basis }, schedule, busy, durations })
}
