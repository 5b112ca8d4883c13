//! Kernels by their names, an element at a time; 16-byte accesses are counted as the kernels count them.

use std::ffi::c_void;

use crate::state::{State, What, bits};
use crate::{Code, SUCCESS};

/// A launch: the name without its type, the type's bytes, the elements of an access, and the arguments.
#[derive(Clone)]
pub struct Kernel {
    name: String,
    bytes: u64,
    each: u64,
    arguments: Vec<u64>,
}

/// What each kernel takes: pointers and 64-bit numbers as `l`, 32-bit numbers as `i`.
fn parameters(name: &str) -> &'static str {
    match name {
        "layernorm" => "llllii",
        "softmax" => "llii",
        "activation" => "lli",
        "gated_activation" => "llii",
        "residual" => "llli",
        "permute" => "lllii",
        "unpermute" => "lllliii",
        "gate_topk" => "llliiii",
        "fill_1" | "fill_2" | "fill_4" => "lllli",
        "sweep" => "lil",
        "gate" => "ll",
        _ => panic!("no kernel {name}"),
    }
}

impl Kernel {
    pub unsafe fn read(name: &str, arguments: *const *const c_void) -> Kernel {
        let (whole, bytes) = match name.rsplit_once('_') {
            Some((whole, "bf16")) => (whole, 2),
            Some((whole, "f32")) => (whole, 4),
            _ => (name, 1),
        };
        let (whole, each) = match whole.strip_suffix("_odd") {
            Some(whole) => (whole, 1),
            None => (whole, 16 / bytes),
        };
        let arguments = parameters(whole).chars().enumerate().map(|(i, kind)| {
            let argument = *arguments.add(i);
            if kind == 'l' { *argument.cast::<u64>() } else { u64::from(*argument.cast::<u32>()) }
        });
        Kernel { name: whole.to_owned(), bytes, each, arguments: arguments.collect() }
    }

    /// Elements of the output's rows times columns; for a gate, of its input.
    fn elements(&self) -> u64 {
        let a = &self.arguments;
        self.each
            * match self.name.as_str() {
                "layernorm" => a[4] * a[5],
                "softmax" => a[2] * a[3],
                "activation" | "gated_activation" => a[2],
                "residual" | "permute" => a[3],
                "unpermute" => a[4],
                "gate_topk" => a[3] * a[4],
                _ => 0,
            }
    }

    /// Whether it reads more than the cache holds, so that nothing else is left there.
    pub fn sweeps(&self) -> bool {
        self.name == "sweep" && self.arguments[1] > 0
    }

    pub fn cost(&self) -> f64 {
        match self.elements() {
            0 if self.name == "sweep" && self.arguments[1] == 0 => 2e-6, // nothing but a launch
            0 => 1e-5, // of the harness: outside the events
            elements => 2e-6 + elements as f64 * 1e-12,
        }
    }

    pub fn run(&self, state: &mut State) -> Code {
        let a = self.arguments.clone();
        let what = || What::Kernel(Box::new(self.clone()));
        let (out, elements) = match self.name.as_str() {
            "layernorm" => (a[3], self.elements()),
            "softmax" | "activation" | "gated_activation" => (a[1], self.elements()),
            "residual" | "permute" => (a[2], self.elements()),
            "unpermute" => (a[3], self.elements()),
            "gate_topk" => {
                state.write_now(a[2], a[3] * a[5] * 2, what());
                (a[1], a[3] * a[5])
            }
            "fill_1" | "fill_2" | "fill_4" => {
                let size: u64 = self.name[5..].parse().unwrap();
                return state.write_now(a[1] + a[2] * size, a[3] * size, what());
            }
            _ => return SUCCESS,
        };
        state.write_now(out, elements * self.bytes, what())
    }

    /// The bits of the element at `start`, which is `offset` bytes behind where the write began.
    pub fn element(&self, state: &State, start: u64, offset: u64) -> Vec<u8> {
        let a = &self.arguments;
        let place = offset / self.bytes;
        let x = |at: u64, element: u64| state.number_at(at, self.bytes, element);
        let index = |at: u64, element: u64| {
            let data = state.read(at + 4 * element, 4);
            u64::from(u32::from_le_bytes([data[0], data[1], data[2], data[3]]))
        };
        let row_of = |at: u64, row: u64, cols: u64| -> Vec<f64> {
            (0..cols).map(|i| x(at, row * cols + i)).collect()
        };
        let value = match self.name.as_str() {
            "layernorm" => {
                let cols = a[5] * self.each;
                let (row, col) = (row_of(a[0], place / cols, cols), place % cols);
                let mean = row.iter().sum::<f64>() / cols as f64;
                let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / cols as f64;
                (row[col as usize] - mean) / (variance + 1e-5).sqrt() * x(a[1], col) + x(a[2], col)
            }
            "softmax" => {
                let cols = a[3] * self.each;
                let row = row_of(a[0], place / cols, cols);
                row[(place % cols) as usize].exp() / row.iter().map(|x| x.exp()).sum::<f64>()
            }
            "activation" => {
                let x = x(a[0], place);
                x / (1.0 + (-1.595_769_121_605_731 * (x + 0.044_715 * x * x * x)).exp())
            }
            "gated_activation" => {
                let cols = a[3] * self.each;
                let gate = x(a[0], place + place / cols * cols);
                gate / (1.0 + (-gate).exp()) * x(a[0], place + (place / cols + 1) * cols)
            }
            "residual" => x(a[0], place) + x(a[1], place),
            "permute" => {
                let cols = a[4] * self.each;
                x(a[0], index(a[1], place / cols) * cols + place % cols)
            }
            "unpermute" => {
                let (cols, top_k) = (a[5] * self.each, a[6]);
                let routes = place / cols * top_k..(place / cols + 1) * top_k;
                routes.map(|i| x(a[1], i) * x(a[0], index(a[2], i) * cols + place % cols)).sum()
            }
            "gate_topk" => return self.gate(state, start),
            _ => return self.pattern(state, start),
        };
        bits(value, self.bytes)
    }

    /// A weight, or an expert.
    fn gate(&self, state: &State, start: u64) -> Vec<u8> {
        let a = &self.arguments;
        let (cols, top_k) = (a[4] * self.each, a[5]);
        let is_expert = start >= a[2] && start < a[2] + a[3] * top_k * 2;
        let place = if is_expert { (start - a[2]) / 2 } else { (start - a[1]) / self.bytes };
        let row: Vec<f64> =
            (0..cols).map(|i| state.number_at(a[0], self.bytes, place / top_k * cols + i)).collect();
        let mut order: Vec<usize> = (0..row.len()).collect();
        order.sort_by(|i, j| row[*j].total_cmp(&row[*i]));
        let expert = order[(place % top_k) as usize];
        if is_expert {
            return (expert as u16).to_le_bytes().to_vec();
        }
        bits(row[expert].exp() / row.iter().map(|x| x.exp()).sum::<f64>(), self.bytes)
    }

    /// Of a fill: where its block lies, the element of `start`, and the block's length.
    pub fn fill(&self, start: u64) -> Option<(u64, u64, u64)> {
        let size = self.filled()?;
        Some((self.arguments[0], (start - self.arguments[1]) / size, self.arguments[4]))
    }

    /// Of a fill: bytes of an element.
    pub fn filled(&self) -> Option<u64> {
        self.name.strip_prefix("fill_")?.parse().ok()
    }

    /// What a fill wrote: the block again and again.
    fn pattern(&self, state: &State, start: u64) -> Vec<u8> {
        let a = &self.arguments;
        let size: u64 = self.name[5..].parse().unwrap();
        let element = (start - a[1]) / size;
        state.read(a[0] + element % a[4] * size, size)
    }
}
