//! Ranks from launchers' variables, how they meet, and how they end together.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use gettime::world::meeting::{Met, meet};
use gettime::world::watch::{Trouble, Watch};
use gettime::world::{Launcher, Place, World, WorldError};

/// Reads a world from `NAME=value NAME=value`.
fn read(variables: &str) -> Result<World, WorldError> {
    World::read(&|name| find(variables, name))
}

fn find(variables: &str, name: &str) -> Option<String> {
    let pairs = variables.split_whitespace().filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
}

fn world(rank: u64, size: u64) -> World {
    World { rank, size, launcher: Launcher::Torchrun, ..World::alone() }
}

const SLURM: &str = "SLURM_PROCID=9 SLURM_STEP_NUM_TASKS=16 SLURM_LOCALID=1 SLURM_NODEID=1 SLURM_NTASKS=16";
const OPEN_MPI: &str = "OMPI_COMM_WORLD_RANK=9 OMPI_COMM_WORLD_SIZE=16 OMPI_COMM_WORLD_LOCAL_RANK=1 \
                        OMPI_COMM_WORLD_LOCAL_SIZE=8";

#[test]
fn each_launchers_variables() {
    let torchrun = "RANK=9 WORLD_SIZE=16 LOCAL_RANK=1 LOCAL_WORLD_SIZE=8 GROUP_RANK=1";
    let pmi = "PMI_RANK=9 PMI_SIZE=16 MPI_LOCALRANKID=1";
    for (text, launcher, node) in [
        (torchrun, Launcher::Torchrun, Some(1)),
        (SLURM, Launcher::Slurm, Some(1)),
        (OPEN_MPI, Launcher::OpenMpi, None),
        (pmi, Launcher::Pmi, None),
    ] {
        assert_eq!(read(text), Ok(World { rank: 9, size: 16, local_rank: Some(1), node, launcher }));
    }
    assert_eq!(read(""), Ok(World::alone()));
}

#[test]
fn the_launcher_nearest_to_the_process_counts() {
    let torchrun_in_srun = format!("RANK=3 WORLD_SIZE=4 {SLURM}");
    assert_eq!(read(&torchrun_in_srun).unwrap().launcher, Launcher::Torchrun);
    // mpirun's daemons are a step of their own, and its ranks inherit the variables of that step
    let mpirun_in_sbatch = format!("SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 {OPEN_MPI}");
    assert_eq!(read(&mpirun_in_sbatch).unwrap().size, 16);
}

#[test]
fn a_batch_script_is_alone() {
    assert_eq!(read("SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_NODEID=0 SLURM_JOB_ID=7"), Ok(World::alone()));
}

#[test]
fn half_set_and_contradictory_variables_are_named() {
    for (text, words) in [
        ("RANK=0", ["RANK is set", "WORLD_SIZE is not"]),
        ("WORLD_SIZE=2", ["WORLD_SIZE is set", "set RANK"]),
        ("OMPI_COMM_WORLD_SIZE=2", ["OMPI_COMM_WORLD_SIZE is set", "OMPI_COMM_WORLD_RANK"]),
        ("SLURM_STEP_NUM_TASKS=2", ["SLURM_STEP_NUM_TASKS is set", "SLURM_PROCID"]),
        ("RANK=2 WORLD_SIZE=2", ["RANK = 2", "WORLD_SIZE = 2"]),
        ("RANK=1 WORLD_SIZE=4 LOCAL_RANK=2 LOCAL_WORLD_SIZE=2", ["LOCAL_RANK = 2", "LOCAL_WORLD_SIZE = 2"]),
        ("RANK=one WORLD_SIZE=2", ["RANK", "\"one\""]),
        ("PMI_RANK=-1 PMI_SIZE=2", ["PMI_RANK", "\"-1\""]),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

#[test]
fn the_place_comes_from_what_is_said() {
    let place = |launcher, variables: &str| {
        let world = World { launcher, ..world(0, 16) };
        Place::read(&world, &|name| find(variables, name)).map(|place| place.address.to_string())
    };
    let by_hand = "MASTER_ADDR=127.0.0.3 MASTER_PORT=4000";
    assert_eq!(place(Launcher::Torchrun, by_hand).unwrap(), "127.0.0.3:4000");
    // torchrun itself listens at MASTER_PORT
    let torchrun = format!("{by_hand} TORCHELASTIC_RUN_ID=x");
    assert_eq!(place(Launcher::Torchrun, &torchrun).unwrap(), "127.0.0.3:4001");
    assert_eq!(place(Launcher::Slurm, "NCCL_COMM_ID=127.0.0.4:5000").unwrap(), "127.0.0.4:5001");
    assert!(place(Launcher::OpenMpi, "OMPI_COMM_WORLD_LOCAL_SIZE=16").unwrap().starts_with("127.0.0.1:2"));
    let error = place(Launcher::OpenMpi, "OMPI_COMM_WORLD_LOCAL_SIZE=8").unwrap_err().to_string();
    assert!(error.contains("MASTER_ADDR is not set") && error.contains("mpirun -x"), "{error}");
    let error = place(Launcher::Torchrun, "MASTER_ADDR=127.0.0.1 MASTER_PORT=x").unwrap_err().to_string();
    assert!(error.contains("MASTER_PORT") && error.contains("no port"), "{error}");
}

/// An address that nobody listens at.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn place(address: SocketAddr, token: &str) -> Place {
    Place { address, token: token.to_owned() }
}

const LONG: Duration = Duration::from_secs(60);

/// All ranks that come, each in a thread.
fn together(came: &[u64], size: u64, token: &str, deadline: Duration) -> Vec<Result<Met, WorldError>> {
    let address = free();
    let one = |rank: u64| {
        let (world, place) = (World { node: Some(rank % 2), ..world(rank, size) }, place(address, token));
        std::thread::spawn(move || meet(&world, &place, deadline, || Ok(vec![7; 128])))
    };
    let threads: Vec<_> = came.iter().map(|rank| one(*rank)).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

#[test]
fn all_who_meet_learn_the_key_and_the_roster() {
    for met in together(&[3, 1, 0, 2], 4, "run", LONG) {
        let met = met.unwrap();
        assert_eq!(met.key, vec![7; 128]);
        let places: Vec<(u64, u64, u64)> =
            met.roster.iter().map(|peer| (peer.rank, peer.node, peer.local_rank)).collect();
        assert_eq!(places, [(0, 0, 0), (1, 1, 0), (2, 0, 1), (3, 1, 1)]);
    }
}

#[test]
fn missing_ranks_are_named_to_all() {
    for met in together(&[0, 2, 4], 6, "run", Duration::from_secs(2)) {
        let error = met.unwrap_err().to_string();
        assert!(error.contains("ranks 1, 3, 5 of 6 did not come to 127.0.0.1:"), "{error}");
    }
    let error = together(&[1], 2, "run", Duration::from_millis(200)).remove(0).unwrap_err().to_string();
    assert!(error.contains("rank 0 did not answer at 127.0.0.1:"), "{error}");
}

#[test]
fn strangers_are_turned_away_and_keep_nobody() {
    let address = free();
    let run = |rank, token: &'static str| {
        std::thread::spawn(move || meet(&world(rank, 2), &place(address, token), LONG, || Ok(Vec::new())))
    };
    let leader = run(0, "ours");
    let error = run(1, "theirs").join().unwrap().unwrap_err().to_string();
    assert!(error.contains("another run"), "{error}");
    let silent = TcpStream::connect(address).unwrap();
    TcpStream::connect(address).unwrap().write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    run(1, "ours").join().unwrap().unwrap();
    assert_eq!(leader.join().unwrap().unwrap().strangers.len(), 1);
    drop(silent);
    // nothing listens once all are there
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn a_key_that_cannot_be_made_ends_all() {
    let address = free();
    let run = |rank| {
        let no_key = || Err("no library".to_owned());
        std::thread::spawn(move || meet(&world(rank, 2), &place(address, ""), LONG, no_key))
    };
    for thread in [run(0), run(1)] {
        assert_eq!(thread.join().unwrap().unwrap_err().to_string(), "no library");
    }
}

/// Three ranks that watch each other; the counters say how far each has come.
fn watched(steps: [u64; 3], deadline: Duration) -> Vec<Watch> {
    let mut all: Vec<Met> = together(&[0, 1, 2], 3, "run", LONG).into_iter().map(Result::unwrap).collect();
    let start = |(rank, met): (usize, Met)| {
        let own = vec![(rank as u64, Arc::new(AtomicU64::new(steps[rank])))];
        Watch::start(rank as u64, met, deadline, own)
    };
    all.drain(..).enumerate().map(start).collect()
}

#[test]
fn the_rank_with_a_trouble_of_its_own_is_named_not_its_echoes() {
    let watches = watched([5; 3], LONG);
    let fail = |rank: u64, text: &str, is_echo| {
        let (watch, text) = (watches[rank as usize].clone(), text.to_owned());
        std::thread::spawn(move || watch.fail(rank, Trouble { text, is_echo }))
    };
    let threads =
        [fail(0, "a remote error", true), fail(2, "a remote error", true), fail(1, "no memory", false)];
    for verdict in threads.map(|thread| thread.join().unwrap()) {
        assert!(verdict.starts_with("rank 1 (") && verdict.ends_with("no memory"), "{verdict}");
    }
}

#[test]
fn the_rank_that_is_behind_is_named() {
    let watches = watched([8, 8, 7], LONG);
    let verdict = watches[0].stalled(Duration::from_secs(2));
    assert!(verdict.starts_with("rank 2 (") && verdict.contains("hangs"), "{verdict}");
    let verdict = watched([8; 3], LONG)[0].stalled(Duration::from_secs(2));
    assert!(verdict.contains("no rank is behind: ranks 0–2 wait"), "{verdict}");
}
