//! What is on a machine and what is missing, on one screen.

use std::fmt::Write as _;

use super::{WIDTH, clip};
use crate::doctor::Topic;

/// A line for each finding: what is there, or what its absence keeps from being measured.
pub fn doctor(topics: &[Topic]) -> String {
    let mut out = String::new();
    for (i, topic) in topics.iter().enumerate() {
        let _ = writeln!(out, "{}{}", if i > 0 { "\n" } else { "" }, topic.title);
        for finding in &topic.findings {
            let (mark, text) = match &finding.found {
                Some(found) if finding.note.is_empty() => ('✓', found.clone()),
                Some(found) => ('!', format!("{found} — {}", finding.note)),
                None => ('–', format!("not found; would enable {}", finding.note)),
            };
            let name = clip(&finding.name, 14);
            let _ = writeln!(out, "  {mark} {name:<14} {}", clip(&text, WIDTH - 19));
        }
    }
    out
}
