//! Which ranks are slower than the others of their groups, over all that was measured.
//!
//! A slow rank is late at the barrier, too, and the others' times begin without it: each holds a wait that is the
//! same for all ops of a group. So it is not times that are compared but how they grow: by how many seconds a rank
//! takes longer for a long op than for a short one, where the middle rank of the group takes a second longer.

use std::collections::BTreeMap;

use crate::op::Op;
use crate::stats;
use crate::units::Seconds;

/// A rank this much slower than the others is worth a remark.
const SLOWER: f64 = 1.1;

/// How many times as long as the shortest op of its group one has to be, for what it takes longer to be no noise.
const LONGER: f64 = 1.5;

/// One op's times: of each rank those of all runs.
type Times = BTreeMap<u64, Vec<Seconds>>;

/// Times of every rank in every op.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    ops: BTreeMap<Op, Times>,
}

/// The median of each rank, and of them the middle one.
struct Medians {
    ranks: Vec<(u64, f64)>,
    middle: f64,
}

impl Medians {
    fn of(times: &Times) -> Option<Medians> {
        let medians: Vec<(u64, Seconds)> =
            times.iter().filter_map(|(rank, all)| Some((*rank, stats::median(all)?))).collect();
        let each: Vec<Seconds> = medians.iter().map(|(_, median)| *median).collect();
        let middle = stats::median(&each)?.get();
        let ranks = medians.into_iter().map(|(rank, median)| (rank, median.get())).collect();
        Some(Medians { ranks, middle })
    }

    fn members(&self) -> Vec<u64> {
        self.ranks.iter().map(|(rank, _)| *rank).collect()
    }
}

impl Stragglers {
    /// Takes one run's seconds by rank. Groups of two say only that they differ, not which is slow.
    pub fn note(&mut self, op: &Op, times: &[(u64, f64)]) {
        if times.len() < 3 {
            return;
        }
        let ranks = self.ops.entry(*op).or_default();
        for (rank, time) in times {
            ranks.entry(*rank).or_default().extend(Seconds::new(*time).ok());
        }
    }

    /// The ranks that are slow, and how many times as long as the others they take.
    pub fn found(&self) -> Vec<(u64, f64)> {
        let mut groups: BTreeMap<Vec<u64>, Vec<Medians>> = BTreeMap::new();
        for medians in self.ops.values().filter_map(Medians::of) {
            groups.entry(medians.members()).or_default().push(medians);
        }
        let mut ratios: BTreeMap<u64, Vec<Seconds>> = BTreeMap::new();
        for mut ops in groups.into_values() {
            ops.sort_by(|a, b| a.middle.total_cmp(&b.middle));
            let Some((short, rest)) = ops.split_first() else { continue };
            for long in rest.iter().filter(|op| op.middle > LONGER * short.middle) {
                for ((rank, seconds), (_, less)) in long.ranks.iter().zip(&short.ranks) {
                    let ratio = (seconds - less).max(0.0) / (long.middle - short.middle);
                    ratios.entry(*rank).or_default().extend(Seconds::new(ratio).ok());
                }
            }
        }
        let ratio = |(rank, ratios): (u64, Vec<Seconds>)| Some((rank, stats::median(&ratios)?.get()));
        ratios.into_iter().filter_map(ratio).filter(|(_, ratio)| *ratio > SLOWER).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Op, Stragglers};
    use crate::op::{Link, P2p};

    fn op(bytes: u64) -> Op {
        Op::P2p(P2p { bytes, link: Link::IntraNode })
    }

    #[test]
    fn the_slow_one_is_found_and_a_slow_moment_is_none() {
        let mut stragglers = Stragglers::default();
        for turn in 0..9 {
            for length in [1.0, 2.0, 10.0] {
                let first = if turn == 4 { 99.0 } else { length };
                let times = [(0, first), (1, length), (2, 1.3 * length), (3, length)];
                stragglers.note(&op(length as u64), &times);
            }
        }
        let found = stragglers.found();
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == 2 && (found[0].1 - 1.3).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn the_wait_of_the_others_for_a_late_one_does_not_hide_it() {
        // the slow one leaves the barrier 0.3 s after the others, and takes 1.3 times as long from then on
        let mut stragglers = Stragglers::default();
        for length in [1.0, 4.0] {
            let others = length + 0.3;
            stragglers.note(&op(length as u64), &[(4, others), (5, others), (6, 1.3 * length), (7, others)]);
        }
        let found = stragglers.found();
        assert!(found.len() == 1 && found[0].0 == 6 && (found[0].1 - 1.3).abs() < 1e-12, "{found:?}");
    }
}
