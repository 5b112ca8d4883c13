//! Between two measured sizes of one group of ranks: what only ever rises, and is straight where bandwidth counts.

use super::features::{Coords, Features};
use super::guard::{self, WITNESSES};
use super::neighbours::Neighbour;

/// How much the straight line between two sizes has to say where a message's time is all bandwidth. On the H200 and A100
/// tables, with the even or the odd sizes left out, errors change by less than a tenth from 0.3 to 0.8.
const SHARE_OF_LINE: f64 = 0.6;

/// In log seconds, how far above the line between two sizes the lines through the two below and through the two above
/// must meet for a change of protocol to lie between them.
const SWITCH: f64 = 0.05;

/// What rows near a point say by their sizes.
pub struct Sizes<'a> {
    near: &'a [Neighbour],
    rows: &'a [Features],
    logs: &'a [f64],
    /// By how much each neighbour took longer than larger messages of its group, in log seconds.
    excess: Vec<f64>,
}

impl<'a> Sizes<'a> {
    /// The neighbours `near` among `rows`, which took `logs`. The first message of a run is often a slow one: of 512
    /// bytes that take longer than both 2,048 and 8,192 is known that they can be sent as fast as those.
    pub fn new(near: &'a [Neighbour], rows: &'a [Features], logs: &'a [f64]) -> Self {
        let excess = |of: &Neighbour| {
            let from = &rows[of.row].coords;
            let mut least = [f64::INFINITY; WITNESSES];
            for other in near {
                let coords = &rows[other.row].coords;
                if coords[1..] == from[1..] && coords[0] > from[0] {
                    guard::insert(&mut least, logs[other.row], |new, old| new < old);
                }
            }
            (logs[of.row] - least[WITNESSES - 1]).max(0.0)
        };
        Sizes { near, rows, logs, excess: near.iter().map(excess).collect() }
    }

    /// By how much each neighbour took longer than larger messages bear out, in log seconds.
    pub fn excess(&self) -> &[f64] {
        &self.excess
    }

    /// `log`, said of a message at `at`, of which bandwidth takes the share `streamed`, drawn towards the line between
    /// the measured sizes around it.
    ///
    /// The library takes the fastest of its protocols, each latency plus bytes over bandwidth: so time over bytes is
    /// straight, or bends down where another takes over, and nowhere else. Where the lines from both sides meet far above
    /// the one between, such a bend lies there, no one knows at which size: half-way, in logarithms, is meant then.
    pub fn between(&self, log: f64, at: &Coords, streamed: f64) -> f64 {
        let sizes = self.of_group(at);
        let place = sizes.partition_point(|(bytes, _)| *bytes < at[0].exp2());
        let line = |from: usize, to: usize| {
            let ((a, s), (b, t)) = (*sizes.get(from)?, *sizes.get(to)?);
            Some((s + (t - s) * (at[0].exp2() - a) / (b - a)).max(f64::MIN_POSITIVE).ln())
        };
        let Some(inner) = place.checked_sub(1).and_then(|below| line(below, place)) else { return log };
        let share = SHARE_OF_LINE * streamed;
        let drawn = (1.0 - share) * log + share * inner;
        let below = place.checked_sub(2).and_then(|from| line(from, from + 1));
        let met = below.zip(line(place, place + 1)).map(|(below, above)| below.min(above));
        match met {
            Some(met) if met > inner + SWITCH => drawn.max(0.5 * (inner + met)),
            _ => drawn,
        }
    }

    /// Bytes and seconds of the sizes of the group at `at`, rising; the mean of those of one size.
    fn of_group(&self, at: &Coords) -> Vec<(f64, f64)> {
        let mut sizes: Vec<(f64, f64)> = (self.near.iter().zip(&self.excess))
            .map(|(other, excess)| (&self.rows[other.row].coords, (self.logs[other.row] - excess).exp()))
            .filter(|(coords, _)| coords[1..] == at[1..])
            .map(|(coords, seconds)| (coords[0].exp2(), seconds))
            .collect();
        sizes.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let of_size = |same: &[(f64, f64)]| {
            (same[0].0, same.iter().map(|(_, seconds)| seconds).sum::<f64>() / same.len() as f64)
        };
        sizes.chunk_by(|a, b| a.0 == b.0).map(of_size).collect()
    }
}
