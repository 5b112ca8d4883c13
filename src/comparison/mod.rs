//! Tables over time and over nodes: what got faster or slower, and which node is not like the others.

mod nodes;

use std::collections::HashMap;

pub use nodes::{Node, Standing, nodes};

use crate::op::{Family, Op};
use crate::stats::{Spread, Summary};
use crate::table::{Difference, Record, Table};

/// The least change that is worth a word, as a share of the time.
pub const LEAST_CHANGE: f64 = 0.01;

/// What can be said of an op that was measured twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Whatever the true times are, they differ by no more than the threshold.
    Same,
    /// It takes less time: by more than the threshold, and the intervals are apart.
    Faster,
    /// It takes more time, likewise.
    Slower,
    /// The intervals allow for both.
    Unsure,
}

impl Verdict {
    /// Every verdict.
    pub const ALL: [Verdict; 4] = [Verdict::Same, Verdict::Faster, Verdict::Slower, Verdict::Unsure];

    /// The word in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Same => "same",
            Verdict::Faster => "faster",
            Verdict::Slower => "slower",
            Verdict::Unsure => "unsure",
        }
    }
}

/// An op in two tables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The op.
    pub op: Op,
    /// What the old table says.
    pub old: Summary,
    /// What the new one says.
    pub new: Summary,
    /// The change that must be exceeded, as a share of the old time: 1 %, or twice the spread between passes
    /// where that is more.
    pub threshold: f64,
    /// What can be said of it.
    pub verdict: Verdict,
}

impl Change {
    /// Compares two rows of one op.
    pub fn of(old: &Record, new: &Record) -> Change {
        let threshold = LEAST_CHANGE.max(2.0 * spread(old).max(spread(new)));
        let (old_ends, new_ends) = (old.summary.ends(), new.summary.ends());
        let ratio = |new: f64, old: f64| new / old - 1.0;
        let change = ratio(new.summary.seconds.get(), old.summary.seconds.get());
        let most = ratio(new_ends.1.get(), old_ends.0.get());
        let least = ratio(new_ends.0.get(), old_ends.1.get());
        let known = old.summary.interval.is_some() && new.summary.interval.is_some();
        let verdict = if change.abs() > threshold {
            match old.summary.is_apart(&new.summary) && known {
                true if change > 0.0 => Verdict::Slower,
                true => Verdict::Faster,
                false => Verdict::Unsure,
            }
        } else if most <= threshold && least >= -threshold {
            Verdict::Same
        } else {
            Verdict::Unsure
        };
        Change { op: old.op, old: old.summary, new: new.summary, threshold, verdict }
    }

    /// By how much the time grew, as a share of the old one; negative where it shrank.
    pub fn relative(&self) -> f64 {
        self.new.seconds.get() / self.old.seconds.get() - 1.0
    }
}

/// The spread between the passes of a row. Where the row does not say it, the width of its interval, which
/// holds the medians of all passes; nothing is known of a row without an interval.
fn spread(record: &Record) -> f64 {
    let width = || 2.0 * record.summary.half_width().unwrap_or(0.0);
    Spread::in_flags(&record.flags).map_or_else(width, |spread| spread.0)
}

/// Two tables, op by op.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// The ops that both have, in the order of the old table.
    pub changes: Vec<Change>,
    /// Ops that only the old table has.
    pub gone: Vec<Op>,
    /// Ops that only the new one has.
    pub added: Vec<Op>,
    /// What the tables say differently of device and conditions.
    pub differences: Vec<Difference>,
}

/// Compares two tables.
pub fn compare(old: &Table, new: &Table) -> Comparison {
    let known: HashMap<Op, &Record> = new.records.iter().map(|record| (record.op, record)).collect();
    let mut found = Comparison { differences: old.differences(new), ..Comparison::default() };
    for record in &old.records {
        match known.get(&record.op) {
            Some(other) => found.changes.push(Change::of(record, other)),
            None => found.gone.push(record.op),
        }
    }
    let before: HashMap<Op, ()> = old.records.iter().map(|record| (record.op, ())).collect();
    found.added = new.records.iter().map(|record| record.op).filter(|op| !before.contains_key(op)).collect();
    found
}

/// Verdicts counted, and how far the times moved.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// By [`Verdict::ALL`].
    pub counts: [usize; 4],
    /// The median of the changes, as a share of the old times.
    pub median: f64,
}

impl Tally {
    /// Of the changes given.
    pub fn of<'a>(changes: impl Iterator<Item = &'a Change>) -> Tally {
        let mut tally = Tally::default();
        let mut moved: Vec<f64> = Vec::new();
        for change in changes {
            tally.counts[change.verdict as usize] += 1;
            moved.push(change.relative());
        }
        moved.sort_unstable_by(f64::total_cmp);
        tally.median = middle(&moved);
        tally
    }

    /// How many ops have this verdict.
    pub const fn count(&self, verdict: Verdict) -> usize {
        self.counts[verdict as usize]
    }

    /// How many ops there are.
    pub fn all(&self) -> usize {
        self.counts.iter().sum()
    }
}

/// The median of numbers in ascending order; 0 of none.
fn middle(sorted: &[f64]) -> f64 {
    match (sorted.len().checked_sub(1).and_then(|last| sorted.get(last / 2)), sorted.get(sorted.len() / 2)) {
        (Some(low), Some(high)) => 0.5 * (low + high),
        _ => 0.0,
    }
}

impl Comparison {
    /// Verdicts by family, of those that have any op in common.
    pub fn by_family(&self) -> Vec<(Family, Tally)> {
        let of = |family| Tally::of(self.changes.iter().filter(|change| change.op.family() == family));
        Family::ALL
            .into_iter()
            .map(|family| (family, of(family)))
            .filter(|(_, tally)| tally.all() > 0)
            .collect()
    }

    /// Verdicts over all ops.
    pub fn tally(&self) -> Tally {
        Tally::of(self.changes.iter())
    }

    /// The ops with this verdict, the largest change first.
    pub fn worst(&self, verdict: Verdict) -> Vec<&Change> {
        let mut found: Vec<&Change> =
            self.changes.iter().filter(|change| change.verdict == verdict).collect();
        found.sort_by(|a, b| b.relative().abs().total_cmp(&a.relative().abs()).then(a.op.cmp(&b.op)));
        found
    }
}
