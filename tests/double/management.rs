//! The management library: clocks and reasons for them, and who else is there.

use std::ffi::{c_char, c_int, c_uint};

use crate::state::with;

const NOT_SUPPORTED: c_int = 3;

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_int {
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlSystemGetDriverVersion(out: *mut c_char, length: c_uint) -> c_int {
    let version = c"580.0".to_bytes_with_nul();
    assert!(version.len() <= length as usize);
    std::ptr::copy_nonoverlapping(version.as_ptr().cast(), out, version.len());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByUUID(_: *const c_char, out: *mut usize) -> c_int {
    *out = 1;
    0
}

/// As many as the fault `others` says, the first of them by the rules of the interface: asked with room for
/// none, it tells how much is needed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetComputeRunningProcesses_v3(
    _: usize,
    count: *mut c_uint,
    out: *mut [u32; 6],
) -> c_int {
    let others = with(|state| state.number("others").unwrap_or(0)) as c_uint;
    let room = *count;
    *count = others;
    if room < others {
        return 7;
    }
    for i in 0..others {
        *out.add(i as usize) = [4_000_000 + i, 0, 0, 0, 0, 0];
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetClockInfo(_: usize, _: c_int, out: *mut c_uint) -> c_int {
    *out = 1755;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetMaxClockInfo(_: usize, _: c_int, out: *mut c_uint) -> c_int {
    *out = 1980;
    0
}

/// Heat from the so-manyth launch on, where the fault `throttled` says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCurrentClocksThrottleReasons(_: usize, out: *mut u64) -> c_int {
    *out = if with(|state| state.hot) { 0x40 } else { 0 };
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetEnforcedPowerLimit(_: usize, out: *mut c_uint) -> c_int {
    *out = with(|state| state.number("watts").unwrap_or(700)) as c_uint * 1000;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetPowerManagementDefaultLimit(_: usize, out: *mut c_uint) -> c_int {
    *out = 700_000;
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetVbiosVersion(_: usize, out: *mut c_char, length: c_uint) -> c_int {
    let version = c"96.00.0D".to_bytes_with_nul();
    assert!(version.len() <= length as usize);
    std::ptr::copy_nonoverlapping(version.as_ptr().cast(), out, version.len());
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(_: usize, _: usize, _: usize) -> c_int {
    NOT_SUPPORTED
}
