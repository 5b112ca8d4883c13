//! Rounds in which the chain and its ops alone take turns.

use std::collections::BTreeMap;
use std::time::Duration;

use super::share::Share;
use crate::measure::chain::{ChainRun, Lap, Way};
use crate::measure::{Backend, MeasureError};
use crate::op::Op;
use crate::stats;
use crate::units::Seconds;

/// Rounds at least and at most, where nobody says how many.
const ROUNDS: (usize, usize) = (5, 25);

/// Time after which no further round begins, once there are enough.
const LIMIT: Duration = Duration::from_secs(30);

/// Half-width of the ratio's interval that is good enough.
const NARROW: f64 = 0.01;

/// Rounds that sweep the caches, too, which takes time.
const SWEPT: usize = 7;

/// Time for one op alone in one round, and samples at most.
const ALONE: (f64, usize) = (0.02, 7);

/// One round, op by op of the chain.
pub(super) struct Round {
    pub alone: Vec<Lap>,
    pub linked: ChainRun,
    pub launched: Option<ChainRun>,
    pub swept: Option<ChainRun>,
    /// The share of the time that threads were ready and others had the cores; none where nobody says.
    pub waited: Option<f64>,
    /// The clock right after the chain over that after the ops alone.
    pub pace: Option<f64>,
}

impl Lap {
    /// The shorter of what went by and what cores worked.
    pub(super) fn least(&self) -> f64 {
        self.busy.unwrap_or(self.seconds).min(self.seconds).get()
    }
}

/// Runs rounds until the ratio is known well enough, or as many as are asked for.
pub(super) fn turns(
    share: &Share,
    backend: &mut dyn Backend,
    asked: Option<usize>,
) -> Result<Vec<Round>, MeasureError> {
    let mut chain = backend.chain(&share.links, &share.buffers)?;
    let clock = backend.clock();
    let begun = clock.now();
    chain.run(Way::Linked)?; // the first touches what no later one does
    let (least, most) = asked.map_or(ROUNDS, |asked| (asked.max(1), asked.max(1)));
    let mut rounds: Vec<Round> = Vec::new();
    while rounds.len() < most {
        let before = load(backend);
        let linked = chain.run(Way::Linked)?;
        let pace = backend.pace();
        let alone = each_alone(share, backend)?;
        let waited = load(backend).zip(before).map(|(after, before)| {
            let (busy, waited) = (after.0 - before.0, after.1 - before.1);
            waited / (busy + waited).max(f64::MIN_POSITIVE)
        });
        let pace = pace.zip(backend.pace()).map(|(chained, alone)| chained / alone);
        let mut also = |way: Way, wanted: bool| match wanted && chain.ways().contains(&way) {
            true => chain.run(way).map(Some),
            false => Ok(None),
        };
        let launched = also(Way::Launched, true)?;
        let swept = also(Way::Swept, rounds.len() < SWEPT)?;
        rounds.push(Round { alone, linked, launched, swept, waited, pace });
        let is_known = narrow(&rounds) || clock.now().saturating_sub(begun) > LIMIT;
        if rounds.len() >= least && is_known {
            break;
        }
    }
    Ok(rounds)
}

/// What each op of the chain takes alone. An op that takes long is measured as often as the chain has it: one sample
/// would count several times.
fn each_alone(share: &Share, backend: &mut dyn Backend) -> Result<Vec<Lap>, MeasureError> {
    let mut known: BTreeMap<Op, Lap> = BTreeMap::new();
    let mut laps = Vec::with_capacity(share.links.len());
    for link in &share.links {
        let lap = match known.get(&link.op) {
            Some(lap) if lap.seconds.get() < ALONE.0 => *lap,
            _ => alone(backend, &link.op)?,
        };
        known.insert(link.op, lap);
        laps.push(lap);
    }
    Ok(laps)
}

/// Core time so far, and time waited for cores, in seconds.
fn load(backend: &dyn Backend) -> Option<(f64, f64)> {
    Some((backend.core_clock()?.now().as_secs_f64(), backend.waited()?.get()))
}

fn narrow(rounds: &[Round]) -> bool {
    let ratio = |round: &Round| {
        let alone: f64 = round.alone.iter().map(Lap::least).sum();
        Seconds::new(round.linked.whole.least() / alone).ok()
    };
    let ratios: Vec<Seconds> = rounds.iter().filter_map(ratio).collect();
    let width = stats::interval(&ratios).map(|(low, high)| high.get() - low.get());
    width.is_some_and(|width| width <= 2.0 * NARROW)
}

/// What an op takes alone, as a campaign measures it.
pub(super) fn alone(backend: &mut dyn Backend, op: &Op) -> Result<Lap, MeasureError> {
    let (shortest, cores) = (backend.shortest_sample().as_secs_f64(), backend.core_clock());
    let mut case = backend.prepare(op)?;
    let one = case.sample(1)?.get().max(1e-9);
    let runs = (shortest / one).ceil().clamp(1.0, 1e6) as u64;
    let (budget, most) = ALONE;
    let samples = (budget / (one * runs as f64)).clamp(1.0, most as f64) as usize;
    if runs > 1 {
        case.sample(runs)?; // what is made ready for the number of runs is not timed
    }
    let before = cores.as_ref().map(|clock| clock.now());
    let taken = (0..samples).map(|_| case.sample(runs)).collect::<Result<Vec<_>, _>>()?;
    let busy = cores.zip(before).and_then(|(clock, before)| {
        let busy = clock.now().saturating_sub(before).as_secs_f64();
        Seconds::new(busy / (samples as u64 * runs) as f64).ok()
    });
    Ok(Lap { seconds: stats::median(&taken).unwrap_or_default(), busy })
}
