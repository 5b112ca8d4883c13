//! cuBLASLt: column-major products of bf16 or binary32, an element at a time.

use std::ffi::{c_int, c_void};

use crate::state::{State, bits, with};
#[cfg(not(no_matmul))]
use crate::state::What;

#[derive(Clone, Copy, Default)]
pub struct Layout {
    bytes: u64,
    rows: u64,
    cols: u64,
    batch: u64,
    stride: u64,
}

/// C = A·B.
pub struct Product {
    a: (u64, Layout),
    b: (u64, Layout),
    c: (u64, Layout),
}

impl Product {
    pub fn element(&self, state: &State, _: u64, offset: u64) -> Vec<u8> {
        let (a, b, c) = (self.a.1, self.b.1, self.c.1);
        let element = offset / c.bytes;
        let (batch, within) = (element / (c.rows * c.cols), element % (c.rows * c.cols));
        let (row, col) = (within % c.rows, within / c.rows);
        let mut sum = 0.0;
        for i in 0..a.cols {
            let left = state.number_at(self.a.0, a.bytes, batch * a.stride + i * a.rows + row);
            let right = state.number_at(self.b.0, b.bytes, batch * b.stride + col * b.rows + i);
            sum += left * right;
        }
        bits(sum, c.bytes)
    }
}

type Status = c_int;
const NOT_SUPPORTED: Status = 15;

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtCreate(out: *mut usize) -> Status {
    *out = 1;
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtGetVersion() -> usize {
    130_100
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulDescCreate(out: *mut usize, _: c_int, _: c_int) -> Status {
    *out = 1;
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescSetAttribute(_: usize, _: c_int, _: usize, _: usize) -> Status {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulDescDestroy(_: usize) -> Status {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutCreate(
    out: *mut *mut Layout,
    kind: c_int,
    rows: u64,
    cols: u64,
    leading: i64,
) -> Status {
    assert_eq!(leading as u64, rows);
    let bytes = match kind {
        14 => 2,
        0 => 4,
        _ => return NOT_SUPPORTED,
    };
    *out = Box::into_raw(Box::new(Layout { bytes, rows, cols, batch: 1, stride: 0 }));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutSetAttribute(
    layout: *mut Layout,
    attribute: c_int,
    value: *const c_void,
    size: usize,
) -> Status {
    match (attribute, size) {
        (5, 4) => (*layout).batch = *value.cast::<i32>() as u64,
        (6, 8) => (*layout).stride = *value.cast::<i64>() as u64,
        _ => return 7,
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatrixLayoutDestroy(layout: *mut Layout) -> Status {
    drop(Box::from_raw(layout));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceCreate(out: *mut usize) -> Status {
    *out = 1;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulPreferenceSetAttribute(
    _: usize,
    attribute: c_int,
    value: *const usize,
    size: usize,
) -> Status {
    assert_eq!((attribute, size, *value), (1, 8, 32 << 20));
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cublasLtMatmulPreferenceDestroy(_: usize) -> Status {
    0
}

#[repr(C)]
pub struct Found {
    algorithm: [u64; 8],
    workspace: usize,
    state: Status,
    waves: f32,
    reserved: [c_int; 4],
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoGetHeuristic(
    _: usize,
    _: usize,
    _: usize,
    _: usize,
    _: usize,
    d: *const Layout,
    _: usize,
    count: c_int,
    found: *mut Found,
    number: *mut c_int,
) -> Status {
    // Of a batch only, so that burning in works.
    if with(|state| state.has("no_algorithm")) && (*d).batch > 1 {
        return NOT_SUPPORTED;
    }
    for i in 0..count {
        // The second of several is the fastest.
        let slowness = [2, 1][usize::from(i == 1 || count == 1)];
        let algorithm = [slowness, 0, 0, 0, 0, 0, 0, 0];
        *found.add(i as usize) =
            Found { algorithm, workspace: 0, state: 0, waves: 0.5, reserved: [0; 4] };
    }
    *number = count;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmulAlgoConfigGetAttribute(
    algorithm: *const [u64; 8],
    attribute: c_int,
    out: *mut u32,
    size: usize,
    written: *mut usize,
) -> Status {
    assert_eq!(size, 4);
    *out = if attribute == 0 { (*algorithm)[0] as u32 } else { 10 + attribute as u32 };
    *written = 4;
    0
}

#[cfg(not(no_matmul))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cublasLtMatmul(
    _: usize,
    _: usize,
    alpha: *const f32,
    a: u64,
    a_layout: *const Layout,
    b: u64,
    b_layout: *const Layout,
    beta: *const f32,
    c: u64,
    c_layout: *const Layout,
    d: u64,
    _: *const Layout,
    algorithm: *const [u64; 8],
    _: u64,
    _: usize,
    stream: usize,
) -> Status {
    assert!(*alpha == 1.0 && *beta == 0.0 && c == d);
    let (of_a, of_b, of_c) = (*a_layout, *b_layout, *c_layout);
    assert_eq!((of_a.rows, of_a.cols, of_b.cols), (of_c.rows, of_b.rows, of_c.cols));
    let flops = 2 * of_c.batch * of_c.rows * of_c.cols * of_a.cols;
    let cost = 2e-6 + flops as f64 / 500e12 * (*algorithm)[0] as f64;
    let bytes = of_c.batch * of_c.rows * of_c.cols * of_c.bytes;
    let product = Product { a: (a, of_a), b: (b, of_b), c: (c, of_c) };
    let code = with(move |state| {
        if state.broken != 0 {
            return state.broken;
        }
        state.launch_on(stream, cost, move |state| state.write_now(c, bytes, What::Product(Box::new(product))))
    });
    if code == 0 { 0 } else { 13 }
}
