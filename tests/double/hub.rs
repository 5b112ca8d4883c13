//! Where the ranks' exchanges meet: a thread in the process that made the id, which knows the law of times.
//!
//! Every rank tells when it comes to an exchange, by its own virtual clock, and what it brings; when all of a group
//! have come, each learns when it is over and what the others brought.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::mpsc::{Sender, channel};

/// Seconds of an exchange of `bytes` bytes, `factor` times over, among so many ranks.
pub fn law(ranks: u64, spans_nodes: bool, bytes: f64, factor: f64) -> f64 {
    let slower = if spans_nodes { 4.0 } else { 1.0 };
    3e-6 * ranks as f64 + slower * factor * bytes / 1e11
}

/// A message as numbers and bytes, one after the other.
#[derive(Default)]
pub struct Packet {
    pub data: Vec<u8>,
    at: usize,
}

impl Packet {
    pub fn put(mut self, number: u64) -> Self {
        self.data.extend(number.to_le_bytes());
        self
    }

    pub fn put_bytes(mut self, bytes: &[u8]) -> Self {
        self = self.put(bytes.len() as u64);
        self.data.extend(bytes);
        self
    }

    pub fn number(&mut self) -> u64 {
        let bytes = self.data[self.at..][..8].try_into().unwrap();
        self.at += 8;
        u64::from_le_bytes(bytes)
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        let length = self.number() as usize;
        self.at += length;
        self.data[self.at - length..self.at].to_vec()
    }

    pub fn new(data: Vec<u8>) -> Self {
        Packet { data, at: 0 }
    }

    pub fn send(&self, mut to: &UnixStream) -> std::io::Result<()> {
        let mut frame = (self.data.len() as u64).to_le_bytes().to_vec();
        frame.extend(&self.data);
        to.write_all(&frame)
    }
}

pub fn address(name: &str) -> SocketAddr {
    SocketAddr::from_abstract_name(name).unwrap()
}

/// What a rank brings to an exchange.
pub struct Coming {
    pub comm: u64,
    pub size: u64,
    pub index: u64,
    /// What must be the same on all ranks.
    pub key: Vec<u8>,
    /// How often.
    pub times: u64,
    pub now: f64,
    /// In percent.
    pub slow: u64,
    pub bytes: f64,
    pub factor: f64,
    pub content: Vec<u8>,
}

/// Of a key: a new group is made.
pub const SPLIT: u8 = 100;

impl Coming {
    pub fn packet(&self) -> Packet {
        let numbers = [self.comm, self.size, self.index, self.times, self.slow];
        let floats = [self.now, self.bytes, self.factor].map(f64::to_bits);
        let packet = numbers.into_iter().chain(floats).fold(Packet::default(), Packet::put);
        packet.put_bytes(&self.key).put_bytes(&self.content)
    }

    fn read(mut packet: Packet) -> Self {
        let [comm, size, index, times, slow] = std::array::from_fn(|_| packet.number());
        let [now, bytes, factor] = std::array::from_fn(|_| f64::from_bits(packet.number()));
        let (key, content) = (packet.bytes(), packet.bytes());
        Coming { comm, size, index, key, times, now, slow, bytes, factor, content }
    }
}

/// Opens the hub, and serves it as long as the process lives.
pub fn open(name: &str) {
    let listener = UnixListener::bind_addr(&address(name)).unwrap();
    let (came, coming) = channel::<(usize, Coming)>();
    let (joined, joining) = channel::<(UnixStream, String)>();
    std::thread::spawn(move || accept(&listener, &came, &joined));
    std::thread::spawn(move || {
        let mut ranks: Vec<(UnixStream, String)> = Vec::new();
        let mut waiting: HashMap<u64, Vec<(usize, Coming)>> = HashMap::new();
        let mut groups = 1;
        while let Ok((from, coming)) = coming.recv() {
            ranks.extend(joining.try_iter());
            let (comm, size) = (coming.comm, coming.size);
            let group = waiting.entry(comm).or_default();
            group.push((from, coming));
            if group.len() as u64 == size {
                let mut group = waiting.remove(&comm).unwrap();
                group.sort_by_key(|(_, coming)| coming.index);
                groups += 1;
                answer(&group, &ranks, groups);
            }
        }
    });
}

fn accept(listener: &UnixListener, came: &Sender<(usize, Coming)>, joined: &Sender<(UnixStream, String)>) {
    for (number, stream) in listener.incoming().enumerate() {
        let stream = stream.unwrap();
        let node = String::from_utf8(receive(&stream).unwrap().bytes()).unwrap();
        joined.send((stream.try_clone().unwrap(), node)).unwrap();
        let came = came.clone();
        std::thread::spawn(move || {
            while let Some(packet) = receive(&stream) {
                came.send((number, Coming::read(packet))).unwrap();
            }
        });
    }
}

fn receive(mut from: &UnixStream) -> Option<Packet> {
    let mut length = [0; 8];
    from.read_exact(&mut length).ok()?;
    let mut data = vec![0; u64::from_le_bytes(length) as usize];
    from.read_exact(&mut data).ok()?;
    Some(Packet::new(data))
}

/// Tells all of a group when it is over, and what each brought. Those who came with different things hang.
fn answer(group: &[(usize, Coming)], ranks: &[(UnixStream, String)], groups: u64) {
    let first = &group[0].1;
    let split = first.key == [SPLIT];
    if group.iter().any(|(_, coming)| coming.key != first.key || coming.times != first.times) {
        let keys: Vec<_> =
            group.iter().map(|(_, coming)| (coming.index, &coming.key, coming.times)).collect();
        return eprintln!("double: the ranks of one group queued different exchanges: {keys:?}");
    }
    let nodes: BTreeSet<&str> = group.iter().map(|(from, _)| ranks[*from].1.as_str()).collect();
    let most = |of: fn(&Coming) -> f64| group.iter().map(|(_, coming)| of(coming)).fold(0.0, f64::max);
    let cost = if first.key[0] >= SPLIT {
        1e-3
    } else {
        law(first.size, nodes.len() > 1, most(|coming| coming.bytes), most(|coming| coming.factor))
    };
    let slowest = 1.0 + most(|coming| coming.slow as f64) / 100.0;
    for (from, coming) in group {
        let before = (coming.times - 1) as f64 * cost * slowest;
        let end = most(|coming| coming.now) + before + cost * (1.0 + coming.slow as f64 / 100.0);
        let mut packet = Packet::default().put(end.to_bits()).put(if split { groups } else { 0 });
        packet = packet.put(group.len() as u64);
        for (_, other) in group {
            packet = packet.put_bytes(&other.content);
        }
        let _ = packet.send(&ranks[*from].0); // it may be gone
    }
}
