//! One plan: its runtime, the critical path by layer, and what it holds in memory.

use std::fmt::Write as _;

use super::rows::{Group, Row, groups, worst_basis};
use super::{bar, interval, with_error, wrapped};
use crate::dag::Part;
use crate::evaluate::Evaluation;
use crate::source::Source;
use crate::units::{grouped, human_bytes};

/// Groups of layers that are shown row by row unless all are asked for.
const GROUPS_SHOWN: usize = 2;

/// The screen of one plan, at most 100 columns wide.
pub fn one(e: &Evaluation, source: &Source, detail: bool) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write_one(&mut out, e, source, detail);
    out
}

fn write_one(out: &mut String, e: &Evaluation, source: &Source, detail: bool) -> std::fmt::Result {
    let makespan = e.makespan();
    let range = interval(&makespan);
    writeln!(out, "{}   {}{range}   {}", e.plan.name, makespan.seconds, makespan.basis)?;
    writeln!(out, "{}", e.plan.title)?;
    let machine = format!("{} × {} · {}", e.plan.gpus, source.headline, e.choice.dtype);
    writeln!(out, "{}", wrapped(&machine, ""))?;
    let pieces = super::pieces(e);
    writeln!(
        out,
        "{pieces} · {} ops · {} edges · {} GPUs {:.0} % busy\n",
        grouped(e.dag.len() as u128),
        grouped(e.dag.edges() as u128),
        e.plan.gpus,
        e.utilisation() * 100.0
    )?;
    let groups = groups(e);
    write_path(out, e, &groups, detail)?;
    write_split(out, e)?;
    if let Some((basis, share)) = worst_basis(&groups) {
        writeln!(out, "basis            {:.0} % of the path is {basis}", share * 100.0)?;
    }
    write_memory(out, e)
}

fn write_path(out: &mut String, e: &Evaluation, groups: &[Group], detail: bool) -> std::fmt::Result {
    let whole = e.makespan().seconds.get();
    writeln!(out, "  {:<21} {:<28} {:>5} {:>20}   share  basis", "critical path", "", "×", "time")?;
    let mut shown = 0;
    for group in groups {
        let total = group.total();
        let title = match group.layers {
            None => "between layers".to_owned(),
            Some((first, last)) if first == last => format!("layer {first}"),
            Some((first, last)) => format!("layers {first}–{last}"),
        };
        let each = match group.len() {
            1 => String::new(),
            n => format!("each {}", crate::report::three_seconds(total.seconds.get() / n as f64)),
        };
        let share = percent(total.seconds.get(), whole);
        writeln!(out, "  {title:<21} {each:<28} {:>5} {:>20} {share}", "", with_error(&total))?;
        if !detail && group.layers.is_some() && shown == GROUPS_SHOWN {
            continue;
        }
        shown += usize::from(group.layers.is_some());
        for Row { name, op, count, total, .. } in &group.rows {
            let (op, time) = (clip(op, 28), with_error(total));
            let share = percent(total.seconds.get(), whole);
            writeln!(out, "    {name:<19} {op:<28} {count:>5} {time:>20} {share} {}", total.basis)?;
        }
    }
    Ok(())
}

fn write_split(out: &mut String, e: &Evaluation) -> std::fmt::Result {
    let whole = e.makespan().seconds.get();
    let [gemm, mem, comm] = Part::ALL.map(|part| e.seconds_on(part));
    writeln!(
        out,
        "\ncompute {} (products {}, memory-bound {}) · communication {}",
        percent(gemm + mem, whole).trim(),
        percent(gemm, whole).trim(),
        percent(mem, whole).trim(),
        percent(comm, whole).trim()
    )
}

fn write_memory(out: &mut String, e: &Evaluation) -> std::fmt::Result {
    let fullest = e.fullest();
    let activations = fullest.peak_bytes - fullest.weight_bytes;
    let parts =
        format!("weights {} · activations {}", human_bytes(fullest.weight_bytes), human_bytes(activations));
    let needs = human_bytes(fullest.peak_bytes);
    let Some(memory) = e.memory else {
        return writeln!(out, "memory per GPU   {needs} (the device's size is not known)   {parts}");
    };
    let share = fullest.peak_bytes as f64 / memory.capacity_bytes as f64;
    let capacity = human_bytes(memory.capacity_bytes);
    writeln!(out, "memory per GPU   {} {needs} of {capacity}   {parts}", bar(share, 14))?;
    if e.fits() == Some(true) {
        return Ok(());
    }
    let over = human_bytes(fullest.peak_bytes.saturating_sub(memory.capacity_bytes));
    match memory.fewest_microbatches {
        Some(n) => writeln!(
            out,
            "does not fit     {over} too much; {} sequences fit at once: --microbatches {n}",
            memory.max_sequences
        ),
        None => writeln!(out, "does not fit     {over} too much; not even one sequence fits at once"),
    }
}

/// ` 30.7 %`, six characters and the sign.
fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:>5.1} %", part / whole * 100.0) } else { "    – %".to_owned() }
}

fn clip(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).collect::<String>() + "…"
}
