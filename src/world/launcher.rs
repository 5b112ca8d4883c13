//! The variables by which launchers tell a process its place.

use std::fmt;

use super::{Variables, World, WorldError};

/// Who started the processes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    /// Nobody: a process of its own.
    Alone,
    /// torchrun, and whatever else sets RANK and WORLD_SIZE.
    Torchrun,
    /// Slurm's srun.
    Slurm,
    /// mpirun of Open MPI.
    OpenMpi,
    /// mpiexec of MPICH and its kin.
    Pmi,
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Launcher::Alone => "no launcher",
            Launcher::Torchrun => "torchrun",
            Launcher::Slurm => "Slurm",
            Launcher::OpenMpi => "Open MPI",
            Launcher::Pmi => "PMI",
        })
    }
}

/// The names that a launcher uses.
struct Names {
    launcher: Launcher,
    rank: &'static str,
    size: &'static str,
    local_rank: &'static str,
    local_size: &'static str,
    node: Option<&'static str>,
}

/// In the order in which they are asked for: torchrun may run under srun.
const LAUNCHERS: [Names; 4] = [
    Names {
        launcher: Launcher::Torchrun,
        rank: "RANK",
        size: "WORLD_SIZE",
        local_rank: "LOCAL_RANK",
        local_size: "LOCAL_WORLD_SIZE",
        node: Some("GROUP_RANK"),
    },
    Names {
        launcher: Launcher::Slurm,
        rank: "SLURM_PROCID",
        size: "SLURM_STEP_NUM_TASKS",
        local_rank: "SLURM_LOCALID",
        local_size: "SLURM_STEP_NUM_TASKS",
        node: Some("SLURM_NODEID"),
    },
    Names {
        launcher: Launcher::OpenMpi,
        rank: "OMPI_COMM_WORLD_RANK",
        size: "OMPI_COMM_WORLD_SIZE",
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
        local_size: "OMPI_COMM_WORLD_LOCAL_SIZE",
        node: None,
    },
    Names {
        launcher: Launcher::Pmi,
        rank: "PMI_RANK",
        size: "PMI_SIZE",
        local_rank: "MPI_LOCALRANKID",
        local_size: "MPI_LOCALNRANKS",
        node: None,
    },
];

pub(super) fn read(variables: Variables<'_>) -> Result<World, WorldError> {
    for names in &LAUNCHERS {
        let is_set = |name| variables(name).is_some();
        let (set, missing) = match (is_set(names.rank), is_set(names.size), names.launcher) {
            (true, true, Launcher::Slurm) if is_set("OMPI_COMM_WORLD_SIZE") => continue,
            (true, true, _) => return names.read(variables),
            // a batch script has a number and is in no step
            (true, false, Launcher::Slurm) | (false, false, _) => continue,
            (true, false, _) => (names.rank, names.size),
            (false, true, _) => (names.size, names.rank),
        };
        return Err(WorldError::HalfSet { set, missing });
    }
    Ok(World::alone())
}

impl Names {
    fn read(&self, variables: Variables<'_>) -> Result<World, WorldError> {
        let count = |name: &'static str| match variables(name) {
            None => Ok(None),
            Some(value) => match value.trim().parse() {
                Ok(count) => Ok(Some(count)),
                Err(_) => Err(WorldError::NotANumber { name, value }),
            },
        };
        // those two are there, as the caller asked
        let rank: u64 = count(self.rank)?.unwrap_or(0);
        let size: u64 = count(self.size)?.unwrap_or(1);
        let below = |name, value, other, limit| match value {
            Some(value) if value >= limit => Err(WorldError::TooLarge { name, value, other, limit }),
            _ => Ok(()),
        };
        below(self.rank, Some(rank), self.size, size)?;
        let local_rank = count(self.local_rank)?;
        let local_size: Option<u64> = count(self.local_size)?;
        below(self.local_rank, local_rank, self.local_size, local_size.unwrap_or(size))?;
        let node = match self.node {
            Some(name) => {
                let node = count(name)?;
                below(name, node, self.size, size)?;
                node
            }
            None => None,
        };
        Ok(World { rank, size, local_rank, node, launcher: self.launcher })
    }
}
