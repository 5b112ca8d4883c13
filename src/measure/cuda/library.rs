//! Which of the libraries are there, and whether they have every function that is called.
//!
//! Loading is asked about here once: a function that is missing later would be a panic inside `cudarc`.

use cudarc::cublaslt;
use cudarc::driver::sys;

use super::trouble::{Trouble, driver};

use super::wheels;

/// Why no GPU can be measured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// No driver.
    #[error("libcuda.so.1 was not found")]
    Driver,
    /// No cuBLASLt.
    #[error(
        "libcublasLt.so.13 and .12 were not found, nor in a package of python3; add the folder that holds one to LD_LIBRARY_PATH"
    )]
    BlasLt,
    /// A library too old, or not what its name says.
    #[error("{library} has no {symbol}: it is too old, or not the library that its name says")]
    Symbol {
        /// The library.
        library: &'static str,
        /// The function that it lacks.
        symbol: &'static str,
    },
}

/// Functions of the driver that are called, those of which there are two names left out.
const DRIVER: [&str; 38] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorString",
    "cuDeviceGet",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDeviceGetAttribute",
    "cuDeviceGetUuid_v2",
    "cuDeviceTotalMem_v2",
    "cuDevicePrimaryCtxRetain",
    "cuCtxSetCurrent",
    "cuMemGetInfo_v2",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoH_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemsetD8Async",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemHostGetDevicePointer_v2",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuLaunchKernel",
    "cuStreamCreate",
    "cuStreamBeginCapture_v2",
    "cuStreamEndCapture",
    "cuGraphInstantiateWithFlags",
    "cuGraphUpload",
    "cuGraphLaunch",
    "cuGraphExecDestroy",
    "cuGraphDestroy",
    "cuEventCreate",
    "cuEventRecord",
    "cuEventRecordWithFlags",
    "cuEventQuery",
    "cuEventDestroy_v2",
];

/// Functions of cuBLASLt that are called.
const BLAS_LT: [&str; 14] = [
    "cublasLtCreate",
    "cublasLtGetVersion",
    "cublasLtMatmul",
    "cublasLtMatmulDescCreate",
    "cublasLtMatmulDescSetAttribute",
    "cublasLtMatmulDescDestroy",
    "cublasLtMatrixLayoutCreate",
    "cublasLtMatrixLayoutSetAttribute",
    "cublasLtMatrixLayoutDestroy",
    "cublasLtMatmulPreferenceCreate",
    "cublasLtMatmulPreferenceSetAttribute",
    "cublasLtMatmulPreferenceDestroy",
    "cublasLtMatmulAlgoGetHeuristic",
    "cublasLtMatmulAlgoConfigGetAttribute",
];

/// Its names in packages.
const IN_PACKAGES: [&str; 2] = ["libcublasLt.so.13", "libcublasLt.so.12"];

/// Milliseconds between two events.
type Elapsed = unsafe extern "C" fn(*mut f32, sys::CUevent, sys::CUevent) -> sys::CUresult;

/// What differs between versions of the libraries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Library {
    /// `cuEventElapsedTime_v2`, which drivers since 12.8 have, or the one without a number.
    pub elapsed: Elapsed,
}

/// Whether the driver has a function.
pub(super) fn driver_has(symbol: &str) -> bool {
    // SAFETY: the library is there, as `find` asks first; the address is looked up and never called.
    #[allow(unsafe_code)]
    unsafe {
        sys::culib().get::<unsafe extern "C" fn()>(symbol.as_bytes()).is_ok()
    }
}

/// The driver's function of that name, both of which take the same.
fn elapsed(symbol: &str) -> Option<Elapsed> {
    // SAFETY: the library is there and never unloaded; both functions have this signature.
    #[allow(unsafe_code)]
    unsafe {
        sys::culib().get::<Elapsed>(symbol.as_bytes()).ok().map(|function| *function)
    }
}

/// Whether cuBLASLt has a function.
fn blas_lt_has(symbol: &str) -> bool {
    // SAFETY: as in `driver_has`.
    #[allow(unsafe_code)]
    unsafe {
        cublaslt::sys::culib().get::<unsafe extern "C" fn()>(symbol.as_bytes()).is_ok()
    }
}

/// Whether the loader knows cuBLASLt by one of its names.
fn blas_lt_is_there() -> bool {
    // SAFETY: loading it runs its initialisers, as those of the driver in `find`.
    #[allow(unsafe_code)]
    unsafe {
        cublaslt::sys::is_culib_present()
    }
}

/// Looks for the driver and cuBLASLt where the system's loader looks for libraries, and for cuBLASLt among the
/// packages of a Python then.
///
/// # Errors
/// What is missing.
pub(super) fn find() -> Result<Library, Missing> {
    // SAFETY: loading NVIDIA's driver library runs its initialisers, which are made to be run by any program
    // that loads it; nothing is called in it.
    #[allow(unsafe_code)]
    let there = unsafe { sys::is_culib_present() };
    if !there {
        return Err(Missing::Driver);
    }
    let lacks = |library, symbol| Err(Missing::Symbol { library, symbol });
    if let Some(symbol) = DRIVER.into_iter().find(|symbol| !driver_has(symbol)) {
        return lacks("libcuda.so.1", symbol);
    }
    let Some(elapsed) = ["cuEventElapsedTime_v2", "cuEventElapsedTime"].into_iter().find_map(elapsed) else {
        return lacks("libcuda.so.1", "cuEventElapsedTime");
    };
    if !blas_lt_is_there() {
        // Known by its name from then on, and never unloaded.
        for library in IN_PACKAGES.into_iter().filter_map(wheels::load).take(1) {
            std::mem::forget(library);
        }
        if !blas_lt_is_there() {
            return Err(Missing::BlasLt);
        }
    }
    if let Some(symbol) = BLAS_LT.into_iter().find(|symbol| !blas_lt_has(symbol)) {
        return lacks("libcublasLt", symbol);
    }
    Ok(Library { elapsed })
}

/// How many devices can be seen.
pub(super) fn devices() -> Result<u64, Trouble> {
    let mut count = 0;
    // SAFETY: the pointer is to a variable of ours of the type that is written.
    #[allow(unsafe_code)]
    unsafe {
        driver("cuInit", sys::cuInit(0))?;
        driver("cuDeviceGetCount", sys::cuDeviceGetCount(&raw mut count))?;
    }
    Ok(u64::try_from(count).unwrap_or(0))
}
