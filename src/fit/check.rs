//! How good a table and its fit are: rows that the fit has not seen, predicted.

use std::collections::{BTreeMap, BTreeSet};

use super::errors::{Errors, percentile};
use super::features::{DIMS, Features};
use super::{Fit, Key, draw};
use crate::cost::{Basis, Cost, Estimate};
use crate::dtype::Dtype;
use crate::op::{Family, Op};
use crate::table::{Record, Table};
use crate::units::Seconds;

/// Parts that rows are dealt into, each predicted from the others.
const FOLDS: u64 = 5;

/// Rounds in which whole coordinates are left out, and the share of them: one of `1/SHARE`.
const ROUNDS: u64 = 5;

/// A third of the values of an axis is left out.
const SHARE: u64 = 3;

/// An axis of fewer values keeps them all: two ranks do not tell of a third.
const FEWEST_VALUES: usize = 5;

/// A row that was predicted without being seen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tried {
    /// What was asked.
    pub op: Op,
    /// What was measured.
    pub measured: Seconds,
    /// What was answered; `None` where the fit had no answer.
    pub estimate: Option<Estimate>,
}

/// How long an op took, in classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SizeClass {
    /// Below 10 µs.
    Below10us,
    /// 10 to 100 µs.
    Below100us,
    /// 0.1 to 1 ms.
    Below1ms,
    /// 1 ms and more.
    Above1ms,
}

impl Tried {
    /// Signed error in percent of the measured time; `None` of a failure.
    pub fn error(&self) -> Option<f64> {
        Some(100.0 * (self.estimate?.seconds.get() / self.measured.get() - 1.0))
    }

    /// The class of the measured time.
    pub fn size(&self) -> SizeClass {
        match self.measured.get() {
            t if t < 10e-6 => SizeClass::Below10us,
            t if t < 100e-6 => SizeClass::Below100us,
            t if t < 1e-3 => SizeClass::Below1ms,
            _ => SizeClass::Above1ms,
        }
    }

    /// Whether the answer lies beyond what was measured.
    pub fn is_outside(&self) -> bool {
        self.estimate.is_some_and(|estimate| estimate.basis >= Basis::Extrapolated)
    }
}

/// The ops of one family, kind and element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The family.
    pub family: Family,
    /// The kind, as in the column of that name.
    pub kind: Option<&'static str>,
    /// The element type; `None` of transfers.
    pub dtype: Option<Dtype>,
}

impl Group {
    /// The group of `op`.
    pub fn of(op: &Op) -> Group {
        let (kind, dtype) = match op {
            Op::Gemm(op) => (None, Some(op.dtype)),
            Op::Kernel(op) => (Some(op.kind.name()), Some(op.dtype)),
            Op::Attention(op) => (None, Some(op.dtype)),
            Op::Collective(op) => (Some(op.kind.name()), Some(op.dtype)),
            Op::P2p(op) => (Some(op.link.kind()), None),
            Op::Overlap(op) => (Some(op.timed.name()), Some(op.dtype)),
            Op::Chain(op) => (Some(op.family.name()), Some(op.dtype)),
        };
        Group { family: op.family(), kind, dtype }
    }
}

/// Errors of predictions, all in percent of the measured times; NaN where every prediction failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// Rows tried.
    pub n: usize,
    /// Rows without an answer; the other figures leave them out.
    pub failed: usize,
    /// Median of the absolute errors.
    pub median: f64,
    /// Mean of the absolute errors.
    pub mean: f64,
    /// 95th percentile of the absolute errors.
    pub p95: f64,
    /// The largest absolute error.
    pub max: f64,
    /// Mean of the signed errors: above 0 where the fit is too slow.
    pub bias: f64,
    /// Share of the measured times within their interval.
    pub coverage: f64,
    /// Median of the intervals' widths, `(high − low)/seconds`.
    pub width: f64,
}

impl Accuracy {
    /// The errors of `tried`, whose order does not matter.
    pub fn of<'a>(tried: impl IntoIterator<Item = &'a Tried>) -> Accuracy {
        let (mut errors, mut widths) = (Vec::new(), Vec::new());
        let (mut n, mut covered) = (0, 0);
        for row in tried {
            n += 1;
            if let (Some(error), Some(estimate)) = (row.error(), row.estimate) {
                errors.push(error);
                widths.push(200.0 * estimate.relative_half_width());
                covered += usize::from((estimate.low..=estimate.high).contains(&row.measured));
            }
        }
        let errors = Errors::of(errors);
        widths.sort_unstable_by(f64::total_cmp);
        Accuracy {
            n,
            failed: n - errors.count(),
            median: errors.at(0.5),
            mean: errors.mean(),
            p95: errors.at(0.95),
            max: errors.at(1.0),
            bias: errors.bias(),
            coverage: 100.0 * covered as f64 / errors.count() as f64,
            width: percentile(&widths, 0.5),
        }
    }

    /// The errors of each group, in order.
    pub fn by_group(tried: &[Tried]) -> BTreeMap<Group, Accuracy> {
        let groups: BTreeSet<Group> = tried.iter().map(|row| Group::of(&row.op)).collect();
        let of = |group: &Group| Accuracy::of(tried.iter().filter(|row| Group::of(&row.op) == *group));
        groups.into_iter().map(|group| (group, of(&group))).collect()
    }
}

/// Predicts each row of `holdout` from `table`.
pub fn against(table: &Table, holdout: &Table) -> Vec<Tried> {
    let rows: Vec<&Record> = holdout.records.iter().collect();
    predict(&Fit::new(table, "the table"), &rows)
}

/// Predicts each row of `table` from a fit of the rows dealt to other folds; `seed` deals them.
pub fn folds(table: &Table, seed: u64) -> Vec<Tried> {
    let mut tried = Vec::with_capacity(table.records.len());
    for fold in 0..FOLDS {
        let (test, train) = split(table, |row, _| draw::mix(seed, row as u64) % FOLDS == fold);
        tried.extend(predict(&Fit::new(&train, "the table"), &test));
    }
    tried
}

/// Predicts rows of `table` from a fit of the rows that share no coordinate with them: of each axis with five
/// values or more, a third is left out in each of five rounds. So a user's own shape fares.
pub fn unseen(table: &Table, seed: u64) -> Vec<Tried> {
    let mut values: BTreeMap<Key, [BTreeSet<u64>; DIMS]> = BTreeMap::new();
    for record in &table.records {
        let Some(features) = Features::of(&record.op) else { continue };
        let of_key = values.entry(Key::of(&record.op)).or_default();
        for (axis, coord) in features.coords.iter().enumerate() {
            of_key[axis].insert(coord.to_bits());
        }
    }
    let mut tried = Vec::new();
    for round in 0..ROUNDS {
        let held = |op: &Op| {
            let (Some(features), Some(values)) = (Features::of(op), values.get(&Key::of(op))) else {
                return (false, false);
            };
            let mut held = (0..DIMS).filter(|axis| values[*axis].len() >= FEWEST_VALUES).map(|axis| {
                let dealt = draw::mix(seed ^ (round << 8 | axis as u64), features.coords[axis].to_bits());
                dealt.is_multiple_of(SHARE)
            });
            let first = held.next();
            let (any, all) = held.fold((first, first), |(any, all), held| {
                (any.map(|any| any | held), all.map(|all| all & held))
            });
            (any.unwrap_or(false), all.unwrap_or(false))
        };
        let (_, train) = split(table, |_, op| held(op).0);
        let test: Vec<&Record> = table.records.iter().filter(|record| held(&record.op).1).collect();
        tried.extend(predict(&Fit::new(&train, "the table"), &test));
    }
    tried
}

fn split(table: &Table, is_test: impl Fn(usize, &Op) -> bool) -> (Vec<&Record>, Table) {
    let mut train = Table { records: Vec::new(), ..table.clone() };
    let mut test = Vec::new();
    for (row, record) in table.records.iter().enumerate() {
        if is_test(row, &record.op) {
            test.push(record);
        } else {
            train.records.push(record.clone());
        }
    }
    (test, train)
}

fn predict(fit: &Fit, rows: &[&Record]) -> Vec<Tried> {
    let tried = |record: &&Record| Tried {
        op: record.op,
        measured: record.summary.seconds,
        estimate: fit.cost(&record.op).ok(),
    };
    // of two ops at a time, and of whole layers, nothing is predicted
    let is_predicted = |record: &&&Record| {
        record.summary.seconds > Seconds::ZERO && !matches!(record.op, Op::Overlap(_) | Op::Chain(_))
    };
    rows.iter().filter(is_predicted).map(tried).collect()
}
