//! NCCL's log, where it is asked for one: how the ranks of a group are connected, and what is chosen for a collective.

use std::fs::File;
use std::io::Write;
use std::sync::{Mutex, OnceLock};

use crate::exchange::{Comm, Request};
use crate::state::State;

const FUNCTIONS: [&str; 4] = ["AllReduce", "AllGather", "ReduceScatter", "Broadcast"];

fn write(text: &str) {
    static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();
    let open = || {
        let is_asked = std::env::var("NCCL_DEBUG").is_ok_and(|level| level == "INFO");
        let path = std::env::var("NCCL_DEBUG_FILE").ok().filter(|_| is_asked)?;
        Some(Mutex::new(File::create(path).unwrap()))
    };
    if let Some(file) = FILE.get_or_init(open) {
        let line = format!("host:{}:{} [0] NCCL INFO {text}\n", std::process::id(), std::process::id());
        file.lock().unwrap().write_all(line.as_bytes()).unwrap();
    }
}

/// How the members of a group stand together, by the names of their nodes.
pub fn links(nodes: &[Vec<u8>]) -> (bool, bool) {
    let mut distinct = nodes.to_vec();
    distinct.sort();
    distinct.dedup();
    (distinct.len() < nodes.len(), distinct.len() > 1)
}

/// The lines of NCCL 2.27 for an exchange; connections are made when a group needs them for the first time.
pub fn tell(state: &mut State, request: &Request) {
    let Comm { id, index, inside, between, .. } = request.comm;
    if !state.connected.contains(&id) {
        state.connected.push(id);
        if inside {
            write("Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read");
        }
        if between {
            write("Channel 00/0 : 0[0] -> 8[0] [send] via NET/IB/0/GDRDMA");
        }
    }
    if let Some(name) = FUNCTIONS.get(usize::from(request.kind)).filter(|_| index == 0) {
        let bytes = request.bytes();
        let (algorithm, protocol) = if bytes <= 65_536 { ("TREE", "LL") } else { ("RING", "SIMPLE") };
        write(&format!("{name}: {bytes} Bytes -> Algo {algorithm} proto {protocol} channel{{Lo..Hi}}={{0..7}}"));
    }
}
