//! Measuring that survives its end: every answer of a backend is kept on disk, and a run that goes on is given the
//! same answers again, in no time, until it comes to what was not measured yet.
//!
//! So a campaign needs to know nothing of it: its choices follow from what it is told, and are made again as they
//! were. What it was told includes the clock, which is kept, too.

mod case;
mod event;
mod file;
mod log;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use file::{JournalError, Run, path_for};

use self::case::LoggedCase;
use self::event::{Event, Trouble};
use self::file::Lines;
use self::log::{Log, LoggedClock, Shared};
use super::{Backend, Case, Clock, MeasureError};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::op::Op;
use crate::stats::Summary;

/// A backend whose answers are kept.
pub struct Journaled<'a> {
    inner: &'a mut dyn Backend,
    log: Shared,
    /// Set when somebody asks to end.
    stop: &'a AtomicBool,
}

impl<'a> Journaled<'a> {
    /// Keeps the answers of `inner` beside `out`, and with `resume` goes on where the journal there ends; keeps
    /// nothing where `out` is a pipe or a terminal. Ends with [`MeasureError::Interrupted`] when `stop` is set.
    ///
    /// # Errors
    /// When another process writes there, a run is there that was not asked for, or is another than this one, or
    /// the file cannot be read or written.
    pub fn open(
        inner: &'a mut dyn Backend,
        (out, run, resume): (&Path, &Run, bool),
        stop: &'a AtomicBool,
    ) -> Result<Self, JournalError> {
        let (lines, known) = match out.exists() && !out.is_file() {
            true => (None, Vec::new()),
            false => Lines::open(out, run, resume).map(|(lines, known)| (Some(lines), known))?,
        };
        let log = Log::new(lines, known, inner.clock());
        Ok(Journaled { inner, log: Rc::new(RefCell::new(log)), stop })
    }

    /// Measurements on disk.
    pub fn visits(&self) -> usize {
        self.log.borrow().visits
    }

    /// Why the file is behind, where it is.
    pub fn unwritten(&self) -> Option<String> {
        self.log.borrow().unwritten.clone()
    }

    /// Takes the journal away, once all of it is in the table.
    pub fn finish(self) {
        if let Some(lines) = self.log.borrow_mut().lines.take() {
            lines.remove();
        }
    }
}

impl Backend for Journaled<'_> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn source(&self, op: &Op) -> &'static str {
        self.inner.source(op)
    }

    fn closing_remarks(&self) -> Vec<String> {
        self.inner.closing_remarks()
    }

    fn device(&self) -> Device {
        self.inner.device()
    }

    fn cluster(&self, gpus: u64) -> Cluster {
        self.inner.cluster(gpus)
    }

    fn dtypes(&self) -> &[Dtype] {
        self.inner.dtypes()
    }

    fn remarks(&self) -> Vec<String> {
        self.inner.remarks()
    }

    fn ops(&self) -> Option<&[Op]> {
        self.inner.ops()
    }

    fn recorded(&self, op: &Op) -> Option<Summary> {
        self.inner.recorded(op)
    }

    fn supports(&self, op: &Op) -> Result<(), String> {
        self.inner.supports(op)
    }

    fn need(&self, op: &Op) -> u128 {
        self.inner.need(op)
    }

    fn memory(&self) -> u64 {
        let log = &mut *self.log.borrow_mut();
        let fits = |event: &Event| if let Event::Memory(bytes) = event { Some(*bytes) } else { None };
        log.next(fits, "the free memory").unwrap_or_else(|| {
            let bytes = self.inner.memory();
            log.fresh.push(Event::Memory(bytes));
            bytes
        })
    }

    fn clock(&self) -> Rc<dyn Clock> {
        Rc::new(LoggedClock(Rc::clone(&self.log)))
    }

    fn shortest_sample(&self) -> Duration {
        self.inner.shortest_sample()
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        let cells = op.cells();
        let log = Rc::clone(&self.log);
        let is_end = |event: &Event| matches!(event, Event::End(_)).then_some(());
        let fits = |event: &Event| match event {
            Event::Prepared(known) if *known == cells => Some(Ok(())),
            Event::Trouble(trouble) => Some(Err(trouble.clone())),
            _ => None,
        };
        let known = log.borrow_mut().next(fits, &op.to_string());
        let case = match known {
            Some(Ok(())) => None,
            Some(Err(trouble)) => {
                log.borrow_mut().next(is_end, "the end");
                return Err(trouble.error(*op));
            }
            None => {
                if let Some(why) = &log.borrow().diverged {
                    return Err(MeasureError::Failed {
                        op: *op,
                        reason: format!("the journal does not fit: {why}"),
                    });
                }
                if self.stop.load(Ordering::Relaxed) {
                    return Err(MeasureError::Interrupted);
                }
                match self.inner.prepare(op) {
                    Ok(case) => {
                        log.borrow_mut().fresh.push(Event::Prepared(cells));
                        Some(case)
                    }
                    Err(error) => {
                        if let Some(trouble) = Trouble::of(&error) {
                            let log = &mut *log.borrow_mut();
                            log.fresh.push(Event::Trouble(trouble));
                            log.end();
                        }
                        return Err(error);
                    }
                }
            }
        };
        Ok(Box::new(LoggedCase { op: *op, case, log, stop: self.stop, is_whole: true }))
    }
}
