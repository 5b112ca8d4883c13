//! How good a table's predictions are, for people and for programs.

use std::collections::HashSet;
use std::fmt::Write as _;

use serde::Serialize;

use crate::dtype::Dtype;
use crate::fit::check::{Accuracy, Group, SizeClass, Tried};

/// Rows shown as the worst.
const WORST: usize = 10;

#[derive(Serialize)]
struct Answer {
    families: Vec<Row>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unseen: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    op: &'static str,
    kind: Option<&'static str>,
    dtype: Option<Dtype>,
    n: usize,
    failed: usize,
    median: Option<f64>,
    mean: Option<f64>,
    p95: Option<f64>,
    max: Option<f64>,
    bias: Option<f64>,
    coverage: Option<f64>,
    width: Option<f64>,
}

impl Row {
    fn new(group: &Group, accuracy: &Accuracy) -> Row {
        let known = |number: f64| number.is_finite().then_some(number);
        Row {
            op: group.family.name(),
            kind: group.kind,
            dtype: group.dtype,
            n: accuracy.n,
            failed: accuracy.failed,
            median: known(accuracy.median),
            mean: known(accuracy.mean),
            p95: known(accuracy.p95),
            max: known(accuracy.max),
            bias: known(accuracy.bias),
            coverage: known(accuracy.coverage),
            width: known(accuracy.width),
        }
    }
}

/// `{"families":[{"op","kind","dtype","n","failed","median","mean","p95","max","bias","coverage","width"}]}`,
/// in percent of the measured times but for the two counts; `null` where a group has no such column, or no
/// prediction. `unseen`, of the same form, is there where whole coordinates were left out as well.
///
/// # Errors
/// When the answer cannot be serialized.
pub fn accuracy_json(tried: &[Tried], unseen: &[Tried]) -> Result<String, serde_json::Error> {
    let rows = |tried: &[Tried]| -> Vec<Row> {
        Accuracy::by_group(tried).iter().map(|(group, accuracy)| Row::new(group, accuracy)).collect()
    };
    serde_json::to_string(&Answer { families: rows(tried), unseen: rows(unseen) }).map(|text| text + "\n")
}

/// Errors by group, by size and inside and outside the measured range, and the worst rows. Each part of
/// `parts` is how its rows were left out, and the rows.
pub fn accuracy(parts: &[(&str, Vec<Tried>)]) -> String {
    let mut out = String::new();
    for (title, tried) in parts {
        if tried.is_empty() {
            continue;
        }
        let title = format!("{title}, errors in %");
        let _ = writeln!(
            out,
            "{title:<34}      n  failed  median    mean     p95     max    bias  covered  interval"
        );
        for (group, accuracy) in Accuracy::by_group(tried) {
            let kind = group.kind.map(|kind| format!(" {kind}")).unwrap_or_default();
            let dtype = group.dtype.map(|dtype| format!(" {dtype}")).unwrap_or_default();
            out += &line(&format!("{}{kind}{dtype}", group.family), &accuracy);
            let rows = || tried.iter().filter(|row| Group::of(&row.op) == group);
            let sizes = [
                (SizeClass::Below10us, "< 10 µs"),
                (SizeClass::Below100us, "10–100 µs"),
                (SizeClass::Below1ms, "0.1–1 ms"),
                (SizeClass::Above1ms, "> 1 ms"),
            ];
            for (size, name) in sizes {
                out += &part(name, Accuracy::of(rows().filter(|row| row.size() == size)), accuracy.n);
            }
            for (outside, name) in [(false, "within the measured range"), (true, "beyond it")] {
                out += &part(name, Accuracy::of(rows().filter(|row| row.is_outside() == outside)), 0);
            }
        }
        out.push('\n');
        out += &worst(tried);
    }
    out
}

/// A line of a part of a group; nothing where it is empty or all of it.
fn part(name: &str, accuracy: Accuracy, all: usize) -> String {
    if accuracy.n == 0 || accuracy.n == all { String::new() } else { line(&format!("  {name}"), &accuracy) }
}

fn line(name: &str, accuracy: &Accuracy) -> String {
    let Accuracy { n, failed, median, mean, p95, max, bias, coverage, width } = accuracy;
    let share = 100.0 * *failed as f64 / (*n).max(1) as f64;
    if failed == n {
        return format!("{name:<34} {n:>6} {share:>5.1} %\n");
    }
    format!(
        "{name:<34} {n:>6} {share:>5.1} % {median:>7.2} {mean:>7.2} {p95:>7.1} {max:>7.0} {bias:>+7.2} \
         {coverage:>6.1} % ± {half:>5.1} %\n",
        half = width / 2.0
    )
}

fn worst(tried: &[Tried]) -> String {
    let off = |row: &Tried| row.error().map_or(f64::INFINITY, |e| (e / 100.0).ln_1p().abs());
    let mut rows: Vec<&Tried> = tried.iter().collect();
    rows.sort_by(|a, b| off(b).total_cmp(&off(a)).then(a.op.cmp(&b.op)));
    let mut shown = HashSet::new();
    rows.retain(|row| shown.insert(row.op));
    let mut out = String::from("worst\n");
    for row in rows.into_iter().take(WORST) {
        let answer = match (row.estimate, row.error()) {
            (Some(estimate), Some(error)) => format!("{} ({error:+.0} %)", estimate.seconds),
            _ => "no answer".to_owned(),
        };
        let _ = writeln!(out, "  {}   measured {}, predicted {answer}", row.op, row.measured);
    }
    out.push('\n');
    out
}
