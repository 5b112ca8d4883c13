//! A campaign: what is asked for, measured into a cost table that is kept row by row.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};

use super::arguments::{Cli, about};
use super::inputs::read_plan;
use super::keeping::{self, Place};
use super::progress::Bar;
use super::summary::summary;
use crate::calibrate::{self as pipeline, Order};
use crate::dtype::Dtype;
use crate::measure::Backend;
use crate::measure::campaign::SkipReason;
use crate::measure::journal::{Journaled, Run};
use crate::measure::sampler::Sampling;
use crate::op::Op;
use crate::plan::{self, Plan};
use crate::refine::Event;
use crate::table::Table;

/// Seed of all random data, so that two runs work on the same numbers.
#[cfg(any(feature = "cpu", feature = "cuda"))]
pub(super) const SEED: u64 = 1;

/// What to start where there is no GPU.
pub(super) fn instead(cli: &Cli) -> String {
    format!(
        "  measure this machine's processor instead:  calibrate --backend cpu --gpus {} --out {}\n  \
         what is there and what is missing:         calibrate doctor",
        cli.gpus,
        cli.out().display()
    )
}

/// A GPU is sampled longer, for its short ops are noisy, and takes longer to begin with an op.
pub(super) fn as_on_a_gpu(order: Order) -> Order {
    let warm_up = Duration::from_millis(15);
    let least_time = Duration::from_millis(100);
    let sampling = Sampling { least: 30, least_time, half_width: 0.005, warm_up, ..Sampling::default() };
    Order { sampling, most_case_seconds: 0.16, ..order }
}

/// What is asked for; of the built-in plans those that are `wanted`, where no other is named.
pub(super) fn order(cli: &Cli, wanted: impl Fn(&Plan) -> bool) -> anyhow::Result<Order> {
    let (mut plans, mut ops) = (Vec::new(), Vec::new());
    for name in &cli.plans {
        if name.ends_with(".csv") {
            let ops_of = Table::read(Path::new(name))?.records.into_iter().map(|record| record.op);
            ops.extend(ops_of.filter(|op| !matches!(op, Op::Chain(_))));
        } else {
            plans.push(read_plan(name)?);
        }
    }
    if cli.only && !plans.is_empty() {
        bail!(
            "--only is for tables, whose ops are measured as they stand; of a plan sizes have to be chosen"
        );
    }
    if cli.plans.is_empty() {
        for (name, text) in plan::BUILT_IN {
            plans.extend(Some(Plan::parse(name, text)?).filter(&wanted));
        }
    }
    Ok(Order {
        gpus: cli.gpus,
        budget: cli.budget(),
        passes: cli.passes,
        dtypes: cli.dtype.clone(),
        exchanged: Vec::new(),
        plans,
        ops,
        families: cli.ops.clone(),
        only: cli.only,
        sampling: Sampling::default(),
        most_case_seconds: 3e-3,
        target: cli.target,
        most_shapes: cli.shapes.and_then(|shapes| usize::try_from(shapes).ok()),
    })
}

/// Runs every kind of op once: a line for each, and an error where any is wrong.
fn check(backend: &mut dyn Backend, dtypes: &[Dtype]) -> anyhow::Result<String> {
    let (mut text, mut wrong) = (String::new(), 0);
    let done = pipeline::check(backend, dtypes);
    for (op, result) in &done {
        match result {
            Ok(seconds) => writeln!(text, "ok     {op}  {seconds}")?,
            Err(error) => {
                wrong += 1;
                writeln!(text, "WRONG  {error}")?;
            }
        }
    }
    writeln!(text, "{} of {} results are right", done.len() - wrong, done.len())?;
    if wrong > 0 {
        print!("{text}");
        bail!("{wrong} of {} results are wrong", done.len());
    }
    Ok(text)
}

/// Measures what is asked for, and tells what came of it.
pub(super) fn measure(cli: &Cli, backend: &mut dyn Backend, order: &Order) -> anyhow::Result<String> {
    if cli.check {
        return check(backend, &order.dtypes);
    }
    for dtype in &order.dtypes {
        let known = backend.dtypes();
        if !known.contains(dtype) {
            let known: Vec<&str> = known.iter().map(|known| known.name()).collect();
            bail!("{dtype} cannot be measured here; {} can", known.join(", "));
        }
    }
    let remarks = backend.remarks();
    let mut about = about(cli);
    if !remarks.is_empty() {
        about.insert("remarks".to_owned(), remarks.clone().into());
    }
    let mut table = pipeline::table(backend, order.gpus, about);
    let place = Place::look(cli, &table)?;
    let name = Some(backend.device().name).filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "a device without a name".to_owned());
    eprintln!("{} × {name} · budget {:.0?}", order.gpus, cli.budget());
    remarks.iter().for_each(|remark| eprintln!("remark: {remark}"));
    if cli.resume && place.is_whole() {
        return Ok(format!("{} is whole: there is nothing to go on with\n", cli.out().display()));
    }
    let stop = keeping::stop()?;
    let mut backend = Journaled::open(backend, (cli.out(), &Run::of(&table), cli.resume), &stop)?;
    if backend.visits() > 0 {
        eprintln!("going on after {} measurements", backend.visits());
    }
    let command = table.run.get("command").and_then(toml::Value::as_str).unwrap_or_default().to_owned();
    let going_on = |backend: &Journaled<'_>| {
        format!("{} measurements are kept; go on with:\n  {command} --resume", backend.visits())
    };
    let campaign = pipeline::prepare(&mut backend, order);
    let mut campaign = campaign.with_context(|| going_on(&backend))?;
    campaign.ops.retain(|op| !place.has(op));
    campaign.pool.retain(|op| !place.has(op));
    if campaign.ops.is_empty() && campaign.pool.is_empty() && !place.has_rows() {
        backend.finish();
        bail!("{}", nothing(cli));
    }
    let ops = &campaign.ops;
    let about = match campaign.estimate.as_secs_f64() / 60.0 {
        0.0 => String::new(),
        minutes => format!(" · about {minutes:.1} min"),
    };
    let of_plans = format!("{} for {} plans", campaign.of_plans, order.plans.len());
    eprintln!("{} cases, {of_plans}: {}{about}", ops.len(), by_family(ops));
    let mut bar = Bar::start();
    let outcome = pipeline::run(&mut backend, &campaign, &table, &mut |event| match event {
        Event::Tried(round) => bar.tell(&round),
        Event::Measured(progress) => bar.show(&progress),
    });
    bar.finish();
    if let Some(why) = backend.unwritten() {
        eprintln!("calibrate: {why}");
    }
    let outcome = outcome.with_context(|| going_on(&backend))?;
    if let Some(failure) = &outcome.failure {
        let whereabouts = place.write_part(&mut table, &outcome, backend.visits())?;
        bail!("{failure}\n  {whereabouts}\n  go on with:  {command} --resume");
    }
    let closing = backend.closing_remarks();
    closing.iter().for_each(|remark| eprintln!("remark: {remark}"));
    if let Some(toml::Value::Array(remarks)) = table.run.get_mut("remarks") {
        remarks.extend(closing.into_iter().map(toml::Value::from));
    } else if !closing.is_empty() {
        table.run.insert("remarks".to_owned(), closing.into());
    }
    place.write(&mut table, &outcome)?;
    let text = summary(&table, &outcome, cli)?;
    backend.finish();
    let refused = outcome.skipped.iter().filter(|skipped| matches!(skipped.reason, SkipReason::Refused(_)));
    let refused: Vec<String> = refused.map(|skipped| format!("{} {}", skipped.op, skipped.reason)).collect();
    match refused.as_slice() {
        [] => Ok(text),
        [first, ..] => {
            print!("{text}");
            bail!(
                "{} ops could not be measured, the others are in {}\n  {first}",
                refused.len(),
                cli.out().display()
            )
        }
    }
}

/// Why there is nothing to measure.
fn nothing(cli: &Cli) -> String {
    let asked = match cli.ops.as_slice() {
        [] => "what is asked for".to_owned(),
        families => families.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    let gpus = if cli.gpus == 1 { "\n  collectives and sends need --gpus 2 or more" } else { "" };
    format!("there is nothing to measure of {asked}{gpus}")
}

fn by_family(ops: &[Op]) -> String {
    let counts =
        crate::op::Family::ALL.map(|family| (family, ops.iter().filter(|op| op.family() == family).count()));
    let parts = counts.iter().filter(|(_, n)| *n > 0).map(|(family, n)| format!("{n} {family}"));
    parts.collect::<Vec<_>>().join(", ")
}
