//! Memory-bound kernels: their code, their launches and their checks.

use super::arena::{Buffers, Part, Zone};
use super::check::{self, Unchecked, compare, places};
use super::gpu::{Argument, Function, Gpu};
use super::pattern::{decode, roundoff};
use super::product::read;
use super::ptx::{ELEMENTS, GATE, ROWS};
use super::stream;
use super::trouble::Trouble;
use crate::dtype::Dtype;
use crate::op::{Kernel, KernelKind};

/// Elements of an output that are compared.
const CHECKED: usize = 32;

/// Threads of a block that shares no row.
const BLOCK: u32 = 256;

/// A kernel with its operands' places and its launch.
#[derive(Debug)]
pub(super) struct Streaming {
    op: Kernel,
    /// The tensor, and what is read beside it: scale and shift, the other summand, or weights.
    x: Part,
    beside: [Option<Part>; 2],
    out: Part,
    /// The experts that a gate chose, 2 bytes each.
    experts: Option<Part>,
    /// Rows that are gathered, where any are.
    pub gathered: Vec<u32>,
    /// None for a copy, which is the driver's.
    launch: Option<Launch>,
}

/// Addresses of what a kernel works on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub x: u64,
    /// Scale and shift, the other summand, or weights.
    pub beside: [Option<u64>; 2],
    /// Indices of rows, of kernels that gather any.
    pub gathered: u64,
    pub out: u64,
    /// The experts that a gate chooses.
    pub experts: u64,
}

#[derive(Clone, Copy, Debug)]
struct Launch {
    function: Function,
    blocks: u32,
    threads: (u32, u32),
    /// Accesses of the output, or of one row for kernels that share rows.
    accesses: u32,
    /// Accesses of one row; for a gate, threads that share a row.
    width: u32,
}

/// Bytes of what is read and written, parts of their own, in order: the tensor, beside it, out, experts.
fn sizes(op: &Kernel) -> [u128; 5] {
    let (rows, cols, top_k) = (u128::from(op.rows), u128::from(op.cols), u128::from(op.top_k));
    let size = u128::from(op.dtype.bytes());
    let tensor = rows * cols * size;
    match op.kind {
        KernelKind::Layernorm => [tensor, cols * size, cols * size, tensor, 0],
        KernelKind::GatedActivation => [2 * tensor, 0, 0, tensor, 0],
        KernelKind::Residual => [tensor, tensor, 0, tensor, 0],
        KernelKind::GateTopk => [tensor, 0, 0, rows * top_k * size, rows * top_k * 2],
        KernelKind::Unpermute => [tensor * top_k, rows * top_k * size, 0, tensor, 0],
        KernelKind::Softmax | KernelKind::Activation | KernelKind::Permute | KernelKind::Copy => {
            [tensor, 0, 0, tensor, 0]
        }
    }
}

/// Rows that are gathered.
fn gathers(op: &Kernel) -> u64 {
    match op.kind {
        KernelKind::Permute => op.rows,
        KernelKind::Unpermute => op.rows * op.top_k,
        _ => 0,
    }
}

/// Bytes of all buffers.
pub(super) fn need(op: &Kernel) -> u128 {
    sizes(op).into_iter().sum::<u128>() + 4 * u128::from(op.rows) * u128::from(op.top_k)
}

/// Whether the kernels can run `op`, apart from memory.
pub(super) fn supported(op: &Kernel) -> Result<(), String> {
    if !matches!(op.dtype, Dtype::Bf16 | Dtype::F16 | Dtype::F32) {
        return Err(format!("kernels are measured with bf16, f16 and f32, not {}", op.dtype));
    }
    if op.kind == KernelKind::GateTopk && (op.top_k > op.cols || op.cols > 1024) {
        return Err(format!("top-{} of {} experts; up to 1024 are known", op.top_k, op.cols));
    }
    let accesses = (u128::from(op.rows) * u128::from(op.cols)).div_ceil(elements(op).into());
    if accesses >= 1 << 32 || u128::from(op.rows) * u128::from(op.top_k) >= 1 << 32 {
        return Err("more than a 32-bit index reaches".into());
    }
    Ok(())
}

/// Elements of one access: 16 bytes, or one element where rows are no multiple of 16 bytes.
const fn elements(op: &Kernel) -> u64 {
    let wide = 16 / op.dtype.bytes();
    if op.cols.is_multiple_of(wide) { wide } else { 1 }
}

impl Streaming {
    /// Places `op`'s operands in `copies` copies each, and makes its kernel ready.
    pub fn new(gpu: &Gpu, op: &Kernel, copies: u64, zones: (&mut Zone, &mut Zone)) -> Result<Self, Trouble> {
        let [x, second, third, out, experts] = sizes(op).map(|bytes| bytes as u64);
        let mut optional = |bytes: u64| (bytes > 0).then(|| zones.0.part(bytes, copies));
        let (x, beside) = (optional(x), [optional(second), optional(third)]);
        let x = x.unwrap_or_else(|| zones.0.part(1, 1));
        let out = zones.1.part(out, copies);
        let experts = (experts > 0).then(|| zones.1.part(experts, copies));
        let launch = launch(gpu, op)?;
        Ok(Streaming { op: *op, x, beside, out, experts, gathered: scattered(gathers(op)), launch })
    }

    /// Queues the kernel on the operands of one turn.
    pub fn launch(&self, gpu: &Gpu, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        let input = |part: Part| buffers.inputs.address() + part.at(turn);
        let output = |part: Part| buffers.outputs.address() + part.at(turn);
        self.launch_at(
            gpu,
            &Places {
                x: input(self.x),
                beside: self.beside.map(|part| part.map(input)),
                gathered: buffers.places.address(),
                out: output(self.out),
                experts: self.experts.map_or(0, output),
            },
        )
    }

    /// Queues the kernel on operands at these addresses, each as long as the kernel's own part is.
    pub fn launch_at(&self, gpu: &Gpu, at: &Places) -> Result<(), Trouble> {
        let Some(launch) = self.launch else { return stream::copy(gpu, at.out, at.x, self.x.bytes) };
        let places = Argument::Pointer(at.gathered);
        let mut arguments = vec![Argument::Pointer(at.x)];
        arguments.extend(at.beside.into_iter().flatten().map(Argument::Pointer));
        let (accesses, width) = (Argument::Int(launch.accesses), Argument::Int(launch.width));
        let (rows, top_k) = (Argument::Int(self.op.rows as u32), Argument::Int(self.op.top_k as u32));
        let out = Argument::Pointer(at.out);
        // In the order of each kernel's parameters.
        match self.op.kind {
            KernelKind::Layernorm | KernelKind::Softmax => arguments.extend([out, rows, accesses]),
            KernelKind::Activation | KernelKind::Residual => arguments.extend([out, accesses]),
            KernelKind::GatedActivation => arguments.extend([out, accesses, width]),
            KernelKind::Permute => arguments.extend([places, out, accesses, width]),
            KernelKind::Unpermute => arguments.extend([places, out, accesses, width, top_k]),
            KernelKind::GateTopk => {
                arguments.extend([out, Argument::Pointer(at.experts), rows, accesses, top_k, width]);
            }
            KernelKind::Copy => {}
        }
        launch.function.launch(launch.blocks, launch.threads, &arguments)
    }

    /// Addresses of what is read beside the tensor where it lies in one piece from `at` on.
    pub fn beside_at(&self, at: u64) -> [Option<u64>; 2] {
        let first = self.beside[0].map_or(0, |part| part.bytes);
        [self.beside[0].map(|_| at), self.beside[1].map(|_| at + first)]
    }

    /// Compares some elements of the first copy with binary64; `share` as for products.
    pub fn check(&self, buffers: &Buffers<'_>, share: usize) -> Result<(), Unchecked> {
        let Kernel { kind, rows, cols, top_k, dtype } = self.op;
        let number = |part: Part, element: u64| buffers.pattern.value(part.at(0) / dtype.bytes() + element);
        let beside = |i: usize, element: u64| self.beside[i].map_or(0.0, |part| number(part, element));
        let whole_row = |row: u64| (0..cols).map(|i| number(self.x, row * cols + i)).collect::<Vec<_>>();
        let width = if kind == KernelKind::GateTopk { top_k } else { cols };
        for place in places(CHECKED / share.max(1), rows * width) {
            let (row, col) = (place / width, place % width);
            // The expected value, and the size that rounding on the way to it is relative to.
            let (expected, size) = match kind {
                KernelKind::Layernorm => {
                    let (scale, shift) = (beside(0, col), beside(1, col));
                    let expected = check::layernorm(&whole_row(row), col as usize, scale, shift);
                    (expected, expected.abs() + scale.abs() + shift.abs())
                }
                KernelKind::Softmax => (check::softmax(&whole_row(row), col as usize), 1e-4),
                KernelKind::Activation => (check::gelu(number(self.x, place)), 0.1),
                KernelKind::GatedActivation => {
                    let gate = number(self.x, row * 2 * cols + col);
                    (check::silu(gate) * number(self.x, row * 2 * cols + cols + col), 0.1)
                }
                KernelKind::Residual => (number(self.x, place) + beside(0, place), 0.1),
                KernelKind::GateTopk => {
                    let row_values = whole_row(row);
                    let expert = check::ranked(&row_values, col as usize);
                    let at = self.experts.map_or(0, |part| part.at(0)) + 2 * place;
                    let got = u16::from_le_bytes(buffers.outputs.read::<2>(at)?);
                    let name = || format!("expert {col} of row {row}");
                    compare(name, expert as f64, got.into(), 0.0)?;
                    (check::softmax(&row_values, expert), 1e-4)
                }
                KernelKind::Permute => {
                    let from = self.gathered.get(row as usize).copied().unwrap_or(0);
                    (number(self.x, u64::from(from) * cols + col), -1.0)
                }
                KernelKind::Copy => (number(self.x, place), -1.0),
                KernelKind::Unpermute => {
                    let terms = (row * top_k..(row + 1) * top_k).map(|route| {
                        let from = self.gathered.get(route as usize).copied().unwrap_or(0);
                        beside(0, route) * number(self.x, u64::from(from) * cols + col)
                    });
                    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
                }
            };
            let rounding = 2.0 * roundoff(dtype) * expected.abs();
            let bound = if size < 0.0 { 0.0 } else { rounding + 2e-5 * (expected.abs() + size) + 6e-8 };
            let got = decode(dtype, read(buffers, dtype, self.out.at(0), place)?);
            compare(|| format!("row {row}, column {col}"), expected, got, bound)?;
        }
        Ok(())
    }
}

/// How a kernel is launched; none for a copy.
fn launch(gpu: &Gpu, op: &Kernel) -> Result<Option<Launch>, Trouble> {
    let (module, name) = match op.kind {
        KernelKind::Layernorm => (ROWS, "layernorm"),
        KernelKind::Softmax => (ROWS, "softmax"),
        KernelKind::GateTopk => (GATE, "gate_topk"),
        KernelKind::Copy => return Ok(None),
        kind => (ELEMENTS, kind.name()),
    };
    let each = elements(op);
    let width = (op.cols / each) as u32;
    let all = (op.rows * u64::from(width)) as u32;
    let rows = op.rows as u32;
    let mut odd = each == 1;
    let (blocks, threads, accesses, width) = match op.kind {
        KernelKind::Layernorm | KernelKind::Softmax if width <= 128 => {
            (rows.div_ceil(8), (32, 8), width, width)
        }
        KernelKind::Layernorm | KernelKind::Softmax => {
            (rows, (width.div_ceil(4).next_multiple_of(32).min(1024), 1), width, width)
        }
        KernelKind::GateTopk => {
            // A row is held by 32 threads at most, 1 access each of 16-bit logits and 2 of 32-bit ones.
            odd |= op.cols > 256;
            let accesses = if odd { op.cols as u32 } else { width };
            let sharing = if odd { 32 } else { accesses.next_power_of_two().min(32) };
            ((op.rows * u64::from(sharing)).div_ceil(BLOCK.into()) as u32, (BLOCK, 1), accesses, sharing)
        }
        KernelKind::Unpermute => (all.div_ceil(BLOCK), (BLOCK, 1), all, width),
        _ => (all.div_ceil(4 * BLOCK), (BLOCK, 1), all, width),
    };
    let dtype = op.dtype;
    let name = if odd { format!("{name}_odd_{dtype}") } else { format!("{name}_{dtype}") };
    let function = gpu.function(module, &name)?;
    Ok(Some(Launch { function, blocks, threads, accesses, width }))
}

/// The numbers below `count`, each once, neighbours far apart: as tokens lie that were sent to experts.
fn scattered(count: u64) -> Vec<u32> {
    let divides = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a > 1
    };
    // Near the golden section, steps of which spread evenly.
    let mut step = (count as f64 * 0.618_033_988_749_895) as u64 | 1;
    while divides(step, count) {
        step += 2;
    }
    (0..count).map(|i| (u128::from(i) * u128::from(step) % u128::from(count)) as u32).collect()
}

#[cfg(test)]
mod tests {
    use super::scattered;

    #[test]
    fn each_row_is_gathered_once() {
        for count in [1, 2, 3, 8, 100, 4096, 99_991] {
            let mut rows = scattered(count);
            rows.sort_unstable();
            assert_eq!(rows, (0..count as u32).collect::<Vec<_>>(), "{count}");
        }
        assert!(scattered(0).is_empty());
    }
}
