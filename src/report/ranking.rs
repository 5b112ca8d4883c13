//! Several plans side by side, ranked among those that compute the same thing.

use std::fmt::Write as _;

use super::{WIDTH, clip, machine, padded, plural, three_seconds, with_error, wrapped};
use crate::dag::Part;
use crate::difference::difference;
use crate::evaluate::Evaluation;
use crate::plan::{Mlp, Model};
use crate::source::Source;
use crate::units::{grouped, human_bytes};

/// The screen that ranks plans, at most 100 columns wide.
pub fn ranking(evaluations: &[Evaluation], source: &Source) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write_all(&mut out, evaluations, source);
    out
}

fn write_all(out: &mut String, evaluations: &[Evaluation], source: &Source) -> std::fmt::Result {
    if evaluations.is_empty() {
        return Ok(());
    }
    writeln!(out, "{}\n", machine(&evaluations.iter().collect::<Vec<_>>(), source))?;
    writeln!(
        out,
        "  {:<15}{:<20}{:>7}{:>7}{:>7}{:>9}{:>5}{:>6}  memory per GPU",
        "plan", "runtime", "vs best", "µbatch", "busy", "products", "mem", "comm"
    )?;
    for group in by_model(evaluations) {
        writeln!(out, "{}", describe(&group[0].plan.model))?;
        let best = group[0].makespan().seconds.get();
        for e in &group {
            write_row(out, e, best)?;
        }
        if let [winner, second, ..] = group.as_slice() {
            writeln!(out, "{}", wrapped(&why(winner, second), "  "))?;
        }
    }
    if evaluations.iter().any(|e| e.fits() == Some(false)) {
        let cut = "ok in ÷ so many micro-batches: --microbatches auto";
        writeln!(out, "\n✗ does not fit in memory as it stands, {cut}")?;
    }
    Ok(())
}

/// Plans of one model together, fastest first; models in the order in which they come.
pub(super) fn by_model(evaluations: &[Evaluation]) -> Vec<Vec<&Evaluation>> {
    let mut groups: Vec<Vec<&Evaluation>> = Vec::new();
    for e in evaluations {
        match groups.iter_mut().find(|group| group[0].plan.model.computes_the_same(&e.plan.model)) {
            Some(group) => group.push(e),
            None => groups.push(vec![e]),
        }
    }
    for group in &mut groups {
        group.sort_by_key(|e| e.makespan().seconds);
    }
    groups
}

pub(super) fn describe(model: &Model) -> String {
    let mlp = match model.mlp {
        Mlp::Dense { ffn } => format!("FFN {ffn}"),
        Mlp::Moe { experts, top_k, ffn } => format!("{} of {ffn}, top-{top_k}", plural(experts, "expert")),
    };
    format!(
        "{}, hidden {}, {}, {mlp} · {} sequence{} × {} tokens",
        plural(model.layers, "layer"),
        model.hidden,
        plural(model.heads, "head"),
        grouped(u128::from(model.batch)),
        if model.batch == 1 { "" } else { "s" },
        grouped(u128::from(model.sequence))
    )
}

fn write_row(out: &mut String, e: &Evaluation, best: f64) -> std::fmt::Result {
    let seconds = e.makespan().seconds.get();
    let [gemm, mem, comm] = Part::ALL.map(|part| match seconds > 0.0 {
        true => format!("{:.0} %", e.seconds_on(part) / seconds * 100.0),
        false => "–".to_owned(),
    });
    let ratio = if best > 0.0 { format!("{:.2}", seconds / best) } else { "–".to_owned() };
    let row = format!(
        "  {} {:<20}{ratio:>7}{:>7}{:>7}{gemm:>9}{mem:>5}{comm:>6}  {}",
        padded(&e.plan.name, 14),
        with_error(&e.makespan()),
        e.choice.microbatches,
        format!("{:.0} %", e.utilisation() * 100.0),
        memory(e)
    );
    writeln!(out, "{}", clip(&row, WIDTH))
}

/// `131 GB of 141 GB`, or what it needs and in how many micro-batches it would fit.
fn memory(e: &Evaluation) -> String {
    let needs = human_bytes(e.fullest().peak_bytes);
    let Some(memory) = e.memory else { return needs };
    let capacity = human_bytes(memory.capacity_bytes);
    match (e.fits(), memory.fewest_microbatches) {
        (Some(true), _) => format!("{needs} of {capacity}"),
        (_, Some(n)) => format!("✗ {needs}, ok ÷{n}"),
        (_, None) => format!("✗ {needs}, never ok"),
    }
}

/// Terms of a winner's advantage that are named.
const MOST_TERMS: usize = 3;

/// Where the winner's advantage comes from, on average over the GPUs.
fn why(winner: &Evaluation, second: &Evaluation) -> String {
    let [first, other] = [winner, second].map(|e| clip(&e.plan.name, 30));
    let found = difference(winner, second);
    let gap = found.seconds();
    if gap == 0.0 {
        return format!("{first} and {other} take the same time");
    }
    let mut terms: Vec<(&str, f64)> = Vec::new();
    for term in &found.per_gpu {
        let name = if term.cause.waits() { "waiting" } else { term.cause.name() };
        match terms.iter_mut().find(|(known, _)| *known == name) {
            Some((_, seconds)) => *seconds += term.difference(),
            None => terms.push((name, term.difference())),
        }
    }
    terms.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()));
    let text: Vec<String> = terms
        .iter()
        .filter(|(_, difference)| *difference != 0.0)
        .take(MOST_TERMS)
        .map(|(name, difference)| {
            let word = if *difference > 0.0 { "less" } else { "more" };
            format!("{} {word} {name}", three_seconds(difference.abs()))
        })
        .collect();
    let sure = match found.told_apart() {
        Some(false) => "is ahead of, but cannot be told apart from,",
        _ => "wins over",
    };
    format!(
        "{first} {sure} {other} by {}: {} a GPU; see evaluate compare",
        three_seconds(gap),
        text.join(", ")
    )
}
