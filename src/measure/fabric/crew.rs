//! The ranks of this process, each in a thread of its own: whatever call a rank hangs in, the process can still
//! tell why, and end.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use super::order::Order;
use super::rank::{Desk, Engine, Report, Steps, serve};
use crate::world::meeting::Met;
use crate::world::watch::{Trouble, Watch};

/// How often a waiting leader looks after the others.
const LOOK: Duration = Duration::from_millis(20);

/// How long ranks may take to leave once they are told to.
const LEAVING: Duration = Duration::from_secs(2);

/// Ends what a rank waits for; called when a run fails.
pub(in crate::measure) type Abort = Arc<dyn Fn() + Send + Sync>;

/// Makes a rank's engine, in the rank's thread.
pub(in crate::measure) type Make = Box<dyn FnOnce(Steps) -> Result<Box<dyn Engine>, Trouble> + Send>;

/// The threads of this process's ranks.
pub(super) struct Crew {
    ended: Receiver<(u64, Result<(), Trouble>)>,
    left: usize,
    pub watch: Watch,
    abort: Abort,
    pub deadline: Duration,
}

/// The leader's end of its own rank.
pub(super) struct Lead {
    pub orders: Sender<Order>,
    pub reports: Receiver<Vec<Report>>,
}

impl Crew {
    /// Starts the ranks of this process; the first is the leader's where this process leads.
    pub fn start(met: Met, ranks: Vec<(u64, Make)>, abort: Abort, deadline: Duration) -> (Crew, Lead) {
        let steps: Vec<(u64, Steps)> = ranks.iter().map(|(rank, _)| (*rank, Steps::default())).collect();
        let counters = steps.iter().map(|(rank, steps)| (*rank, steps.counter())).collect();
        let first = ranks.first().map_or(0, |(rank, _)| *rank);
        let watch = Watch::start(first, met, deadline, counters);
        let (orders, to_do) = channel();
        let (answers, reports) = channel();
        let mut desk: Option<Desk> = (first == 0).then_some((to_do, answers));
        let (ends, ended) = channel();
        let mut left = 0;
        for ((rank, make), (_, steps)) in ranks.into_iter().zip(steps) {
            let (ends, desk) = (ends.clone(), desk.take());
            let body = move || {
                let result =
                    make(steps.clone()).and_then(|mut engine| serve(&mut *engine, &steps, desk.as_ref()));
                let _ = ends.send((rank, result));
            };
            match std::thread::Builder::new().name(format!("rank {rank}")).spawn(body) {
                Ok(_) => left += 1,
                Err(error) => {
                    let text = format!("its thread could not be started: {error}");
                    watch.fail(rank, Trouble { text, is_echo: false });
                }
            }
        }
        (Crew { ended, left, watch, abort, deadline }, Lead { orders, reports })
    }

    /// Lets all ranks do something, and waits for what they say of it.
    ///
    /// # Errors
    /// What ended the run.
    pub fn exchange(&mut self, lead: &Lead, order: Order) -> Result<Vec<Report>, String> {
        let start = Instant::now();
        // a rank that is gone is told of below
        let _ = lead.orders.send(order);
        loop {
            if let Ok(reports) = lead.reports.recv_timeout(LOOK) {
                return Ok(reports);
            }
            self.look()?;
            if start.elapsed() > self.deadline {
                let verdict = self.watch.stalled(start.elapsed());
                self.abort();
                return Err(verdict);
            }
        }
    }

    /// Whether all goes well.
    ///
    /// # Errors
    /// What ended the run.
    pub fn look(&mut self) -> Result<(), String> {
        if let Some(verdict) = self.watch.verdict() {
            self.abort();
            return Err(verdict);
        }
        while let Ok((rank, result)) = self.ended.try_recv() {
            self.left -= 1;
            if let Err(trouble) = result {
                let verdict = self.watch.fail(rank, trouble);
                self.abort();
                return Err(verdict);
            }
        }
        Ok(())
    }

    /// Waits until all ranks of this process have left.
    ///
    /// # Errors
    /// What ended the run before its time.
    pub fn wait(&mut self) -> Result<(), String> {
        while self.left > 0 {
            self.look()?;
            std::thread::sleep(LOOK);
        }
        self.watch.end();
        Ok(())
    }

    /// Ends what the ranks of this process wait for, and gives them a moment to leave.
    fn abort(&mut self) {
        let abort = Arc::clone(&self.abort);
        // in a thread: it may itself wait for a device that never answers
        let _ = std::thread::Builder::new().spawn(move || abort());
        let until = Instant::now() + LEAVING;
        while self.left > 0 && Instant::now() < until {
            match self.ended.recv_timeout(LOOK) {
                Ok(_) => self.left -= 1,
                Err(_) => continue,
            }
        }
    }
}
