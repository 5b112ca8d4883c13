//! Buffers of the ops, kept from one op to the next: filling memory anew would cost more than measuring.

use std::sync::Arc;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use super::pages;

/// Elements of one cache line: every buffer starts on a line of its own.
const LINE: usize = 16;

/// Length of the random block that fills the inputs again and again: prime, so that rows, parts and
/// batches of an op do not hold the same numbers.
const BLOCK: usize = 1_000_003;

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
#[derive(Debug)]
pub(super) struct Arena {
    block: Vec<f32>,
    inputs: Arc<Vec<f32>>,
    outputs: Vec<f32>,
    /// Outputs of ranks, which each own theirs while they run.
    received: Vec<Vec<f32>>,
}

impl Arena {
    pub fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let block =
            <StandardNormal as Distribution<f32>>::sample_iter(StandardNormal, random).take(BLOCK).collect();
        Arena { block, inputs: Arc::default(), outputs: Vec::new(), received: Vec::new() }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        let received: usize = self.received.iter().map(Vec::len).sum();
        4 * (self.inputs.len() + self.outputs.len() + received) as u64
    }

    /// Gives the memory back.
    pub fn clear(&mut self) {
        self.inputs = Arc::default();
        self.outputs = Vec::new();
        self.received = Vec::new();
    }

    /// `inputs` random elements, at their start on a cache line, and `outputs` elements to write to.
    pub fn buffers(&mut self, inputs: usize, outputs: usize) -> (&[f32], &mut [f32]) {
        self.grow_inputs(inputs + LINE);
        let outputs = outputs + LINE;
        if self.outputs.len() < outputs {
            // Written, so that the pages are there before anything is timed.
            self.outputs.reserve_exact(outputs - self.outputs.len());
            pages::large(&mut self.outputs);
            self.outputs.resize(outputs, 1.0);
        }
        let from = aligned(&self.inputs);
        let to = aligned(&self.outputs);
        (&self.inputs[from..from + inputs], &mut self.outputs[to..])
    }

    /// A buffer of its own of `length` random elements.
    pub fn random(&self, length: usize) -> Vec<f32> {
        let mut buffer = Vec::with_capacity(length);
        pages::large(&mut buffer);
        while buffer.len() < length {
            buffer.extend_from_slice(&self.block[..BLOCK.min(length - buffer.len())]);
        }
        buffer
    }

    /// At least `inputs` random elements for threads to share, and the place of the first to use.
    pub fn shared(&mut self, inputs: usize) -> (Arc<Vec<f32>>, usize) {
        self.grow_inputs(inputs + LINE);
        (Arc::clone(&self.inputs), aligned(&self.inputs))
    }

    /// A buffer of at least `length` elements to own for a while.
    pub fn lend(&mut self, length: usize) -> Vec<f32> {
        let mut buffer = self.received.pop().unwrap_or_default();
        if buffer.len() < length {
            buffer.reserve_exact(length - buffer.len());
            pages::large(&mut buffer);
            buffer.resize(length, 1.0);
        }
        buffer
    }

    /// Takes back what [`Arena::lend`] gave.
    pub fn give_back(&mut self, buffer: Vec<f32>) {
        self.received.push(buffer);
    }

    fn grow_inputs(&mut self, length: usize) {
        if self.inputs.len() >= length {
            return;
        }
        if Arc::get_mut(&mut self.inputs).is_none() {
            self.inputs = Arc::default(); // a thread that was lost still holds the old ones
        }
        if let Some(inputs) = Arc::get_mut(&mut self.inputs) {
            inputs.reserve_exact(length - inputs.len());
            pages::large(inputs);
            while inputs.len() < length {
                let from = inputs.len() % BLOCK;
                let to = BLOCK.min(from + length - inputs.len());
                inputs.extend_from_slice(&self.block[from..to]);
            }
        }
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
}
