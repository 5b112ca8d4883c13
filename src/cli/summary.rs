//! What a campaign brought: rows, how well they fit, and the plans on devices of this kind.

use std::fmt::Write as _;

use super::arguments::Cli;
use crate::evaluate::{self, Overrides};
use crate::fit::Fit;
use crate::measure::campaign::Outcome;
use crate::plan::{self, Plan};
use crate::report;
use crate::source::Source;
use crate::table::Table;

/// What came out: rows, the quality of the fit, and the plans on devices of this kind.
pub(super) fn summary(table: &Table, outcome: &Outcome, cli: &Cli) -> anyhow::Result<String> {
    let name = cli.out().display().to_string();
    let mut out = format!("{name}   {} rows", table.records.len());
    match outcome.skipped.as_slice() {
        [] => out.push('\n'),
        [first, rest @ ..] => {
            writeln!(out, ", {} left out ({}: {}", rest.len() + 1, first.op, first.reason)?;
            out.truncate(out.trim_end().len());
            out += if rest.is_empty() { ")\n" } else { ", …)\n" };
        }
    }
    let (elapsed, inside) = (outcome.elapsed.as_secs_f64(), outcome.inside.as_secs_f64());
    if inside > 0.0 {
        writeln!(out, "time        {elapsed:.0} s, {:.2} times what the samples took", elapsed / inside)?;
    }
    let fit = Fit::new(table, &name);
    for (i, error) in fit.holdout(10, 0).iter().enumerate() {
        let lines = report::wrapped(&error.to_string(), "            ");
        writeln!(out, "{}", if i == 0 { lines.replacen("   ", "fit", 1) } else { lines })?;
    }
    let bandwidths = report::bandwidths(table);
    if !bandwidths.is_empty() {
        write!(out, "\n{bandwidths}")?;
    }
    out.push('\n');
    out += &plans(table, &name, table.cluster.gpus.unwrap_or(cli.gpus))?;
    writeln!(out, "\nnext        evaluate --table {name}")?;
    Ok(out)
}

/// The built-in plans, on as many devices of this kind as were measured together.
fn plans(table: &Table, name: &str, gpus: u64) -> anyhow::Result<String> {
    let source = Source::from_table(table, name, None);
    let mut done = Vec::new();
    for (name, text) in plan::BUILT_IN {
        let plan = Plan::parse(name, text)?;
        if plan.gpus > gpus {
            return Ok(format!(
                "the built-in plans are for {} devices: measure with --gpus {} to evaluate them\n",
                plan.gpus, plan.gpus
            ));
        }
        match evaluate::evaluate(plan, &source, &Overrides::default()) {
            Ok(evaluation) => done.push(evaluation),
            Err(error) => eprintln!("calibrate: {error}"),
        }
    }
    Ok(report::ranking(&done, &source))
}
