//! An op that is being measured, or was.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::event::{Event, Trouble};
use super::log::Shared;
use crate::measure::{Case, MeasureError};
use crate::op::Op;
use crate::units::Seconds;

/// An op with its samples kept; without a case where they are known.
pub(super) struct LoggedCase<'a> {
    pub op: Op,
    pub case: Option<Box<dyn Case + 'a>>,
    pub log: Shared,
    pub stop: &'a AtomicBool,
    /// Whether the measurement came to its end: otherwise it is made again.
    pub is_whole: bool,
}

impl Case for LoggedCase<'_> {
    fn sample(&mut self, runs: u64) -> Result<Seconds, MeasureError> {
        let Some(case) = &mut self.case else {
            let fits = |event: &Event| match event {
                Event::Sample(known, seconds) if *known == runs => Some(Ok(*seconds)),
                Event::Trouble(trouble) => Some(Err(trouble.clone())),
                _ => None,
            };
            let reason = || "the journal does not fit: it ends within a measurement".to_owned();
            return match self.log.borrow_mut().next(fits, "a sample") {
                Some(Ok(seconds)) => Ok(Seconds::new(seconds).unwrap_or_default()),
                Some(Err(trouble)) => Err(trouble.error(self.op)),
                None => Err(MeasureError::Failed { op: self.op, reason: reason() }),
            };
        };
        if self.stop.load(Ordering::Relaxed) {
            self.is_whole = false;
            return Err(MeasureError::Interrupted);
        }
        let sample = case.sample(runs);
        let event = match &sample {
            Ok(seconds) => Some(Event::Sample(runs, seconds.get())),
            Err(error) => Trouble::of(error).map(Event::Trouble),
        };
        self.is_whole &= event.is_some();
        self.log.borrow_mut().fresh.extend(event);
        sample
    }

    fn once(&self) -> Duration {
        let log = &mut *self.log.borrow_mut();
        let fits = |event: &Event| if let Event::Once(nanos) = event { Some(*nanos) } else { None };
        Duration::from_nanos(match &self.case {
            None => log.next(fits, "the time of making ready").unwrap_or_default(),
            Some(case) => {
                let nanos = u64::try_from(case.once().as_nanos()).unwrap_or(u64::MAX);
                log.fresh.push(Event::Once(nanos));
                nanos
            }
        })
    }

    fn remarks(&self) -> String {
        let log = &mut *self.log.borrow_mut();
        let Some(case) = &self.case else {
            let fits =
                |event: &Event| if let Event::Remarks(words) = event { Some(words.clone()) } else { None };
            return log.next(fits, "remarks").unwrap_or_default();
        };
        let words = case.remarks();
        log.fresh.push(Event::Remarks(words.clone()));
        words
    }
}

impl Drop for LoggedCase<'_> {
    fn drop(&mut self) {
        let log = &mut *self.log.borrow_mut();
        if self.case.is_none() {
            let fits = |event: &Event| matches!(event, Event::End(_)).then_some(());
            log.next(fits, "the end");
        } else if self.is_whole {
            log.end();
        }
    }
}
