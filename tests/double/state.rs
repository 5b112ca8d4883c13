//! The device: its memory as a list of what was written, its clock, and the faults it was told to have.

use std::cell::RefCell;
use std::collections::VecDeque;

use crate::attention::Attention;
use crate::elements::Kernel;
use crate::exchange::{Hub, Request, Result as Exchanged};
use crate::products::Product;
use crate::{Code, LAUNCH_FAILED, SUCCESS};

/// Bytes of memory.
pub const MEMORY: u64 = 140 << 30;

/// What a range of memory holds.
pub enum What {
    Bytes(Vec<u8>),
    Set(u8),
    Copy(u64),
    Product(Box<Product>),
    Kernel(Box<Kernel>),
    Attention(Box<Attention>),
    Exchange(Box<Exchanged>),
}

/// What waits in the stream behind an exchange that has not ended.
pub enum Item {
    Cost(f64),
    Run(Box<dyn FnOnce(&mut State) -> Code>),
    Record(usize),
    Exchange(Request),
}

struct Write {
    start: u64,
    bytes: u64,
    what: What,
}

/// A node of a graph. What its launches write is not repeated: they write what the first run wrote.
#[derive(Clone)]
pub enum Node {
    Cost(f64),
    /// A sweep of the cache, with its cost.
    Sweep(f64),
    Record(usize),
    Exchange(Request),
}

/// One device, that of a thread.
pub struct State {
    /// Seconds.
    pub now: f64,
    /// Which device it is.
    pub device: usize,
    pub events: Vec<f64>,
    pub captured: Option<Vec<Node>>,
    pub queue: VecDeque<Item>,
    /// When the second stream, which only computes, has done all that was queued; how many streams there are.
    pub beside: f64,
    pub streams: usize,
    /// The way to the other ranks.
    pub hub: Option<Hub>,
    /// Groups whose ranks have been connected.
    pub connected: Vec<u64>,
    /// The error that every call gives from now on; 0 for none.
    pub broken: Code,
    /// Whether something runs for ever.
    pub endless: bool,
    /// Whether something breaks the device, which the next question will tell.
    pub dying: bool,
    /// Whether heat holds the clock down.
    pub hot: bool,
    writes: Vec<Write>,
    blocks: Vec<(u64, u64)>,
    next: u64,
    faults: Vec<(String, u64)>,
    turns: Vec<u64>,
    random: u64,
    replays: u64,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::new(State::new());
}

pub fn with<T>(f: impl FnOnce(&mut State) -> T) -> T {
    STATE.with(|state| f(&mut state.borrow_mut()))
}

/// What `GETTIME_DOUBLE` asks for.
pub fn faults() -> Vec<(String, u64)> {
    let faults = std::env::var("GETTIME_DOUBLE").unwrap_or_default();
    let faults = faults.split_whitespace().map(|fault| {
        let (name, count) = fault.split_once('=').unwrap_or((fault, "0"));
        (name.to_owned(), count.parse().unwrap())
    });
    faults.collect()
}

impl State {
    fn new() -> State {
        let faults = faults();
        State {
            now: 0.0,
            device: 0,
            events: Vec::new(),
            captured: None,
            queue: VecDeque::new(),
            beside: 0.0,
            streams: 0,
            hub: None,
            connected: Vec::new(),
            broken: SUCCESS,
            endless: false,
            dying: false,
            hot: false,
            writes: Vec::new(),
            blocks: Vec::new(),
            next: 1 << 40,
            turns: vec![0; faults.len()],
            faults,
            random: 1,
            replays: 0,
        }
    }

    /// Does what can be done of what waits in the stream; whether all of it is done.
    pub fn pump(&mut self) -> bool {
        while let Some(item) = self.queue.pop_front() {
            match item {
                Item::Cost(cost) => self.now += cost,
                Item::Record(event) => self.events[event - 1] = self.now,
                Item::Run(run) => drop(run(self)),
                Item::Exchange(request) => {
                    let mut hub = self.hub.take().expect("an exchange without a hub");
                    let ended = hub.ended(self, &request);
                    self.hub = Some(hub);
                    if !ended {
                        self.queue.push_front(Item::Exchange(request));
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Runs something, now or behind what waits in the stream.
    pub fn submit(&mut self, cost: f64, run: impl FnOnce(&mut State) -> Code + 'static) -> Code {
        if self.queue.is_empty() {
            self.now += cost;
            return run(self);
        }
        self.queue.push_back(Item::Cost(cost));
        self.queue.push_back(Item::Run(Box::new(run)));
        SUCCESS
    }

    /// Whether a fault is asked for.
    pub fn has(&self, name: &str) -> bool {
        self.faults.iter().any(|(known, _)| known == name)
    }

    /// The number of a fault.
    pub fn number(&self, name: &str) -> Option<u64> {
        self.faults.iter().find(|(known, _)| known == name).map(|(_, number)| *number)
    }

    /// Counts, and tells whether it is the fault's turn.
    pub fn turn(&mut self, name: &str) -> bool {
        let Some(i) = self.faults.iter().position(|(known, _)| known == name) else { return false };
        self.turns[i] += 1;
        self.turns[i] == self.faults[i].1
    }

    /// Counts, and tells whether it was the fault's turn before, or is.
    pub fn turn_from(&mut self, name: &str) -> bool {
        let Some(i) = self.faults.iter().position(|(known, _)| known == name) else { return false };
        self.turns[i] += 1;
        self.turns[i] >= self.faults[i].1
    }

    pub fn free(&self) -> u64 {
        MEMORY - self.blocks.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    pub fn allocate(&mut self, bytes: u64) -> Option<u64> {
        let too_large = self.number("oom_above").is_some_and(|mebibytes| bytes > mebibytes << 20);
        if self.turn("oom") || self.turn_from("oom_from") || too_large || bytes > self.free() {
            return None;
        }
        let address = self.next;
        self.next += bytes.next_multiple_of(1 << 21);
        self.blocks.push((address, bytes));
        Some(address)
    }

    pub fn release(&mut self, address: u64) -> bool {
        let Some(i) = self.blocks.iter().position(|(start, _)| *start == address) else { return false };
        let (start, bytes) = self.blocks.swap_remove(i);
        self.writes.retain(|write| write.start < start || write.start >= start + bytes);
        true
    }

    pub fn write(&mut self, start: u64, bytes: u64, what: What) -> Code {
        self.submit(0.0, move |state| state.write_now(start, bytes, what))
    }

    pub fn write_now(&mut self, start: u64, bytes: u64, what: What) -> Code {
        let inside = |(block, size): &(u64, u64)| *block <= start && start + bytes <= block + size;
        assert!(self.blocks.iter().any(inside), "{bytes} bytes at {start:#x} are not allocated");
        let end = start + bytes;
        self.writes.retain(|old| old.start < start || old.start + old.bytes > end);
        self.writes.push(Write { start, bytes, what });
        SUCCESS
    }

    /// What was written there last, and how far behind its beginning.
    pub fn found(&self, start: u64, bytes: u64) -> Option<(&What, u64)> {
        let covers = |write: &&Write| write.start <= start && start + bytes <= write.start + write.bytes;
        self.writes.iter().rev().find(covers).map(|write| (&write.what, start - write.start))
    }

    /// The number of random data at `element`, from any fill of that size.
    pub fn random(&self, size: u64, element: u64) -> Vec<u8> {
        let of_size = |write: &Write| match &write.what {
            What::Kernel(kernel) if kernel.filled() == Some(size) => kernel.fill(write.start),
            _ => None,
        };
        let (block, _, period) = self.writes.iter().find_map(of_size).expect("nothing was filled");
        self.read(block + element % period * size, size)
    }

    /// Bytes that lie in one element of what was written last, or in several of plain ones.
    pub fn read(&self, start: u64, bytes: u64) -> Vec<u8> {
        let covers = |write: &&Write| write.start <= start && start + bytes <= write.start + write.bytes;
        let write = self.writes.iter().rev().find(covers).expect("read before it was written");
        let offset = start - write.start;
        let mut out = match &write.what {
            What::Bytes(data) => data[offset as usize..][..bytes as usize].to_vec(),
            What::Set(value) => vec![*value; bytes as usize],
            What::Copy(from) => self.read(from + offset, bytes),
            What::Product(product) => product.element(self, start, offset),
            What::Kernel(kernel) => kernel.element(self, start, offset),
            What::Attention(attention) => attention.element(self, start, offset),
            What::Exchange(exchange) => exchange.bytes(self, offset, bytes),
        };
        out.truncate(bytes as usize);
        out
    }

    /// A bf16 number, or a binary32 one.
    pub fn number_at(&self, start: u64, bytes: u64, element: u64) -> f64 {
        let data = self.read(start + element * bytes, bytes);
        match bytes {
            2 => f32::from_bits(u32::from(u16::from_le_bytes([data[0], data[1]])) << 16).into(),
            _ => f32::from_le_bytes([data[0], data[1], data[2], data[3]]).into(),
        }
    }

    /// So many bf16 numbers from `start` on.
    pub fn numbers(&self, start: u64, count: u64) -> Vec<f64> {
        let data = self.plain(start, 2 * count);
        let half = |bytes: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*bytes)) << 16);
        data.as_chunks::<2>().0.iter().map(|bytes| half(bytes).into()).collect()
    }

    /// So many bytes from `start` on, in elements of 2, quickly where a fill wrote them.
    pub fn plain(&self, start: u64, bytes: u64) -> Vec<u8> {
        let count = bytes.div_ceil(2);
        let covers = |write: &&Write| write.start <= start && start + bytes <= write.start + write.bytes;
        let write = self.writes.iter().rev().find(covers).expect("read before it was written");
        if let What::Kernel(kernel) = &write.what
            && let Some((block, first, period)) = kernel.fill(start)
            && let Some(Write { what: What::Bytes(data), .. }) = self.writes.iter().find(|w| w.start == block)
        {
            let places = (first..first + count).map(|element| (element % period) as usize);
            let mut all: Vec<u8> = places.flat_map(|at| [data[2 * at], data[2 * at + 1]]).collect();
            all.truncate(bytes as usize);
            return all;
        }
        let mut all: Vec<u8> = (0..count).flat_map(|element| self.read(start + 2 * element, 2)).collect();
        all.truncate(bytes as usize);
        all
    }

    /// Runs something on a stream. On the second one, which waits for nobody, it takes a quarter longer while
    /// exchanges are under way on the first.
    pub fn launch_on(&mut self, stream: usize, cost: f64, run: impl FnOnce(&mut State) -> Code + 'static) -> Code {
        if stream < 2 {
            return self.launch(cost, run);
        }
        let exchanges = |item: &Item| matches!(item, Item::Exchange(request) if !request.is_barrier());
        let slower = if self.queue.iter().any(exchanges) { 1.25 } else { 1.0 };
        self.beside = self.beside.max(self.now) + cost * slower;
        run(self)
    }

    /// Runs something that takes `cost` seconds, or makes it a node of a graph.
    pub fn launch(&mut self, cost: f64, run: impl FnOnce(&mut State) -> Code + 'static) -> Code {
        if let Some(nodes) = &mut self.captured {
            nodes.push(Node::Cost(cost));
            return SUCCESS;
        }
        let cost = cost + self.number("launch_gap").unwrap_or(0) as f64 * 1e-6;
        if self.turn("launch") {
            self.broken = LAUNCH_FAILED;
            return LAUNCH_FAILED;
        }
        self.endless |= self.turn("endless");
        self.dying |= self.turn("sticky");
        self.hot |= self.turn("throttled");
        self.hot &= !self.turn("cooled");
        self.submit(cost, run)
    }

    pub fn replay(&mut self, nodes: &[Node]) -> Code {
        let factor = self.factor();
        let mut gap = self.number("gap").unwrap_or(0) as f64 * 1e-6;
        // an op that follows another one takes so many percent longer, until the cache is swept
        let chained = 1.0 + self.number("chained").unwrap_or(0) as f64 / 100.0;
        let mut before = None;
        for node in nodes {
            match node {
                Node::Cost(cost) => {
                    let is_chained = before.replace(*cost).is_some_and(|before| before != *cost);
                    let cost = cost * factor * if is_chained { chained } else { 1.0 };
                    self.queue.push_back(Item::Cost(cost));
                }
                Node::Sweep(cost) => {
                    before = None;
                    self.queue.push_back(Item::Cost(*cost));
                }
                Node::Record(event) => {
                    let gap = Item::Cost(std::mem::take(&mut gap));
                    self.queue.extend([Item::Record(*event), gap]);
                }
                Node::Exchange(request) => self.queue.push_back(Item::Exchange(request.clone())),
            }
            if !matches!(self.queue.front(), Some(Item::Exchange(_))) {
                self.pump();
            }
        }
        SUCCESS
    }

    /// Noise in percent, and every third replay at a lower clock.
    fn factor(&mut self) -> f64 {
        self.replays += 1;
        if let Some(flash) = self.number("flash") {
            // one replay in so many is half as fast, with the clock held down
            self.hot = self.replays.is_multiple_of(flash);
            if self.hot {
                return 2.0;
            }
        }
        if self.replays.is_multiple_of(3) {
            let slower = self.number("second_clock").unwrap_or(0);
            if slower > 0 {
                return 1.0 + slower as f64 / 100.0;
            }
        }
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let uniform = (self.random >> 33) as f64 / f64::from(1_u32 << 31) * 2.0 - 1.0;
        1.0 + uniform * self.number("noise").unwrap_or(0) as f64 / 100.0
    }
}

/// The bits of a number in 2 or 4 bytes; of bf16 the nearest, even ones of two.
pub fn bits(x: f64, bytes: u64) -> Vec<u8> {
    let wide = (x as f32).to_bits();
    match bytes {
        2 => (((wide + 0x7fff + (wide >> 16 & 1)) >> 16) as u16).to_le_bytes().to_vec(),
        _ => wide.to_le_bytes().to_vec(),
    }
}
