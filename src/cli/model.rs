//! `calibrate model`: the few rates of a machine that tables show, as a data sheet.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::dtype::Dtype;
use crate::fit::rates::{Misfit, Rates};
use crate::source::sheet;
use crate::table::Table;

#[derive(clap::Args)]
pub struct ModelArgs {
    /// Tables of one device: of products, of collectives in one node
    #[arg(required = true)]
    tables: Vec<PathBuf>,
    /// The vendor's sheet, for what the tables do not tell
    #[arg(long, default_value = "h200-sxm")]
    sheet: String,
    /// What the tables are and where they are from, for the file's header; may be repeated
    #[arg(long)]
    source: Vec<String>,
    /// The sheet to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs the command.
pub fn model(args: &ModelArgs) -> anyhow::Result<String> {
    let vendors = sheet(&args.sheet)?;
    let vendors = vendors.sheet();
    let mut table = Table::default();
    for path in &args.tables {
        table = table.merge(Table::read(path)?).with_context(|| path.display().to_string())?;
    }
    let rates = Rates::of(&table);
    let most = rates.products.iter().max_by_key(|(_, of)| of.misfit.rows);
    let Some((main, of_main)) = most else {
        bail!("the tables have fewer than 8 products of any element type: a sheet needs the rate of one");
    };
    let Some(&peak) = vendors.flops_per_s.get(main) else {
        bail!("the sheet {} has no peak for {main}", args.sheet);
    };
    let share = of_main.flops_per_s / peak;
    let mut out = format!(
        "# {}: rates that measured tables show, written by `calibrate model`; not a vendor's figures, and not\n\
         # measured ones: what is asked of them is modelled. Errors are of the rows fitted to, median / 95th percentile.\n",
        vendors.name
    );
    for source in &args.source {
        writeln!(out, "# {source}")?;
    }
    let products = &of_main.misfit;
    writeln!(out, "name = {:?}", vendors.name)?;
    writeln!(out, "memory_bytes = {:e}   # the sheet {}", vendors.memory_bytes, args.sheet)?;
    let (bandwidth, launch) = (of_main.bytes_per_s, of_main.launch);
    writeln!(out, "memory_bandwidth_bytes_per_s = {bandwidth:.3e}   # {}", said(products, "products"))?;
    writeln!(out, "gpus_per_node = {}   # the sheet {}", vendors.gpus_per_node, args.sheet)?;
    writeln!(out, "launch_latency_seconds = {launch:.2e}   # as above")?;
    writeln!(out, "\n[flops_per_s]")?;
    for (dtype, peak) in &vendors.flops_per_s {
        let dtype: &Dtype = dtype;
        match rates.products.get(dtype) {
            Some(of) => {
                writeln!(out, "{dtype} = {:.3e}   # {}", of.flops_per_s, said(&of.misfit, "products"))?
            }
            None => writeln!(
                out,
                "{dtype} = {:.3e}   # not measured: {:.0} % of the sheet's peak, as {main} reaches",
                peak * share,
                100.0 * share
            )?,
        }
    }
    writeln!(out, "\n[intra_node]")?;
    match &rates.link {
        Some(link) => {
            let misfit = said(&link.misfit, "collectives in one node");
            writeln!(out, "bandwidth_bytes_per_s = {:.3e}   # {misfit}", link.bytes_per_s)?;
            writeln!(out, "latency_seconds = {:.2e}   # of a step; as above", link.step)?;
            writeln!(out, "start_seconds = {:.2e}   # before the first step; as above", link.start)?;
        }
        None => {
            let link = vendors.intra_node;
            writeln!(
                out,
                "bandwidth_bytes_per_s = {:e}   # the sheet {}",
                link.bandwidth_bytes_per_s, args.sheet
            )?;
            writeln!(out, "latency_seconds = {:e}   # the sheet {}", link.latency_seconds, args.sheet)?;
        }
    }
    let link = vendors.inter_node;
    writeln!(out, "\n[inter_node]")?;
    writeln!(out, "bandwidth_bytes_per_s = {:e}   # the sheet {}", link.bandwidth_bytes_per_s, args.sheet)?;
    writeln!(out, "latency_seconds = {:e}   # the sheet {}", link.latency_seconds, args.sheet)?;
    std::fs::write(&args.out, &out).with_context(|| format!("{} cannot be written", args.out.display()))?;
    eprintln!("wrote {}: evaluate --roofline {}", args.out.display(), args.out.display());
    Ok(out)
}

fn said(misfit: &Misfit, of: &str) -> String {
    format!("{} {of}: {:.0} / {:.0} %", misfit.rows, misfit.median, misfit.p95)
}
