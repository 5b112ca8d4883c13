//! `calibrate` on GPUs: one of them, those of this process, or those of all processes that a launcher started.

use anyhow::anyhow;

use super::arguments::Cli;
use super::campaign::{self, SEED, as_on_a_gpu, instead, order};
use super::keeping::writable;
use crate::calibrate::Order;
use crate::dtype::Dtype;
use crate::measure::Backend;
use crate::measure::cuda::{Cuda, Missing, Unavailable, nccl};
use crate::world::meeting::{Met, meet};
use crate::world::{Place, World, environment};

/// Measures what is asked for.
pub(super) fn measure(cli: &Cli) -> anyhow::Result<String> {
    nccl::listen();
    let order = order(cli, |_| true)?;
    // a check is of all types, where none is named
    let usual = if cli.check { Vec::new() } else { vec![Dtype::Bf16] };
    let dtypes = if cli.dtype.is_empty() { usual } else { cli.dtype.clone() };
    // gradients are summed in f32 where activations are exchanged in bf16
    let exchanged = if cli.dtype.is_empty() { vec![Dtype::F32] } else { Vec::new() };
    let order = as_on_a_gpu(Order { dtypes, exchanged, ..order });
    let world = World::read(&environment)?;
    if world.size == 1 && !cli.check {
        writable(cli.out())?; // of several, the one that leads asks once the others can be told
    }
    let seen = nccl::devices().map_err(|error| unavailable(cli, error));
    let ranks = if world.size > 1 { world.size } else { cli.gpus.min(seen.as_ref().map_or(1, |seen| *seen)) };
    if cli.gpus > ranks && world.leads() && seen.is_ok() && !cli.check {
        eprintln!("remark: {}", fewer(cli, ranks));
    }
    let alone = cli.check || ranks < 2;
    if alone {
        seen?;
    }
    let key = || nccl::key().map_err(|reason| format!("{reason}\n  {NCCL}"));
    let met = match (alone, world.size > 1) {
        (true, _) => None,
        (false, true) => Some(meet(&world, &Place::read(&world, &environment)?, cli.deadline, key)?),
        (false, false) => match key() {
            Ok(key) => Some(Met::threads(ranks, key)),
            Err(reason) => {
                eprintln!("remark: no collectives: {reason}");
                None
            }
        },
    };
    match met {
        // who gave no number wants what was started
        Some(met) if cli.gpus == 1 => together(cli, &world, met, &Order { gpus: ranks, ..order }),
        Some(met) => together(cli, &world, met, &order),
        None => campaign::measure(cli, &mut open(cli, 0)?, &order),
    }
}

const NCCL: &str = "collectives are measured by NCCL 2.18 or later: add its folder to LD_LIBRARY_PATH";

/// One process of those that have met.
fn together(cli: &Cli, world: &World, met: Met, order: &Order) -> anyhow::Result<String> {
    for stranger in &met.strangers {
        eprintln!("remark: turned away {stranger}, which does not know this run's token");
    }
    let device = met.roster.first().map_or(0, |peer| peer.local_rank);
    let run = nccl::start(world, met, cli.deadline, SEED);
    if !world.leads() {
        return run.follow().map(|()| String::new()).map_err(|reason| anyhow!(reason));
    }
    let device = nccl::devices().map_or(0, |seen| device % seen.max(1)) as i32;
    let mut backend = match open(cli, device) {
        Ok(backend) => backend,
        Err(error) => {
            run.fail(&error.to_string());
            return Err(error);
        }
    };
    let mut fabric = run.lead(&mut backend);
    match campaign::measure(cli, &mut fabric as &mut dyn Backend, order) {
        Ok(text) => fabric.end().map(|()| text).map_err(|reason| anyhow!(reason)),
        Err(error) => {
            fabric.fail(&error.to_string());
            Err(error)
        }
    }
}

fn open(cli: &Cli, device: i32) -> anyhow::Result<Cuda> {
    Cuda::open(cli.settings(device, SEED)).map_err(|error| unavailable(cli, error))
}

fn unavailable(cli: &Cli, error: Unavailable) -> anyhow::Error {
    let instead = instead(cli);
    match error {
        Unavailable::Missing(Missing::Driver) => {
            anyhow!("no CUDA driver on this machine ({})\n{instead}", Missing::Driver)
        }
        error @ Unavailable::InUse { .. } => anyhow!("{error}"),
        error => anyhow!("{error}\n{instead}"),
    }
}

/// What to start for as many GPUs as are asked for.
fn fewer(cli: &Cli, ranks: u64) -> String {
    let (gpus, out) = (cli.gpus, cli.out().display());
    let nodes = gpus.div_ceil(8);
    let each = gpus.div_ceil(nodes);
    let program = format!("calibrate --gpus {gpus} --out {out}");
    let here = if ranks == 1 { "1 GPU is".to_owned() } else { format!("{ranks} GPUs are") };
    let among = if ranks == 1 { "no collectives" } else { "collectives among those" };
    format!(
        "{gpus} GPUs are asked for, {here} here: {among}. For all {gpus}:\n  \
         srun -N{nodes} --ntasks-per-node={each} {program}\n  \
         mpirun -np {gpus} -N {each} -x MASTER_ADDR=HOST-OF-RANK-0 {program}\n  \
         torchrun --nnodes {nodes} --nproc-per-node {each} --rdzv-backend c10d --rdzv-endpoint HOST \
         --no-python \\\n    {program}"
    )
}
