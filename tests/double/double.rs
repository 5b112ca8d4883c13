//! A driver, cuBLASLt, cuDNN and management library in one, with a virtual clock and a known law of times: what the
//! programs of this project call of them, and nothing else.
//!
//! Tests build it with rustc as a C library and put it in the loader's way under the real names. Memory holds no
//! bytes: it remembers what was written last, and computes the elements that are read. So the results are right,
//! and a device of 140 GB costs nothing. `GETTIME_DOUBLE` holds the faults, separated by blanks; `--cfg
//! no_elapsed_v2` and `--cfg no_matmul` leave functions out.
#![allow(non_snake_case, clippy::missing_safety_doc, unsafe_op_in_unsafe_fn)]

mod attention;
mod elements;
mod exchange;
mod hub;
mod log;
mod management;
mod nccl;
mod products;
mod state;

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use elements::Kernel;
use state::{Node, State, What, with};

pub type Code = c_int;
const SUCCESS: Code = 0;
const INVALID: Code = 1;
const OUT_OF_MEMORY: Code = 2;
const NOT_FOUND: Code = 500;
const NOT_READY: Code = 600;
const ILLEGAL_ADDRESS: Code = 700;
const LAUNCH_FAILED: Code = 719;
const CAPTURE_UNSUPPORTED: Code = 900;

/// Runs a call, unless the device broke before.
fn call(f: impl FnOnce(&mut State) -> Code) -> Code {
    with(|state| if state.broken != 0 { state.broken } else { f(state) })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuInit(_: c_uint) -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(out: *mut c_int) -> Code {
    *out = with(|state| state.number("driver").unwrap_or(13_000)) as c_int;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(code: Code, out: *mut *const c_char) -> Code {
    *out = match code {
        OUT_OF_MEMORY => c"out of memory",
        ILLEGAL_ADDRESS => c"an illegal memory access was encountered",
        LAUNCH_FAILED => c"unspecified launch failure",
        _ => c"an error of the double",
    }
    .as_ptr();
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(out: *mut c_int, ordinal: c_int) -> Code {
    *out = ordinal;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(out: *mut c_int) -> Code {
    *out = with(|state| state.number("gpus").unwrap_or(1)) as c_int;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(out: *mut c_char, length: c_int, _: c_int) -> Code {
    let name = c"Test Double".to_bytes_with_nul();
    assert!(name.len() <= length as usize);
    std::ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(out: *mut c_int, attribute: c_int, _: c_int) -> Code {
    *out = match attribute {
        13 => 1_980_000,
        16 => 132,
        36 => 10_000_000, // beyond any memory: the law knows no bytes
        37 => 8192,
        38 => 50 << 20,
        75 => 9,
        76 => 0,
        _ => return INVALID,
    };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(out: *mut [u8; 16], _: c_int) -> Code {
    *out = [7; 16];
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(out: *mut usize, _: c_int) -> Code {
    *out = state::MEMORY as usize;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(out: *mut usize, device: c_int) -> Code {
    *out = device as usize + 1;
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSetCurrent(context: usize) -> Code {
    with(|state| state.device = context - 1);
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(out: *mut usize) -> Code {
    *out = with(|state| state.device) + 1;
    SUCCESS
}

/// Links between the halves of a node are worse than those within, where the fault `half` says how many make one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetP2PAttribute(
    out: *mut c_int,
    attribute: c_int,
    from: c_int,
    to: c_int,
) -> Code {
    assert!(from != to);
    let half = with(|state| state.number("half").unwrap_or(u64::MAX));
    *out = match attribute {
        1 => c_int::from(from as u64 / half != to as u64 / half),
        2 => 1,
        _ => return INVALID,
    };
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceCanAccessPeer(out: *mut c_int, first: c_int, second: c_int) -> Code {
    assert!(first != second);
    *out = with(|state| c_int::from(!state.has("apart")));
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuCtxEnablePeerAccess(_: usize, _: c_uint) -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    call(|state| {
        (*free, *total) = (state.free() as usize, state::MEMORY as usize);
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(out: *mut u64, bytes: usize) -> Code {
    call(|state| match state.allocate(bytes as u64) {
        Some(address) => {
            *out = address;
            SUCCESS
        }
        None => OUT_OF_MEMORY,
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Code {
    call(|state| if state.release(address) { SUCCESS } else { INVALID })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, _: usize) -> Code {
    let data = std::slice::from_raw_parts(from, bytes).to_vec();
    call(|state| match &mut state.captured {
        Some(nodes) => {
            nodes.push(Node::Cost(host_copy(bytes)));
            SUCCESS
        }
        None => state.submit(host_copy(bytes), move |state| state.write_now(to, bytes as u64, What::Bytes(data))),
    })
}

/// To the host 10 µs and 50 GB/s, and from it the same.
fn host_copy(bytes: usize) -> f64 {
    1e-5 + bytes as f64 * 2e-11
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, _: usize) -> Code {
    let to = to as usize;
    let fetch = move |state: &mut State| {
        let data = state.plain(from, bytes as u64);
        std::ptr::copy_nonoverlapping(data.as_ptr(), to as *mut u8, bytes);
        SUCCESS
    };
    call(|state| state.launch(host_copy(bytes), fetch))
}

/// Between devices 5 µs and 400 GB/s.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyPeerAsync(to: u64, _: usize, from: u64, _: usize, bytes: usize, _: usize) -> Code {
    let cost = 5e-6 + bytes as f64 * 2.5e-12;
    let copy = move |state: &mut State| match state.has("nothing_arrives") {
        true => SUCCESS,
        false => state.write_now(to, bytes as u64, What::Copy(from)),
    };
    call(|state| state.launch(cost, copy))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut u8, from: u64, bytes: usize) -> Code {
    call(|state| {
        assert!(state.queue.is_empty(), "read before the stream was waited for");
        let data = state.read(from, bytes as u64);
        std::ptr::copy_nonoverlapping(data.as_ptr(), to, bytes);
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, _: usize) -> Code {
    let cost = 2e-6 + bytes as f64 * 0.5e-12;
    call(|state| state.launch(cost, move |state| state.write_now(to, bytes as u64, What::Copy(from))))
}

#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8Async(to: u64, value: u8, bytes: usize, _: usize) -> Code {
    call(|state| state.write(to, bytes as u64, What::Set(value)))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(out: *mut *mut c_void, bytes: usize, _: c_uint) -> Code {
    *out = calloc(bytes.div_ceil(8), 8);
    SUCCESS
}

/// Really frees, so that an address sanitizer sees who forgets it, and who comes back to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemFreeHost(host: *mut c_void) -> Code {
    free(host);
    SUCCESS
}

unsafe extern "C" {
    fn calloc(count: usize, size: usize) -> *mut c_void;
    fn free(start: *mut c_void);
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostGetDevicePointer_v2(out: *mut u64, host: *mut c_void, _: c_uint) -> Code {
    *out = host as u64;
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(out: *mut *mut String, image: *const c_char) -> Code {
    *out = Box::leak(Box::new(CStr::from_ptr(image).to_str().unwrap().to_owned()));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    out: *mut *mut String,
    module: *const String,
    name: *const c_char,
) -> Code {
    let name = CStr::from_ptr(name).to_str().unwrap();
    if !(*module).contains(&format!(".entry {name}(")) {
        return NOT_FOUND;
    }
    *out = Box::leak(Box::new(name.to_owned()));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: *const String,
    blocks: c_uint,
    _: c_uint,
    _: c_uint,
    threads: c_uint,
    rows: c_uint,
    _: c_uint,
    _: c_uint,
    stream: usize,
    arguments: *const *const c_void,
    _: usize,
) -> Code {
    assert!(blocks > 0 && threads * rows <= 1024, "{blocks} blocks of {threads}×{rows} threads");
    let kernel = Kernel::read(&*function, arguments);
    call(|state| match &mut state.captured {
        Some(nodes) if kernel.sweeps() => {
            nodes.push(Node::Sweep(kernel.cost()));
            SUCCESS
        }
        _ => state.launch_on(stream, kernel.cost(), move |state| kernel.run(state)),
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(out: *mut usize, _: c_uint) -> Code {
    with(|state| {
        state.streams += 1;
        *out = state.streams;
    });
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(stream: usize, _: usize, _: c_uint) -> Code {
    assert_eq!(stream, 2); // it begins at the same moment as the first
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(_: usize, _: c_int) -> Code {
    call(|state| {
        if state.has("no_capture") {
            return CAPTURE_UNSUPPORTED;
        }
        assert!(state.captured.is_none(), "a capture is under way");
        state.captured = Some(Vec::new());
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(_: usize, out: *mut *mut Vec<Node>) -> Code {
    call(|state| {
        *out = Box::into_raw(Box::new(state.captured.take().expect("no capture is under way")));
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    out: *mut *mut Vec<Node>,
    graph: *const Vec<Node>,
    _: u64,
) -> Code {
    *out = Box::into_raw(Box::new((*graph).clone()));
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn cuGraphUpload(_: usize, _: usize) -> Code {
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphLaunch(graph: *const Vec<Node>, _: usize) -> Code {
    call(|state| state.replay(&*graph))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphExecDestroy(graph: *mut Vec<Node>) -> Code {
    drop(Box::from_raw(graph));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphDestroy(graph: *mut Vec<Node>) -> Code {
    drop(Box::from_raw(graph));
    SUCCESS
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(out: *mut usize, flags: c_uint) -> Code {
    assert_eq!(flags, 0, "the event would keep no time");
    call(|state| {
        state.events.push(0.0);
        *out = state.events.len();
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: usize, stream: usize) -> Code {
    call(|state| {
        if stream == 2 {
            state.events[event - 1] = state.beside.max(state.now);
            return SUCCESS;
        }
        assert!(state.captured.is_none(), "an event in a graph has to be an external one");
        state.queue.push_back(state::Item::Record(event));
        if state.queue.len() == 1 {
            state.pump();
        }
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecordWithFlags(event: usize, _: usize, flags: c_uint) -> Code {
    assert_eq!(flags, 1);
    call(|state| {
        state.captured.as_mut().expect("no capture is under way").push(Node::Record(event));
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventQuery(event: usize) -> Code {
    call(|state| {
        if state.endless || !state.pump() {
            return NOT_READY;
        }
        // who waits for the second stream is there when it is done
        state.now = state.now.max(state.events[event - 1]);
        if state.dying {
            state.broken = ILLEGAL_ADDRESS;
        }
        state.broken
    })
}

unsafe fn elapsed(out: *mut f32, start: usize, end: usize) -> Code {
    call(|state| {
        *out = ((state.events[end - 1] - state.events[start - 1]) * 1e3) as f32;
        SUCCESS
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime(out: *mut f32, start: usize, end: usize) -> Code {
    elapsed(out, start, end)
}

#[cfg(not(no_elapsed_v2))]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventElapsedTime_v2(out: *mut f32, start: usize, end: usize) -> Code {
    elapsed(out, start, end)
}

#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(_: usize) -> Code {
    SUCCESS
}
