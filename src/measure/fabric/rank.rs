//! The life of a rank: it hears an order, does it, and all ranks learn how each fared.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};

use super::group::Ends;
use super::order::{Mode, Order, WORDS};
use crate::nccl_log::Told;
use crate::op::Op;
use crate::world::watch::Trouble;

/// Numbers in a report.
pub(in crate::measure) const NUMBERS: usize = 4;

/// An element that is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::measure) struct Wrong {
    /// Which element of the receive buffer.
    pub place: usize,
    /// What it should be.
    pub expected: f64,
    /// What it is.
    pub got: f64,
}

/// What moves data among ranks: NCCL among GPUs, MPI among processes. Every call but the first is made by all
/// ranks, in the same order.
pub(in crate::measure) trait Engine {
    /// Rank 0's words, on every rank. It may take as long as rank 0 likes.
    fn broadcast(&mut self, words: &mut [u64; WORDS]) -> Result<(), Trouble>;

    /// Every rank's numbers, in the order of ranks.
    fn gather(&mut self, own: [f64; NUMBERS]) -> Result<Vec<[f64; NUMBERS]>, Trouble>;

    /// Makes the op ready, runs it once, compares its result, and returns what was told of how it ran. A rank outside
    /// of the group has nothing to compare, and nothing to tell.
    fn prepare(&mut self, op: &Op, ends: Option<Ends>) -> Result<Result<Told, Wrong>, Trouble>;

    /// Seconds of so many products and so many all-reduces of the prepared pair, which begin together; none outside
    /// of the group.
    fn both(&mut self, products: u64, exchanges: u64) -> Result<Option<[f64; 2]>, Trouble>;

    /// Seconds of one run on this rank; none outside of the group.
    fn time(&mut self, mode: Mode, runs: u64) -> Result<Option<f64>, Trouble>;
}

/// How far a rank has come: the orders it has begun, and the exchanges it has entered for the last of them. Of
/// ranks that wait for each other, the one they all wait for has come least far.
#[derive(Clone, Debug, Default)]
pub(in crate::measure) struct Steps(Arc<AtomicU64>);

/// Exchanges counted in one order.
const PHASES: u64 = 1 << 12;

impl Steps {
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0)
    }

    /// An order has been done.
    fn next(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store((now / PHASES + 1) * PHASES, Ordering::Release);
    }

    /// An exchange has been entered.
    pub fn enter(&self) {
        let now = self.0.load(Ordering::Relaxed);
        if now % PHASES < PHASES - 2 {
            self.0.store(now + 1, Ordering::Release);
        }
    }

    /// The order's last exchange comes; to have entered it is one more.
    fn last(&self) {
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now / PHASES * PHASES + PHASES - 3, Ordering::Release);
    }
}

/// What one rank tells all of an order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::measure) enum Report {
    /// It is not in the group, or there was nothing to tell.
    Nothing,
    /// Seconds of one run.
    Seconds(f64),
    /// Seconds of all runs of a product and of an all-reduce.
    Both([f64; 2]),
    /// A wrong result.
    Wrong(Wrong),
    /// How a right one came about.
    Told(Told),
}

impl Report {
    fn encode(self) -> [f64; NUMBERS] {
        match self {
            Report::Nothing => [0.0; NUMBERS],
            Report::Seconds(seconds) => [1.0, seconds, 0.0, 0.0],
            Report::Wrong(Wrong { place, expected, got }) => [2.0, place as f64, expected, got],
            Report::Both([product, exchange]) => [4.0, product, exchange, 0.0],
            Report::Told(Told { algorithm, protocol, transports }) => {
                let number = |number: Option<usize>| number.map_or(-1.0, |number| number as f64);
                [3.0, number(algorithm), number(protocol), f64::from(transports)]
            }
        }
    }

    fn decode(numbers: [f64; NUMBERS]) -> Self {
        match numbers {
            [1.0, seconds, ..] => Report::Seconds(seconds),
            [2.0, place, expected, got] => Report::Wrong(Wrong { place: place as usize, expected, got }),
            [4.0, product, exchange, _] => Report::Both([product, exchange]),
            [3.0, algorithm, protocol, transports] => {
                let number = |number: f64| (number >= 0.0).then_some(number as usize);
                let (algorithm, protocol) = (number(algorithm), number(protocol));
                Report::Told(Told { algorithm, protocol, transports: transports as u32 })
            }
            _ => Report::Nothing,
        }
    }
}

/// The leader's side of a rank: where its orders come from and its reports go.
pub(in crate::measure) type Desk = (Receiver<Order>, Sender<Vec<Report>>);

/// Does what the leader orders until it orders the end.
///
/// # Errors
/// What the engine could not do, or that the leader is gone.
pub(in crate::measure) fn serve(
    engine: &mut dyn Engine,
    steps: &Steps,
    desk: Option<&Desk>,
) -> Result<(), Trouble> {
    loop {
        steps.next();
        // a leader that is gone has failed and tells why: who heard of an end from here would believe that all is well
        let own = match desk.map(|(orders, _)| orders.recv()) {
            Some(Err(_)) => return Err(Trouble { text: "its leader gave up".to_owned(), is_echo: true }),
            Some(Ok(order)) => Some(order),
            None => None,
        };
        let mut words = own.unwrap_or(Order::End).encode();
        engine.broadcast(&mut words)?;
        let report = match Order::decode(&words) {
            Order::End => return Ok(()),
            Order::Wait => continue,
            Order::Prepare(op, ends) => match engine.prepare(&op, ends)? {
                Ok(told) => Report::Told(told),
                Err(wrong) => Report::Wrong(wrong),
            },
            Order::Both { products, exchanges } => {
                engine.both(products, exchanges)?.map_or(Report::Nothing, Report::Both)
            }
            Order::Time(mode, runs) => engine.time(mode, runs)?.map_or(Report::Nothing, Report::Seconds),
        };
        steps.last();
        let all = engine.gather(report.encode())?;
        if let Some((_, reports)) = desk {
            // a leader that no longer listens has its reasons, and orders the end
            let _ = reports.send(all.into_iter().map(Report::decode).collect());
        }
    }
}
