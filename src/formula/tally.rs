//! How often each call is in a value.

use std::collections::HashMap;

/// Calls by their number, in order of first appearance, with how often each one counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    counts: Vec<(usize, f64)>,
    /// Where each call stands in `counts`: long sums would take quadratic time without.
    positions: HashMap<usize, usize>,
}

impl Tally {
    /// One call, once.
    pub(super) fn once(call: usize) -> Self {
        Tally { counts: vec![(call, 1.0)], positions: HashMap::from([(call, 0)]) }
    }

    /// Multiplies every count.
    pub(super) fn scale(&mut self, factor: f64) {
        self.counts.iter_mut().for_each(|(_, count)| *count *= factor);
    }

    /// Adds the counts of `other`; calls that are new come behind.
    pub(super) fn append(&mut self, other: Tally) {
        for (call, count) in other.counts {
            let position = *self.positions.entry(call).or_insert(self.counts.len());
            match self.counts.get_mut(position) {
                Some((_, sum)) => *sum += count,
                None => self.counts.push((call, count)),
            }
        }
    }

    /// The calls and their counts.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, f64)> {
        self.counts.iter().copied()
    }
}
