//! `calibrate import`: tables from other people's logs.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::bounded;
use crate::device::{Cluster, Device};
use crate::import::{self, Given, ImportError, Imported};
use crate::op::CollectiveKind;
use crate::table::Table;

#[derive(Args)]
pub(super) struct ImportArgs {
    #[command(subcommand)]
    format: Format,
}

#[derive(Subcommand)]
enum Format {
    /// Text of any version of nccl-tests since 2.0, or the JSON of -J
    NcclTests(NcclTestsArgs),
    /// Tables gemm_perf and nccl_perf of aiconfigurator, CSV text or parquet
    Aiconfigurator(AiconfiguratorArgs),
}

#[derive(Args)]
struct AiconfiguratorArgs {
    #[command(flatten)]
    files: Files,
    /// On how many nodes, where collectives have more than 8 GPUs
    #[arg(long)]
    nodes: Option<u64>,
}

/// What is read, and where it goes.
#[derive(Args)]
struct Files {
    /// The files
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// The table to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Add to the table that is there
    #[arg(long)]
    append: bool,
}

#[derive(Args)]
struct NcclTestsArgs {
    #[command(flatten)]
    files: Files,
    /// Which collective, where the log does not say it
    #[arg(long, value_enum)]
    collective: Option<KindArg>,
    /// How many ranks, where the log does not say it
    #[arg(long)]
    ranks: Option<u64>,
    /// On how many nodes, where the log does not say it
    #[arg(long)]
    nodes: Option<u64>,
    /// Take the times of the in-place half
    #[arg(long)]
    in_place: bool,
}

#[derive(Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum KindArg {
    AllReduce,
    AllGather,
    ReduceScatter,
    AllToAll,
    Broadcast,
}

impl From<KindArg> for CollectiveKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::AllReduce => CollectiveKind::AllReduce,
            KindArg::AllGather => CollectiveKind::AllGather,
            KindArg::ReduceScatter => CollectiveKind::ReduceScatter,
            KindArg::AllToAll => CollectiveKind::AllToAll,
            KindArg::Broadcast => CollectiveKind::Broadcast,
        }
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &ImportArgs) -> anyhow::Result<String> {
    match &args.format {
        Format::NcclTests(args) => nccl_tests(args),
        Format::Aiconfigurator(args) => {
            read(&args.files, "aiconfigurator", |name, bytes| import::aiconfigurator(name, bytes, args.nodes))
        }
    }
}

fn nccl_tests(args: &NcclTestsArgs) -> anyhow::Result<String> {
    let given = Given {
        collective: args.collective.map(CollectiveKind::from),
        ranks: args.ranks,
        nodes: args.nodes,
        in_place: args.in_place,
    };
    read(&args.files, "nccl-tests", |name, bytes| {
        // host names and NCCL's messages may hold anything; what rows are made of is ASCII
        import::nccl_tests(name, &String::from_utf8_lossy(bytes), &given)
    })
}

/// Reads all files into one table.
fn read(
    files: &Files,
    format: &str,
    import: impl Fn(&str, &[u8]) -> Result<Imported, ImportError>,
) -> anyhow::Result<String> {
    let mut table = before(&files.out, files.append)?;
    let (mut rows, mut left_out) = (0, Vec::new());
    for file in &files.files {
        let name = file.display().to_string();
        let bytes = bounded::bytes(file, bounded::WRITTEN_BY_PROGRAMS)
            .with_context(|| format!("{name} cannot be read"))?;
        let imported = import(&name, &bytes)?;
        rows += imported.records.len();
        if imported.left_out.sum() > 0 {
            left_out.push(format!("{name}: left out {}", imported.left_out));
        }
        let read = as_table(imported, format, &name);
        table = Some(match table {
            None => read,
            Some(table) => table.merge(read)?,
        });
    }
    let Some(table) = table else { bail!("no file was given") };
    table.write(&files.out)?;
    for line in left_out {
        eprintln!("{line}");
    }
    Ok(format!("{}   {} rows, {rows} of them imported\n", files.out.display(), table.records.len()))
}

/// The table that is added to.
fn before(out: &Path, append: bool) -> anyhow::Result<Option<Table>> {
    match (append, out.exists()) {
        (true, true) => Ok(Some(Table::read(out)?)),
        (true, false) => bail!("{} is not there to append to\n  leave --append out", out.display()),
        (false, true) => {
            bail!("{} is there already\n  add to it with --append, or choose another --out", out.display())
        }
        (false, false) => Ok(None),
    }
}

fn as_table(imported: Imported, format: &str, file: &str) -> Table {
    let device = imported.device.map(|name| Device { name, ..Device::default() });
    let entry = |key: &str, value: &str| (key.to_owned(), toml::Value::String(value.to_owned()));
    Table {
        device,
        // a log tells which GPUs took part, not how many a node has
        cluster: Cluster::default(),
        run: [entry("command", &format!("calibrate import {format}")), entry("log", file)]
            .into_iter()
            .collect(),
        records: imported.records,
    }
}
