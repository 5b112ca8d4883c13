//! Which of how many processes this is, as the launchers tell it, and how the processes of a run meet.
//!
//! [`World::read`] reads the variables of torchrun, Slurm, Open MPI and PMI. [`meeting`] brings all ranks together
//! once, over one address, and [`watch`] keeps the connections so that they end together.

mod error;
mod frame;
mod laggard;
mod launcher;
pub mod meeting;
mod place;
pub mod watch;

pub use self::error::WorldError;
pub use self::launcher::Launcher;
pub use self::place::Place;

/// Where variables are read from: the environment, or a list in a test.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// This process among those of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct World {
    /// Its number, from 0.
    pub rank: u64,
    /// How many there are.
    pub size: u64,
    /// Its number among those on its node, where the launcher tells.
    pub local_rank: Option<u64>,
    /// The number of its node, where the launcher tells.
    pub node: Option<u64>,
    /// Who started it.
    pub launcher: Launcher,
}

impl World {
    /// A process that nobody started together with others.
    pub const fn alone() -> Self {
        World { rank: 0, size: 1, local_rank: None, node: None, launcher: Launcher::Alone }
    }

    /// Asks for the variables of each launcher in turn: torchrun, Slurm, Open MPI, PMI.
    ///
    /// A batch script of Slurm is rank 0 of 1 whatever the size of its job: only a step (`srun`) has ranks. Open
    /// MPI starts its daemons by a step of their own, whose variables its ranks inherit: where both are there,
    /// Open MPI's count.
    ///
    /// # Errors
    /// When a launcher's variables are half set, no numbers, or contradict each other.
    pub fn read(variables: Variables<'_>) -> Result<Self, WorldError> {
        launcher::read(variables)
    }

    /// Whether this process is the one that leads: writes, and shows progress.
    pub const fn leads(&self) -> bool {
        self.rank == 0
    }
}

/// The environment of this process; a variable that is empty counts as not set.
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
