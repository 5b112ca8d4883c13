//! Predicted against executed, for people and for programs.

use std::fmt::Write as _;

use super::{clip, three_seconds, wrapped};
use crate::validate::Validation;

/// Each share of a plan: its ops, and the whole.
pub fn validation(plan: &str, device: &str, found: &[Validation]) -> String {
    let mut out = String::new();
    for (i, share) in found.iter().enumerate() {
        let (sequences, tokens) = share.batch;
        let head = format!("{plan}, GPU {}: {sequences} × {tokens} tokens, executed on {device}", share.gpu);
        let _ = writeln!(out, "{}{}", if i > 0 { "\n" } else { "" }, wrapped(&head, ""));
        let _ = writeln!(out, "\n  {:<20} {:>10} {:>10} {:>8}", "", "predicted", "executed", "");
        for link in &share.links {
            let off = 100.0 * (link.executed / link.predicted - 1.0);
            let line = format!(
                "  {:<20} {:>10} {:>10} {off:>+6.1} %  {}",
                clip(&link.name, 20),
                three_seconds(link.predicted),
                three_seconds(link.executed),
                clip(&link.reason, 44)
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
        let middle = |of: fn(&(f64, f64)) -> f64| {
            let mut all: Vec<f64> = share.rounds.iter().map(of).collect();
            all.sort_unstable_by(f64::total_cmp);
            three_seconds(all.get(all.len() / 2).copied().unwrap_or(0.0))
        };
        let (sum, whole) = (middle(|round| round.0), middle(|round| round.1));
        let off = 100.0 * share.error();
        let _ = writeln!(out, "  {:<20} {sum:>10} {whole:>10} {off:>+6.1} %", "the whole");
        let rounds: Vec<String> =
            share.errors().iter().map(|error| format!("{:+.1}", 100.0 * error)).collect();
        let sentence = format!("the whole is the median of {} rounds: {} %", rounds.len(), rounds.join(", "));
        let _ = writeln!(out, "{}", wrapped(&sentence, "  "));
        if !share.left_out.is_empty() {
            let sentence = format!("left out, for there is nobody to send to: {}", share.left_out.join(", "));
            let _ = writeln!(out, "{}", wrapped(&sentence, "  "));
        }
    }
    out
}

/// `[{"plan","gpu","batch","sequence","error","rounds":[{"predicted","executed"}],"ops":[…],"left_out"}]`.
///
/// # Errors
/// When the answer cannot be serialized.
pub fn validation_json(plan: &str, found: &[Validation]) -> Result<String, serde_json::Error> {
    let share = |share: &Validation| {
        let link = |link: &crate::validate::Link| {
            serde_json::json!({
                "node": link.name, "op": link.op.to_string(), "predicted_seconds": link.predicted,
                "executed_seconds": link.executed, "reason": link.reason,
            })
        };
        let round = |(sum, whole): &(f64, f64)| serde_json::json!({ "predicted": sum, "executed": whole });
        serde_json::json!({
            "plan": plan,
            "gpu": share.gpu,
            "batch": share.batch.0,
            "sequence": share.batch.1,
            "error": share.error(),
            "rounds": share.rounds.iter().map(round).collect::<Vec<_>>(),
            "ops": share.links.iter().map(link).collect::<Vec<_>>(),
            "left_out": share.left_out,
        })
    };
    serde_json::to_string(&found.iter().map(share).collect::<Vec<_>>()).map(|text| text + "\n")
}
