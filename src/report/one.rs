//! One plan: its runtime, the critical path by layer, and what it holds in memory.

use std::fmt::Write as _;

use textwrap::core::display_width;

use super::outlook::{write_outlook, write_slack};
use super::rows::{Group, Row, bases, groups};
use super::{WIDTH, bar, clip, interval, machine, percent, three_seconds, with_error, wrapped};
use crate::cost::Estimate;
use crate::dag::Part;
use crate::evaluate::{Beside, Evaluation};
use crate::occupancy::{Occupancy, occupancy};
use crate::source::Source;
use crate::spec::Phase;
use crate::units::{grouped, human_bytes, three_digits};
use crate::whatif::Outlook;

/// Beyond the first group of layers only ops with this share of the whole are shown, unless all are asked for.
const WORTH_A_ROW: f64 = 0.02;

/// Lines for GPUs that hold different parts of the model.
const MOST_PARTS: usize = 4;

/// Titles of groups, and rows with them, that are shown unless all are asked for.
const MOST_TITLES: usize = 7;
const MOST_ROWS: usize = 19;

/// The screen of one plan, at most 100 columns wide.
pub fn one(e: &Evaluation, outlook: &Outlook, source: &Source, detail: bool) -> String {
    let mut out = String::new();
    // writing to a String does not fail
    let _ = write_one(&mut out, e, outlook, source, detail);
    out
}

fn write_one(
    out: &mut String,
    e: &Evaluation,
    outlook: &Outlook,
    source: &Source,
    detail: bool,
) -> std::fmt::Result {
    let makespan = e.makespan();
    let range = interval(&makespan);
    let answer = format!("   {}{range}   {}", makespan.seconds, makespan.basis);
    writeln!(out, "{}{answer}", clip(&e.plan.name, WIDTH - display_width(&answer)))?;
    writeln!(out, "{}", clip(&e.plan.title, WIDTH))?;
    writeln!(out, "{}", machine(&[e], source))?;
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
    let parts: Vec<String> =
        bases(&groups).iter().map(|(basis, share)| format!("{:.0} % {basis}", share * 100.0)).collect();
    if !parts.is_empty() {
        writeln!(out, "basis            the path is {}", parts.join(", "))?;
    }
    if let Some(beside) = &e.beside {
        writeln!(out, "{}", wrapped(&format!("overlap          {}", together(beside)), ""))?;
    }
    write_outlook(out, e, outlook)?;
    write_memory(out, e)?;
    write_gpus(out, e)?;
    if detail { write_slack(out, e, outlook) } else { Ok(()) }
}

/// How ops were priced that run at the same time.
pub(super) fn together(beside: &Beside) -> String {
    match beside {
        Beside::AsAlone => {
            "priced without slow-down: nobody has measured communication beside compute".to_owned()
        }
        Beside::Slower { products, communication } => {
            let [products, communication] = [products, communication].map(|factor| three_digits(*factor));
            format!(
                "where both run, products take {products} times as long and communication {communication} times"
            )
        }
    }
}

fn write_path(out: &mut String, e: &Evaluation, groups: &[Group], detail: bool) -> std::fmt::Result {
    let whole = e.makespan().seconds.get();
    writeln!(out, "  {:<21} {:<28} {:>5} {:>20}   share  basis", "critical path", "", "×", "time")?;
    let (titled, rest) = groups.split_at(if detail { groups.len() } else { groups.len().min(MOST_TITLES) });
    let mut room = if detail { usize::MAX } else { MOST_ROWS - titled.len() };
    for (i, group) in titled.iter().enumerate() {
        let total = group.total();
        let title = match group.layers {
            None => "between layers".to_owned(),
            Some((first, last)) if first == last => format!("layer {first}"),
            Some((first, last)) => format!("layers {first}–{last}"),
        };
        let each = match group.len() {
            1 => String::new(),
            n => format!("each {}", three_seconds(total.seconds.get() / n as f64)),
        };
        let share = percent(total.seconds.get(), whole);
        writeln!(out, "  {title:<21} {each:<28} {:>5} {:>20} {share}", "", with_error(&total))?;
        let worth = if i == 0 || detail || group.layers.is_none() { 0.0 } else { WORTH_A_ROW * whole };
        let rows = longest(&group.rows, room, worth);
        room -= rows.len();
        for row in &rows {
            write_op(out, row, whole)?;
        }
        match group.rows.len() - rows.len() {
            left if i == 0 && left > 0 => writeln!(out, "    … {left} shorter ones, see --detail")?,
            _ => {}
        }
    }
    if !rest.is_empty() {
        let total: Estimate = rest.iter().map(Group::total).sum();
        let (title, share) = (format!("{} further groups", rest.len()), percent(total.seconds.get(), whole));
        writeln!(out, "  {title:<21} {:<28} {:>5} {:>20} {share}", "", "", with_error(&total))?;
    }
    Ok(())
}

/// The `most` rows that take longest, and `worth` seconds at least, in the order of the path.
fn longest(rows: &[Row], most: usize, worth: f64) -> Vec<&Row> {
    let mut kept: Vec<usize> = (0..rows.len()).filter(|i| rows[*i].total.seconds.get() >= worth).collect();
    kept.sort_by_key(|i| std::cmp::Reverse(rows[*i].total.seconds));
    kept.truncate(most);
    kept.sort_unstable();
    kept.into_iter().map(|i| &rows[i]).collect()
}

fn write_op(out: &mut String, row: &Row, whole: f64) -> std::fmt::Result {
    let Row { name, op, count, total, .. } = row;
    let time = with_error(total);
    // a time that is wider than its column takes the place from the op
    let room = 48 - time.chars().count().clamp(20, 40);
    let (name, op, share) = (clip(name, 19), clip(op, room), percent(total.seconds.get(), whole));
    writeln!(out, "    {name:<19} {op:<room$} {count:>5} {time:>20} {share} {}", total.basis)
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
    )?;
    let Occupancy { products, memory, communication, bubble, idle } = occupancy(e);
    let [products, memory, communication, bubble, idle] =
        [products, memory, communication, bubble, idle].map(|share| format!("{:.0} %", share * 100.0));
    writeln!(
        out,
        "GPUs' time       products {products}, memory-bound {memory}, communication {communication}, bubble \
         {bubble}, idle {idle}"
    )
}

/// GPUs that hold different parts of the model, where there are such.
fn write_gpus(out: &mut String, e: &Evaluation) -> std::fmt::Result {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for gpu in 0..e.footprints.len() {
        match parts.last_mut() {
            Some((_, last)) if e.footprints[*last] == e.footprints[gpu] => *last = gpu,
            _ => parts.push((gpu, gpu)),
        }
    }
    if parts.len() < 2 || parts.len() > MOST_PARTS {
        return Ok(());
    }
    let makespan = e.timeline.schedule.makespan;
    for (first, last) in parts {
        let gpus = &e.timeline.busy[first..=last];
        let busy = gpus.iter().sum::<f64>() / gpus.len() as f64;
        let footprint = e.footprints[first];
        let name = format!("GPUs {first}–{last}");
        writeln!(
            out,
            "{name:<16} {} busy · {:.3e} FLOP each · weights {} · at the peak {}",
            percent(busy, makespan).trim(),
            e.gemm_flops[first] as f64,
            human_bytes(footprint.weight_bytes),
            human_bytes(footprint.peak_bytes)
        )?;
    }
    Ok(())
}

fn write_memory(out: &mut String, e: &Evaluation) -> std::fmt::Result {
    let fullest = e.fullest();
    let parts = [
        ("weights", Some(fullest.weight_bytes)),
        ("gradients and state", Some(fullest.state_bytes).filter(|bytes| *bytes > 0)),
        ("cache", Some(fullest.cache_bytes).filter(|bytes| *bytes > 0)),
        ("activations", Some(fullest.activation_bytes())),
    ];
    let part = |(name, bytes): (&str, Option<u64>)| Some(format!("{name} {}", human_bytes(bytes?)));
    let parts = parts.into_iter().filter_map(part).collect::<Vec<_>>().join(" · ");
    // a third part has no room beside the bar
    let apart = if fullest.state_bytes + fullest.cache_bytes > 0 { "\n                 " } else { "   " };
    let needs = human_bytes(fullest.peak_bytes);
    let Some(memory) = e.memory else {
        return writeln!(out, "memory per GPU   {needs} (the device's size is not known){apart}{parts}");
    };
    let share = fullest.peak_bytes as f64 / memory.capacity_bytes as f64;
    let capacity = human_bytes(memory.capacity_bytes);
    writeln!(out, "memory per GPU   {} {needs} of {capacity}{apart}{parts}", bar(share, 14))?;
    if e.plan.phase == Phase::Decode {
        let step = e.timeline.schedule.makespan;
        let rate = e.plan.model.batch as f64 / step;
        writeln!(
            out,
            "decoding         {} for each output token · {} tokens a second in all · {} a GPU",
            e.makespan().seconds,
            three_digits(rate),
            three_digits(rate / e.plan.gpus as f64)
        )?;
    }
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
