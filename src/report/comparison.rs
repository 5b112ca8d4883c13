//! Tables over time and over nodes, for people and for programs.

use std::fmt::Write as _;

use serde::Serialize;

use super::{clip, wrapped};
use crate::comparison::{Change, Comparison, Node, Standing, Tally, Verdict};
use crate::op::Family;

/// Ops shown of each verdict.
const SHOWN: usize = 8;

/// Two tables: verdicts by family, then the ops that changed most.
pub fn comparison(found: &Comparison, [old, new]: [&str; 2]) -> String {
    let mut out = wrapped(&format!("{old} → {new}"), "") + "\n";
    for difference in &found.differences {
        let line = format!("differs: {} {} → {}", difference.what, difference.first, difference.second);
        out += &(wrapped(&line, "  ") + "\n");
    }
    if found.changes.is_empty() {
        return out + "the tables have no op in common\n";
    }
    let _ = writeln!(out, "\n  {:<12}{}", "", head());
    let families = found.by_family();
    for (family, tally) in &families {
        let _ = writeln!(out, "  {:<12}{}", family.name(), line(tally));
    }
    if families.len() > 1 {
        let _ = writeln!(out, "  {:<12}{}", "all", line(&found.tally()));
    }
    for verdict in [Verdict::Slower, Verdict::Faster] {
        let worst = found.worst(verdict);
        if !worst.is_empty() {
            let _ = writeln!(out, "\n{}", verdict.name());
        }
        for change in worst.iter().take(SHOWN) {
            out += &changed(change);
        }
        if worst.len() > SHOWN {
            let _ = writeln!(out, "  … and {} more: --format json has all", worst.len() - SHOWN);
        }
    }
    for (ops, name) in [(found.gone.len(), old), (found.added.len(), new)] {
        if ops > 0 {
            let _ = writeln!(out, "\n{ops} ops are in {name} only");
        }
    }
    out
}

fn head() -> String {
    let names = Verdict::ALL.map(|verdict| format!("{:>8}", verdict.name())).concat();
    format!("{:>6}{names}   median change", "ops")
}

fn line(tally: &Tally) -> String {
    let counts = tally.counts.map(|count| format!("{count:>8}")).concat();
    let median = (1e3 * tally.median).round() / 10.0 + 0.0; // no -0.0
    format!("{:>6}{counts}{median:>+14.1} %", tally.all())
}

fn changed(change: &Change) -> String {
    let Change { op, old, new, threshold, .. } = change;
    let times = format!("{} → {}", old.seconds, new.seconds);
    let (percent, threshold) = (100.0 * change.relative(), 100.0 * threshold);
    format!("  {:<48} {times:>20} {percent:>+7.1} %  (beyond {threshold:.1} %)\n", clip(&op.to_string(), 48))
}

/// Nodes, the slowest first, and in a sentence each those that are not like the others.
pub fn nodes(found: &[Node], names: &[String]) -> String {
    let name = |node: &Node| names.get(node.index).map_or("", String::as_str);
    let width = found.iter().map(|node| name(node).chars().count()).max().unwrap_or(0).clamp(4, 36);
    let mut out =
        format!("{} nodes, each against the middle of all\n\n  {:<width$}{}\n", found.len(), "", head());
    for node in found {
        let mark = if node.standing == Standing::Usual { "" } else { "  ←" };
        let _ = writeln!(out, "  {:<width$}{}{mark}", clip(name(node), width), line(&node.tally));
    }
    let mut usual = true;
    for node in found {
        let (word, verdict, families) = match &node.standing {
            Standing::Usual => continue,
            Standing::Slow(families) => ("slower", Verdict::Slower, families),
            Standing::Fast(families) => ("faster", Verdict::Faster, families),
        };
        usual = false;
        let of = |change: &&Change| families.contains(&change.op.family());
        let tally = Tally::of(node.changes.iter().filter(of));
        let names: Vec<&str> = families.iter().map(|family| family.name()).collect();
        let sentence = format!(
            "{} is {:.1} % {word} in {} of {} ops ({})",
            name(node),
            100.0 * tally.median.abs(),
            tally.count(verdict),
            tally.all(),
            names.join(", ")
        );
        let _ = write!(out, "\n{}", wrapped(&sentence, ""));
    }
    if usual { out + "\nno node stands out\n" } else { out + "\n" }
}

#[derive(Serialize)]
struct Counts {
    ops: usize,
    same: usize,
    faster: usize,
    slower: usize,
    unsure: usize,
    median_change: f64,
}

impl From<&Tally> for Counts {
    fn from(tally: &Tally) -> Self {
        let [same, faster, slower, unsure] = tally.counts;
        Counts { ops: tally.all(), same, faster, slower, unsure, median_change: tally.median }
    }
}

#[derive(Serialize)]
struct Row {
    op: String,
    family: &'static str,
    verdict: &'static str,
    old_seconds: f64,
    new_seconds: f64,
    change: f64,
    threshold: f64,
}

impl From<&Change> for Row {
    fn from(change: &Change) -> Self {
        Row {
            op: change.op.to_string(),
            family: change.op.family().name(),
            verdict: change.verdict.name(),
            old_seconds: change.old.seconds.get(),
            new_seconds: change.new.seconds.get(),
            change: change.relative(),
            threshold: change.threshold,
        }
    }
}

/// `{"old","new","differences":[{"what","old","new"}],"families":{…},"all":{…},"ops":[…],"gone","added"}`:
/// changes and thresholds as shares of the old time.
///
/// # Errors
/// When the answer cannot be serialized.
pub fn comparison_json(found: &Comparison, [old, new]: [&str; 2]) -> Result<String, serde_json::Error> {
    let of = |(family, tally): &(Family, Tally)| (family.name(), Counts::from(tally));
    let differs = found.differences.iter().map(|difference| {
        serde_json::json!({ "what": difference.what, "old": difference.first, "new": difference.second })
    });
    let names = |ops: &[crate::op::Op]| ops.iter().map(ToString::to_string).collect::<Vec<_>>();
    let answer = serde_json::json!({
        "old": old,
        "new": new,
        "differences": differs.collect::<Vec<_>>(),
        "families": found.by_family().iter().map(of).collect::<std::collections::BTreeMap<_, _>>(),
        "all": Counts::from(&found.tally()),
        "ops": found.changes.iter().map(Row::from).collect::<Vec<_>>(),
        "gone": names(&found.gone),
        "added": names(&found.added),
    });
    serde_json::to_string(&answer).map(|text| text + "\n")
}

/// `[{"table","standing","families","all":{…}}]`, the slowest first.
///
/// # Errors
/// When the answer cannot be serialized.
pub fn nodes_json(found: &[Node], names: &[String]) -> Result<String, serde_json::Error> {
    let node = |node: &Node| {
        let (standing, families) = match &node.standing {
            Standing::Usual => ("usual", Vec::new()),
            Standing::Slow(families) => ("slow", families.clone()),
            Standing::Fast(families) => ("fast", families.clone()),
        };
        serde_json::json!({
            "table": names.get(node.index),
            "standing": standing,
            "families": families.iter().map(|family| family.name()).collect::<Vec<_>>(),
            "all": Counts::from(&node.tally),
        })
    };
    serde_json::to_string(&found.iter().map(node).collect::<Vec<_>>()).map(|text| text + "\n")
}
