//! The buffers of the ops, kept from one op to the next, and where in them an op's operands lie.

use super::gpu::{Argument, Shared};
use super::memory::Buffer;
use super::pattern::{PERIOD, Pattern};
use super::ptx::HARNESS;
use super::trouble::Trouble;
use crate::dtype::Dtype;

/// Every operand begins at a multiple of this: what the allocator gives, and all that a library may ask for.
const ALIGNMENT: u64 = 256;

/// An operand, in as many copies as a measurement goes through in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where the first begins, from the beginning of its buffer.
    pub offset: u64,
    /// Bytes of one copy.
    pub bytes: u64,
    stride: u64,
    copies: u64,
}

impl Part {
    /// Where copy `turn` begins, counted round.
    pub const fn at(&self, turn: u64) -> u64 {
        self.offset + (turn % self.copies) * self.stride
    }
}

/// Operands one after the other in one buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Zone {
    /// Bytes of all of them.
    pub bytes: u64,
}

impl Zone {
    /// Adds an operand of `bytes` bytes in so many copies.
    pub fn part(&mut self, bytes: u64, copies: u64) -> Part {
        let stride = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
        let part = Part { offset: self.bytes, bytes, stride, copies: copies.max(1) };
        self.bytes += stride * part.copies;
        part
    }
}

/// How many copies make a measurement find its operands in memory and not in the cache: as many as fill
/// `rotated_bytes`, but no more than `most`, nor than fit in `cap_bytes`.
pub(super) fn copies(bytes: u64, rotated_bytes: u64, most: u64, cap_bytes: u64) -> u64 {
    let stride = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
    (1 + rotated_bytes.div_ceil(stride)).min(most).min(cap_bytes / stride).max(1)
}

/// Inputs that are random and outputs that are written to; both grow as ops ask for it.
#[derive(Debug)]
pub(super) struct Arena {
    gpu: Shared,
    seed: u64,
    pattern: Option<(Dtype, Pattern, Buffer)>,
    inputs: Option<Buffer>,
    /// Bytes of the inputs that hold the pattern.
    filled: u64,
    outputs: Option<Buffer>,
    places: Option<Buffer>,
}

/// What an op works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers<'a> {
    pub inputs: &'a Buffer,
    pub outputs: &'a Buffer,
    /// Indices of rows, where an op has any.
    pub places: &'a Buffer,
    pub pattern: &'a Pattern,
}

impl Arena {
    pub fn new(gpu: &Shared, seed: u64) -> Self {
        let gpu = Shared::clone(gpu);
        Arena { gpu, seed, pattern: None, inputs: None, filled: 0, outputs: None, places: None }
    }

    /// Bytes held now.
    pub fn bytes(&self) -> u64 {
        [&self.inputs, &self.outputs, &self.places].into_iter().flatten().map(Buffer::bytes).sum()
    }

    /// Buffers of at least these sizes: inputs that hold random numbers of type `dtype`, and `places`.
    pub fn buffers(
        &mut self,
        dtype: Dtype,
        inputs: u64,
        outputs: u64,
        places: &[u32],
    ) -> Result<Buffers<'_>, Trouble> {
        let dtype = if dtype == Dtype::Tf32 { Dtype::F32 } else { dtype };
        let gpu = Shared::clone(&self.gpu);
        if self.pattern.as_ref().is_none_or(|(known, ..)| *known != dtype) {
            let pattern = Pattern::new(dtype, self.seed);
            let block = Buffer::new(&gpu, pattern.bytes.len() as u64)?;
            block.upload(&pattern.bytes)?;
            self.pattern = Some((dtype, pattern, block));
            self.filled = 0;
        }
        if self.inputs.as_ref().is_none_or(|buffer| buffer.bytes() < inputs) {
            self.filled = 0;
        }
        let places_bytes = 4 * places.len() as u64;
        let grown = grow(&gpu, &mut self.inputs, inputs)
            .and_then(|()| grow(&gpu, &mut self.outputs, outputs))
            .and_then(|()| grow(&gpu, &mut self.places, places_bytes));
        match grown {
            Err(trouble) if trouble.is_memory() => {
                // What is held may be in the way of what is needed: with nothing held, exactly that.
                (self.inputs, self.outputs, self.places, self.filled) = (None, None, None, 0);
                self.inputs = Some(Buffer::new(&gpu, inputs)?);
                self.outputs = Some(Buffer::new(&gpu, outputs)?);
                self.places = Some(Buffer::new(&gpu, places_bytes)?);
            }
            grown => grown?,
        }
        self.fill(inputs)?;
        let buffers = self.held().ok_or(Trouble::Lost)?; // all were made above
        if !places.is_empty() {
            let bytes: Vec<u8> = places.iter().flat_map(|place| place.to_le_bytes()).collect();
            buffers.places.upload(&bytes)?;
        }
        Ok(buffers)
    }

    /// The buffers as they were asked for last.
    pub fn held(&self) -> Option<Buffers<'_>> {
        let (_, pattern, _) = self.pattern.as_ref()?;
        let (inputs, outputs) = (self.inputs.as_ref()?, self.outputs.as_ref()?);
        Some(Buffers { inputs, outputs, places: self.places.as_ref()?, pattern })
    }

    /// Queues that at least `bytes` bytes of the inputs hold the pattern.
    fn fill(&mut self, bytes: u64) -> Result<(), Trouble> {
        let Some(inputs) = self.inputs.as_ref().filter(|_| bytes > self.filled) else { return Ok(()) };
        self.fill_from(inputs, self.filled)?;
        self.filled = inputs.bytes();
        Ok(())
    }

    /// A buffer of its own that holds the pattern of `dtype`.
    pub fn random(&mut self, dtype: Dtype, bytes: u64) -> Result<Buffer, Trouble> {
        self.buffers(dtype, 0, 0, &[])?;
        let buffer = Buffer::new(&self.gpu, bytes.next_multiple_of(ALIGNMENT))?;
        self.fill_from(&buffer, 0).map(|()| buffer)
    }

    /// Queues that `buffer` holds the pattern from byte `first` on.
    fn fill_from(&self, buffer: &Buffer, first: u64) -> Result<(), Trouble> {
        let Some((dtype, _, block)) = &self.pattern else { return Ok(()) };
        let size = dtype.bytes();
        let name = match size {
            1 => "fill_1",
            2 => "fill_2",
            _ => "fill_4",
        };
        let (first, end) = (first / size, buffer.bytes() / size);
        let fill = self.gpu.function(HARNESS, name)?;
        let blocks = 16 * self.gpu.facts.multiprocessors.max(1);
        let arguments = [
            Argument::Pointer(block.address()),
            Argument::Pointer(buffer.address()),
            Argument::Long(first),
            Argument::Long(end - first),
            Argument::Int(PERIOD as u32),
        ];
        fill.launch(blocks, (256, 1), &arguments)
    }
}

/// Makes a buffer of at least `bytes` bytes, with room for somewhat larger ops: allocating takes long.
fn grow(gpu: &Shared, buffer: &mut Option<Buffer>, bytes: u64) -> Result<(), Trouble> {
    if buffer.as_ref().is_some_and(|buffer| buffer.bytes() >= bytes) {
        return Ok(());
    }
    *buffer = None;
    let roomy = if bytes < 4 << 30 { bytes.max(1 << 20).next_power_of_two() } else { bytes };
    *buffer = Some(Buffer::new(gpu, roomy)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Zone, copies};

    #[test]
    fn parts_lie_side_by_side_and_turn() {
        let mut zone = Zone::default();
        let (a, b) = (zone.part(1000, 1), zone.part(300, 3));
        assert_eq!((a.at(0), a.at(7)), (0, 0));
        assert_eq!((b.at(0), b.at(1), b.at(5)), (1024, 1536, 2048));
        assert_eq!(zone.bytes, 1024 + 3 * 512);
    }

    #[test]
    fn copies_fill_what_is_to_be_rotated_within_both_bounds() {
        assert_eq!(copies(512, 5120, 100, 1 << 30), 11);
        assert_eq!(copies(512, 5120, 4, 1 << 30), 4);
        assert_eq!(copies(512, 5120, 100, 1024), 2);
        assert_eq!(copies(1 << 40, 5120, 100, 1024), 1);
    }
}
