//! Which ranks are slower than the others of their groups, over all that was measured.

use crate::stats;
use crate::units::Seconds;

/// A rank this much slower than the others is worth a remark.
const SLOWER: f64 = 1.1;

/// Times of each rank, relative to the median of its group.
#[derive(Debug, Default)]
pub(super) struct Stragglers {
    ratios: Vec<Vec<Seconds>>,
}

impl Stragglers {
    /// Takes one run's seconds by rank. Groups of two say only that they differ, not which is slow.
    pub fn note(&mut self, times: &[(u64, f64)]) {
        if times.len() < 3 {
            return;
        }
        let seconds: Vec<Seconds> = times.iter().filter_map(|(_, time)| Seconds::new(*time).ok()).collect();
        let Some(median) = stats::median(&seconds).filter(|median| median.get() > 0.0) else { return };
        for (rank, time) in times {
            let rank = *rank as usize;
            if self.ratios.len() <= rank {
                self.ratios.resize(rank + 1, Vec::new());
            }
            self.ratios[rank].extend(Seconds::new(time / median.get()).ok());
        }
    }

    /// The ranks that are slow, and how many times as long as the others they take.
    pub fn found(&self) -> Vec<(u64, f64)> {
        let ratio =
            |(rank, ratios): (usize, &Vec<Seconds>)| Some((rank as u64, stats::median(ratios)?.get()));
        self.ratios.iter().enumerate().filter_map(ratio).filter(|(_, ratio)| *ratio > SLOWER).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Stragglers;

    #[test]
    fn the_slow_one_is_found_and_a_slow_moment_is_none() {
        let mut stragglers = Stragglers::default();
        for turn in 0..9 {
            let first = if turn == 4 { 9.0 } else { 1.0 };
            stragglers.note(&[(0, first), (1, 1.0), (2, 1.3), (3, 1.0)]);
        }
        assert_eq!(stragglers.found(), [(2, 1.3)]);
    }
}
