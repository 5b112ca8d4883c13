//! `evaluate explain`: a formula beside its plan.

use anyhow::Context;
use clap::Args;

use super::inputs::{
    ChoiceArgs, Format, SourceArgs, only_text_or_json, read_plan, source, with_remedy, written_by_hand,
};
use crate::evaluate::{self as pipeline, Evaluation};
use crate::explain::{Explanation, Written, author_of, explain as compare};
use crate::formula::{self, Setting};
use crate::plan;
use crate::report;
use crate::source::Source;

/// What to explain.
#[derive(Args)]
pub struct ExplainArgs {
    /// A built-in plan, or a plan file (.toml) together with --formula
    plan: String,
    /// A file with your own formula of the plan's runtime
    #[arg(long, value_name = "FILE")]
    formula: Option<String>,
    /// Give a name that the formula leaves open a number, a time (12ms) or an expression
    #[arg(long, value_name = "NAME=EXPR")]
    set: Vec<String>,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
}

/// The formula and the plan side by side.
pub fn explain(args: &ExplainArgs) -> anyhow::Result<String> {
    only_text_or_json(args.source.format)?;
    let written = match &args.formula {
        Some(file) => Written {
            plan: args.plan.clone(),
            source: file.clone(),
            text: written_by_hand(file, file)?,
            reads_as: None,
            settings: Vec::new(),
            rival: None,
            winner: None,
            claim: None,
        },
        None => author_of(&args.plan).with_context(|| {
            format!("no author's formula of {} is compiled in: give one with --formula FILE", args.plan)
        })?,
    };
    let plan = read_plan(&args.plan)?;
    let source = source(&args.source)?;
    let (e, found) = beside(plan, &written, args, &source)?;
    let verdict = match (&written.rival, &written.winner, &written.claim) {
        (Some(rival), Some(winner), Some(claim)) if args.formula.is_none() => {
            let other = author_of(rival).with_context(|| format!("no formula of {rival}"))?;
            let (their_plan, theirs) = beside(read_plan(rival)?, &other, args, &source)?;
            let figures = |name: &str, x: &Explanation| (name.to_owned(), x.written_seconds, x.plan_seconds);
            Some(report::Verdict {
                claim: claim.clone(),
                winner: winner.clone(),
                same_model: e.plan.model.computes_the_same(&their_plan.plan.model),
                plans: [figures(&args.plan, &found), figures(rival, &theirs)],
            })
        }
        _ => None,
    };
    match args.source.format {
        Format::Json => Ok(report::explain_json(&e, &written.source, &found, verdict.as_ref())?),
        _ => Ok(report::explain(&e, &written.source, &found, verdict.as_ref())),
    }
}

fn beside(
    plan: plan::Plan,
    written: &Written,
    args: &ExplainArgs,
    source: &Source,
) -> anyhow::Result<(Evaluation, Explanation)> {
    let name = plan.name.clone();
    let e = pipeline::evaluate(plan, source, &args.choice.overrides(&args.source))
        .map_err(|error| with_remedy(error, &name, &args.source))?;
    let texts =
        written.settings.iter().chain(if written.plan == args.plan { args.set.as_slice() } else { &[] });
    let settings = texts.map(|text| Setting::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let text = written.reads_as.as_deref().unwrap_or(&written.text);
    let formulas = formula::evaluate(text, &settings, e.choice.dtype, source)?;
    let graph = plan::describe(&e.plan, &e.choice, &e.dag);
    let found = compare(&e, &graph, &formulas);
    Ok((e, found))
}
