//! Ranks as threads of this process, each with a buffer of its own to receive into.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::arena::{Arena, Slots, lines};
use super::barrier::{Barrier, Broken};
use super::check::Checked;
use super::exchange::Exchange;
use super::load::RANK;
use super::pages::Pages;

/// The threads of one group, alive until they are dismissed.
#[derive(Debug)]
pub(super) struct Team {
    ranks: Vec<Rank>,
}

/// Why a group did not do what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// A thread could not be started.
    Start,
    /// A thread has died.
    Rank,
}

/// One thread, as the one who directs it sees it.
#[derive(Debug)]
struct Rank {
    orders: Sender<Order>,
    reports: Receiver<Report>,
    thread: JoinHandle<Pages>,
}

#[derive(Clone, Copy, Debug)]
enum Order {
    Check,
    Run(u64),
}

#[derive(Debug)]
enum Report {
    Checked(Checked),
    /// When this rank reached the barrier before each run, and when it had completed the run.
    Ran(Vec<(Duration, Duration)>),
}

/// What all threads of a group share.
#[derive(Debug)]
struct Shared {
    exchange: Exchange,
    slots: Slots,
    inputs: Arc<Pages>,
    first: usize,
    reduced: Vec<RwLock<Vec<f32>>>,
    barrier: Barrier,
    start: Instant,
}

impl Team {
    /// Starts a thread for each rank of `exchange`, on `cores` cores.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn start(
        exchange: Exchange,
        arena: &mut Arena,
        (rotated_bytes, cap_bytes): (u64, u64),
        cores: usize,
    ) -> Result<Team, Lost> {
        let ranks = exchange.shape().ranks;
        let (sent, received) =
            (ranks * lines(exchange.shape().sent()), ranks * lines(exchange.shape().received()));
        let together = Slots::new(sent, received, rotated_bytes, cap_bytes);
        let slots = Slots { output: exchange.shape().received(), ..together };
        let (inputs, first) = arena.shared(slots.inputs());
        let reduced = (0..ranks).map(|_| RwLock::new(vec![0.0; exchange.shape().part()])).collect();
        let barrier = Barrier::new(ranks, cores);
        let shared = Shared { exchange, slots, inputs, first, reduced, barrier, start: Instant::now() };
        let shared = Arc::new(shared);
        let mut team = Team { ranks: Vec::with_capacity(ranks) };
        for rank in 0..ranks {
            let (shared, receive) = (Arc::clone(&shared), arena.lend(slots.outputs()));
            let (orders, to_do) = channel();
            let (answers, reports) = channel();
            let body = move || live(rank, &shared, receive, &to_do, &answers);
            let thread = std::thread::Builder::new().name(format!("{RANK}{rank}")).spawn(body);
            team.ranks.push(Rank { orders, reports, thread: thread.map_err(|_| Lost::Start)? });
        }
        Ok(team)
    }

    /// Runs once, and lets each rank check what it received.
    ///
    /// # Errors
    /// When a thread has died.
    pub fn check(&self) -> Result<Checked, Lost> {
        let mut result = Ok(());
        for report in self.order(Order::Check)? {
            if let Report::Checked(checked) = report {
                result = result.and(checked);
            }
        }
        Ok(result)
    }

    /// Runs `runs` times and returns the mean time in seconds from the moment at which the last rank reached
    /// the common barrier to that at which the last rank had completed.
    ///
    /// # Errors
    /// When a thread has died.
    pub fn sample(&self, runs: u64) -> Result<f64, Lost> {
        let mut slowest = vec![(Duration::ZERO, Duration::ZERO); runs as usize];
        for report in self.order(Order::Run(runs))? {
            if let Report::Ran(times) = report {
                for (slowest, (came, ended)) in slowest.iter_mut().zip(times) {
                    *slowest = (slowest.0.max(came), slowest.1.max(ended));
                }
            }
        }
        let total: Duration = slowest.iter().map(|(came, ended)| ended.saturating_sub(*came)).sum();
        Ok(total.as_secs_f64() / runs.max(1) as f64)
    }

    /// Ends the threads and gives their buffers back.
    pub fn dismiss(&mut self, arena: &mut Arena) {
        for Rank { orders, thread, .. } in self.ranks.drain(..) {
            drop(orders); // the thread ends when no more can come
            if let Ok(receive) = thread.join() {
                arena.give_back(receive);
            }
        }
    }

    fn order(&self, order: Order) -> Result<Vec<Report>, Lost> {
        for thread in &self.ranks {
            thread.orders.send(order).map_err(|_| Lost::Rank)?;
        }
        self.ranks.iter().map(|thread| thread.reports.recv().map_err(|_| Lost::Rank)).collect()
    }
}

/// The life of a rank; returns the buffer it was given.
fn live(
    rank: usize,
    shared: &Shared,
    mut receive: Pages,
    orders: &Receiver<Order>,
    reports: &Sender<Report>,
) -> Pages {
    let _guard = shared.barrier.guard();
    let mut slot = 0;
    while let Ok(order) = orders.recv() {
        let report = match order {
            Order::Check => check(rank, shared, &mut receive).map(Report::Checked),
            Order::Run(runs) => {
                let times = (0..runs).map(|_| {
                    slot = (slot + 1) % shared.slots.count;
                    run(rank, shared, &mut receive, slot)
                });
                times.collect::<Result<_, _>>().map(Report::Ran)
            }
        };
        // A broken barrier, or nobody left to report to: this group is at its end.
        if report.is_err() || report.is_ok_and(|report| reports.send(report).is_err()) {
            break;
        }
    }
    receive
}

fn check(rank: usize, shared: &Shared, receive: &mut [f32]) -> Result<Checked, Broken> {
    shared.slots.output_of(receive, 0).fill(f32::NAN);
    run(rank, shared, receive, 0)?;
    let sends = sends(shared, 0);
    Ok(shared.exchange.check(rank, &sends, shared.slots.output_of(receive, 0)))
}

/// One run: when this rank reached the barrier, and when it had completed.
fn run(
    rank: usize,
    shared: &Shared,
    receive: &mut [f32],
    slot: usize,
) -> Result<(Duration, Duration), Broken> {
    let sends = sends(shared, slot);
    let receive = shared.slots.output_of(receive, slot);
    let came = shared.start.elapsed();
    shared.barrier.wait()?;
    shared.exchange.run(rank, &sends, receive, &shared.reduced, &shared.barrier)?;
    Ok((came, shared.start.elapsed()))
}

/// What each rank sends in one slot.
fn sends(shared: &Shared, slot: usize) -> Vec<&[f32]> {
    let input = shared.slots.input_of(&shared.inputs[shared.first..], slot);
    let sent = shared.exchange.shape().sent();
    input.chunks(lines(sent)).map(|rank| &rank[..sent]).collect()
}
