//! The ways of timing: once behind a barrier, back to back, and back to back in a graph.

use super::{Nccl, own};
use crate::measure::cuda::gpu::Shared;
use crate::measure::cuda::stream::{Event, Graph};
use crate::measure::fabric::Group;
use crate::world::watch::Trouble;

/// How often a graph is replayed; the middle one counts.
const REPLAYS: usize = 3;

impl Nccl {
    /// Queues one run on the next copy of the buffers.
    pub(super) fn queue(&mut self) -> Result<(), Trouble> {
        let Some(task) = &self.task else { return Ok(()) };
        let Some(comm) = self.comm(task.group) else { return Ok(()) };
        let (from, to) = task.buffers;
        let (from, to) = (from + task.sent.at(self.turn), to + task.received.at(self.turn));
        comm.queue(&task.shape, task.dtype, from, to)?;
        self.steps.enter();
        self.turn += 1;
        Ok(())
    }

    /// Queues `queue` behind a closed switch and a barrier of the group, opens it, and waits.
    pub(super) fn behind_barrier(
        &mut self,
        group: Group,
        queue: impl FnOnce(&mut Self) -> Result<(), Trouble>,
    ) -> Result<f64, Trouble> {
        self.switch.hold(&self.gpu).map_err(own)?;
        let barrier = self.control[3].address();
        let queued = match self.comm(group) {
            Some(comm) => comm.queue_barrier(barrier, barrier + 256),
            None => Ok(()),
        };
        self.steps.enter();
        let queued = queued.and_then(|()| queue(self));
        self.switch.open();
        queued?;
        let done = Event::new(&self.gpu).map_err(own)?;
        done.record().map_err(own)?;
        self.finish(&done)?;
        self.stop.seconds_since(&self.start).map_err(own)
    }

    /// Seconds of so many runs between two events.
    pub(super) fn runs(&mut self, group: Group, runs: u64) -> Result<f64, Trouble> {
        self.behind_barrier(group, |rank| {
            rank.start.record().map_err(own)?;
            (0..runs).try_for_each(|_| rank.queue())?;
            rank.stop.record().map_err(own)
        })
    }

    /// The same in a graph.
    pub(super) fn graph(&mut self, group: Group, runs: u64) -> Result<f64, Trouble> {
        let mut queued = Ok(());
        let gpu = Shared::clone(&self.gpu);
        let graph = Graph::capture(&gpu, || {
            self.start.record_in_graph()?;
            queued = (0..runs).try_for_each(|_| self.queue());
            self.stop.record_in_graph()
        });
        queued?;
        let graph = graph.map_err(own)?;
        let mut seconds = Vec::with_capacity(REPLAYS);
        for _ in 0..REPLAYS {
            seconds.push(self.behind_barrier(group, |_| graph.launch().map_err(own))?);
        }
        seconds.sort_by(f64::total_cmp);
        Ok(seconds[REPLAYS / 2])
    }
}
