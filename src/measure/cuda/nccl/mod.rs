//! NCCL among GPUs: of one process, a thread each, or of one process each, on one node or several.

mod comm;
mod engine;
mod links;
mod log;
mod result;
mod table;

use std::sync::Arc;
use std::time::Duration;

pub use self::log::listen;

use self::comm::Registry;
use self::engine::Nccl;
use self::log::Log;
use super::settings::Unavailable;
use crate::dtype::Dtype;
use crate::measure::fabric::{Engine, Kind, Make, Run};
use crate::world::World;
use crate::world::meeting::{Met, Peer};

/// How many GPUs this process can see.
///
/// # Errors
/// When there is no driver, or it is too old.
pub fn devices() -> Result<u64, Unavailable> {
    super::library::find()?;
    super::library::devices().map_err(|trouble| Unavailable::NoDevice(trouble.to_string()))
}

/// The key by which the ranks of a run find each other in NCCL.
///
/// # Errors
/// When there is no NCCL, or it makes none.
pub fn key() -> Result<Vec<u8>, String> {
    comm::unique_id()
}

/// Starts the ranks of this process, which have met the others: the one that the launcher made it, or all of them
/// where it is alone.
pub fn start(world: &World, met: Met, deadline: Duration, seed: u64) -> Run {
    let version = table::find().map_or_else(|reason| reason, table::Functions::version);
    let nodes = met.roster.iter().map(|peer| peer.node + 1).max().unwrap_or(1);
    let mut details = toml::Table::new();
    details.insert("nccl".to_owned(), version.into());
    details.insert("nodes".to_owned(), i64::try_from(nodes).unwrap_or(i64::MAX).into());
    details.insert("launcher".to_owned(), world.launcher.to_string().into());
    for name in ["NCCL_ALGO", "NCCL_PROTO", "NCCL_MULTI_RANK_GPU_ENABLE"] {
        if let Some(value) = crate::world::environment(name) {
            details.insert(name.to_lowercase(), value.into());
        }
    }
    let link_classes = links::classes(&met.roster, devices().unwrap_or(0));
    if !link_classes.is_empty() {
        let pairs: Vec<_> = link_classes.iter().map(|(from, to)| format!("{from}-{to}")).collect();
        details.insert("link_classes".to_owned(), pairs.join(" ").into());
    }
    let kind = Kind {
        source: "nccl",
        dtypes: vec![Dtype::Bf16, Dtype::F16, Dtype::F32],
        has_streams: true,
        has_graphs: true,
        sharing: 1,
        link_classes,
        details,
    };
    let registry = Registry::default();
    let is_own = |peer: &&Peer| world.size == 1 || peer.rank == world.rank;
    let own: Vec<u64> = met.roster.iter().filter(is_own).map(|peer| peer.rank).collect();
    let make = |rank: u64| {
        let (roster, key, registry) = (met.roster.clone(), met.key.clone(), registry.clone());
        // the ranks of a process have one log, which one of them reads
        let log = (own.first() == Some(&rank)).then(Log::default);
        let make: Make = Box::new(move |steps| {
            let engine = Nccl::open(roster, rank, &key, &registry, (seed, log), steps)?;
            Ok(Box::new(engine) as Box<dyn Engine>)
        });
        (rank, make)
    };
    let ranks = own.iter().map(|rank| make(*rank)).collect();
    let abort = registry.clone();
    Run::start(kind, met, ranks, Arc::new(move || abort.abort()), deadline)
}
