//! Two plans: which is faster, how sure that is, and where the difference comes from.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{WIDTH, clip, machine, padded, three_seconds, with_error, wrapped};
use crate::difference::{Cause, Difference, Term};
use crate::evaluate::Evaluation;
use crate::source::Source;
use crate::units::{Seconds, three_digits};

/// Rows of the account of GPUs that are shown.
const MOST_ROWS: usize = 18;

/// Ops below this share of the longer runtime have no row of their own.
const WORTH_A_ROW: f64 = 0.002;

/// The screen of a comparison, at most 100 columns wide.
pub fn compare(plans: [&Evaluation; 2], found: &Difference, source: &Source) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write_all(&mut out, plans, found, source);
    out
}

fn write_all(
    out: &mut String,
    plans: [&Evaluation; 2],
    found: &Difference,
    source: &Source,
) -> std::fmt::Result {
    writeln!(out, "{}\n", machine(&plans, source))?;
    for e in plans {
        let fits = if e.fits() == Some(false) { " · does not fit in memory" } else { "" };
        let text = format!(
            "  {} {:<24}{} · {} GPUs {:.0} % busy{fits}",
            padded(&e.plan.name, 27),
            with_error(&e.makespan()),
            super::pieces(e),
            e.plan.gpus,
            e.utilisation() * 100.0
        );
        writeln!(out, "{}", clip(&text, WIDTH))?;
    }
    writeln!(out, "{}", wrapped(&verdict(plans, found), "  "))?;
    if !plans[0].plan.model.computes_the_same(&plans[1].plan.model) {
        writeln!(out, "  they compute different things: one being faster says nothing of its layout")?;
    }
    let [first, second] = plans.map(|e| clip(&e.plan.name, 14));
    let head = |title: &str| format!("\n  {title:<42}{first:>16}{second:>16}{:>16}", "difference");
    writeln!(out, "{}", head("on average over the GPUs"))?;
    write_terms(out, found, &found.per_gpu, true)?;
    writeln!(out, "{}", head("along the critical path"))?;
    write_terms(out, found, &found.on_path, false)
}

/// Which is faster, by how much, and in how many scenarios.
fn verdict([first, second]: [&Evaluation; 2], found: &Difference) -> String {
    let names = [first, second].map(|e| clip(&e.plan.name, 30));
    let gap = found.seconds();
    if gap == 0.0 && found.scenarios.iter().all(|seconds| *seconds == 0.0) {
        return format!("{} and {} take the same time", names[0], names[1]);
    }
    let (winner, loser) = if gap > 0.0 { (0, 1) } else { (1, 0) };
    let share = gap.abs() / found.makespans[loser] * 100.0;
    let by = format!("{} ({share:.1} % of {})", three_seconds(gap.abs()), names[loser]);
    let of = found.scenarios.len();
    let for_winner = if winner == 0 { found.first_faster() } else { of - found.first_faster() };
    let (winner, loser) = (&names[winner], &names[loser]);
    let (low, high) = found.interval();
    let (least, most) =
        if low.abs() < high.abs() { (low.abs(), high.abs()) } else { (high.abs(), low.abs()) };
    match found.told_apart() {
        None => {
            format!("{winner} is faster by {by}; nothing was measured, so nothing tells how sure that is")
        }
        Some(true) => format!(
            "{winner} is faster by {by}, {} to {} with 90 %: in {for_winner} of {of} scenarios of the table's \
             errors, each the same for both",
            three_seconds(least),
            three_seconds(most)
        ),
        Some(false) => format!(
            "{winner} and {loser} cannot be told apart: {winner} is ahead by {by}, but in only {for_winner} of {of} \
             scenarios of the table's errors, each the same for both"
        ),
    }
}

fn write_terms(out: &mut String, found: &Difference, terms: &[Term], ops: bool) -> std::fmt::Result {
    let [first, second] = found.makespans;
    let unit = Unit::of(first.max(second));
    let least = WORTH_A_ROW * first.max(second);
    let mut by_size: Vec<&Term> = terms.iter().filter(|term| !term.role.is_empty()).collect();
    by_size.sort_by(|a, b| b.difference().abs().total_cmp(&a.difference().abs()));
    let causes: Vec<Cause> = {
        let mut causes: Vec<Cause> = terms.iter().map(|term| term.cause).collect();
        causes.dedup();
        causes
    };
    by_size.truncate(if ops { MOST_ROWS.saturating_sub(causes.len()) } else { 0 });
    for cause in causes {
        let own = || terms.iter().filter(|term| term.cause == cause);
        let sum = |pick: fn(&Term) -> f64| own().map(pick).sum::<f64>();
        writeln!(out, "  {}", unit.row(cause.name(), sum(|t| t.first), sum(|t| t.second)))?;
        let several = own().count() > 1;
        for term in own().filter(|term| several && by_size.contains(term)) {
            if term.first.max(term.second) >= least {
                writeln!(out, "  {}", unit.row(&format!("  {}", term.role), term.first, term.second))?;
            }
        }
    }
    writeln!(out, "  {}", unit.row("in all", first, second))
}

/// One unit for all figures of a table, so that they can be added up by eye.
struct Unit {
    size: f64,
    name: String,
    decimals: usize,
}

impl Unit {
    fn of(largest: f64) -> Self {
        // the unit that the largest is shown in
        let shown = Seconds::new(largest).unwrap_or(Seconds::ZERO).to_string();
        let name = shown.rsplit(' ').next().unwrap_or("s").to_owned();
        let size = match name.as_str() {
            "ns" => 1e-9,
            "µs" => 1e-6,
            "ms" => 1e-3,
            "h" => 3600.0,
            "days" => 86_400.0,
            _ => 1.0,
        };
        let whole = three_digits(largest / size);
        let decimals = whole.split('.').nth(1).map_or(0, str::len) + 1;
        Unit { size, name, decimals }
    }

    fn row(&self, title: &str, first: f64, second: f64) -> String {
        let Unit { size, name, decimals } = self;
        // what is shown as nothing is none
        let none = |seconds: f64| (seconds / size).abs() < 0.5 * 0.1f64.powi(*decimals as i32);
        let cell = |seconds: f64| match none(seconds) {
            true => "–".to_owned(),
            false => format!("{:.decimals$} {name}", seconds / size),
        };
        let change = match none(second - first) {
            true => "–".to_owned(),
            false => format!("{:+.decimals$} {name}", (second - first) / size).replacen('-', "−", 1),
        };
        format!("{:<42}{:>16}{:>16}{change:>16}", clip(title, 41), cell(first), cell(second))
    }
}

/// A comparison for programs: differences in seconds of the second plan less the first; the terms of an account
/// add up to the difference exactly.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn compare_json(plans: [&Evaluation; 2], found: &Difference) -> serde_json::Result<String> {
    let plan = |e: &Evaluation, seconds: f64| {
        let makespan = e.makespan();
        json!({
            "plan": e.plan.name, "microbatches": e.choice.microbatches, "seconds": seconds,
            "low": makespan.low.get(), "high": makespan.high.get(), "basis": makespan.basis, "fits": e.fits(),
        })
    };
    let account = |terms: &[Term]| -> Vec<Value> {
        let row = |term: &Term| {
            json!({
                "cause": term.cause.name(), "role": term.role, "first_seconds": term.first,
                "second_seconds": term.second, "difference_seconds": term.difference(),
            })
        };
        terms.iter().map(row).collect()
    };
    let (low, high) = found.interval();
    let answer = json!({
        "plans": [plan(plans[0], found.makespans[0]), plan(plans[1], found.makespans[1])],
        "same_model": plans[0].plan.model.computes_the_same(&plans[1].plan.model),
        "difference_seconds": found.seconds(), "low": low, "high": high,
        "told_apart": found.told_apart(),
        "scenarios": found.scenarios.len(), "first_faster_in": found.first_faster(),
        "per_gpu": account(&found.per_gpu), "critical_path": account(&found.on_path),
    });
    serde_json::to_string_pretty(&answer).map(|text| text + "\n")
}
