//! `calibrate`: its commands, and what it measures on.

use std::process::ExitCode;

use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use super::arguments::{BackendArg, Cli, version};
use super::campaign::{as_on_a_gpu, measure, order};
use super::check::CheckArgs;
use super::compare::{CompareArgs, MergeArgs};
use super::import::ImportArgs;
use super::model::ModelArgs;
use super::output::finish;
use super::plot::PlotArgs;
use crate::doctor;
use crate::measure::replay::Replay;
use crate::report;
use crate::table::Table;

/// Measure real products, kernels, attention and collectives into a cost table with error bars.
#[derive(Parser)]
#[command(
    name = "calibrate",
    version = version(),
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Option<Cli>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a table of other people's logs
    Import(ImportArgs),
    /// Tell how far a table's predictions are off
    Check(CheckArgs),
    /// Tell what got faster or slower between two tables, or which of several nodes is not like the others
    Compare(CompareArgs),
    /// Join tables of one device
    Merge(MergeArgs),
    /// Tell what is found on this machine, and what each missing thing would enable
    Doctor,
    /// Draw a table and its fit: efficiency, bandwidth, errors
    Plot(PlotArgs),
    /// Make a data sheet of the rates that tables show
    Model(ModelArgs),
}

/// Runs the program.
pub fn calibrate() -> ExitCode {
    let program = Program::parse();
    let result = match (&program.command, &program.measure) {
        (Some(Command::Import(args)), _) => super::import::run(args),
        (Some(Command::Check(args)), _) => super::check::check(args),
        (Some(Command::Compare(args)), _) => return super::compare::compare(args),
        (Some(Command::Merge(args)), _) => super::compare::merge(args),
        (Some(Command::Doctor), _) => Ok(report::doctor(&doctor::examine())),
        (Some(Command::Plot(args)), _) => super::plot::plot(args),
        (Some(Command::Model(args)), _) => super::model::model(args),
        (None, Some(cli)) if cli.replay.is_some() && cli.backend != BackendArg::Replay => {
            let message = "--replay is the table of --backend replay, and another backend is asked for";
            Program::command().error(ErrorKind::ArgumentConflict, message).exit()
        }
        (None, Some(cli)) => match cli.backend {
            BackendArg::Cuda => cuda(cli),
            BackendArg::Cpu => cpu(cli),
            BackendArg::Replay => replay(cli),
        },
        // clap asks for --out before it comes to this
        (None, None) => Err(anyhow::anyhow!("nothing to do: give --out FILE")),
    };
    finish("calibrate", result)
}

#[cfg(feature = "cuda")]
fn cuda(cli: &Cli) -> anyhow::Result<String> {
    super::gpus::measure(cli)
}

#[cfg(not(feature = "cuda"))]
fn cuda(cli: &Cli) -> anyhow::Result<String> {
    let instead = super::campaign::instead(cli);
    anyhow::bail!("this build has no backend for GPUs; build it with --features cuda\n{instead}")
}

#[cfg(feature = "cpu")]
fn cpu(cli: &Cli) -> anyhow::Result<String> {
    super::processor::measure(cli)
}

#[cfg(not(feature = "cpu"))]
fn cpu(_: &Cli) -> anyhow::Result<String> {
    anyhow::bail!("this build has no processor backend; build it with --features cpu")
}

fn replay(cli: &Cli) -> anyhow::Result<String> {
    // clap has seen to it that there is one
    let path = cli.replay.as_deref().context("give the table to replay: --replay TABLE")?;
    let order = order(cli, |_| true)?;
    measure(cli, &mut Replay::new(Table::read(path)?), &as_on_a_gpu(order))
}
