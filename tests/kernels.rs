//! The committed PTX is what the committed sources give, wherever NVRTC of the same version can be loaded.
//!
//! The library is `libnvrtc.so.13` of CUDA 13.0, by its name or as the path in `NVRTC`. With `NVRTC_WRITE=1` the
//! PTX is written instead of compared.
#![allow(unsafe_code)] // a C library is called

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr::null_mut;

use libloading::Library;

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type Compile = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Text = unsafe extern "C" fn(Program, *mut c_char) -> c_int;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels")
}

/// The version whose PTX is committed.
const VERSION: (c_int, c_int) = (13, 0);

fn nvrtc() -> Result<Library, String> {
    let name = std::env::var_os("NVRTC").unwrap_or("libnvrtc.so.13".into());
    // SAFETY: NVRTC's initialisers are made to be run by any program that loads it.
    let library = unsafe { Library::new(&name) }.map_err(|error| error.to_string())?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the signature is that of nvrtc.h, the pointers are to variables of ours.
    let status = unsafe {
        let version = library
            .get::<unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int>(b"nvrtcVersion")
            .map_err(|error| error.to_string())?;
        version(&raw mut major, &raw mut minor)
    };
    match (status, (major, minor)) {
        (0, VERSION) => Ok(library),
        _ => Err(format!("it is version {major}.{minor}, the PTX is of {}.{}", VERSION.0, VERSION.1)),
    }
}

fn text(library: &Library, program: Program, size: &[u8], get: &[u8]) -> String {
    let mut length = 0;
    // SAFETY: the signatures are those of nvrtc.h; the buffer is as long as the library asked for.
    unsafe {
        assert_eq!(library.get::<Size>(size).unwrap()(program, &raw mut length), 0);
        let mut buffer: Vec<c_char> = vec![0; length + 1];
        assert_eq!(library.get::<Text>(get).unwrap()(program, buffer.as_mut_ptr()), 0);
        CStr::from_ptr(buffer.as_ptr()).to_str().unwrap().to_owned()
    }
}

fn compile(library: &Library, source: &Path) -> String {
    let read = |path: &Path| CString::new(fs::read_to_string(path).unwrap()).unwrap();
    let (code, header) = (read(source), read(&folder().join("element.cuh")));
    let name = CString::new(source.file_name().unwrap().to_str().unwrap()).unwrap();
    let options = [c"--gpu-architecture=compute_80".as_ptr(), c"--std=c++17".as_ptr()];
    let (headers, names) = ([header.as_ptr()], [c"element.cuh".as_ptr()]);
    let mut program = null_mut();
    // SAFETY: the signatures are those of nvrtc.h; all texts end with 0 and outlive the calls.
    let status = unsafe {
        let create = library.get::<Create>(b"nvrtcCreateProgram").unwrap();
        let (headers, names) = (headers.as_ptr(), names.as_ptr());
        assert_eq!(create(&raw mut program, code.as_ptr(), name.as_ptr(), 1, headers, names), 0);
        library.get::<Compile>(b"nvrtcCompileProgram").unwrap()(program, 2, options.as_ptr())
    };
    let log = text(library, program, b"nvrtcGetProgramLogSize", b"nvrtcGetProgramLog");
    assert_eq!((status, log.trim()), (0, ""), "{}", source.display());
    text(library, program, b"nvrtcGetPTXSize", b"nvrtcGetPTX")
}

#[test]
fn the_ptx_is_what_the_sources_give() {
    let library = match nvrtc() {
        Ok(library) => library,
        Err(reason) => return eprintln!("skipped: NVRTC cannot be used: {reason}"),
    };
    let write = std::env::var_os("NVRTC_WRITE").is_some();
    let mut seen = 0;
    for entry in fs::read_dir(folder()).unwrap() {
        let source = entry.unwrap().path();
        if source.extension().is_none_or(|ending| ending != "cu") {
            continue;
        }
        let (ptx, committed) = (compile(&library, &source), source.with_extension("ptx"));
        if write {
            fs::write(&committed, &ptx).unwrap();
        }
        assert!(fs::read_to_string(&committed).unwrap() == ptx, "{}: compile anew", committed.display());
        seen += 1;
    }
    assert_eq!(seen, 4);
}
