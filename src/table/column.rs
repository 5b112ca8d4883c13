//! The columns of a table: those that name an op, then those that say how long it took.

use std::fmt;

use crate::op::Column;

/// A column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableColumn {
    /// One of the columns that name the op.
    Op(Column),
    /// The median.
    Seconds,
    /// Lower end of the interval of the median.
    SecondsLow,
    /// Upper end of the interval of the median.
    SecondsHigh,
    /// How many samples it rests on.
    Samples,
    /// How the ranks were linked.
    Algorithm,
    /// How they spoke.
    Protocol,
    /// What the data went through.
    Transport,
    /// Remarks on the measurement.
    Flags,
    /// Who measured it.
    Source,
}

impl TableColumn {
    /// The columns of a [`super::Route`], which are left out of a table where no row has one.
    pub const ROUTE: [TableColumn; 3] =
        [TableColumn::Algorithm, TableColumn::Protocol, TableColumn::Transport];

    /// Every column, in the order in which a table is written.
    pub fn all() -> impl Iterator<Item = TableColumn> {
        use TableColumn::{Flags, Samples, Seconds, SecondsHigh, SecondsLow, Source};
        let [algorithm, protocol, transport] = TableColumn::ROUTE;
        let measured = [Seconds, SecondsLow, SecondsHigh, Samples];
        let remarks = [algorithm, protocol, transport, Flags, Source];
        Column::ALL.into_iter().map(TableColumn::Op).chain(measured).chain(remarks)
    }

    /// The name in the table's first line.
    pub const fn name(self) -> &'static str {
        match self {
            TableColumn::Op(column) => column.name(),
            TableColumn::Seconds => "seconds",
            TableColumn::SecondsLow => "seconds_low",
            TableColumn::SecondsHigh => "seconds_high",
            TableColumn::Samples => "samples",
            TableColumn::Algorithm => "algorithm",
            TableColumn::Protocol => "protocol",
            TableColumn::Transport => "transport",
            TableColumn::Flags => "flags",
            TableColumn::Source => "source",
        }
    }

    /// The column of this name.
    pub fn named(name: &str) -> Option<TableColumn> {
        TableColumn::all().find(|column| column.name() == name)
    }

    /// Whether its fields are numbers, which stay readable, and wrong, when the end is cut off.
    pub const fn is_number(self) -> bool {
        !matches!(
            self,
            TableColumn::Op(Column::Op | Column::Kind | Column::Dtype)
                | TableColumn::Algorithm
                | TableColumn::Protocol
                | TableColumn::Transport
                | TableColumn::Flags
                | TableColumn::Source
        )
    }
}

impl fmt::Display for TableColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The one of `known` that a person most likely meant by `word`; `None` where none comes close.
pub(super) fn nearest(word: &str, known: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    // A longer word is no typing error, and comparing it would take time that grows with its length.
    if word.chars().count() > 32 {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|name| (edits(&word, name), name))
        // Most letters must be right, or any letter would be near "m".
        .filter(|(edits, name)| edits * 3 <= name.len())
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Letters to insert, remove or replace to turn `a` into `b` (Levenshtein 1966).
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
