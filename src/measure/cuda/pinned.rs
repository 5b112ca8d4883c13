//! Memory of the host that cannot be paged out.

use std::ffi::c_void;

use cudarc::driver::sys;

use super::gpu::{Gpu, Shared};
use super::trouble::{Trouble, driver};

/// Memory of the host that a device reads and writes by itself.
#[derive(Debug)]
pub(super) struct Pinned {
    gpu: Shared,
    start: *mut u8,
    bytes: u64,
}

impl Pinned {
    /// Takes `bytes`, each unlike its neighbours.
    pub fn new(gpu: &Shared, bytes: u64) -> Result<Self, Trouble> {
        let mut start: *mut c_void = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours; all of the bytes are written before any is read.
        #[allow(unsafe_code)]
        unsafe {
            driver("cuMemHostAlloc", sys::cuMemHostAlloc(&raw mut start, bytes as usize, 0))?;
            let all =
                std::slice::from_raw_parts_mut(start.cast::<std::mem::MaybeUninit<u8>>(), bytes as usize);
            for (place, byte) in all.iter_mut().enumerate() {
                byte.write((place % 251) as u8);
            }
        }
        Ok(Pinned { gpu: Shared::clone(gpu), start: start.cast(), bytes })
    }

    /// Queues that the bytes at `to`, as many, become these.
    pub fn send(&self, gpu: &Gpu, to: u64) -> Result<(), Trouble> {
        // SAFETY: as many bytes lie here as are allocated there; both live until the stream has been waited for.
        #[allow(unsafe_code)]
        let code =
            unsafe { sys::cuMemcpyHtoDAsync_v2(to, self.start.cast(), self.bytes as usize, gpu.stream()) };
        driver("cuMemcpyHtoDAsync_v2", code)
    }

    /// Queues that these become the bytes at `from`, as many.
    pub fn fetch(&self, gpu: &Gpu, from: u64) -> Result<(), Trouble> {
        // SAFETY: the same, the other way.
        #[allow(unsafe_code)]
        let code =
            unsafe { sys::cuMemcpyDtoHAsync_v2(self.start.cast(), from, self.bytes as usize, gpu.stream()) };
        driver("cuMemcpyDtoHAsync_v2", code)
    }

    /// The 2 bytes at `offset`, which lie within; 0 where they do not.
    pub fn read(&self, offset: u64) -> [u8; 2] {
        if offset + 2 > self.bytes {
            return [0; 2];
        }
        // SAFETY: 2 bytes lie at `offset`, as was asked above; nothing runs on the device, as all callers waited.
        #[allow(unsafe_code)]
        unsafe {
            self.start.add(offset as usize).cast::<[u8; 2]>().read()
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if self.gpu.is_lost() {
            return;
        }
        // SAFETY: the memory is from `cuMemHostAlloc`, and this is its only owner.
        #[allow(unsafe_code)]
        let _ = unsafe { sys::cuMemFreeHost(self.start.cast()) };
    }
}
