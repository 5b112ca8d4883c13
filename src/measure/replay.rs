//! A recorded table as the device: campaigns over it run as on the machine that it is of, and in no time.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::{Backend, Case, Clock, MeasureError};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::op::Op;
use crate::stats::Summary;
use crate::table::{Record, Table};
use crate::units::Seconds;

/// The sample that GPUs are measured by: 400 times the resolution of their events, half a microsecond.
const SHORTEST_SAMPLE: Duration = Duration::from_micros(200);

/// A device whose times are the rows of a table.
///
/// Every sample of an op is its row's time. A virtual clock counts the runs that the measurement would have
/// taken on the device, the one that checks the result included; what allocating and filling the buffers took
/// is in no table and counts for nothing. So a campaign ends where its budget would have ended it there, and
/// gives the same rows on every run.
pub struct Replay {
    device: Device,
    cluster: Cluster,
    rows: HashMap<Op, Record>,
    /// In the order of the table.
    ops: Vec<Op>,
    dtypes: Vec<Dtype>,
    clock: Rc<VirtualClock>,
}

/// A clock that stands still but for the runs that are replayed.
#[derive(Debug, Default)]
struct VirtualClock(Cell<Duration>);

impl VirtualClock {
    fn pass(&self, seconds: f64) {
        let more = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        self.0.set(self.0.get().saturating_add(more));
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Duration {
        self.0.get()
    }
}

impl Replay {
    /// The device that `table` is of. Its element types are those of the table, the one with most rows first.
    pub fn new(table: Table) -> Replay {
        // what layers showed is no op that a campaign measures
        let is_op = |op: &Op| !matches!(op, Op::Chain(_));
        let ops: Vec<Op> = table.records.iter().map(|record| record.op).filter(is_op).collect();
        let mut counts: HashMap<Dtype, usize> = HashMap::new();
        for dtype in ops.iter().filter_map(Op::dtype) {
            *counts.entry(dtype).or_default() += 1;
        }
        let mut dtypes: Vec<Dtype> = counts.keys().copied().collect();
        dtypes.sort_unstable_by_key(|dtype| (std::cmp::Reverse(counts[dtype]), *dtype));
        Replay {
            device: table.device.unwrap_or_default(),
            cluster: table.cluster,
            rows: table.records.into_iter().map(|record| (record.op, record)).collect(),
            ops,
            dtypes,
            clock: Rc::default(),
        }
    }
}

impl Backend for Replay {
    fn name(&self) -> &'static str {
        "replay"
    }

    fn device(&self) -> Device {
        self.device.clone()
    }

    fn cluster(&self, _: u64) -> Cluster {
        self.cluster.clone()
    }

    fn dtypes(&self) -> &[Dtype] {
        &self.dtypes
    }

    fn ops(&self) -> Option<&[Op]> {
        Some(&self.ops)
    }

    fn recorded(&self, op: &Op) -> Option<Summary> {
        self.rows.get(op).map(|row| row.summary)
    }

    fn supports(&self, op: &Op) -> Result<(), String> {
        match self.rows.contains_key(op) {
            true => Ok(()),
            false => Err("the replayed table has no row of it".to_owned()),
        }
    }

    fn need(&self, op: &Op) -> u128 {
        op.bytes()
    }

    /// Without bounds: what has a row did fit.
    fn memory(&self) -> u64 {
        u64::MAX
    }

    fn clock(&self) -> Rc<dyn Clock> {
        self.clock.clone()
    }

    fn shortest_sample(&self) -> Duration {
        SHORTEST_SAMPLE
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        self.supports(op).map_err(|reason| MeasureError::Unsupported { op: *op, reason })?;
        let row = &self.rows[op];
        self.clock.pass(row.summary.seconds.get());
        Ok(Box::new(Row { row, clock: &self.clock }))
    }
}

/// A row that is replayed.
struct Row<'a> {
    row: &'a Record,
    clock: &'a VirtualClock,
}

impl Case for Row<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        let seconds = self.row.summary.seconds;
        self.clock.pass(seconds.get() * runs.max(1) as f64);
        Ok(seconds)
    }

    fn remarks(&self) -> String {
        let route = self.row.route.words();
        if route.is_empty() { self.row.flags.clone() } else { format!("{} {route}", self.row.flags) }
    }
}
