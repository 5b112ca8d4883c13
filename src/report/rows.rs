//! The critical path, gathered: layers that look the same become one group, ops of one name one row.

use std::collections::BTreeMap;

use crate::cost::{Basis, Estimate};
use crate::dag::{Kind, WorkId};
use crate::evaluate::Evaluation;
use crate::op::Op;

/// An op of a group of layers on the critical path.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Its name, experts counted as one.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Its ops, as text, without the element type; `≤` before the largest where sizes differ.
    pub op: String,
    /// How often it is on the path.
    pub count: u64,
    /// All of them together.
    pub total: Estimate,
}

/// Layers whose parts of the critical path are the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// First and last layer; `None` for what lies between layers.
    pub layers: Option<(u16, u16)>,
    /// In the order of the path.
    pub rows: Vec<Row>,
}

impl Group {
    /// Number of layers.
    pub fn len(&self) -> u64 {
        self.layers.map_or(1, |(first, last)| u64::from(last - first) + 1)
    }

    /// All rows together.
    pub fn total(&self) -> Estimate {
        self.rows.iter().map(|row| row.total).sum()
    }
}

/// What a layer has on the path: how often each work, in the order of first appearance.
type Signature = Vec<(String, WorkId, u64)>;

/// Gathers the critical path of an evaluation.
pub fn groups(e: &Evaluation) -> Vec<Group> {
    let mut layers: BTreeMap<Option<u16>, Signature> = BTreeMap::new();
    for node in &e.critical_path {
        let work = e.dag.work_column()[node.index()];
        if e.dag.works()[work.index()].ops.is_empty() {
            continue;
        }
        let name = e.dag.role_of(*node);
        let signature = layers.entry(e.dag.tag(*node).layer).or_default();
        match signature.iter_mut().find(|(n, w, _)| *n == name && *w == work) {
            Some((.., count)) => *count += 1,
            None => signature.push((name.to_owned(), work, 1)),
        }
    }
    let between = layers.remove(&None);
    let mut groups: Vec<(Option<(u16, u16)>, Signature)> = Vec::new();
    for (layer, signature) in layers {
        let Some(layer) = layer else { continue };
        match groups.last_mut() {
            Some((Some((_, last)), same)) if *last + 1 == layer && *same == signature => *last = layer,
            _ => groups.push((Some((layer, layer)), signature)),
        }
    }
    groups.extend(between.map(|signature| (None, signature)));
    groups.into_iter().map(|(layers, signature)| group(e, layers, signature)).collect()
}

fn group(e: &Evaluation, layers: Option<(u16, u16)>, signature: Signature) -> Group {
    let mut group = Group { layers, rows: Vec::new() };
    let times = group.len();
    for (name, work_id, count) in signature {
        let work = &e.dag.works()[work_id.index()];
        let ops: Vec<String> = work
            .ops
            .iter()
            .map(|(op, n)| if *n == 1 { shape(e, op) } else { format!("{n} × {}", shape(e, op)) })
            .collect();
        let count = count * times;
        let total = e.prices.works[work_id.index()] * count;
        let op = ops.join(" + ");
        // micro-batches of two sizes make two works of one name
        match group.rows.iter_mut().find(|row| row.name == name) {
            Some(row) => {
                if !row.op.starts_with("≤ ") {
                    row.op.insert_str(0, "≤ ");
                }
                row.count += count;
                row.total = row.total + total;
            }
            None => group.rows.push(Row { name, kind: work.kind, op, count, total }),
        }
    }
    group
}

/// The op without its element type, which is that of the whole plan.
fn shape(e: &Evaluation, op: &Op) -> String {
    op.to_string().replacen(&format!(" {}", e.choice.dtype), "", 1)
}

/// How much of the time of some rows stands on each basis, from worst to best.
pub fn bases(groups: &[Group]) -> Vec<(Basis, f64)> {
    let mut sums: BTreeMap<Basis, f64> = BTreeMap::new();
    for row in groups.iter().flat_map(|group| &group.rows) {
        *sums.entry(row.total.basis).or_default() += row.total.seconds.get();
    }
    let all: f64 = sums.values().sum();
    let share = |sum| if all > 0.0 { sum / all } else { 0.0 };
    sums.into_iter().rev().map(|(basis, sum)| (basis, share(sum))).collect()
}
