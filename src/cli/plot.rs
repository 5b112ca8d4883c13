//! `calibrate plot`: a picture of a table and of its fit.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::fit::{Fit, check};
use crate::plot;
use crate::report;
use crate::table::Table;

/// Seed of the folds, so that two runs deal the same.
const SEED: u64 = 1;

#[derive(clap::Args)]
pub struct PlotArgs {
    /// The table to show
    table: PathBuf,
    /// The picture to write: .svg, or .html for a page around it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Inner size and columns of products to show over m, as 8192x3072; may be repeated
    #[arg(long = "kn", value_name = "KxN", value_parser = pair)]
    pairs: Vec<(u64, u64)>,
}

/// Runs the command.
pub fn plot(args: &PlotArgs) -> anyhow::Result<String> {
    let ending = args.out.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let as_page = match ending {
        "svg" => false,
        "html" => true,
        _ => bail!("{}: a picture is an .svg or an .html file", args.out.display()),
    };
    let table = Table::read(&args.table)?;
    let name = args.table.display().to_string();
    let panels = plot::panels(&table, &Fit::new(&table, &name), &args.pairs, &check::folds(&table, SEED));
    if panels.is_empty() {
        bail!("{name} has no row to show");
    }
    let svg = report::panels(&panels)?;
    let text = if as_page { report::panels_page(&svg, &name) } else { svg };
    std::fs::write(&args.out, text).with_context(|| format!("{} cannot be written", args.out.display()))?;
    eprintln!("wrote {}", args.out.display());
    Ok(String::new())
}

/// Reads `8192x3072`.
fn pair(text: &str) -> Result<(u64, u64), String> {
    let read = |number: &str| number.trim().parse().ok().filter(|size| *size > 0);
    let both = text.split_once(['x', '×']).and_then(|(k, n)| Some((read(k)?, read(n)?)));
    both.ok_or_else(|| "k and n are two sizes such as 8192x3072".to_owned())
}
