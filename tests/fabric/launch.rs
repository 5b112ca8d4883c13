//! Starts the ranks of a run as launchers do, and waits for all of them.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use gettime::table::Table;

use crate::driver::whole;

/// Who sets the variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Launcher {
    None,
    Torchrun,
    Slurm,
    OpenMpi,
}

/// A run to be started.
pub struct Ranks {
    pub launcher: Launcher,
    /// Processes that are started, of `size`.
    pub processes: u64,
    pub size: u64,
    pub per_node: u64,
    /// A rank, and what is wrong with it.
    pub fault: (u64, &'static str),
    pub deadline: &'static str,
}

impl Default for Ranks {
    fn default() -> Self {
        Ranks {
            launcher: Launcher::Torchrun,
            processes: 16,
            size: 16,
            per_node: 8,
            fault: (0, ""),
            deadline: "50s",
        }
    }
}

/// A run that has been started.
pub struct Running {
    pub ids: Vec<u32>,
    ended: Receiver<(usize, Output)>,
    table: PathBuf,
}

/// A run that has ended.
pub struct Ended {
    /// By rank.
    pub outputs: Vec<Output>,
    table: PathBuf,
}

/// Ops of every kind in every group, small and larger.
fn ops() -> String {
    let mut text = String::from("op,kind,dtype,m,k,n,bytes,ranks,nodes,seconds\n");
    for (ranks, nodes) in [(2, 1), (4, 1), (8, 1), (2, 2), (8, 2), (16, 2)] {
        for kind in ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"] {
            text += &format!("collective,{kind},bf16,,,,{},{ranks},{nodes},1\n", 1 << 24);
        }
    }
    text += "collective,all_reduce,f32,,,,4194304,8,2,1\ncollective,all_to_all,f32,,,,4194304,4,1,1\n";
    for (size, bytes, ranks, nodes) in [(512, 1 << 20, 8, 1), (2048, 1 << 24, 8, 1), (1024, 1 << 22, 16, 2)] {
        for kind in ["gemm", "all_reduce"] {
            text += &format!("overlap,{kind},bf16,{size},{size},{size},{bytes},{ranks},{nodes},1\n");
        }
    }
    text + "p2p,send,,,,,1024,2,1,1\np2p,send,,,,,1024,2,2,1\ncollective,all_reduce,bf16,,,,4096,16,2,1\n"
}

impl Ranks {
    pub fn run(&self, name: &str) -> Ended {
        self.start(name).wait()
    }

    pub fn start(&self, name: &str) -> Running {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let table = folder.join(format!("fabric-{name}.csv"));
        for old in [&table, &table.with_extension("csv.partial")] {
            let _ = fs::remove_file(old);
        }
        let ops_file = folder.join(format!("fabric-{name}-ops.csv"));
        fs::write(&ops_file, ops()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (ends, ended) = channel();
        let mut ids = Vec::new();
        for rank in 0..self.processes {
            let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
            command.env_clear().env("LD_LIBRARY_PATH", whole());
            let fault = if rank == self.fault.0 { self.fault.1 } else { "" };
            command.env("GETTIME_DOUBLE", format!("gpus={} {fault}", self.per_node));
            command.env("NCCL_HOSTID", format!("node{}", rank / self.per_node));
            command.envs(self.variables(rank, port));
            command.args(["--gpus", "16", "--passes", "1", "--only", "--deadline", self.deadline]);
            command.arg("--for").arg(&ops_file).arg("--out").arg(&table);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child: Child = command.spawn().unwrap();
            ids.push(child.id());
            let ends = ends.clone();
            std::thread::spawn(move || ends.send((rank as usize, child.wait_with_output().unwrap())));
        }
        Running { ids, ended, table }
    }

    fn variables(&self, rank: u64, port: u16) -> Vec<(&'static str, String)> {
        let (size, local, node) = (self.size, rank % self.per_node, rank / self.per_node);
        let master = [("MASTER_ADDR", "127.0.0.1".to_owned()), ("MASTER_PORT", port.to_string())];
        let mut variables = match self.launcher {
            Launcher::None => return Vec::new(),
            Launcher::Torchrun => vec![
                ("RANK", rank.to_string()),
                ("WORLD_SIZE", size.to_string()),
                ("LOCAL_RANK", local.to_string()),
                ("LOCAL_WORLD_SIZE", self.per_node.to_string()),
                ("GROUP_RANK", node.to_string()),
            ],
            Launcher::Slurm => vec![
                ("SLURM_PROCID", rank.to_string()),
                ("SLURM_STEP_NUM_TASKS", size.to_string()),
                ("SLURM_NTASKS", size.to_string()),
                ("SLURM_LOCALID", local.to_string()),
                ("SLURM_NODEID", node.to_string()),
                ("SLURM_JOB_ID", "7".to_owned()),
                ("SLURM_STEP_ID", "0".to_owned()),
            ],
            Launcher::OpenMpi => vec![
                ("OMPI_COMM_WORLD_RANK", rank.to_string()),
                ("OMPI_COMM_WORLD_SIZE", size.to_string()),
                ("OMPI_COMM_WORLD_LOCAL_RANK", local.to_string()),
                ("OMPI_COMM_WORLD_LOCAL_SIZE", self.per_node.to_string()),
            ],
        };
        variables.extend(master);
        variables
    }
}

impl Running {
    /// Waits until a row has been written.
    pub fn has_begun(&self) -> bool {
        let partial = self.table.with_extension("csv.partial");
        let mut turns = 0;
        while !partial.exists() && turns < 3000 {
            std::thread::park_timeout(Duration::from_millis(10));
            turns += 1;
        }
        partial.exists()
    }

    /// Waits for all.
    pub fn wait(self) -> Ended {
        self.wait_with(|_| ())
    }

    /// Waits for all, and tells of those who are left after each that ends; one that stays is killed, and the
    /// test has failed.
    pub fn wait_with(self, left: impl Fn(&[usize])) -> Ended {
        let mut outputs: Vec<Option<Output>> = self.ids.iter().map(|_| None).collect();
        while outputs.iter().any(Option::is_none) {
            match self.ended.recv_timeout(Duration::from_secs(60)) {
                Ok((rank, output)) => outputs[rank] = Some(output),
                Err(_) => {
                    let stay = missing(&outputs);
                    stay.iter().for_each(|rank| signal(self.ids[*rank], "KILL"));
                    panic!("ranks {stay:?} did not end");
                }
            }
            left(&missing(&outputs));
        }
        Ended { outputs: outputs.into_iter().flatten().collect(), table: self.table }
    }
}

fn missing(outputs: &[Option<Output>]) -> Vec<usize> {
    (0..outputs.len()).filter(|rank| outputs[*rank].is_none()).collect()
}

/// Sends a signal to a process.
pub fn signal(id: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), id.to_string()]).status().unwrap().success());
}

impl Ended {
    pub fn errors(&self, rank: usize) -> String {
        String::from_utf8_lossy(&self.outputs[rank].stderr).into_owned()
    }

    pub fn all_are_well(&self) {
        for (rank, output) in self.outputs.iter().enumerate() {
            assert!(output.status.success(), "rank {rank}: {}", self.errors(rank));
        }
    }

    pub fn table(&self) -> Table {
        assert!(!self.table.with_extension("csv.partial").exists());
        Table::read(&self.table).unwrap()
    }

    /// The rows that were measured before the run ended.
    pub fn kept(&self) -> Table {
        assert!(self.table.with_extension("csv.partial").exists(), "nothing to go on from");
        Table::read(&self.table).unwrap()
    }
}
