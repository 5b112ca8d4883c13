//! `calibrate` on processors: this machine's, its ranks threads, or those of all processes that MPI started.

use anyhow::bail;

use super::arguments::Cli;
use super::campaign::{self, SEED, order};
use crate::measure::cpu::Cpu;
use crate::world::{World, environment};

/// Measures what is asked for.
pub(super) fn measure(cli: &Cli) -> anyhow::Result<String> {
    // of more ranks than are asked for nothing can be told
    let order = order(cli, |plan| plan.gpus <= cli.gpus)?;
    let world = World::read(&environment)?;
    if world.size < 2 {
        return campaign::measure(cli, &mut Cpu::new(SEED), &order);
    }
    #[cfg(feature = "mpi")]
    return together(cli, &order);
    #[cfg(not(feature = "mpi"))]
    bail!(
        "{} started {} processes, and this build does not speak MPI\n  build it with --features mpi, or run one \
         process: its ranks are threads",
        world.launcher,
        world.size
    )
}

#[cfg(feature = "mpi")]
fn together(cli: &Cli, order: &crate::calibrate::Order) -> anyhow::Result<String> {
    use anyhow::anyhow;

    let Some(mpi) = crate::measure::mpi::Mpi::start() else { bail!("MPI could not be started") };
    let world = mpi.world();
    if world.leads() && cli.gpus > world.size {
        let (gpus, size) = (cli.gpus, world.size);
        eprintln!("remark: {gpus} ranks are asked for, {size} were started: mpirun -np {gpus} …");
    }
    let run = mpi.run(cli.deadline, SEED);
    if !world.leads() {
        return match run.follow() {
            Ok(()) => Ok(String::new()),
            Err(reason) => {
                eprintln!("calibrate: {reason}");
                mpi.abort()
            }
        };
    }
    // who gave no number wants what was started
    let gpus = if cli.gpus == 1 { world.size } else { cli.gpus };
    let order = crate::calibrate::Order { gpus, ..order.clone() };
    let mut local = Cpu::new(SEED);
    let mut fabric = run.lead(&mut local);
    match campaign::measure(cli, &mut fabric, &order) {
        Ok(text) => fabric.end().map(|()| text).map_err(|reason| anyhow!(reason)),
        Err(error) => {
            eprintln!("calibrate: {error:#}");
            // the others wait in MPI: it has to end them, too
            mpi.abort()
        }
    }
}
