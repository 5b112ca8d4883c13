//! Tables of several nodes of one kind: each against the middle of all.

use std::collections::BTreeMap;

use super::{Change, Tally, Verdict};
use crate::op::{Family, Op};
use crate::table::{Record, Table};

/// Ops of a family below which nothing is said of a node by that family alone.
const FEW: usize = 3;

/// How a node stands among the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Like the others.
    Usual,
    /// At least half of the ops are slower than on the middle node: of these families, or of all.
    Slow(Vec<Family>),
    /// The same, faster.
    Fast(Vec<Family>),
}

/// One node's table against the middle of all.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Which table it is, counted from 0 in the order given.
    pub index: usize,
    /// Each op that at least three nodes have: the middle row, and this node's.
    pub changes: Vec<Change>,
    /// Verdicts over all of them.
    pub tally: Tally,
    /// What they come to.
    pub standing: Standing,
}

/// Ranks nodes, the slowest first: by the median of their times over the middle times of all nodes.
///
/// The middle row of an op is that of the node with the median time, of two such the faster one.
pub fn nodes(tables: &[Table]) -> Vec<Node> {
    let mut rows: BTreeMap<Op, Vec<(usize, &Record)>> = BTreeMap::new();
    for (index, table) in tables.iter().enumerate() {
        for record in &table.records {
            rows.entry(record.op).or_default().push((index, record));
        }
    }
    let mut changes: Vec<Vec<Change>> = vec![Vec::new(); tables.len()];
    for rows in rows.values_mut().filter(|rows| rows.len() > 2) {
        rows.sort_by_key(|(index, record)| (record.summary.seconds, *index));
        let Some((_, reference)) = rows.get((rows.len() - 1) / 2).copied() else { continue };
        for (index, record) in rows.iter() {
            changes[*index].push(Change::of(reference, record));
        }
    }
    let mut nodes: Vec<Node> = changes.into_iter().enumerate().map(node).collect();
    nodes.sort_by(|a, b| b.tally.median.total_cmp(&a.tally.median).then(a.index.cmp(&b.index)));
    nodes
}

fn node((index, changes): (usize, Vec<Change>)) -> Node {
    let tally = Tally::of(changes.iter());
    let of = |family: Family| Tally::of(changes.iter().filter(|change| change.op.family() == family));
    let there: Vec<Family> = Family::ALL.into_iter().filter(|family| of(*family).all() > 0).collect();
    let families = |verdict: Verdict| -> Vec<Family> {
        let mostly = |tally: &Tally| tally.all() >= FEW && 2 * tally.count(verdict) >= tally.all();
        let found: Vec<Family> = there.iter().copied().filter(|family| mostly(&of(*family))).collect();
        if found.is_empty() && mostly(&tally) { there.clone() } else { found }
    };
    let standing = match (families(Verdict::Slower), families(Verdict::Faster)) {
        (slow, _) if !slow.is_empty() => Standing::Slow(slow),
        (_, fast) if !fast.is_empty() => Standing::Fast(fast),
        _ => Standing::Usual,
    };
    Node { index, changes, tally, standing }
}
