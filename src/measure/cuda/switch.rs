//! A switch in the host's memory that a kernel waits for: what is queued behind it starts when all is queued.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU32, Ordering};

use cudarc::driver::sys;

use super::gpu::{Argument, Gpu};
use super::ptx::HARNESS;
use super::trouble::{Trouble, driver};

/// The kernel ends by itself after this, in ns.
const LONGEST: u64 = 2_000_000_000;

/// The switch, in memory that the device can read. It is never freed: a kernel may still look at it.
#[derive(Debug)]
pub(super) struct Switch {
    host: *const AtomicU32,
    device: u64,
}

impl Switch {
    /// A switch that is open.
    pub fn new() -> Result<Self, Trouble> {
        let (mut host, mut device): (*mut c_void, u64) = (std::ptr::null_mut(), 0);
        let flags = sys::CU_MEMHOSTALLOC_DEVICEMAP;
        // SAFETY: both pointers are to variables of ours; 4 bytes of pinned memory are taken and never freed.
        #[allow(unsafe_code)]
        unsafe {
            driver("cuMemHostAlloc", sys::cuMemHostAlloc(&raw mut host, 4, flags))?;
            let code = sys::cuMemHostGetDevicePointer_v2(&raw mut device, host, 0);
            driver("cuMemHostGetDevicePointer_v2", code)?;
        }
        let switch = Switch { host: host.cast(), device };
        switch.store(1);
        Ok(switch)
    }

    /// Closes it and queues a kernel that ends when it is open again.
    pub fn hold(&self, gpu: &Gpu) -> Result<(), Trouble> {
        self.store(0);
        let gate = gpu.function(HARNESS, "gate")?;
        gate.launch(1, (1, 1), &[Argument::Pointer(self.device), Argument::Long(LONGEST)])
    }

    /// Opens it.
    pub fn open(&self) {
        self.store(1);
    }

    fn store(&self, value: u32) {
        // SAFETY: the pointer is to 4 bytes of pinned memory, aligned to more than 4, which are never freed and
        // which only this object writes.
        #[allow(unsafe_code)]
        unsafe {
            (*self.host).store(value, Ordering::Release);
        }
    }
}
