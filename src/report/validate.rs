//! Predicted against executed, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{clip, three_seconds, wrapped};
use crate::validate::{Lesson, Link, Reasons, Validation};

/// Parts below this are not worth a column, as shares; and ops that take less of the whole, none at all.
const SMALL: f64 = 0.005;

/// Each share of a plan: its ops, and the whole; below several, all of them at a glance.
pub fn validation(device: &str, found: &[Validation]) -> String {
    let mut out = String::new();
    for share in found {
        // writing to a String does not fail
        let _ = write_share(&mut out, device, share);
        out.push('\n');
    }
    if found.len() > 1 {
        let _ = write_all(&mut out, found);
    } else {
        out.pop();
    }
    out
}

fn write_share(out: &mut String, device: &str, share: &Validation) -> std::fmt::Result {
    let ((sequences, tokens), dtype) = (share.of.batch, share.of.dtype);
    let (plan, gpu) = (&share.of.plan, share.of.gpu);
    let head = format!("{plan}, GPU {gpu}: {sequences} × {tokens} tokens in {dtype}, executed on {device}");
    writeln!(out, "{}\n", wrapped(&head, ""))?;
    let from = if share.table.is_some() { "table" } else { "" };
    let names = ["alone", "in layer", "", "cache", "idle", "rest", from];
    let [alone, chained, off, cache, idle, rest, table] = names;
    let line =
        format!("  {:<20} {alone:>10} {chained:>10} {off:>9} {cache:>9} {idle:>9} {rest:>9} {table:>10}", "");
    writeln!(out, "{}", line.trim_end())?;
    for (i, link) in share.links.iter().enumerate() {
        let table = share.table.as_ref().and_then(|table| table.ops.get(i));
        let counts = link.alone >= SMALL * share.whole.alone;
        write_link(out, link, counts, table.map(|estimate| estimate.seconds.get()))?;
    }
    write_link(out, &share.whole, true, share.table.as_ref().map(|table| table.sum.seconds.get()))?;
    sentences(share).iter().try_for_each(|sentence| writeln!(out, "{}", wrapped(sentence, "  ")))
}

fn write_link(out: &mut String, link: &Link, counts: bool, table: Option<f64>) -> std::fmt::Result {
    let part = |share: Option<f64>| match share {
        Some(share) if counts && share.abs() >= SMALL => percent(share),
        _ => String::new(),
    };
    let Reasons { cache, idle, .. } = link.reasons;
    let line = format!(
        "  {:<20} {:>10} {:>10} {:>9} {:>9} {:>9} {:>9} {:>10}",
        clip(&link.name, 20),
        three_seconds(link.alone),
        three_seconds(link.chained),
        percent(link.off),
        part(cache),
        part(idle),
        part(cache.map(|cache| link.off - cache - idle.unwrap_or(0.0))),
        table.map(three_seconds).unwrap_or_default()
    );
    writeln!(out, "{}", line.trim_end())
}

/// `+3.1 %`.
fn percent(share: f64) -> String {
    format!("{:+.1} %", 100.0 * share)
}

/// `3.1 % longer`.
fn more(share: f64) -> String {
    let word = if share < 0.0 { "less" } else { "longer" };
    format!("{:.1} % {word}", 100.0 * share.abs())
}

/// What the numbers mean, and what else was found.
fn sentences(share: &Validation) -> Vec<String> {
    let mut out = Vec::new();
    let rounds = share.ratios.len();
    let rounds = if rounds == 1 { "1 round".to_owned() } else { format!("{rounds} rounds") };
    let interval = share.interval().map(|(low, high)| format!(" ({} to {})", percent(low), percent(high)));
    out.push(format!(
        "the layer takes {}{} than its ops alone, in {rounds} by turns",
        more(share.whole.off),
        interval.unwrap_or_default()
    ));
    if let Some(table) = &share.table {
        let sum = table.sum;
        let off = more(share.error());
        out.push(format!("and {off} than the table's {} ({})", super::with_error(&sum), sum.basis));
    }
    let waited = share.waited.unwrap_or(0.0);
    if share.by_cores {
        out.push(format!(
            "other programs had the cores for {:.0} % of the time: times are those that cores worked, over their \
             number; what they do to caches is not told apart",
            100.0 * waited
        ));
    }
    let Reasons { launches, clock, .. } = share.whole.reasons;
    if let Some(launches) = launches {
        out.push(format!("launched op by op it takes {} than as a graph", more(launches)));
    }
    if let Some(clock) = clock {
        out.push(format!("clock after the layer: {} beside the clock after ops alone", percent(clock)));
    }
    if !share.left_out.is_empty() {
        out.push(format!("left out, for there is nobody to send to: {}", share.left_out.join(", ")));
    }
    out
}

/// All shares, one a line: the layer beside its ops, and beside what a table says of them.
fn write_all(out: &mut String, found: &[Validation]) -> std::fmt::Result {
    let from = if found.iter().any(|share| share.table.is_some()) { "beside table" } else { "" };
    let head = format!(
        "{:<24} {:>5} {:>14} {:>10}   {:<20} {from}",
        "plan", "GPU", "tokens", "in layer", "interval"
    );
    writeln!(out, "{}", head.trim_end())?;
    for share in found {
        let (sequences, tokens) = share.of.batch;
        let interval = share.interval().map(|(low, high)| format!("{} to {}", percent(low), percent(high)));
        let line = format!(
            "{:<24} {:>5} {:>14} {:>10}   {:<20} {:>12}",
            clip(&share.of.plan, 24),
            share.of.gpu,
            format!("{sequences} × {tokens}"),
            percent(share.whole.off),
            interval.unwrap_or_default(),
            share.table.as_ref().map(|_| percent(share.error())).unwrap_or_default()
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What was learned, family by family.
pub fn lessons(table: &str, lessons: &[Lesson]) -> String {
    let mut out = String::new();
    for lesson in lessons {
        let (low, high) = lesson.row.summary.ends();
        let what = lesson.row.op.cells();
        let verdict = if lesson.is_systematic { "kept as a row" } else { "nothing systematic: no row" };
        // writing to a String does not fail
        let _ = writeln!(
            out,
            "{:<12} {:<6} × {:.3} ({:.3}–{:.3}) of {} layers   {verdict}",
            what.kind,
            what.dtype.map_or("", |dtype| dtype.name()),
            lesson.row.summary.seconds.get(),
            low.get(),
            high.get(),
            lesson.layers
        );
    }
    let _ = writeln!(out, "{table} has learned it: evaluate says so where it counts");
    out
}

fn link_json(link: &Link) -> Value {
    json!({
        "node": link.name, "op": link.op.map(|op| op.to_string()), "alone_seconds": link.alone,
        "executed_seconds": link.chained, "off": link.off, "cache": link.reasons.cache, "idle": link.reasons.idle,
    })
}

/// `[{"plan","gpu","batch","sequence","error","interval","ops":[…],"whole",…}]`; shares are of the time alone.
///
/// # Errors
/// When the answer cannot be serialized.
pub fn validation_json(found: &[Validation], lessons: &[Lesson]) -> Result<String, serde_json::Error> {
    let share = |share: &Validation| {
        json!({
            "plan": share.of.plan,
            "gpu": share.of.gpu,
            "batch": share.of.batch.0,
            "sequence": share.of.batch.1,
            "dtype": share.of.dtype,
            "error": share.error(),
            "off": share.whole.off,
            "interval": share.interval(),
            "ratios": share.ratios,
            "clock": if share.by_cores { "cores" } else { "wall" },
            "waited": share.waited,
            "table_seconds": share.table.as_ref().map(|table| table.sum.seconds.get()),
            "whole": link_json(&share.whole),
            "launches": share.whole.reasons.launches,
            "pace": share.whole.reasons.clock,
            "ops": share.links.iter().map(link_json).collect::<Vec<_>>(),
            "left_out": share.left_out,
        })
    };
    let lesson = |lesson: &Lesson| {
        let (low, high) = lesson.row.summary.ends();
        let cells = lesson.row.op.cells();
        json!({
            "family": cells.kind, "dtype": cells.dtype, "factor": lesson.row.summary.seconds.get(),
            "low": low.get(), "high": high.get(), "layers": lesson.layers, "kept": lesson.is_systematic,
        })
    };
    let answer = json!({
        "layers": found.iter().map(share).collect::<Vec<_>>(),
        "learned": lessons.iter().map(lesson).collect::<Vec<_>>(),
    });
    serde_json::to_string(&answer).map(|text| text + "\n")
}
