//! All ranks of a run come together once: they tell who they are, and learn the key by which they join.
//!
//! Rank 0 listens on the one address of the run, and only until all have come or the time is up. Who does not
//! know the run's token is turned away.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::error::ranks;
use super::{Place, World, WorldError, environment, frame};

/// How long somebody who has connected may take to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(5);

/// How long a rank waits on beyond its own time, for rank 0 to tell who was missing.
const GRACE: Duration = Duration::from_secs(5);

/// A rank of the run, as all others know it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its number.
    pub rank: u64,
    /// The name of its host.
    pub host: String,
    /// Its node, counted from 0 in the order of ranks.
    pub node: u64,
    /// Its number on that node: the device that it takes.
    pub local_rank: u64,
}

/// A run whose ranks have met.
#[derive(Debug)]
pub struct Met {
    /// What rank 0 gave to all.
    pub key: Vec<u8>,
    /// Every rank, in order.
    pub roster: Vec<Peer>,
    /// Addresses of those who were turned away.
    pub strangers: Vec<SocketAddr>,
    /// On rank 0 the connections to the others, elsewhere that to rank 0: rank and connection.
    pub(super) lines: Vec<(u64, TcpStream)>,
}

impl Met {
    /// Ranks that are threads of this process and need not meet.
    pub fn threads(count: u64, key: Vec<u8>) -> Self {
        let peer = |rank| Peer { rank, host: host(), node: 0, local_rank: rank };
        Met { key, ..Met::elsewhere((0..count).map(peer).collect()) }
    }

    /// Ranks that met by other means, and have no connections to be watched.
    pub fn elsewhere(roster: Vec<Peer>) -> Self {
        Met { key: Vec::new(), roster, strangers: Vec::new(), lines: Vec::new() }
    }
}

/// What a rank says first.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Hello {
    token: String,
    rank: u64,
    size: u64,
    local_rank: Option<u64>,
    node: String,
    host: String,
}

/// What rank 0 answers.
#[derive(Serialize, Deserialize)]
enum Answer {
    Welcome { key: Vec<u8>, roster: Vec<Peer> },
    Refused { reason: String },
}

/// Brings the ranks together within `deadline`; `key` is made on rank 0, once all are there.
///
/// # Errors
/// When ranks are missing, the address cannot be used, two say they are the same, or `key` fails: then all
/// ranks learn why.
pub fn meet(
    world: &World,
    place: &Place,
    deadline: Duration,
    key: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Met, WorldError> {
    let own = Hello {
        token: place.token.clone(),
        rank: world.rank,
        size: world.size,
        local_rank: world.local_rank,
        node: world.node.map_or_else(identity, |node| node.to_string()),
        host: host(),
    };
    if world.leads() { gather(own, place, deadline, key) } else { join(&own, place, deadline) }
}

/// The name of this machine.
pub fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// What tells this machine from others; containers on one machine share it. NCCL lets it be set, too.
fn identity() -> String {
    environment("NCCL_HOSTID").unwrap_or_else(|| {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        format!("{}/{}", host(), boot.trim())
    })
}

/// Somebody who has said who it is.
type Arrival = (TcpStream, SocketAddr, Hello);

/// Rank 0: listens until all have come.
fn gather(
    own: Hello,
    place: &Place,
    deadline: Duration,
    key: impl FnOnce() -> Result<Vec<u8>, String>,
) -> Result<Met, WorldError> {
    let until = Instant::now() + deadline;
    let size = own.size;
    let listener = TcpListener::bind(place.address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|error| cannot_listen(&own.host, place, &error))?;
    let (arrived, arrivals) = channel();
    let mut present: HashMap<u64, (TcpStream, Hello)> = HashMap::new();
    let mut strangers = Vec::new();
    let being_heard = Arc::new(AtomicUsize::new(0));
    while (present.len() as u64) + 1 < size {
        if Instant::now() >= until {
            let missing: Vec<u64> = (1..size).filter(|rank| !present.contains_key(rank)).collect();
            let address = place.address.to_string();
            let error = WorldError::Missing { missing, size, address, waited: deadline };
            return Err(refuse_all(present, error));
        }
        accept(&listener, &arrived, &being_heard, size, until);
        while let Some((stream, from, hello)) = next(&arrivals) {
            match objection(&own, &hello, &present) {
                None => drop(present.insert(hello.rank, (stream, hello))),
                Some(reason) => {
                    strangers.extend((!same(&own.token, &hello.token)).then_some(from));
                    let _ = frame::send(&stream, &Answer::Refused { reason });
                }
            }
        }
    }
    drop(listener);
    let hellos: Vec<&Hello> = std::iter::once(&own)
        .chain((1..size).filter_map(|rank| present.get(&rank).map(|(_, hello)| hello)))
        .collect();
    let ready = roster(&hellos).and_then(|roster| key().map(|key| (roster, key)));
    let (roster, key) = match ready {
        Ok(ready) => ready,
        Err(reason) => return Err(refuse_all(present, WorldError::Refused { reason })),
    };
    let mut lines: Vec<(u64, TcpStream)> =
        present.into_iter().map(|(rank, (stream, _))| (rank, stream)).collect();
    lines.sort_by_key(|(rank, _)| *rank);
    for (_, stream) in &lines {
        // who is gone by now, the watch will name
        let _ = frame::send(stream, &Answer::Welcome { key: key.clone(), roster: roster.clone() });
    }
    Ok(Met { key, roster, strangers, lines })
}

fn cannot_listen(host: &str, place: &Place, error: &io::Error) -> WorldError {
    let remedy = match error.kind() {
        io::ErrorKind::AddrNotAvailable => "MASTER_ADDR has to be an address of the host of rank 0",
        io::ErrorKind::AddrInUse => "another program has that port: set MASTER_PORT to a free one",
        _ => "set MASTER_ADDR and MASTER_PORT to where it may",
    };
    let (host, address) = (host.to_owned(), place.address.to_string());
    WorldError::CannotListen { host, address, reason: error.to_string(), remedy }
}

/// Takes who waits at the door, and hears each in a thread of its own: one that says nothing keeps nobody.
fn accept(
    listener: &TcpListener,
    arrived: &Sender<Arrival>,
    being_heard: &Arc<AtomicUsize>,
    size: u64,
    until: Instant,
) {
    let Ok((stream, from)) = listener.accept() else {
        std::thread::sleep(Duration::from_millis(2));
        return;
    };
    if being_heard.load(Ordering::Relaxed) as u64 > 4 * size + 64 || stream.set_nonblocking(false).is_err() {
        return;
    }
    being_heard.fetch_add(1, Ordering::Relaxed);
    let (arrived, heard) = (arrived.clone(), Arc::clone(being_heard));
    let body = move || {
        let until = until.min(Instant::now() + INTRODUCTION);
        let hello = frame::receive(&stream, Some(until), frame::LONGEST_HELLO);
        heard.fetch_sub(1, Ordering::Relaxed);
        if let Ok(hello) = hello {
            let _ = arrived.send((stream, from, hello));
        }
    };
    // without a thread it goes unheard, and tries again
    let _ = std::thread::Builder::new().stack_size(1 << 17).spawn(body);
}

fn next(arrivals: &Receiver<Arrival>) -> Option<Arrival> {
    arrivals.try_recv().ok()
}

/// What stands against taking somebody in.
fn objection(own: &Hello, hello: &Hello, present: &HashMap<u64, (TcpStream, Hello)>) -> Option<String> {
    if !same(&own.token, &hello.token) {
        return Some(
            "rank 0 turned this process away: it belongs to another run (their tokens differ)".into(),
        );
    }
    if hello.size != own.size {
        return Some(format!("rank 0 is one of {}, rank {} one of {}", own.size, hello.rank, hello.size));
    }
    let before = if hello.rank == 0 { Some(own) } else { present.get(&hello.rank).map(|(_, hello)| hello) };
    before
        .map(|before| format!("rank {} is there twice, on {} and on {}", hello.rank, before.host, hello.host))
}

/// Compares all of both, so that the time taken does not tell how much was right.
fn same(one: &str, other: &str) -> bool {
    let differ = one.bytes().zip(other.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    one.len() == other.len() && differ == 0
}

/// Tells all who came why it ends here.
fn refuse_all(present: HashMap<u64, (TcpStream, Hello)>, error: WorldError) -> WorldError {
    for (stream, _) in present.values() {
        let _ = frame::send(stream, &Answer::Refused { reason: error.to_string() });
    }
    error
}

/// Every rank with its node and its place on it.
fn roster(hellos: &[&Hello]) -> Result<Vec<Peer>, String> {
    let mut nodes: Vec<&str> = Vec::new();
    let mut taken: HashMap<(u64, u64), u64> = HashMap::new();
    let mut roster = Vec::with_capacity(hellos.len());
    for hello in hellos {
        let node = nodes.iter().position(|node| *node == hello.node).unwrap_or_else(|| {
            nodes.push(&hello.node);
            nodes.len() - 1
        }) as u64;
        let before = roster.iter().filter(|peer: &&Peer| peer.node == node).count() as u64;
        let local_rank = hello.local_rank.unwrap_or(before);
        if let Some(other) = taken.insert((node, local_rank), hello.rank) {
            return Err(format!(
                "{} both say that they are local rank {local_rank} of one node ({})\n  start them with a \
                 launcher that tells them apart, or set NCCL_HOSTID where nodes share their name",
                ranks(&[other, hello.rank]),
                hello.host
            ));
        }
        roster.push(Peer { rank: hello.rank, host: hello.host.clone(), node, local_rank });
    }
    Ok(roster)
}

/// The other ranks: look for rank 0 until it is there.
fn join(own: &Hello, place: &Place, deadline: Duration) -> Result<Met, WorldError> {
    let until = Instant::now() + deadline;
    let mut reason = String::new();
    let stream = loop {
        let left = until.saturating_duration_since(Instant::now()).min(Duration::from_secs(2));
        if left.is_zero() {
            let address = place.address.to_string();
            return Err(WorldError::NoRankZero { address, waited: deadline, reason });
        }
        match TcpStream::connect_timeout(&place.address, left) {
            Ok(stream) => break stream,
            Err(error) => reason = error.to_string(),
        }
        std::thread::sleep(Duration::from_millis(20).min(left));
    };
    let until = Instant::now() + deadline + GRACE;
    let answer = frame::send(&stream, own).and_then(|()| frame::receive_any(&stream, Some(until)));
    match answer {
        Ok(Answer::Welcome { key, roster }) => {
            Ok(Met { key, roster, strangers: Vec::new(), lines: vec![(0, stream)] })
        }
        Ok(Answer::Refused { reason }) => Err(WorldError::Refused { reason }),
        Err(error) => {
            let address = place.address.to_string();
            Err(WorldError::NoRankZero { address, waited: deadline, reason: error.to_string() })
        }
    }
}
