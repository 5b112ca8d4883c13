//! Collectives among ranks that are threads or processes, on one node or several.
//!
//! One rank leads: it runs the campaign, and each thing to do goes to all ranks as an order of a few numbers, by
//! the engine that is measured (`rank::Engine`: NCCL, MPI). So the number of runs is the same everywhere. An
//! op's time is its slowest rank's, run by run. What is no collective is measured on the leader's device alone.

mod crew;
mod group;
mod order;
mod pair;
mod rank;
mod run;
mod stragglers;

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

pub(super) use self::crew::Make;

pub(super) use self::group::{Ends, Group, members, wanted};
pub(super) use self::order::{Mode, WORDS};
pub(super) use self::rank::{Engine, NUMBERS, Steps, Wrong};

pub(super) use self::run::Kind;
pub use self::run::Run;

use self::order::Order;
use self::pair::{Both, Pair};
use self::rank::Report;
use self::stragglers::Stragglers;
use super::{Backend, Case, Clock, MeasureError};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::nccl_log::Told;
use crate::op::{Link, Op, Overlap, P2p};
use crate::table::Route;
use crate::units::Seconds;

/// Messages up to this many bytes are timed in graphs too.
const GRAPH_BYTES: u128 = 8 << 20;

/// Runs of one graph.
const GRAPH_RUNS: u64 = 32;

/// What pipelined runs take together, in seconds.
const PIPELINE: f64 = 2e-3;

/// Pipelined runs at least and at most.
const PIPELINED: (f64, f64) = (5.0, 200.0);

/// Several ranks as a backend: collectives among all of them, everything else on the leader's device.
pub struct Fabric<'a> {
    run: Run,
    local: &'a mut dyn Backend,
    stragglers: Stragglers,
    /// What is known of an op beside its isolated time.
    known: HashMap<Op, String>,
    /// Of two ops at the same time, how often each has to run.
    pairs: HashMap<Overlap, Pair>,
}

impl Fabric<'_> {
    /// Ends the run well: all ranks leave.
    ///
    /// # Errors
    /// What ended it before.
    pub fn end(mut self) -> Result<(), String> {
        self.run.crew.watch.end();
        let _ = self.run.lead.orders.send(Order::End);
        self.run.crew.wait()?;
        self.run.crew.watch.see_off();
        Ok(())
    }

    /// Ends the run on all ranks, and tells them why.
    pub fn fail(&self, reason: &str) {
        self.run.fail(reason);
    }

    fn exchange(&mut self, op: &Op, order: Order) -> Result<Vec<Report>, MeasureError> {
        self.run
            .crew
            .exchange(&self.run.lead, order)
            .map_err(|reason| MeasureError::Failed { op: *op, reason })
    }

    /// One run's seconds on each rank of the group.
    fn time(&mut self, op: &Op, mode: Mode, runs: u64) -> Result<Vec<(u64, f64)>, MeasureError> {
        let reports = self.exchange(op, Order::Time(mode, runs))?;
        let seconds = |(rank, report): (usize, &Report)| match report {
            Report::Seconds(seconds) => Some((rank as u64, *seconds)),
            _ => None,
        };
        Ok(reports.iter().enumerate().filter_map(seconds).collect())
    }

    /// The isolated time of one run, that of its slowest rank.
    fn isolated(&mut self, op: &Op) -> Result<f64, MeasureError> {
        let times = self.time(op, Mode::Isolated, 1)?;
        self.stragglers.note(op, &times);
        Ok(slowest(&times))
    }

    /// Times the op in the two other ways, once.
    fn other_ways(&mut self, op: &Op) -> Result<String, MeasureError> {
        let one = self.isolated(op)?;
        let runs = (PIPELINE / one.max(1e-9)).ceil().clamp(PIPELINED.0, PIPELINED.1);
        // an order has to end well before the ranks are given up
        let most = (self.run.crew.deadline.as_secs_f64() / 8.0 / one.max(1e-9)).floor().max(1.0);
        let pipelined = slowest(&self.time(op, Mode::Pipelined, runs.min(most) as u64)?);
        let mut words = format!("pipelined={pipelined:.4e}");
        if self.run.kind.has_graphs && op.bytes() <= GRAPH_BYTES && most >= 4.0 * GRAPH_RUNS as f64 {
            let graph = slowest(&self.time(op, Mode::Graph, GRAPH_RUNS)?);
            words += &format!(" graph={graph:.4e}");
        }
        Ok(words)
    }

    /// Who sends to whom: over the worst link of the node, or over the first of a class.
    fn ends(&self, op: &Op) -> Option<Ends> {
        let Op::P2p(op) = op else { return None };
        let classes = &self.run.kind.link_classes;
        match op.link {
            Link::IntraNode => classes.last().copied(),
            Link::Class(class) => classes.get(usize::from(class)).copied(),
            _ => None,
        }
    }

    fn supported(&self, op: &Op, group: Group) -> Result<(), String> {
        if let Some(dtype) = op.dtype().filter(|dtype| !self.run.kind.dtypes.contains(dtype)) {
            return Err(format!("{} moves no {dtype}", self.run.kind.source));
        }
        if matches!(op, Op::Overlap(_)) && !self.run.kind.has_streams {
            return Err(format!("{} has nothing that runs beside its exchanges", self.run.kind.source));
        }
        if matches!(op, Op::P2p(P2p { link: Link::Class(_), .. })) && group.ends.is_none() {
            return Err("the node has no such class of links".to_owned());
        }
        let Group { ranks, nodes, .. } = group;
        match members(&self.run.roster, group) {
            Some(_) => Ok(()),
            None => Err(format!("there are no {ranks} ranks on {nodes} nodes")),
        }
    }
}

fn slowest(times: &[(u64, f64)]) -> f64 {
    times.iter().fold(0.0, |most, (_, seconds)| seconds.max(most))
}

impl Backend for Fabric<'_> {
    fn name(&self) -> &'static str {
        self.local.name()
    }

    fn source(&self, op: &Op) -> &'static str {
        if wanted(op, None).is_some() { self.run.kind.source } else { self.local.name() }
    }

    fn device(&self) -> Device {
        self.local.device()
    }

    /// The ranks that there are.
    fn cluster(&self, _: u64) -> Cluster {
        Cluster {
            gpus: Some(self.run.roster.len() as u64),
            gpus_per_node: group::per_node(&self.run.roster),
            details: self.run.kind.details.clone(),
        }
    }

    fn dtypes(&self) -> &[Dtype] {
        self.local.dtypes()
    }

    fn remarks(&self) -> Vec<String> {
        self.local.remarks()
    }

    fn closing_remarks(&self) -> Vec<String> {
        let remark = |(rank, ratio): (u64, f64)| {
            let percent = (ratio - 1.0) * 100.0;
            format!(
                "{} is {percent:.0} % slower than the others of its groups",
                self.run.crew.watch.name(rank)
            )
        };
        self.stragglers.found().into_iter().map(remark).collect()
    }

    fn supports(&self, op: &Op) -> Result<(), String> {
        match wanted(op, self.ends(op)) {
            Some(group) => self.supported(op, group),
            None => self.local.supports(op),
        }
    }

    fn need(&self, op: &Op) -> u128 {
        match wanted(op, None) {
            // what a rank sends and receives, in the copies that it goes through at most
            Some(_) => u128::from(self.run.kind.sharing) * 4 * op.bytes() + (1 << 28),
            None => self.local.need(op),
        }
    }

    fn memory(&self) -> u64 {
        self.local.memory()
    }

    fn clock(&self) -> Rc<dyn Clock> {
        self.local.clock()
    }

    fn shortest_sample(&self) -> Duration {
        self.local.shortest_sample()
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        let ends = self.ends(op);
        let Some(group) = wanted(op, ends) else {
            // the others would otherwise not know whether the leader lives
            let _ = self.run.lead.orders.send(Order::Wait);
            self.run.crew.look().map_err(|reason| MeasureError::Failed { op: *op, reason })?;
            return self.local.prepare(op);
        };
        self.supported(op, group).map_err(|reason| MeasureError::Unsupported { op: *op, reason })?;
        let reports = self.exchange(op, Order::Prepare(*op, ends))?;
        let wrong = |(rank, report): (usize, &Report)| match report {
            Report::Wrong(wrong) => Some((rank as u64, *wrong)),
            _ => None,
        };
        if let Some((rank, Wrong { place, expected, got })) = reports.iter().enumerate().find_map(wrong) {
            let place = format!("element {place} of {}", self.run.crew.watch.name(rank));
            return Err(MeasureError::WrongResult { op: *op, place, expected, got });
        }
        if let Op::Overlap(op) = *op {
            let pair = match self.pairs.get(&op) {
                Some(pair) => *pair,
                None => self.pair(&op)?,
            };
            self.pairs.insert(op, pair);
            return Ok(Box::new(Both { op, pair, fabric: self }));
        }
        if !self.known.contains_key(op) {
            let words = self.other_ways(op)?;
            let told = |told: Told, report: &Report| match report {
                Report::Told(other) => told.and(*other),
                _ => told,
            };
            let route = Route::of(reports.iter().fold(Told::default(), told).names());
            self.known.insert(*op, format!("{words} {}", route.words()).trim_end().to_owned());
        }
        Ok(Box::new(Together { op: *op, fabric: self }))
    }
}

/// An op of several ranks, ready to be timed.
struct Together<'f, 'a> {
    op: Op,
    fabric: &'f mut Fabric<'a>,
}

impl Case for Together<'_, '_> {
    /// Each run by itself, however many are asked for: the slowest rank is another one in each.
    fn sample(&mut self, _: u64) -> Result<Seconds, MeasureError> {
        let seconds = self.fabric.isolated(&self.op)?;
        Ok(Seconds::new(seconds).unwrap_or_default())
    }

    fn remarks(&self) -> String {
        self.fabric.known.get(&self.op).cloned().unwrap_or_default()
    }
}
