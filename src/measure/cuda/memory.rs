//! Device memory, freed when it is dropped.

use std::ffi::c_void;

use cudarc::driver::sys;

use super::gpu::Shared;
use super::trouble::{Trouble, driver};

/// A piece of device memory. Its address is a multiple of 256.
#[derive(Debug)]
pub(super) struct Buffer {
    gpu: Shared,
    address: u64,
    bytes: u64,
}

impl Buffer {
    /// Allocates `bytes`, at least 1.
    pub fn new(gpu: &Shared, bytes: u64) -> Result<Self, Trouble> {
        let bytes = bytes.max(1);
        let mut address = 0;
        // SAFETY: the pointer is to a variable of ours of the type that is written.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuMemAlloc_v2(&raw mut address, bytes as usize) };
        driver("cuMemAlloc_v2", code)?;
        Ok(Buffer { gpu: Shared::clone(gpu), address, bytes })
    }

    /// Where it begins.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// How long it is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Queues a copy of `from` to the beginning; what does not fit is left out.
    pub fn upload(&self, from: &[u8]) -> Result<(), Trouble> {
        let bytes = from.len().min(self.bytes as usize);
        // In the stream: a plain copy may return before its data has arrived, and the stream would not wait.
        // SAFETY: `from` holds `bytes` bytes, and so does the buffer. From memory that is not pinned the driver
        // takes them before it returns.
        #[allow(unsafe_code)]
        let code = unsafe {
            sys::cuMemcpyHtoDAsync_v2(self.address, from.as_ptr().cast(), bytes, self.gpu.stream())
        };
        driver("cuMemcpyHtoDAsync_v2", code)
    }

    /// The `N` bytes at `offset`; 0 where there are none.
    pub fn read<const N: usize>(&self, offset: u64) -> Result<[u8; N], Trouble> {
        let mut out = [0; N];
        self.download(offset, &mut out).map(|()| out)
    }

    /// Fills `out` from `offset` on; leaves it as it is where the buffer ends before.
    pub fn download(&self, offset: u64, out: &mut [u8]) -> Result<(), Trouble> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.bytes) {
            return Ok(());
        }
        // SAFETY: as many bytes lie at `offset`, as was asked above, and in `out`; the call returns when the copy
        // is done. Nothing runs on the device: all callers waited.
        #[allow(unsafe_code)]
        let code = unsafe {
            sys::cuMemcpyDtoH_v2(out.as_mut_ptr().cast::<c_void>(), self.address + offset, out.len())
        };
        driver("cuMemcpyDtoH_v2", code)
    }

    /// Queues that the first `bytes` bytes become `value`.
    pub fn set(&self, value: u8, bytes: u64) -> Result<(), Trouble> {
        let bytes = bytes.min(self.bytes) as usize;
        // SAFETY: the buffer holds `bytes` bytes and lives until the stream has been waited for.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuMemsetD8Async(self.address, value, bytes, self.gpu.stream()) };
        driver("cuMemsetD8Async", code)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Freeing waits for the device, which would be for ever; the memory goes back when the process ends.
        if self.gpu.is_lost() {
            return;
        }
        // SAFETY: the address is from the allocator, and this is its only owner. An error is one of an earlier
        // launch, which its own call has told of.
        #[allow(unsafe_code)]
        let _ = unsafe { sys::cuMemFree_v2(self.address) };
    }
}
