//! The ranks of a run end together: whoever dies, fails or falls silent is named on every rank.
//!
//! The connections of the meeting stay open, and carry nothing but this. Rank 0 judges what ended the run; the
//! others tell it their trouble and wait for its word.

use std::io;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::frame;
use super::laggard::{laggard, named};
use super::meeting::{Met, Peer};

/// For how long better causes are waited for: what one rank dies of, the others feel, and may tell sooner.
const SETTLING: Duration = Duration::from_millis(500);

/// How long a rank may take to tell where it is.
const ANSWER: Duration = Duration::from_secs(3);

/// How often rank 0 tells that it lives.
const BEAT: Duration = Duration::from_secs(1);

/// Why a rank ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What happened.
    pub text: String,
    /// Whether another rank may be the cause.
    pub is_echo: bool,
}

#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// Rank 0 lives.
    Beat,
    /// A rank ends.
    Trouble(Trouble),
    /// How many exchanges the rank has entered.
    Where,
    At(u64),
    /// What ended the run.
    Verdict(String),
}

#[derive(Debug)]
enum Event {
    Message(u64, Message),
    Gone(u64),
    /// No exchange has ended for so long.
    Stalled(Duration),
}

/// Keeps an eye on the other ranks, in threads of its own.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    events: Sender<Event>,
}

#[derive(Debug)]
struct Shared {
    rank: u64,
    roster: Vec<Peer>,
    lines: Vec<(u64, TcpStream)>,
    deadline: Duration,
    /// Exchanges that the ranks of this process have entered, by rank.
    own: Vec<(u64, Arc<AtomicU64>)>,
    verdict: Mutex<Option<String>>,
    told: Condvar,
    /// Whether connections may close.
    ending: AtomicBool,
    /// Connections that are still open.
    open: Mutex<usize>,
    left: Condvar,
}

impl Watch {
    /// Watches a run; `own` counts the exchanges that this process's ranks enter.
    pub fn start(rank: u64, met: Met, deadline: Duration, own: Vec<(u64, Arc<AtomicU64>)>) -> Self {
        let Met { roster, lines, .. } = met;
        let (verdict, told, ending, left) = Default::default();
        let open = Mutex::new(lines.len());
        let shared =
            Arc::new(Shared { rank, roster, lines, deadline, own, verdict, told, ending, open, left });
        let (events, coming) = channel();
        for (from, line) in &shared.lines {
            if let Ok(line) = line.try_clone() {
                let (from, events) = (*from, events.clone());
                spawn(move || listen(from, &line, &events));
            }
        }
        let watch = Watch { shared: Arc::clone(&shared), events };
        spawn(move || if rank == 0 { shared.lead(&coming) } else { shared.follow(&coming) });
        watch
    }

    /// What ended the run, once something has.
    pub fn verdict(&self) -> Option<String> {
        self.shared.verdict.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of trouble of a rank of this process, and waits for what ended the run.
    pub fn fail(&self, rank: u64, trouble: Trouble) -> String {
        let text = self.shared.told_by(rank, &trouble);
        if self.shared.rank == 0 {
            let _ = self.events.send(Event::Message(rank, Message::Trouble(trouble)));
        } else {
            self.shared.tell_all(&Message::Trouble(trouble));
        }
        self.wait(ANSWER + SETTLING).unwrap_or(text)
    }

    /// Finds out which rank holds the others up, on rank 0: no exchange has ended for `waited`.
    pub fn stalled(&self, waited: Duration) -> String {
        let _ = self.events.send(Event::Stalled(waited));
        let unknown = || format!("the ranks have waited for each other for {waited:.0?}");
        self.wait(ANSWER + 2 * SETTLING).unwrap_or_else(unknown)
    }

    /// From now on ranks may leave.
    pub fn end(&self) {
        self.shared.ending.store(true, Ordering::Release);
    }

    /// Waits until all others have left, on rank 0, or the deadline has passed: one that still reads the last order
    /// when rank 0 is gone takes it for dead.
    pub fn see_off(&self) {
        let open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.shared.left.wait_timeout_while(open, self.shared.deadline, |open| *open > 0);
    }

    /// A rank with its host, as messages name it.
    pub fn name(&self, rank: u64) -> String {
        self.shared.name(rank)
    }

    fn wait(&self, limit: Duration) -> Option<String> {
        let verdict = self.shared.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.shared.told.wait_timeout_while(verdict, limit, |verdict| verdict.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

fn spawn(body: impl FnOnce() + Send + 'static) {
    // without the thread nobody is named, and the deadline of the one who waits still holds
    let _ = std::thread::Builder::new().stack_size(1 << 18).spawn(body);
}

fn listen(from: u64, line: &TcpStream, events: &Sender<Event>) {
    loop {
        let event = match frame::receive_any(line, None) {
            Ok(message) => Event::Message(from, message),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => continue,
            Err(_) => Event::Gone(from),
        };
        let is_last = matches!(event, Event::Gone(_));
        if events.send(event).is_err() || is_last {
            return;
        }
    }
}

impl Shared {
    fn name(&self, rank: u64) -> String {
        named(&self.roster, rank)
    }

    fn told_by(&self, rank: u64, trouble: &Trouble) -> String {
        format!("{}: {}", self.name(rank), trouble.text)
    }

    fn tell_all(&self, message: &Message) {
        for (_, line) in &self.lines {
            let _ = frame::send(line, message); // one who is gone is named by its own event
        }
    }

    fn judge(&self, text: String) {
        let mut verdict = self.verdict.lock().unwrap_or_else(PoisonError::into_inner);
        if verdict.is_none() {
            if self.rank == 0 {
                self.tell_all(&Message::Verdict(text.clone()));
            }
            *verdict = Some(text);
            self.told.notify_all();
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Rank 0: until something ends the run, and tells all what it was.
    fn lead(&self, events: &Receiver<Event>) {
        let beat = BEAT.min(self.deadline / 4);
        loop {
            match events.recv_timeout(beat) {
                Err(RecvTimeoutError::Timeout) => self.tell_all(&Message::Beat),
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(Event::Gone(_)) if self.is_ending() => {
                    let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
                    *open = open.saturating_sub(1);
                    self.left.notify_all();
                }
                Ok(Event::Stalled(waited)) => return self.judge(self.who_is_late(events, waited)),
                Ok(event @ (Event::Gone(_) | Event::Message(_, Message::Trouble(_)))) => {
                    return self.judge(self.cause(event, events));
                }
                Ok(Event::Message(..)) => {}
            }
        }
    }

    /// The cause among what is told within a moment: what a rank says of itself, or its death, before what may be
    /// an echo of either.
    fn cause(&self, first: Event, events: &Receiver<Event>) -> String {
        let until = Instant::now() + SETTLING;
        let mut echo = None;
        let mut next = Some(first);
        while let Some(event) = next {
            match event {
                Event::Message(rank, Message::Trouble(trouble)) => {
                    let text = self.told_by(rank, &trouble);
                    if !trouble.is_echo {
                        return text;
                    }
                    echo.get_or_insert((rank, text));
                }
                // who told of trouble may go
                Event::Gone(rank) if echo.as_ref().is_none_or(|(known, _)| *known != rank) => {
                    return format!("{} ended without a word", self.name(rank));
                }
                _ => {}
            }
            next = events.recv_timeout(until.saturating_duration_since(Instant::now())).ok();
        }
        echo.map_or_else(|| "the run ended".to_owned(), |(_, text)| text)
    }

    /// Asks all ranks how far they have come, and tells who holds the others up.
    fn who_is_late(&self, events: &Receiver<Event>, waited: Duration) -> String {
        if self.lines.is_empty() && self.own.len() < self.roster.len() {
            return format!(
                "no exchange ended for {waited:.1?}, and which rank holds it up cannot be told here"
            );
        }
        let mut at: Vec<(u64, u64)> =
            self.own.iter().map(|(rank, steps)| (*rank, steps.load(Ordering::Acquire))).collect();
        self.tell_all(&Message::Where);
        let until = Instant::now() + ANSWER;
        while at.len() < self.roster.len() {
            match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Message(rank, Message::At(steps))) => at.push((rank, steps)),
                Ok(event @ (Event::Gone(_) | Event::Message(_, Message::Trouble(_)))) => {
                    return self.cause(event, events);
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        laggard(&self.roster, &at, waited)
    }

    /// Any other rank: until rank 0 tells what ended the run, or is gone itself.
    fn follow(&self, events: &Receiver<Event>) {
        if self.lines.is_empty() {
            return;
        }
        // asked for by rank 0 at the same time, it would be named here for what another does
        let limit = self.deadline + ANSWER;
        loop {
            match events.recv_timeout(limit) {
                Err(RecvTimeoutError::Timeout) => {
                    let silent = format!("{} has not been heard of for {limit:.1?}", self.name(0));
                    return self.judge(silent);
                }
                Err(RecvTimeoutError::Disconnected) => return,
                Ok(Event::Gone(_)) if self.is_ending() => return,
                Ok(Event::Gone(_)) => return self.judge(format!("{} ended without a word", self.name(0))),
                Ok(Event::Message(_, Message::Verdict(text))) => return self.judge(text),
                Ok(Event::Message(_, Message::Where)) => {
                    let steps = self.own.iter().map(|(_, steps)| steps.load(Ordering::Acquire)).min();
                    self.tell_all(&Message::At(steps.unwrap_or(0)));
                }
                Ok(_) => {}
            }
        }
    }
}
