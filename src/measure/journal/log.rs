//! What was answered, and the clock that goes on from it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::event::Event;
use super::file::Lines;
use crate::measure::Clock;

pub(super) type Shared = Rc<RefCell<Log>>;

/// What was answered.
pub(super) struct Log {
    pub lines: Option<Lines>,
    /// Answers of the run before that were not asked for again yet.
    pub known: VecDeque<Event>,
    /// Answers that are on no line yet.
    pub fresh: Vec<Event>,
    /// Measurements in the file.
    pub visits: usize,
    /// The inner clock.
    clock: Rc<dyn Clock>,
    /// The time when the last known answer was given, and that of the inner clock when the first fresh one was.
    last: Duration,
    base: Duration,
    /// Why the file is behind.
    pub unwritten: Option<String>,
    /// The answer that was asked for and not the next of those known.
    pub diverged: Option<String>,
}

impl Log {
    /// Goes on from the lines of a run before.
    pub fn new(lines: Option<Lines>, known: Vec<Vec<Event>>, clock: Rc<dyn Clock>) -> Log {
        Log {
            lines,
            visits: known.len(),
            known: known.into_iter().flatten().collect(),
            fresh: Vec::new(),
            last: Duration::ZERO,
            base: clock.now(),
            clock,
            unwritten: None,
            diverged: None,
        }
    }

    /// The time now, as it would have gone on.
    fn now(&self) -> u64 {
        let now = self.last + self.clock.now().saturating_sub(self.base);
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    }

    /// The next known answer, where it is one that `fits`.
    pub fn next<T>(&mut self, fits: impl Fn(&Event) -> Option<T>, asked: &str) -> Option<T> {
        let next = self.known.front()?;
        let answer = fits(next);
        if answer.is_none() {
            self.diverged = Some(format!("{asked} was asked for, and {next:?} was answered before"));
            self.known.clear();
        }
        if let Some(Event::Now(nanos) | Event::End(nanos)) = self.known.pop_front() {
            self.last = Duration::from_nanos(nanos);
        }
        if self.known.is_empty() {
            self.base = self.clock.now();
        }
        answer
    }

    /// Writes the fresh answers in a line: all of a measurement, or nothing.
    pub fn end(&mut self) {
        self.fresh.push(Event::End(self.now()));
        let Some(lines) = &mut self.lines else { return self.fresh.clear() };
        match lines.append(&self.fresh) {
            Ok(()) => {
                self.visits += 1;
                self.fresh.clear();
                self.unwritten = None;
            }
            // they stay, and go with the next measurement
            Err(error) => self.unwritten = Some(format!("{} is behind: {error}", lines.path.display())),
        }
    }
}

/// The clock of the inner backend, as it would have gone on from the run before.
pub(super) struct LoggedClock(pub Shared);

impl Clock for LoggedClock {
    fn now(&self) -> Duration {
        let log = &mut *self.0.borrow_mut();
        let fits = |event: &Event| if let Event::Now(nanos) = event { Some(*nanos) } else { None };
        Duration::from_nanos(log.next(fits, "the time").unwrap_or_else(|| {
            let now = log.now();
            log.fresh.push(Event::Now(now));
            now
        }))
    }
}
