//! What runs at the same time slows each other: products, and communication that has a stream of its own.
//!
//! A schedule tells for how long each node has the other beside it. For that share of its time it goes on at the
//! measured pace, and the schedule that follows tells anew, until nothing moves any more. Works keep one time
//! wherever they stand: the mean over their nodes.

use crate::cost::Basis;
use crate::dag::{Dag, Kind, Lane, Part, Work, WorkId};
use crate::op::Timed;
use crate::schedule::{Prices, schedule};
use crate::slowdown::Slowdowns;
use crate::units::Seconds;

/// How ops that run at the same time were priced.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Beside {
    /// As if each were alone: no table says what they take.
    AsAlone,
    /// Products, and communication, took so many times as long as alone, on average over those that had the other
    /// beside them.
    Slower {
        /// Of products.
        products: f64,
        /// Of communication.
        communication: f64,
    },
}

/// Schedules until the factors are settled, at most.
const ROUNDS: usize = 4;

/// Seconds of a work's nodes on all their GPUs, and those of them in which nothing of it was done.
#[derive(Clone, Copy, Debug)]
struct Slowed {
    total: f64,
    lost: f64,
    basis: Basis,
}

impl Slowed {
    /// How many times as long as alone.
    fn factor(&self) -> f64 {
        if self.lost == 0.0 { 1.0 } else { self.total / (self.total - self.lost) }
    }
}

/// Makes works longer that run at the same time; says how, or nothing where none do.
pub(super) fn slow_down(dag: &Dag, prices: &mut Prices, slowdowns: &Slowdowns) -> Option<Beside> {
    let takes_time = |(work, lane): (&WorkId, &Lane)| {
        dag.beside()[lane.index()] && prices.works[work.index()].seconds > Seconds::ZERO
    };
    if !dag.work_column().iter().zip(dag.lane_column()).any(takes_time) {
        return None;
    }
    let known: Vec<_> = dag.works().iter().map(|work| pace(work, slowdowns)).collect();
    if known.iter().all(Option::is_none) {
        return Some(Beside::AsAlone);
    }
    let alone: Vec<f64> = prices.works.iter().map(|estimate| estimate.seconds.get()).collect();
    let mut longer = alone.clone();
    let mut slowed = Vec::new();
    for _ in 0..ROUNDS {
        slowed = round(dag, &longer, &known);
        let next = alone.iter().zip(&slowed).map(|(alone, slowed)| alone * slowed.factor()).collect();
        if std::mem::replace(&mut longer, next) == longer {
            break;
        }
    }
    let mut sums = [(0.0, 0.0); 2];
    for (index, (work, slowed)) in dag.works().iter().zip(&slowed).enumerate() {
        if slowed.lost != 0.0 {
            prices.stretch(index, slowed.factor(), slowed.basis);
            let sum = &mut sums[usize::from(work.kind.part() == Some(Part::Communication))];
            *sum = (sum.0 + slowed.total, sum.1 + slowed.lost);
        }
    }
    let [products, communication] =
        sums.map(|(total, lost)| if lost == 0.0 { 1.0 } else { total / (total - lost) });
    Some(Beside::Slower { products, communication })
}

/// How many times as long a product and a message of this work take at the same time, and on which basis.
type Pace = [(f64, Basis); 2];

fn pace(work: &Work, slowdowns: &Slowdowns) -> Option<Pace> {
    let (message, _) = work.ops.iter().max_by_key(|(op, _)| op.bytes())?;
    Some([slowdowns.factor(Timed::Gemm, message)?, slowdowns.factor(Timed::AllReduce, message)?])
}

/// A node on one GPU, in seconds.
#[derive(Clone, Copy)]
struct Span {
    work: usize,
    start: f64,
    end: f64,
}

/// What each work loses under these durations.
fn round(dag: &Dag, durations: &[f64], known: &[Option<Pace>]) -> Vec<Slowed> {
    let schedule = schedule(dag, durations);
    let nothing = Slowed { total: 0.0, lost: 0.0, basis: Basis::Measured };
    let mut slowed = vec![nothing; dag.works().len()];
    // of each GPU the products, and what is beside them: each in the order of time, for a stream is one after the other
    let mut spans = vec![[Vec::new(), Vec::new()]; dag.gpus() as usize];
    for node in dag.nodes() {
        let (work, lane) = (dag.work_column()[node.index()].index(), dag.lane_column()[node.index()]);
        let (end, is_beside) = (schedule.end(node), dag.beside()[lane.index()]);
        for gpu in &dag.lanes()[lane.index()] {
            slowed[work].total += durations[work];
            if durations[work] > 0.0 && (is_beside || dag.works()[work].kind == Kind::Gemm) {
                let span = Span { work, start: end - durations[work], end };
                spans[*gpu as usize][usize::from(is_beside)].push(span);
            }
        }
    }
    for [products, messages] in spans {
        let mut rest = products.as_slice();
        for message in messages {
            let Some(paces) = known[message.work] else { continue };
            while rest.first().is_some_and(|product| product.end <= message.start) {
                rest = &rest[1..];
            }
            for product in rest.iter().take_while(|product| product.start < message.end) {
                let together = product.end.min(message.end) - product.start.max(message.start);
                for (work, (factor, basis)) in [product.work, message.work].into_iter().zip(paces) {
                    slowed[work].lost += together * (1.0 - 1.0 / factor);
                    slowed[work].basis = slowed[work].basis.max(basis);
                }
            }
        }
    }
    slowed
}
