//! What no prediction may contradict: the fastest that was measured, and smaller ops that took longer.

use super::features::{Features, Join};
use super::neighbours::Neighbour;

/// A smaller op may take this much longer than a larger one, in log seconds. Libraries do choose badly: on an
/// H200 a product of 97 rows is 18 % faster than one of 96, in every published campaign.
const MARGIN: f64 = 0.15;

/// Of the neighbours that a prediction contradicts, the first may be a row measured in a bad moment.
pub const WITNESSES: usize = 2;

/// The highest rates that the rows of a surface show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peaks {
    /// The logarithm of each term of work over its time.
    logs: [f64; 2],
}

impl Peaks {
    /// The peaks of `rows`; without end where the terms add, since then no row shows the rate of one.
    pub fn of(rows: &[Features], logs: &[f64]) -> Peaks {
        let peak = |term: usize| {
            let rates = rows.iter().zip(logs).map(|(row, log)| row.work[term].ln() - log);
            rates.fold(f64::NEG_INFINITY, f64::max)
        };
        let device = rows.first().is_some_and(|row| row.join == Join::Overlap || row.work[1] == 0.0);
        Peaks { logs: if device { [peak(0), peak(1)] } else { [f64::INFINITY; 2] } }
    }

    /// The least logarithm of the seconds of `op`: each term of its work at the highest rate of any row.
    pub fn least(&self, op: &Features) -> f64 {
        let term = |term: usize| op.work[term].ln() - self.logs[term];
        let (a, b) = (term(0), term(1));
        // NaN of a term without work is never the larger
        f64::NEG_INFINITY.max(a).max(b)
    }
}

/// `log` between what the neighbours of `op` allow: not much less than rows that are smaller along every axis,
/// and not much more than rows that are larger.
pub fn between(log: f64, op: &Features, near: &[Neighbour], rows: &[Features], logs: &[f64]) -> f64 {
    let mut slower = [f64::NEG_INFINITY; WITNESSES];
    let mut faster = [f64::INFINITY; WITNESSES];
    for other in near {
        let (row, seconds) = (&rows[other.row].coords, logs[other.row]);
        if row.iter().zip(&op.coords).all(|(row, op)| row <= op) {
            insert(&mut slower, seconds, |new, old| new > old);
        }
        if row.iter().zip(&op.coords).all(|(row, op)| row >= op) {
            insert(&mut faster, seconds, |new, old| new < old);
        }
    }
    let (least, most) = (slower[WITNESSES - 1] - MARGIN, faster[WITNESSES - 1] + MARGIN);
    if least < most { log.clamp(least, most) } else { log }
}

/// Keeps the best few, best first.
pub fn insert(best: &mut [f64; WITNESSES], new: f64, better: impl Fn(f64, f64) -> bool) {
    let mut new = new;
    for place in best {
        if better(new, *place) {
            std::mem::swap(&mut new, place);
        }
    }
}
