//! From ops to times: the backends, and how they are sampled.
//!
//! [`campaign`] decides what is measured when and within which time, [`sampler`] how often one op runs, and a
//! [`Backend`] runs it. A backend checks the result of an op before it hands out a [`Case`] to be timed.

mod anchors;
pub mod campaign;
pub mod chain;
#[cfg(feature = "cpu")]
pub mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
#[cfg(any(feature = "cpu", feature = "cuda"))]
mod exchange;
#[cfg(any(feature = "cuda", feature = "mpi"))]
pub mod fabric;
pub mod journal;
mod known;
#[cfg(feature = "mpi")]
pub mod mpi;
mod outcome;
mod remarks;
pub mod replay;
pub mod sampler;
mod visit;
mod visits;

use std::rc::Rc;
use std::time::{Duration, Instant};

use self::chain::{Chain, ChainOp};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::op::{Link, Op, P2p};
use crate::stats::Summary;
use crate::units::Seconds;

/// What runs ops: a processor, a GPU, a recorded table, a fake in a test.
pub trait Backend {
    /// Its name in a table's column `source`: `gettime-cpu`.
    fn name(&self) -> &'static str;

    /// What stands in the column `source` of this op's row: the name, unless something else moves its data.
    fn source(&self, _op: &Op) -> &'static str {
        self.name()
    }

    /// The device that is measured.
    fn device(&self) -> Device;

    /// How `gpus` devices of this kind stand together, when this backend runs their collectives.
    fn cluster(&self, gpus: u64) -> Cluster;

    /// The element types that it can run.
    fn dtypes(&self) -> &[Dtype];

    /// What a person should know before trusting times taken now, such as that something else is running.
    fn remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// What a person should know once all is measured, such as that one rank was slower than the others.
    fn closing_remarks(&self) -> Vec<String> {
        Vec::new()
    }

    /// The only ops that it can run, of a record of measurements; `None` of a device, which runs any.
    fn ops(&self) -> Option<&[Op]> {
        None
    }

    /// What a record of measurements says of the op. It stands in the place of what samples would say, which are
    /// all alike there and would pass for a time without any error.
    fn recorded(&self, _op: &Op) -> Option<Summary> {
        None
    }

    /// Whether the backend can run the op, apart from memory; asked before an op is chosen.
    ///
    /// # Errors
    /// What stands against it.
    fn supports(&self, _op: &Op) -> Result<(), String> {
        Ok(())
    }

    /// Bytes of the op's buffers, asked before anything is allocated.
    fn need(&self, op: &Op) -> u128;

    /// Bytes that the buffers of one op may take now, those that the backend already holds included.
    fn memory(&self) -> u64;

    /// The clock that this backend's time is budgeted by.
    fn clock(&self) -> Rc<dyn Clock>;

    /// The shortest sample worth taking: about 100 times the resolution of whatever times a case.
    fn shortest_sample(&self) -> Duration;

    /// Allocates the op's buffers, fills them with random data, runs the op once and checks the result.
    ///
    /// # Errors
    /// When the op is not supported, does not fit in memory, cannot run, or gives a wrong result.
    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError>;

    /// A clock that goes only while cores work for this process, by as much as they do over their number; `None` of
    /// a device whose time is not shared.
    fn core_clock(&self) -> Option<Rc<dyn Clock>> {
        None
    }

    /// Time for which this process could have worked while other programs had the cores, over their number; `None`
    /// where nobody says.
    fn waited(&self) -> Option<Seconds> {
        None
    }

    /// How fast the device's clock runs now. Only the ratio of two means something; `None` where nobody says.
    fn pace(&mut self) -> Option<f64> {
        None
    }

    /// Makes ops ready that run one after the other on buffers of so many elements, which they share.
    ///
    /// # Errors
    /// When an op is not supported, the buffers do not fit in memory, or the backend runs no chains.
    fn chain(&mut self, links: &[ChainOp], _buffers: &[u64]) -> Result<Box<dyn Chain>, MeasureError> {
        let op = links.first().map_or(Op::P2p(P2p { bytes: 1, link: Link::IntraNode }), |link| link.op);
        Err(MeasureError::Unsupported { op, reason: format!("{} runs no chains of ops yet", self.name()) })
    }
}

/// An op with its buffers, checked and ready to be timed.
pub trait Case {
    /// Runs the op `runs` times back to back (0 counts as 1) and returns the mean time of one run: one sample.
    ///
    /// A backend that launches graphs builds one for `runs` launches when the number changes, and may round it
    /// up; the sampler settles on one number before it keeps samples.
    ///
    /// # Errors
    /// When the op cannot run to its end.
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError>;

    /// Of the time that making it ready took, what will not be needed again: a kernel compiled for this op alone.
    fn once(&self) -> Duration {
        Duration::ZERO
    }

    /// Remarks on the samples taken so far, for the row's flags: words separated by blanks, some of them
    /// `key=value`.
    fn remarks(&self) -> String {
        String::new()
    }
}

/// Time since some fixed moment; virtual in tests, so that they need no sleeping.
pub trait Clock {
    /// Time since that moment; never goes back.
    fn now(&self) -> Duration;
}

/// The monotonic clock of the machine.
#[derive(Clone, Copy, Debug)]
pub struct WallClock(Instant);

impl WallClock {
    /// A clock that starts at 0 now.
    pub fn start() -> Self {
        WallClock(Instant::now())
    }
}

impl Clock for WallClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// What every backend says of an op that none runs.
#[cfg(any(feature = "cpu", feature = "cuda"))]
const NO_OP: &str = "it stands for whole layers";

/// Why an op could not be measured.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// The op's buffers do not fit.
    #[error("{op} needs {asked} bytes, {available} are available")]
    OutOfMemory {
        /// What was to be measured.
        op: Op,
        /// Bytes of its buffers.
        asked: u128,
        /// Bytes that may be used.
        available: u64,
    },
    /// The backend cannot run this op, element type or shape.
    #[error("{op} is not supported: {reason}")]
    Unsupported {
        /// What was to be measured.
        op: Op,
        /// What stands against it.
        reason: String,
    },
    /// The op ran and its result is wrong; nothing that this backend measures can be trusted.
    #[error("{op} gave a wrong result at {place}: expected {expected}, got {got}")]
    WrongResult {
        /// What was run.
        op: Op,
        /// Which element.
        place: String,
        /// What it should be.
        expected: f64,
        /// What it is.
        got: f64,
    },
    /// The device would not run this op, though it should be able to; others may still run.
    #[error("{op} was refused: {reason}")]
    Refused {
        /// What was to be measured.
        op: Op,
        /// What the device said.
        reason: String,
    },
    /// Somebody asked to end; what was measured until then stands.
    #[error("interrupted")]
    Interrupted,
    /// The op did not run to its end, and nothing can be measured after it.
    #[error("{op} failed: {reason}")]
    Failed {
        /// What was run.
        op: Op,
        /// What happened.
        reason: String,
    },
}
