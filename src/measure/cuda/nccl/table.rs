//! The functions of NCCL that are called, from whichever library is there.
//!
//! A table of our own: `cudarc` looks for no `libnccl.so.2`, the name in every package, drops error codes, and
//! panics over what is missing.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use cudarc::driver::sys::CUstream;
use libloading::Library;

use crate::measure::cuda::wheels;

/// Names under which NCCL is looked for, in the order of trial.
const NAMES: [&str; 2] = ["libnccl.so.2", "libnccl.so"];

/// A communicator; the address of something of NCCL's.
pub(super) type Handle = *mut c_void;

/// What `ncclGetUniqueId` writes.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct UniqueId(pub [u8; 128]);

/// `ncclResult_t`.
pub(super) type Code = c_int;

/// `ncclSuccess`.
pub(super) const SUCCESS: Code = 0;

/// `ncclInProgress`.
pub(super) const IN_PROGRESS: Code = 7;

/// `NCCL_SPLIT_NOCOLOR`.
pub(super) const NO_COLOR: c_int = -1;

/// `ncclSum`.
pub(super) const SUM: c_int = 0;

/// Members of `ncclDataType_t`.
pub(super) mod dtype {
    use std::ffi::c_int;

    pub const U64: c_int = 5;
    pub const F16: c_int = 6;
    pub const F32: c_int = 7;
    pub const F64: c_int = 8;
    pub const BF16: c_int = 9;
}

macro_rules! functions {
    ($($field:ident: $symbol:literal, fn($($argument:ty),*) -> $result:ty;)*) => {
        /// The functions.
        pub(super) struct Functions {
            $(pub $field: unsafe extern "C" fn($($argument),*) -> $result,)*
        }

        fn bind(library: &'static Library, name: &'static str) -> Result<Functions, String> {
            Ok(Functions {
                $($field: {
                    // SAFETY: the function has this signature in every NCCL that has it (nccl.h, 2.18 to 2.30),
                    // and the library is never unloaded.
                    #[allow(unsafe_code)]
                    let symbol = unsafe { library.get(concat!($symbol, "\0").as_bytes()) };
                    *symbol.map_err(|_| format!("{name} has no {}: it is too old", $symbol))?
                },)*
            })
        }
    };
}

functions! {
    version: "ncclGetVersion", fn(*mut c_int) -> Code;
    unique_id: "ncclGetUniqueId", fn(*mut UniqueId) -> Code;
    init: "ncclCommInitRank", fn(*mut Handle, c_int, UniqueId, c_int) -> Code;
    split: "ncclCommSplit", fn(Handle, c_int, c_int, *mut Handle, *mut c_void) -> Code;
    abort: "ncclCommAbort", fn(Handle) -> Code;
    async_error: "ncclCommGetAsyncError", fn(Handle, *mut Code) -> Code;
    error_text: "ncclGetErrorString", fn(Code) -> *const c_char;
    last_error: "ncclGetLastError", fn(Handle) -> *const c_char;
    all_reduce: "ncclAllReduce", fn(u64, u64, usize, c_int, c_int, Handle, CUstream) -> Code;
    all_gather: "ncclAllGather", fn(u64, u64, usize, c_int, Handle, CUstream) -> Code;
    reduce_scatter: "ncclReduceScatter", fn(u64, u64, usize, c_int, c_int, Handle, CUstream) -> Code;
    broadcast: "ncclBroadcast", fn(u64, u64, usize, c_int, c_int, Handle, CUstream) -> Code;
    send: "ncclSend", fn(u64, usize, c_int, c_int, Handle, CUstream) -> Code;
    receive: "ncclRecv", fn(u64, usize, c_int, c_int, Handle, CUstream) -> Code;
    group_start: "ncclGroupStart", fn() -> Code;
    group_end: "ncclGroupEnd", fn() -> Code;
}

impl Functions {
    /// `2.27.3`.
    pub fn version(&self) -> String {
        let mut number = 0;
        // SAFETY: the pointer is to a variable of ours of the type that is written.
        #[allow(unsafe_code)]
        let code = unsafe { (self.version)(&raw mut number) };
        match code {
            SUCCESS => format!("{}.{}.{}", number / 10_000, number / 100 % 100, number % 100),
            _ => "of no version that it tells".to_owned(),
        }
    }

    /// What an error means, and what NCCL said last.
    pub fn explain(&self, call: &str, code: Code) -> String {
        let words = |text: *const c_char| match text.is_null() {
            true => String::new(),
            // SAFETY: not null; NCCL's strings end with 0 and live as long as the library.
            #[allow(unsafe_code)]
            false => unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned(),
        };
        // SAFETY: the communicator of the second is not used by NCCL, and may be null.
        #[allow(unsafe_code)]
        let texts = unsafe { [(self.error_text)(code), (self.last_error)(std::ptr::null_mut())] };
        let [text, last] = texts.map(words);
        let last = if last.is_empty() { last } else { format!(": {last}") };
        format!("{call} returned {code} ({text}){last}")
    }
}

/// Looks for NCCL, once for the process.
///
/// # Errors
/// When there is none, or it lacks a function.
pub(super) fn find() -> Result<&'static Functions, String> {
    static FOUND: OnceLock<Result<Functions, String>> = OnceLock::new();
    let found = FOUND.get_or_init(|| {
        let open = |name: &'static str| {
            // SAFETY: loading NCCL runs its initialisers, which are made to be run by any program that loads it.
            #[allow(unsafe_code)]
            let library = unsafe { Library::new(name) };
            library.ok().map(|library| (&*Box::leak(Box::new(library)), name))
        };
        let in_package = || wheels::load(NAMES[0]).map(|library| (&*Box::leak(Box::new(library)), NAMES[0]));
        match NAMES.into_iter().find_map(open).or_else(in_package) {
            Some((library, name)) => bind(library, name),
            None => Err("libnccl.so.2 was not found, nor in a package of python3".to_owned()),
        }
    });
    found.as_ref().map_err(Clone::clone)
}
