//! A formula beside its plan, term by term.

use std::fmt::Write as _;

use super::one::together;
use super::{three_seconds, wrapped};
use crate::evaluate::Evaluation;
use crate::explain::{Explanation, Products};
use crate::units::three_digits;

/// The figures of a plan and its rival, as their author's formulas and the corrected plans have them.
pub struct Verdict {
    /// The author's words.
    pub claim: String,
    /// The plan that the author says wins.
    pub winner: String,
    /// Whether both compute the same model.
    pub same_model: bool,
    /// Plan, seconds by its formula, seconds corrected; of both.
    pub plans: [(String, f64, f64); 2],
}

/// Whether the author's winner wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conclusion {
    /// By the authors' own formulas.
    pub by_formulas: bool,
    /// With both plans corrected.
    pub in_truth: bool,
}

impl Verdict {
    /// What remains of the author's conclusion.
    pub fn conclusion(&self) -> Conclusion {
        let [a, b] = &self.plans;
        Conclusion {
            by_formulas: *faster(self, a.1, b.1) == self.winner,
            in_truth: *faster(self, a.2, b.2) == self.winner,
        }
    }
}

/// The plan that has the shorter of the two times.
fn faster(verdict: &Verdict, first: f64, second: f64) -> &String {
    let [a, b] = &verdict.plans;
    if first <= second { &a.0 } else { &b.0 }
}

/// The screen of `evaluate explain`, at most 100 columns wide.
pub fn explain(e: &Evaluation, source: &str, x: &Explanation, verdict: Option<&Verdict>) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write(&mut out, e, source, x, verdict);
    out
}

fn write(
    out: &mut String,
    e: &Evaluation,
    source: &str,
    x: &Explanation,
    verdict: Option<&Verdict>,
) -> std::fmt::Result {
    writeln!(out, "{}   {source}, beside the corrected plan\n", e.plan.name)?;
    writeln!(out, "  {:<15} {:>34} {:>34} {:>11}", "critical path", "as written", "corrected", "FLOPs")?;
    for (call, op) in &x.pairs {
        let name = op.as_ref().map_or("–".to_owned(), |op| op.steps.join("+"));
        let name: String = name.chars().take(15).collect();
        let side = |p: &Option<Products>| p.as_ref().map_or("absent".to_owned(), shape);
        let ratio = match (call, op) {
            (Some(call), _) if !call.counts => "not counted".to_owned(),
            (Some(call), Some(op)) => format!("× {}", ratio(call.flops() / op.flops())),
            (None, _) => "× 0".to_owned(),
            (_, None) => "no such op".to_owned(),
        };
        writeln!(out, "  {name:<15} {:>34} {:>34} {ratio:>11}", side(call), side(op))?;
        let time =
            |p: &Option<Products>| p.as_ref().map_or(String::new(), |p| three_seconds(p.seconds * p.count));
        writeln!(out, "  {:<15} {:>34} {:>34}", "", time(call), time(op))?;
    }
    let total = |flops: f64, seconds: f64| format!("{flops:.4e} FLOP {}", three_seconds(seconds));
    writeln!(
        out,
        "  {:<15} {:>34} {:>34} {:>11}",
        "whole path",
        total(x.written_flops, x.written_seconds),
        total(x.path_flops, x.plan_seconds),
        format!("× {}", ratio(x.written_flops / x.path_flops))
    )?;
    if let Some(beside) = &e.beside {
        writeln!(out, "{}", wrapped(&format!("\noverlap: {}", together(beside)), ""))?;
    }
    match x.findings.len() {
        0 => writeln!(out, "\nno difference in shape or count")?,
        1 => writeln!(out, "\n1 finding")?,
        n => writeln!(out, "\n{n} findings")?,
    }
    for finding in &x.findings {
        let factor = match finding.ratio {
            Some(r) if r > 0.0 && (r - 1.0).abs() > 1e-9 => format!(" (FLOPs × {})", ratio(r)),
            _ => String::new(),
        };
        let text = format!("{}: {}{factor}", finding.about, finding.what);
        writeln!(out, "{}", wrapped(&text, "    ").replacen("    ", "  • ", 1))?;
    }
    if let Some(verdict) = verdict {
        write_verdict(out, verdict)?;
    }
    Ok(())
}

fn write_verdict(out: &mut String, verdict: &Verdict) -> std::fmt::Result {
    let Verdict { claim, same_model, plans: [a, b], .. } = verdict;
    writeln!(out, "\nthe author: {claim}")?;
    let line = |word: &str, x: f64, y: f64| {
        let factor = three_digits(f64::max(x, y) / f64::min(x, y).max(f64::MIN_POSITIVE));
        let (first, second) = (three_seconds(x), three_seconds(y));
        format!(
            "  {word:<13} {} {first}, {} {second}: {} by a factor of {factor}",
            a.0,
            b.0,
            faster(verdict, x, y)
        )
    };
    writeln!(out, "{}", line("as written", a.1, b.1))?;
    writeln!(out, "{}", line("corrected", a.2, b.2))?;
    let Conclusion { by_formulas, in_truth } = verdict.conclusion();
    let sentence = match (by_formulas, in_truth) {
        (true, true) => "the conclusion survives",
        (false, true) => "the conclusion survives, though the author's own formulas say the reverse",
        (true, false) => "the conclusion does not survive the correction",
        (false, false) => {
            "the conclusion does not survive, and the author's own formulas say the reverse too"
        }
    };
    writeln!(out, "  {sentence}")?;
    match same_model {
        true => Ok(()),
        false => {
            writeln!(out, "  the two plans compute different models: neither time says much of the other")
        }
    }
}

fn shape(p: &Products) -> String {
    let g = &p.gemm;
    let batch = if g.batch > 1 { format!("[{}] ", g.batch) } else { String::new() };
    format!("{} × {batch}{}×{}×{}", p.count, g.m, g.k, g.n)
}

/// Four digits, as far as they go.
fn ratio(r: f64) -> String {
    match r {
        0.0 => "0".to_owned(),
        r if (r - r.round()).abs() < 1e-6 => format!("{r:.0}"),
        r if r >= 100.0 => format!("{r:.1}"),
        r if r >= 0.001 => format!("{r:.4}"),
        r => format!("{r:.2e}"),
    }
}
