//! What the six checks of a graph found.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::wrapped;
use crate::check::{Check, Offence, Verdict};
use crate::graph::Graph;

/// Offences of one check that are shown; the others are counted.
const SHOWN: usize = 3;

/// The screen of `evaluate check`, at most 100 columns wide.
pub fn checks(graph: &Graph, checks: &[Check]) -> String {
    let mut out = format!("{}   {} nodes · {} edges\n\n", graph.name, graph.nodes.len(), graph.edges.len());
    for Check { id, title, verdict } in checks {
        let (word, text) = match verdict {
            Verdict::Pass(figures) => ("pass", figures.clone()),
            Verdict::Fail(offences) => ("FAIL", offences.first().map_or_else(String::new, sentence)),
            Verdict::Open(why) => ("open", why.clone()),
        };
        // writing to a String does not fail
        let _ = write!(out, "{id}  {word}  {title:<21} ");
        let indent = " ".repeat(32);
        let _ = writeln!(out, "{}", wrapped(&text, &indent).trim_start());
        if let Verdict::Fail(offences) = verdict {
            for offence in offences.iter().skip(1).take(SHOWN - 1) {
                let _ = writeln!(out, "{}", wrapped(&sentence(offence), &indent));
            }
            if offences.len() > SHOWN {
                let _ = writeln!(out, "{indent}and {} more", offences.len() - SHOWN);
            }
        }
    }
    let failed = checks.iter().filter(|check| check.verdict.failed()).count();
    let _ = match failed {
        0 => writeln!(out, "\nnothing is wrong with the graph"),
        1 => writeln!(out, "\n1 check does not hold"),
        n => writeln!(out, "\n{n} checks do not hold"),
    };
    out
}

fn sentence(offence: &Offence) -> String {
    match offence.line {
        0 => format!("{}: {}", offence.object, offence.what),
        line => format!("line {line}: {}: {}", offence.object, offence.what),
    }
}

/// The checks for programs.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn checks_json(graph: &Graph, checks: &[Check]) -> serde_json::Result<String> {
    let all: Vec<Value> = checks
        .iter()
        .map(|Check { id, title, verdict }| {
            let mut entry = json!({ "id": id, "title": title });
            match verdict {
                Verdict::Pass(figures) => {
                    entry["verdict"] = "pass".into();
                    entry["figures"] = figures.as_str().into();
                }
                Verdict::Open(why) => {
                    entry["verdict"] = "open".into();
                    entry["reason"] = why.as_str().into();
                }
                Verdict::Fail(offences) => {
                    entry["verdict"] = "fail".into();
                    let offence = |o: &Offence| {
                        let line = (o.line > 0).then_some(o.line);
                        json!({ "object": o.object, "line": line, "what": o.what })
                    };
                    entry["offences"] = offences.iter().map(offence).collect();
                }
            }
            entry
        })
        .collect();
    let answer = json!({
        "plan": graph.name, "nodes": graph.nodes.len(), "edges": graph.edges.len(), "checks": all,
    });
    serde_json::to_string_pretty(&answer).map(|text| text + "\n")
}
