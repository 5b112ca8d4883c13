//! Where the ranks of a run meet, and by what they know each other.

use std::net::{SocketAddr, ToSocketAddrs};

use super::{Launcher, Variables, World, WorldError};

/// Ports for runs that name none: above those of services, below those that the system hands out.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

/// The one address of a run, and its token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where rank 0 listens while the ranks come together.
    pub address: SocketAddr,
    /// What only processes of this run know. Launchers' names of a run are easy to guess: where strangers reach
    /// the address, `GETTIME_TOKEN` is the better one.
    pub token: String,
}

impl Place {
    /// The address from `MASTER_ADDR` and `MASTER_PORT`, from `NCCL_COMM_ID`, from Slurm's list of nodes, or the
    /// loopback where all ranks are on this node.
    ///
    /// torchrun holds `MASTER_PORT` itself and NCCL the port of `NCCL_COMM_ID`: then it is the next one. Without
    /// either the port follows from the run's name.
    ///
    /// # Errors
    /// When nothing says where rank 0 is, or what says it is no address.
    pub fn read(world: &World, variables: Variables<'_>) -> Result<Self, WorldError> {
        let run = run_name(variables);
        let token = variables("GETTIME_TOKEN").unwrap_or_else(|| format!("{run}/{}", world.size));
        let port = match variables("MASTER_PORT") {
            Some(value) => {
                let port: Option<u16> = value.trim().parse().ok();
                let port = match variables("TORCHELASTIC_RUN_ID") {
                    Some(_) => port.and_then(|port| port.checked_add(1)),
                    None => port,
                };
                let reason = "it is no port".to_owned();
                Some(port.ok_or(WorldError::BadAddress { name: "MASTER_PORT", value, reason })?)
            }
            None => None,
        };
        let of_run = PORTS.start + (digest(&run) % PORTS.len() as u64) as u16;
        let (name, host, port) = if let Some(host) = variables("MASTER_ADDR") {
            ("MASTER_ADDR", host, port.unwrap_or(of_run))
        } else if let Some(value) = variables("NCCL_COMM_ID") {
            let (host, next) = beside(&value).ok_or_else(|| WorldError::BadAddress {
                name: "NCCL_COMM_ID",
                value: value.clone(),
                reason: "it is not host:port".to_owned(),
            })?;
            ("NCCL_COMM_ID", host, port.unwrap_or(next))
        } else if is_one_node(world, variables) {
            ("the loopback", "127.0.0.1".to_owned(), port.unwrap_or(of_run))
        } else if let Some(host) = slurm_host(world, variables) {
            ("SLURM_STEP_NODELIST", host, port.unwrap_or(of_run))
        } else {
            return Err(WorldError::NoAddress { remedy: remedy(world.launcher) });
        };
        let bad = |reason: String| WorldError::BadAddress { name, value: host.clone(), reason };
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = (bare, port).to_socket_addrs().map_err(|error| bad(error.to_string()))?;
        let address = addresses.next().ok_or_else(|| bad("it has no address".to_owned()))?;
        Ok(Place { address, token })
    }
}

const fn remedy(launcher: Launcher) -> &'static str {
    match launcher {
        Launcher::OpenMpi => "mpirun -x MASTER_ADDR=HOST -x MASTER_PORT=29500 …, with the host of rank 0",
        _ => "set MASTER_ADDR and MASTER_PORT on every rank, to the host of rank 0 and a free port of it",
    }
}

/// What the launcher calls this run.
fn run_name(variables: Variables<'_>) -> String {
    let parts = ["TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID", "PMIX_NAMESPACE", "PMI_JOBID"];
    let parts: Vec<String> = parts.into_iter().filter_map(variables).collect();
    format!("gettime/{}", parts.join("/"))
}

/// FNV-1a: every rank must come to the same number, on whatever machine.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The host of `host:port`, and the port next to that one.
fn beside(value: &str) -> Option<(String, u16)> {
    let (host, port) = value.trim().rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    Some((host.to_owned(), port.checked_add(1)?)).filter(|(host, _)| !host.is_empty())
}

fn is_one_node(world: &World, variables: Variables<'_>) -> bool {
    let count = |name| variables(name).and_then(|value| value.trim().parse::<u64>().ok());
    match world.launcher {
        Launcher::Alone => true,
        Launcher::Torchrun => count("LOCAL_WORLD_SIZE") == Some(world.size),
        Launcher::Slurm => count("SLURM_STEP_NUM_NODES") == Some(1),
        Launcher::OpenMpi => count("OMPI_COMM_WORLD_LOCAL_SIZE") == Some(world.size),
        Launcher::Pmi => count("MPI_LOCALNRANKS") == Some(world.size),
    }
}

/// The first host of `gpu[03-04,07],login1`, where Slurm puts rank 0.
fn slurm_host(world: &World, variables: Variables<'_>) -> Option<String> {
    let list = (world.launcher == Launcher::Slurm).then(|| variables("SLURM_STEP_NODELIST")).flatten()?;
    let (prefix, rest) = match list.split_once('[') {
        Some((prefix, rest)) if !prefix.contains(',') => (prefix, rest),
        _ => return list.split(',').next().map(str::to_owned),
    };
    let (inside, behind) = rest.split_once(']')?;
    let first = inside.split([',', '-']).next()?;
    let suffix = behind.split(',').next().unwrap_or("");
    Some(format!("{prefix}{first}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::{Launcher, World, beside, slurm_host};

    #[test]
    fn the_first_host_of_a_list() {
        let world = World { launcher: Launcher::Slurm, ..World::alone() };
        for (list, first) in [
            ("gpu7", "gpu7"),
            ("gpu7,gpu8", "gpu7"),
            ("gpu[03-04,07],login1", "gpu03"),
            ("rack2-[1,5]-ib,x", "rack2-1-ib"),
            ("login1,gpu[3-4]", "login1"),
        ] {
            let variables = |name: &str| (name == "SLURM_STEP_NODELIST").then(|| list.to_owned());
            assert_eq!(slurm_host(&world, &variables).as_deref(), Some(first));
        }
    }

    #[test]
    fn the_port_next_to_nccls() {
        assert_eq!(beside("10.0.0.1:5000"), Some(("10.0.0.1".to_owned(), 5001)));
        assert_eq!(beside("[::1]:80"), Some(("[::1]".to_owned(), 81)));
        assert_eq!((beside("host"), beside("host:65535"), beside(":1")), (None, None, None));
    }
}
