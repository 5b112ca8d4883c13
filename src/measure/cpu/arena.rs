//! Buffers of the ops, kept from one op to the next: filling memory anew would cost more than measuring.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::pages::Pages;

/// Elements of one cache line: every buffer starts on a line of its own.
const LINE: usize = 16;

/// Length of the random block that fills the inputs again and again: prime, so that rows, parts and
/// batches of an op do not hold the same numbers.
const BLOCK: usize = 1_000_003;

/// The golden ratio less 1: of its multiples none comes near a fraction of small numbers.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Lengths and places of an op's input and output, in elements; an op runs on one slot after the other, so
/// that it finds its operands in memory rather than in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slots {
    /// How many there are.
    pub count: usize,
    /// Elements of the op's input.
    pub input: usize,
    /// Elements of the op's output.
    pub output: usize,
}

impl Slots {
    /// As many as together fill `rotated_bytes`, but at least one, and no more than fill `cap_bytes`.
    pub fn new(input: usize, output: usize, rotated_bytes: u64, cap_bytes: u64) -> Self {
        let bytes = ((lines(input) + lines(output)) as u64 * 4).max(1);
        let count = rotated_bytes.div_ceil(bytes).min(cap_bytes / bytes).max(1);
        Slots { count: count as usize, input, output }
    }

    /// The input of slot `i` within the inputs of all slots.
    pub fn input_of<'a>(&self, inputs: &'a [f32], i: usize) -> &'a [f32] {
        &inputs[i * lines(self.input)..][..self.input]
    }

    /// The output of slot `i` within the outputs of all slots.
    pub fn output_of<'a>(&self, outputs: &'a mut [f32], i: usize) -> &'a mut [f32] {
        &mut outputs[i * lines(self.output)..][..self.output]
    }

    /// Elements of the inputs of all slots.
    pub fn inputs(&self) -> usize {
        self.count * lines(self.input)
    }

    /// Elements of the outputs of all slots.
    pub fn outputs(&self) -> usize {
        self.count * lines(self.output)
    }
}

/// `elements` rounded up to whole cache lines.
pub(super) fn lines(elements: usize) -> usize {
    elements.next_multiple_of(LINE)
}

/// Inputs that are random, N(0,1), and outputs that are written to; both grow as ops ask for it.
///
/// Whoever asks for inputs gets them at another place of what there is. Memory is not the same everywhere: of eight
/// equal matrices on a virtual machine one kept a thin product for 17 % longer than another, round after round, and
/// always the same place would make such luck look like the time of an op.
#[derive(Debug)]
pub(super) struct Arena {
    block: Vec<f32>,
    inputs: Arc<Pages>,
    outputs: Pages,
    /// Outputs of ranks, which each own theirs while they run.
    received: Vec<Pages>,
    /// How often inputs were asked for.
    asked: u64,
}

impl Arena {
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let block =
            <StandardNormal as Distribution<f32>>::sample_iter(StandardNormal, random).take(BLOCK).collect();
        Arena { block, inputs: Arc::default(), outputs: Pages::default(), received: Vec::new(), asked: 0 }
    }

    /// Bytes that [`Arena::clear`] gives back: inputs that somebody else holds are not among them.
    pub fn bytes(&self) -> u64 {
        let received: usize = self.received.iter().map(|buffer| buffer.len()).sum();
        let inputs = if Arc::strong_count(&self.inputs) == 1 { self.inputs.len() } else { 0 };
        4 * (inputs + self.outputs.len() + received) as u64
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        self.inputs = Arc::default();
        self.outputs = Pages::default();
        self.received = Vec::new();
    }

    /// `inputs` random elements, at their start on a cache line, and `outputs` elements to write to.
    pub fn buffers(&mut self, inputs: usize, outputs: usize) -> (&[f32], &mut [f32]) {
        let from = self.place(inputs);
        written(&mut self.outputs, outputs + LINE);
        let to = aligned(&self.outputs);
        (&self.inputs[from..from + inputs], &mut self.outputs[to..])
    }

    /// A buffer of its own of `length` random elements.
    pub fn random(&self, length: usize) -> Pages {
        let mut buffer = Pages::new(length);
        fill(&mut buffer, &self.block);
        buffer
    }

    /// At least `inputs` random elements for threads to share, and the place of the first to use.
    pub fn shared(&mut self, inputs: usize) -> (Arc<Pages>, usize) {
        let first = self.place(inputs);
        (Arc::clone(&self.inputs), first)
    }

    /// A buffer of at least `length` elements to own for a while.
    pub fn lend(&mut self, length: usize) -> Pages {
        let mut buffer = self.received.pop().unwrap_or_default();
        written(&mut buffer, length);
        buffer
    }

    /// Takes back what [`Arena::lend`] gave.
    pub fn give_back(&mut self, buffer: Pages) {
        self.received.push(buffer);
    }

    /// Where the next `inputs` elements lie: the places that there are take turns, none the same in any period.
    fn place(&mut self, inputs: usize) -> usize {
        let needed = inputs + LINE;
        let held = self.inputs.len() / BLOCK * BLOCK;
        if self.inputs.len() < needed {
            match Arc::get_mut(&mut self.inputs).map(|inputs| (inputs.grow(needed), inputs)) {
                Some((Ok(()), inputs)) => fill(&mut inputs[held..], &self.block),
                // no room, or somebody holds them: a chain, or a thread that was lost
                _ => {
                    self.inputs = Arc::default(); // first, so that both need not fit
                    self.inputs = Arc::new(self.random(needed));
                }
            }
        }
        let stride = lines(inputs).max(1);
        let places = ((self.inputs.len() - LINE) / stride).max(1);
        self.asked += 1;
        let place = ((self.asked as f64 * GOLDEN).fract() * places as f64) as usize;
        aligned(&self.inputs) + place * stride
    }
}

/// Makes room for `length` elements and writes to it, so that the pages are there before anything is timed.
fn written(buffer: &mut Pages, length: usize) {
    let held = buffer.len();
    if held >= length {
        return;
    }
    if buffer.grow(length).is_ok() {
        buffer[held..].fill(1.0);
    } else {
        *buffer = Pages::default(); // first, so that both need not fit
        *buffer = Pages::new(length);
        buffer.fill(1.0);
    }
}

/// Fills a buffer, which begins a block, with blocks.
fn fill(buffer: &mut [f32], block: &[f32]) {
    for part in buffer.chunks_mut(BLOCK) {
        part.copy_from_slice(&block[..part.len()]);
    }
}

/// The first element on a cache line.
fn aligned(buffer: &[f32]) -> usize {
    buffer.as_ptr().align_offset(4 * LINE).min(LINE)
}

#[cfg(test)]
mod tests {
    use super::{Arena, Slots};

    #[test]
    fn slots_fill_what_is_to_be_rotated_within_the_cap() {
        assert_eq!(Slots::new(16, 16, 1280, 1 << 30).count, 10);
        assert_eq!(Slots::new(1, 1, 1280, 1 << 30).count, 10); // a line each
        assert_eq!(Slots::new(16, 16, 1280, 640).count, 5);
        assert_eq!(Slots::new(16, 16, 1280, 1).count, 1);
    }

    #[test]
    fn inputs_are_normal_and_the_same_on_every_run() {
        let (mut one, mut other) = (Arena::new(1), Arena::new(1));
        let (first, _) = one.buffers(2_000_100, 10);
        assert_eq!(first, other.buffers(2_000_100, 10).0);
        let mean = first.iter().map(|&x| f64::from(x)).sum::<f64>() / first.len() as f64;
        let square = first.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / first.len() as f64;
        assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.01, "{mean} {square}");
        assert_eq!(first.as_ptr().align_offset(64), 0);
    }

    #[test]
    fn inputs_take_turns_over_what_there_is_and_what_is_held_is_not_given_back() {
        let mut arena = Arena::new(1);
        let held = arena.shared(10 * 160);
        let first = held.1;
        assert_eq!(arena.bytes(), 0);
        let mut places: Vec<usize> = (0..20).map(|_| (arena.shared(160).1 - first) / 160).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!(places, (0..10).collect::<Vec<_>>());
        drop(held);
        assert_eq!(arena.bytes(), 4 * (10 * 160 + 16));
    }
}
