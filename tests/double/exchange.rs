//! Exchanges: what a rank tells the hub of one, and what it wrote once the hub says it is over.

use std::ffi::c_int;
use std::io::{ErrorKind, Read};
use std::os::unix::net::UnixStream;

use crate::hub::{Coming, Packet};
use crate::state::{Item, State, What, bits};

/// The kind of sends and receives, several together.
pub const GROUP: u8 = 4;

/// A group, as one of its ranks sees it.
#[derive(Clone, Copy)]
pub struct Comm {
    pub id: u64,
    pub size: u64,
    pub index: u64,
    /// Whether some of its ranks share a node.
    pub inside: bool,
    /// Whether they stand on several nodes.
    pub between: bool,
}

/// An exchange as it was queued.
#[derive(Clone)]
pub struct Request {
    pub comm: Comm,
    pub kind: u8,
    pub count: u64,
    pub dtype: c_int,
    pub root: u64,
    /// Receiver (none: all), address, elements.
    pub sends: Vec<(Option<u64>, u64, u64)>,
    /// Sender (none: by kind), address, elements.
    pub receives: Vec<(Option<u64>, u64, u64)>,
    /// Whether it is part of a graph: what its launches write is not repeated.
    pub is_replay: bool,
}

/// What a rank brought: these bytes, or the random data from this element on.
#[derive(Clone)]
enum Content {
    Bytes(Vec<u8>),
    Random(u64),
}

/// What an exchange wrote: computed when it is read.
pub struct Result {
    kind: u8,
    index: u64,
    count: u64,
    dtype: c_int,
    root: u64,
    contents: Vec<Content>,
    is_wrong: bool,
}

const fn size_of(dtype: c_int) -> u64 {
    match dtype {
        5 | 8 => 8,
        7 => 4,
        6 | 9 => 2,
        _ => 1,
    }
}

impl Result {
    /// What lies `offset` bytes behind its beginning.
    pub fn bytes(&self, state: &State, offset: u64, bytes: u64) -> Vec<u8> {
        let size = size_of(self.dtype);
        (offset / size..(offset + bytes).div_ceil(size)).flat_map(|i| self.element(state, i)).collect()
    }

    fn element(&self, state: &State, i: u64) -> Vec<u8> {
        let size = size_of(self.dtype);
        let of = |content: &Content, i: u64| match content {
            Content::Bytes(data) => data[(i * size) as usize..][..size as usize].to_vec(),
            Content::Random(first) => state.random(size, first + i),
        };
        let from = |rank: u64, i: u64| of(&self.contents[rank as usize], i);
        let sum = |i: u64| {
            let number = |data: Vec<u8>| match size {
                2 => f64::from(f32::from_bits(u32::from(u16::from_le_bytes([data[0], data[1]])) << 16)),
                _ => f64::from(f32::from_le_bytes([data[0], data[1], data[2], data[3]])),
            };
            let sum: f64 = self.contents.iter().map(|content| number(of(content, i))).sum();
            bits(sum + if self.is_wrong { 99.0 } else { 0.0 }, size)
        };
        match self.kind {
            0 => sum(i),
            1 => from(i / self.count, i % self.count),
            2 => sum(self.index * self.count + i),
            3 => from(self.root, i),
            _ => from(0, i),
        }
    }
}

/// The way to the hub.
pub struct Hub {
    pub stream: UnixStream,
    inbox: Vec<u8>,
    /// How many of the exchanges at the head of the queue the hub was told of.
    told: u64,
    pub lost: bool,
}

impl Hub {
    pub fn new(stream: UnixStream) -> Self {
        Hub { stream, inbox: Vec::new(), told: 0, lost: false }
    }

    /// What the hub answers, once it has; waits for a moment.
    pub fn answer(&mut self) -> Option<Packet> {
        let mut chunk = [0; 1 << 16];
        loop {
            if let Some(length) = self.inbox.first_chunk::<8>() {
                let end = 8 + u64::from_le_bytes(*length) as usize;
                if self.inbox.len() >= end {
                    let rest = self.inbox.split_off(end);
                    let data = std::mem::replace(&mut self.inbox, rest).split_off(8);
                    return Some(Packet::new(data));
                }
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    self.lost = true;
                    return None;
                }
                Ok(length) => self.inbox.extend(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => {
                    self.lost = true;
                    return None;
                }
            }
        }
    }

    /// Tells the hub of the exchange at the head of the queue and of those like it behind; whether all is over.
    pub fn ended(&mut self, state: &mut State, request: &Request) -> bool {
        if self.told == 0 {
            let alike = state.queue.iter().take_while(|item| {
                matches!(item, Item::Exchange(other) if other.key() == request.key() && other.comm.id == request.comm.id)
            });
            self.told = 1 + alike.count() as u64;
            let coming = request.coming(state, self.told);
            self.lost |= coming.packet().send(&self.stream).is_err();
        }
        let Some(mut answer) = self.answer() else { return false };
        state.now = f64::from_bits(answer.number());
        answer.number();
        let count = answer.number();
        let contents: Vec<Vec<u8>> = (0..count).map(|_| answer.bytes()).collect();
        for _ in 1..self.told {
            state.queue.pop_front();
        }
        self.told = 0;
        if !request.is_replay {
            request.write(state, contents);
        }
        true
    }
}

impl Request {
    fn key(&self) -> Vec<u8> {
        match self.kind {
            GROUP => vec![GROUP],
            kind => {
                let numbers = [self.count, self.dtype as u64, self.root];
                std::iter::once(kind).chain(numbers.into_iter().flat_map(u64::to_le_bytes)).collect()
            }
        }
    }

    /// Whether it is for the ranks to meet only.
    pub const fn is_barrier(&self) -> bool {
        self.kind == 0 && self.count == 1
    }

    /// Bytes of the elements that the call counts.
    pub fn bytes(&self) -> u64 {
        self.count * size_of(self.dtype)
    }

    /// Bytes in the sense of nccl-tests, and how often they pass a link.
    fn volume(&self, state: &State) -> (f64, f64) {
        // to a device of the other half than the first, where the halves are linked worse than each within
        let is_far = state.number("half").is_some_and(|half| state.device as u64 >= half);
        let way = if is_far && self.comm.size == 2 { 2.0 } else { 1.0 };
        let bytes = self.bytes() as f64;
        match self.kind {
            0 => (bytes, 2.0),
            1 | 2 => (bytes * self.comm.size as f64, 1.0),
            3 => (bytes, 1.0),
            _ => (self.sends.iter().map(|(_, _, count)| (count * size_of(self.dtype)) as f64).sum(), way),
        }
    }

    fn coming(&self, state: &State, times: u64) -> Coming {
        let mut content = Packet::default().put(self.sends.len() as u64);
        for (to, address, count) in self.sends.iter().filter(|_| !self.is_replay) {
            content = content.put(to.unwrap_or(u64::MAX));
            let (size, bytes) = (size_of(self.dtype), count * size_of(self.dtype));
            content = match state.found(*address, bytes).expect("sent before it was written") {
                (What::Kernel(kernel), _) => {
                    assert_eq!(kernel.filled(), Some(size), "random data of another type");
                    let (_, first, _) = kernel.fill(*address).expect("no random data");
                    content.put(1).put(first)
                }
                _ => content.put(0).put_bytes(&state.read(*address, bytes)),
            };
        }
        let (bytes, factor) = self.volume(state);
        let Comm { id: comm, size, index, .. } = self.comm;
        // half as long again while the second stream computes
        let is_beside = state.beside > state.now && !self.is_barrier();
        let (now, slow) = (state.now, state.number("slow").unwrap_or(0) + if is_beside { 50 } else { 0 });
        Coming { comm, size, index, key: self.key(), times, now, slow, bytes, factor, content: content.data }
    }

    fn write(&self, state: &mut State, contents: Vec<Vec<u8>>) {
        let index = self.comm.index;
        // what each rank sends to this one
        let parse = |data: Vec<u8>| {
            let mut packet = Packet::new(data);
            let count = packet.number();
            let parts = (0..count).map(|_| {
                let to = packet.number();
                let content = if packet.number() == 1 {
                    Content::Random(packet.number())
                } else {
                    Content::Bytes(packet.bytes())
                };
                (to, content)
            });
            let mut parts = parts.collect::<Vec<_>>().into_iter();
            parts.find(|(to, _)| *to == index || *to == u64::MAX).map(|(_, content)| content)
        };
        let contents: Vec<Option<Content>> = contents.into_iter().map(parse).collect();
        let is_wrong = state.turn_from("garbles");
        for (from, address, elements) in &self.receives {
            let contents = match from {
                Some(from) => vec![contents[*from as usize].clone().expect("received and not sent")],
                None => contents.iter().flatten().cloned().collect(),
            };
            let Request { kind, count, dtype, root, .. } = *self;
            let result = Result { kind, index, count, dtype, root, contents, is_wrong };
            state.write_now(*address, elements * size_of(dtype), What::Exchange(Box::new(result)));
        }
    }
}
