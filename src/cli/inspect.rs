//! `evaluate check`: is the graph what a plan should be?

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::arguments::percent;
use super::inputs::{ChoiceArgs, Format, SourceArgs, only_text_or_json, read_plan, source, with_remedy};
use super::output::finish;
use crate::bounded;
use crate::check::{self as checks, Limits};
use crate::evaluate::{self as pipeline, Evaluation};
use crate::graph::{self, Graph};
use crate::plan;
use crate::report;
use crate::source::Source;

/// What to check, and against what.
#[derive(Args)]
pub struct CheckArgs {
    /// A built-in plan, a plan file (.toml) or a graph (.dot)
    plan: String,
    #[command(flatten)]
    source: SourceArgs,
    #[command(flatten)]
    choice: ChoiceArgs,
    /// By how much the most loaded GPU may exceed the mean, in percent
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = percent)]
    tolerance: f64,
}

/// Prints the six checks; exit status 1 where one does not hold.
pub fn check(args: &CheckArgs) -> ExitCode {
    match run(args) {
        Err(error) => finish("evaluate", Err(error)),
        Ok((text, failed)) => match finish("evaluate", Ok(text)) {
            ExitCode::SUCCESS if failed => ExitCode::FAILURE,
            status => status,
        },
    }
}

fn run(args: &CheckArgs) -> anyhow::Result<(String, bool)> {
    only_text_or_json(args.source.format)?;
    // a plan that cannot be read is not worth a remark about times
    let from_dot = args.plan.ends_with(".dot").then(|| read_graph(&args.plan)).transpose()?;
    let plan = if from_dot.is_some() { None } else { Some(read_plan(&args.plan)?) };
    let source = source(&args.source)?;
    let graph = match (from_dot, plan) {
        (Some(graph), _) => graph,
        (None, Some(plan)) => described(plan, args, &source)?,
        (None, None) => Graph::default(),
    };
    let limits =
        Limits { memory_bytes: source.memory_bytes, cost: Some(&source), tolerance: args.tolerance / 100.0 };
    let found = checks::check(&graph, &limits);
    let failed = found.iter().any(|check| check.verdict.failed());
    let text = match args.source.format {
        Format::Json => report::checks_json(&graph, &found)?,
        _ => report::checks(&graph, &found),
    };
    Ok((text, failed))
}

fn read_graph(file: &str) -> anyhow::Result<Graph> {
    let text = bounded::text(Path::new(file), bounded::WRITTEN_BY_PROGRAMS)
        .with_context(|| format!("{file} cannot be read"))?;
    let mut graph = graph::read(&text).with_context(|| file.to_owned())?;
    if graph.name.is_empty() {
        graph.name =
            Path::new(file).file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into());
    }
    Ok(graph)
}

/// The graph of a plan as it would be evaluated.
fn described(plan: plan::Plan, args: &CheckArgs, source: &Source) -> anyhow::Result<Graph> {
    let overrides = args.choice.overrides(&args.source);
    let name = args.plan.as_str();
    let evaluation = pipeline::evaluate(plan, source, &overrides)
        .map_err(|error| with_remedy(error, name, &args.source))?;
    Ok(plan::describe(&evaluation.plan, &evaluation.choice, &evaluation.dag))
}

/// Writes the files of one plan, and says on stderr which.
pub fn write_artifacts(e: &Evaluation, source: &Source, folder: &Path) -> anyhow::Result<()> {
    let graph = plan::describe(&e.plan, &e.choice, &e.dag);
    let limits = Limits { memory_bytes: source.memory_bytes, cost: Some(source), tolerance: 0.0 };
    let found = checks::check(&graph, &limits);
    std::fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    for (name, text) in report::artifacts(e, &graph, &found, &source.name)? {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("{} cannot be written", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(())
}
