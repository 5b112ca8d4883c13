//! How many times as long products and communication take at the same time, from a table's rows of the two.

use crate::cost::Basis;
use crate::op::{Op, Overlap, Timed};
use crate::table::{Record, Table};

/// The word of a row's flags that holds the time of the op alone, in seconds, measured in the same moment.
pub const ALONE: &str = "alone=";

/// The rows of a table that tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slowdowns {
    rows: Vec<(Overlap, f64)>,
}

impl Slowdowns {
    /// Of the rows of products and all-reduces at the same time that say what each takes alone.
    pub fn of(table: &Table) -> Self {
        let alone = |record: &Record| {
            let word = record.flags.split_whitespace().find_map(|word| word.strip_prefix(ALONE))?;
            word.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds > 0.0)
        };
        let row = |record: &Record| match record.op {
            Op::Overlap(op) => Some((op, record.summary.seconds.get() / alone(record)?)),
            _ => None,
        };
        Slowdowns { rows: table.records.iter().filter_map(row).collect() }
    }

    /// How many times as long the `timed` one of a product and a message takes, beside the other; `None` where the
    /// table does not say.
    ///
    /// Measured where this message was, between two messages in proportion to the octaves, and beyond them as at the
    /// nearest; what was measured in another group, of all-reduces alone, counts as beyond.
    pub fn factor(&self, timed: Timed, message: &Op) -> Option<(f64, Basis)> {
        let (ranks, nodes) = match message {
            Op::Collective(op) => (op.ranks, op.nodes),
            Op::P2p(op) => (2, op.link.nodes()),
            _ => return None,
        };
        let octaves = |a: u64, b: u64| (a.max(1) as f64).log2() - (b.max(1) as f64).log2();
        let away = |op: &Overlap| ((op.nodes > 1) != (nodes > 1), octaves(op.ranks.into(), ranks).abs());
        let of_kind = || self.rows.iter().filter(|(op, _)| op.timed == timed);
        let nearest = of_kind().map(|(op, _)| (away(op), op.ranks, op.nodes));
        let nearest = nearest.min_by(|(a, ..), (b, ..)| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))?;
        let (_, of_ranks, of_nodes) = nearest;
        let mut points: Vec<(u64, f64)> = of_kind()
            .filter(|(op, _)| (op.ranks, op.nodes) == (of_ranks, of_nodes))
            .map(|(op, factor)| (op.bytes, *factor))
            .collect();
        points.sort_unstable_by_key(|(bytes, _)| *bytes);
        let bytes = u64::try_from(message.bytes()).unwrap_or(u64::MAX);
        let below = points.iter().rev().find(|(known, _)| *known <= bytes);
        let above = points.iter().find(|(known, _)| *known >= bytes);
        let (factor, basis) = match (below, above) {
            (Some(below), Some(above)) if below.0 < above.0 => {
                let share = octaves(bytes, below.0) / octaves(above.0, below.0);
                (below.1 + share * (above.1 - below.1), Basis::Interpolated)
            }
            (Some((_, factor)), Some(_)) => (*factor, Basis::Measured),
            (Some((_, factor)), None) | (None, Some((_, factor))) => (*factor, Basis::Extrapolated),
            (None, None) => return None,
        };
        let is_alike = (u64::from(of_ranks), u64::from(of_nodes)) == (ranks, nodes)
            && matches!(message, Op::Collective(op) if op.kind == crate::op::CollectiveKind::AllReduce);
        Some((factor, if is_alike { basis } else { Basis::Extrapolated }))
    }
}
