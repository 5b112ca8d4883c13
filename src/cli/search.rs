//! `evaluate search`: the fastest layout of a model.

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail};
use clap::Args;

use super::inputs::{
    AttentionArg, ChoiceArgs, Format, SourceArgs, built_in_plans, only_text_or_json, source, with_remedy,
    written_by_hand,
};
use crate::plan;
use crate::report;
use crate::search::{Template, search as look};

/// What to search.
#[derive(Args)]
pub struct SearchArgs {
    /// A public model, a built-in plan, or a TOML file with a [model]; a layout in it is left aside
    #[arg(long, value_name = "MODEL|FILE")]
    model: String,
    /// GPUs to spread it over
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    gpus: u64,
    /// Write the plan of a row into this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    /// Which row
    #[arg(long, value_name = "N", default_value_t = 1, requires = "write")]
    row: usize,
    /// Whether the scores of attention are stored
    #[arg(long)]
    attention: Option<AttentionArg>,
    #[command(flatten)]
    source: SourceArgs,
}

/// All layouts, fastest first.
pub fn search(args: &SearchArgs) -> anyhow::Result<String> {
    only_text_or_json(args.source.format)?;
    let choice = ChoiceArgs { attention: args.attention, ..ChoiceArgs::default() };
    let overrides = choice.overrides(&args.source);
    let model = read_model(&args.model)?.under(overrides.dtype, overrides.attention);
    let source = source(&args.source)?;
    let began = Instant::now();
    let found =
        look(&model, args.gpus, &source).map_err(|error| with_remedy(error, &args.model, &args.source))?;
    let took = began.elapsed();
    if let Some(file) = &args.write {
        let Some(row) = args.row.checked_sub(1).and_then(|row| found.found.get(row)) else {
            bail!("there is no row {}: {} layouts fit", args.row, found.found.len());
        };
        let text = model.text(args.gpus, &row.degrees);
        std::fs::write(file, text).with_context(|| format!("{} cannot be written", file.display()))?;
    }
    match args.source.format {
        Format::Json => Ok(report::search_json(&model, args.gpus, &found)?),
        _ => Ok(report::search(&model, args.gpus, &found, took, &source)),
    }
}

/// A model that is compiled in, by itself or in a plan, or one from a file.
fn read_model(name: &str) -> anyhow::Result<Template> {
    let known = || plan::PUBLIC.iter().chain(&plan::BUILT_IN);
    // a public model's name means its training
    let first = || known().find(|(n, _)| n.strip_prefix(name) == Some("-train"));
    if let Some((name, text)) = known().find(|(n, _)| *n == name).or_else(first) {
        return Ok(Template::parse(name, text)?);
    }
    if !name.ends_with(".toml") && !Path::new(name).exists() {
        bail!("no model \"{name}\"\n{}\n  your own is a file that ends in .toml", built_in_plans());
    }
    Ok(Template::parse(name, &written_by_hand(name, &format!("the model {name}"))?)?)
}
