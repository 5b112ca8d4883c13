//! A formula beside its plan, for programs. Times are in seconds.

use serde_json::{Value, json};

use super::json::whole;
use super::{Conclusion, Verdict};
use crate::evaluate::Evaluation;
use crate::explain::{Explanation, Products};

/// Terms side by side, what is wrong, and whether the author's conclusion survives.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn explain_json(
    e: &Evaluation,
    source: &str,
    x: &Explanation,
    verdict: Option<&Verdict>,
) -> serde_json::Result<String> {
    let terms = x.pairs.iter().map(|(call, op)| {
        let ratio = match (call, op) {
            (Some(call), Some(op)) if call.counts => Some(call.flops() / op.flops()),
            (None, Some(_)) => Some(0.0),
            _ => None,
        };
        json!({
            "steps": op.as_ref().map_or(&[][..], |op| &op.steps), "written": call.as_ref().map(products),
            "corrected": op.as_ref().map(products), "flops_ratio": ratio,
        })
    });
    let findings =
        x.findings.iter().map(|f| json!({ "about": f.about, "what": f.what, "flops_ratio": f.ratio }));
    let answer = json!({
        "plan": e.plan.name, "formula": source, "terms": terms.collect::<Vec<_>>(),
        "written": { "seconds": x.written_seconds, "flops": x.written_flops },
        "corrected": { "seconds": x.plan_seconds, "flops": x.path_flops, "basis": e.makespan().basis },
        "findings": findings.collect::<Vec<_>>(), "conclusion": verdict.map(conclusion),
    });
    serde_json::to_string_pretty(&answer).map(|text| text + "\n")
}

fn products(p: &Products) -> Value {
    let mut entry = json!({
        "count": whole(p.count), "m": p.gemm.m, "k": p.gemm.k, "n": p.gemm.n,
        "seconds": p.seconds * p.count, "counts": p.counts,
    });
    if p.gemm.batch > 1 {
        entry["batch"] = p.gemm.batch.into();
    }
    entry
}

fn conclusion(verdict: &Verdict) -> Value {
    let Conclusion { by_formulas, in_truth } = verdict.conclusion();
    let plans = verdict.plans.iter().map(|(plan, written, corrected)| {
        json!({ "plan": plan, "written_seconds": written, "corrected_seconds": corrected })
    });
    json!({
        "claim": verdict.claim, "winner": verdict.winner, "same_model": verdict.same_model,
        "plans": plans.collect::<Vec<_>>(), "by_the_formulas": by_formulas, "survives": in_truth,
    })
}
