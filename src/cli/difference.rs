//! `evaluate compare`: two plans, term by term.

use clap::Args;

use super::inputs::{ChoiceArgs, Format, SourceArgs, only_text_or_json, read_plan, source, with_remedy};
use crate::difference::difference;
use crate::evaluate as pipeline;
use crate::report;

/// What to compare.
#[derive(Args)]
pub struct CompareArgs {
    /// A built-in plan, or a plan file (.toml)
    first: String,
    /// The plan to compare it with
    second: String,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
}

/// Both plans, the difference of their runtimes, and where it comes from.
pub fn compare(args: &CompareArgs) -> anyhow::Result<String> {
    only_text_or_json(args.source.format)?;
    let names = [&args.first, &args.second];
    let plans = names.map(|name| read_plan(name));
    let source = source(&args.source)?;
    let overrides = args.choice.overrides(&args.source);
    let mut done = Vec::with_capacity(2);
    for (plan, name) in plans.into_iter().zip(names) {
        let e = pipeline::evaluate(plan?, &source, &overrides);
        done.push(e.map_err(|error| with_remedy(error, name, &args.source))?);
    }
    let both = [&done[0], &done[1]];
    let found = difference(both[0], both[1]);
    match args.source.format {
        Format::Json => Ok(report::compare_json(both, &found)?),
        _ => Ok(report::compare(both, &found, &source)),
    }
}
