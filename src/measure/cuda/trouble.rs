//! What goes wrong on a GPU, and whether anything can be measured after it.

use std::ffi::{CStr, c_char};
use std::fmt;
use std::time::Duration;

use cudarc::cublaslt::sys::cublasStatus_t;
use cudarc::driver::sys::{self, CUresult};

use crate::measure::MeasureError;
use crate::op::Op;

/// Why something did not run.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Trouble {
    /// A call to the driver.
    Driver(&'static str, CUresult),
    /// A call to cuBLASLt.
    BlasLt(&'static str, cublasStatus_t),
    /// cuBLASLt has no way to compute this product.
    NoAlgorithm,
    /// A call to cuDNN, and its words for what was wrong.
    Dnn(&'static str, String),
    /// cuDNN has no way to compute this attention.
    NoEngine,
    /// An operand lies where a kernel cannot read whole accesses from.
    Misplaced,
    /// What was launched did not end in time, and may be running still.
    Endless(Duration),
    /// Something did not end before, and nothing after it can be known to run.
    Lost,
}

impl Trouble {
    /// Whether the device can be used no more: after most errors of the driver each later call fails too.
    pub fn is_final(&self) -> bool {
        use CUresult as Code;
        match self {
            // What broke the device, the next call to the driver tells.
            Trouble::NoAlgorithm | Trouble::NoEngine | Trouble::Misplaced | Trouble::Dnn(..) => false,
            Trouble::Driver(_, code) => !matches!(
                code,
                Code::CUDA_ERROR_OUT_OF_MEMORY
                    | Code::CUDA_ERROR_INVALID_VALUE
                    | Code::CUDA_ERROR_NOT_SUPPORTED
                    | Code::CUDA_ERROR_NOT_FOUND
                    | Code::CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES
                    | Code::CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED
                    | Code::CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
                    | Code::CUDA_ERROR_STREAM_CAPTURE_ISOLATION
            ),
            Trouble::BlasLt(_, status) => !matches!(
                status,
                cublasStatus_t::CUBLAS_STATUS_NOT_SUPPORTED
                    | cublasStatus_t::CUBLAS_STATUS_INVALID_VALUE
                    | cublasStatus_t::CUBLAS_STATUS_ALLOC_FAILED
                    | cublasStatus_t::CUBLAS_STATUS_ARCH_MISMATCH
            ),
            Trouble::Endless(_) | Trouble::Lost => true,
        }
    }

    /// Whether memory was refused.
    pub fn is_memory(&self) -> bool {
        matches!(self, Trouble::Driver(_, CUresult::CUDA_ERROR_OUT_OF_MEMORY))
    }

    /// What it means for the op that was to be measured.
    pub fn of(&self, op: &Op) -> MeasureError {
        let (op, reason) = (*op, self.to_string());
        if self.is_final() {
            MeasureError::Failed { op, reason }
        } else {
            MeasureError::Refused { op, reason }
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Driver(call, code) => {
                write!(f, "{call} returned {code:?} ({})", description(*code))
            }
            Trouble::BlasLt(call, status) => write!(f, "{call} returned {status:?}"),
            Trouble::NoAlgorithm => f.write_str("cuBLASLt knows no algorithm for it"),
            Trouble::Dnn(call, words) => write!(f, "{call} returned {words}"),
            Trouble::NoEngine => f.write_str("cuDNN knows no engine for it"),
            Trouble::Misplaced => f.write_str("an operand does not begin at a multiple of 16 bytes"),
            Trouble::Endless(limit) => {
                write!(f, "it did not end within {} s and may be running still", limit.as_secs())
            }
            Trouble::Lost => f.write_str("the device was lost before"),
        }
    }
}

/// The driver's words for an error.
fn description(code: CUresult) -> String {
    let mut text: *const c_char = std::ptr::null();
    // SAFETY: the driver writes a pointer to a string of its own that lives as long as the library, or leaves
    // it null; both are looked at below.
    #[allow(unsafe_code)]
    unsafe {
        if sys::cuGetErrorString(code, &raw mut text) != CUresult::CUDA_SUCCESS || text.is_null() {
            return "no description".to_owned();
        }
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}

/// The result of a call to the driver.
pub(super) fn driver(call: &'static str, code: CUresult) -> Result<(), Trouble> {
    if code == CUresult::CUDA_SUCCESS { Ok(()) } else { Err(Trouble::Driver(call, code)) }
}

/// The result of a call to cuBLASLt.
pub(super) fn blas_lt(call: &'static str, status: cublasStatus_t) -> Result<(), Trouble> {
    if status == cublasStatus_t::CUBLAS_STATUS_SUCCESS { Ok(()) } else { Err(Trouble::BlasLt(call, status)) }
}
