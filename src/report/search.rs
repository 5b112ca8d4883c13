//! All layouts of a model, ranked.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::ranking::describe;
use super::{WIDTH, clip, with_error, wrapped};
use crate::plan::Plan;
use crate::search::{Found, Search, Template};
use crate::source::Source;
use crate::spec::Overlap;
use crate::units::{grouped, human_bytes, three_digits};

/// Rows of the ranking, and of the trade of time for memory.
const MOST_ROWS: usize = 15;
const MOST_TRADES: usize = 8;

/// The screen of a search, at most 100 columns wide.
pub fn search(model: &Template, gpus: u64, found: &Search, took: Duration, source: &Source) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write_all(&mut out, model, gpus, found, took, source);
    out
}

fn write_all(
    out: &mut String,
    model: &Template,
    gpus: u64,
    search: &Search,
    took: Duration,
    source: &Source,
) -> std::fmt::Result {
    let Plan { model: what, phase, .. } = model.plan();
    writeln!(out, "{}", wrapped(&format!("{gpus} × {}", source.headline), ""))?;
    writeln!(out, "{}", clip(&format!("{}, {}: {}", model.name, phase.name(), describe(what)), WIDTH))?;
    if model.plan().overlap != Overlap::None {
        writeln!(out, "communication has no stream of its own here, though the file gives it one")?;
    }
    writeln!(out, "{}\n", wrapped(&counts(search, took), ""))?;
    let Some(best) = search.found.first() else { return nothing(out, search, source) };
    writeln!(out, "{}", head(model, source.memory_bytes))?;
    for (i, f) in search.found.iter().enumerate().take(MOST_ROWS) {
        writeln!(out, "{}", row(i + 1, f, best, model))?;
    }
    let ties = search.found.iter().filter(|f| f.tied).count();
    if search.found.len() > MOST_ROWS {
        let left = search.found.len() - MOST_ROWS;
        writeln!(out, "  … {} more, all of them with --format json", grouped(left as u128))?;
    }
    let sure = match (ties, best.scenarios.is_empty()) {
        (1, true) => "nothing was measured, so nothing tells how sure the order is".to_owned(),
        (1, false) => "= none: the first is the fastest in more than 90 % of the scenarios".to_owned(),
        (n, _) => format!("= {} cannot be told apart from the fastest", grouped(n as u128)),
    };
    writeln!(out, "  {sure}")?;
    let trades: Vec<(usize, &Found)> =
        search.found.iter().enumerate().filter(|(i, f)| f.pareto && *i >= MOST_ROWS).collect();
    if !trades.is_empty() {
        writeln!(out, "\n  slower, with less memory")?;
        // the least memory, and in between as evenly as they go
        let step = trades.len().div_ceil(MOST_TRADES).max(1);
        for (i, f) in trades.iter().rev().step_by(step).collect::<Vec<_>>().into_iter().rev() {
            writeln!(out, "{}", row(i + 1, f, best, model))?;
        }
    }
    let split = search.found.iter().any(|f| f.degrees.sequence_parallel);
    let split = if split { "s: the tokens are split too · " } else { "" };
    let hints = "* nothing is as fast with less memory · --write FILE --row N makes a plan of a row";
    writeln!(out, "\n{}", wrapped(&format!("{split}{hints}"), "  "))
}

fn counts(search: &Search, took: Duration) -> String {
    let count = |n: usize| grouped(n as u128);
    let rate = search.layouts as f64 / took.as_secs_f64().max(1e-9);
    let mut text = format!("{} layouts, {} fit in memory", count(search.layouts), count(fitting(search)));
    if search.unpriced > 0 {
        text += &format!(", {} of these need ops without a time", count(search.unpriced));
    }
    text + &format!(" · {} s, {} layouts/s", three_digits(took.as_secs_f64()), count(rate as usize))
}

/// Layouts that fit, priced or not.
const fn fitting(search: &Search) -> usize {
    search.layouts - search.too_large
}

fn nothing(out: &mut String, search: &Search, source: &Source) -> std::fmt::Result {
    if let (0, Some(needs), Some(has)) = (fitting(search), search.least_bytes, source.memory_bytes) {
        let [needs, has] = [needs, has].map(human_bytes);
        return writeln!(out, "  none fits: the smallest needs {needs} on a GPU of {has}; use more --gpus");
    }
    match &search.first_unpriced {
        Some(why) => writeln!(out, "{}", wrapped(&format!("none can be priced: {}", why.first), "  ")),
        None => writeln!(out, "  no layout goes up for so many GPUs"),
    }
}

fn head(model: &Template, capacity: Option<u64>) -> String {
    let expert = if model.has_experts() { "expert" } else { "" };
    let memory = capacity.map_or(String::new(), |bytes| format!(" of {}", human_bytes(bytes)));
    format!(
        "       {:<20}{:>7}{:>7}{:>6}{:>6}{expert:>7}{:>7}  {:<15}memory{memory}",
        "runtime", "vs best", "tensor", "pipe", "data", "µbatch", "schedule"
    )
}

fn row(number: usize, f: &Found, best: &Found, model: &Template) -> String {
    let degrees = &f.degrees;
    let (seconds, least) = (f.makespan.seconds.get(), best.makespan.seconds.get());
    let ratio = if least > 0.0 { format!("{:.3}", seconds / least) } else { "–".to_owned() };
    let tied = if f.tied && number > 1 { "=" } else { " " };
    let pareto = if f.pareto { "*" } else { " " };
    let tensor = format!("{}{}", degrees.tensor, if degrees.sequence_parallel { "s" } else { " " });
    let expert = if model.has_experts() { degrees.expert.to_string() } else { String::new() };
    let text = format!(
        "{number:>4} {tied}{pareto}{:<20}{ratio:>7}{tensor:>7}{:>6}{:>6}{expert:>7}{:>7}  {:<15}{}",
        with_error(&f.makespan),
        degrees.pipeline,
        degrees.data,
        degrees.microbatches,
        degrees.schedule.to_string(),
        human_bytes(f.peak_bytes)
    );
    clip(&text, WIDTH)
}

/// A search for programs: every layout that fits, fastest first.
///
/// # Errors
/// When it cannot be written as JSON, which its types rule out.
pub fn search_json(model: &Template, gpus: u64, search: &Search) -> serde_json::Result<String> {
    let layouts: Vec<Value> = search
        .found
        .iter()
        .map(|f| {
            let d = &f.degrees;
            json!({
                "seconds": f.makespan.seconds.get(), "low": f.makespan.low.get(),
                "high": f.makespan.high.get(), "basis": f.makespan.basis, "tensor": d.tensor,
                "pipeline": d.pipeline, "data": d.data, "expert": model.has_experts().then_some(d.expert),
                "sequence_parallel": d.sequence_parallel, "microbatches": d.microbatches,
                "schedule": d.schedule.to_string(), "peak_bytes": f.peak_bytes, "pareto": f.pareto,
                "tied": f.tied,
            })
        })
        .collect();
    let answer = json!({
        "model": model.name, "gpus": gpus, "layouts": search.layouts, "too_large": search.too_large,
        "unpriced": search.unpriced, "found": layouts,
    });
    serde_json::to_string_pretty(&answer).map(|text| text + "\n")
}
