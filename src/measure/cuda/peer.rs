//! Another device of the node: somebody to send to.

use std::ffi::c_void;
use std::rc::Rc;

use cudarc::driver::sys;

use super::gpu::{Gpu, Shared};
use super::library::driver_has;
use super::trouble::{Trouble, driver};

/// What is called here and nowhere else: a driver that lacks one of these has no copies between devices.
const NEEDED: [&str; 4] =
    ["cuDeviceCanAccessPeer", "cuCtxGetCurrent", "cuCtxEnablePeerAccess", "cuMemcpyPeerAsync"];

/// Another device, with its primary context, which is never given back.
#[derive(Debug)]
pub(super) struct Peer {
    own: sys::CUcontext,
    other: sys::CUcontext,
    /// Whether the devices reach each other's memory without the host.
    is_direct: bool,
}

impl Peer {
    /// The next device that can be seen, after the last the first.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub fn open(gpu: &Gpu) -> Result<Self, String> {
        if gpu.facts.devices < 2 {
            return Err("one GPU has nobody to send to".to_owned());
        }
        if let Some(symbol) = NEEDED.into_iter().find(|symbol| !driver_has(symbol)) {
            return Err(format!("copies between devices need {symbol}, which the driver lacks"));
        }
        Peer::retain(gpu).map_err(|trouble| format!("the other GPU cannot be used: {trouble}"))
    }

    fn retain(gpu: &Gpu) -> Result<Self, Trouble> {
        let ordinal = gpu.facts.ordinal;
        let next = (ordinal + 1) % i32::try_from(gpu.facts.devices).unwrap_or(1);
        let (mut first, mut second, mut reach) = (0, 0, 0);
        let (mut own, mut other) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: each pointer is to a variable of ours; both contexts live as long as the process, and the first
        // is made current again before anything else is called.
        #[allow(unsafe_code)]
        unsafe {
            driver("cuDeviceGet", sys::cuDeviceGet(&raw mut first, ordinal))?;
            driver("cuDeviceGet", sys::cuDeviceGet(&raw mut second, next))?;
            driver("cuCtxGetCurrent", sys::cuCtxGetCurrent(&raw mut own))?;
            let code = sys::cuDeviceCanAccessPeer(&raw mut reach, first, second);
            driver("cuDeviceCanAccessPeer", code)?;
            let code = sys::cuDevicePrimaryCtxRetain(&raw mut other, second);
            driver("cuDevicePrimaryCtxRetain", code)?;
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(own))?;
            let is_direct = reach != 0
                && matches!(
                    sys::cuCtxEnablePeerAccess(other, 0),
                    sys::CUresult::CUDA_SUCCESS | sys::CUresult::CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED
                );
            Ok(Peer { own, other, is_direct })
        }
    }
}

/// Memory of the other device.
#[derive(Debug)]
pub(super) struct Remote {
    gpu: Shared,
    peer: Rc<Peer>,
    address: u64,
    bytes: u64,
}

impl Remote {
    /// Allocates `bytes`, set to bytes that are no number in any type.
    pub fn new(gpu: &Shared, peer: &Rc<Peer>, bytes: u64) -> Result<Self, Trouble> {
        let mut address = 0;
        // SAFETY: the pointer is to a variable of ours; the other context is current while its memory is allocated,
        // and the first is again afterwards, whatever came of it.
        #[allow(unsafe_code)]
        let made = unsafe {
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(peer.other))?;
            let code = sys::cuMemAlloc_v2(&raw mut address, bytes.max(1) as usize);
            let made = driver("cuMemAlloc_v2", code);
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(peer.own))?;
            made
        };
        made?;
        let remote = Remote { gpu: Shared::clone(gpu), peer: Rc::clone(peer), address, bytes };
        remote.spoil()?;
        Ok(remote)
    }

    /// Sets all bytes, and waits until they are.
    fn spoil(&self) -> Result<(), Trouble> {
        // SAFETY: the memory holds that many bytes; the other context is current while its own stream, which has no
        // handle, sets them, and the first is again afterwards, whatever came of it.
        #[allow(unsafe_code)]
        unsafe {
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(self.peer.other))?;
            let code = sys::cuMemsetD8Async(self.address, 0xff, self.bytes as usize, std::ptr::null_mut());
            let set = driver("cuMemsetD8Async", code);
            // a plain copy waits for that stream, which the stream of the first device does not
            let waited = self.read(0);
            driver("cuCtxSetCurrent", sys::cuCtxSetCurrent(self.peer.own))?;
            set.and(waited.map(|_| ()))
        }
    }

    /// Whether the devices reach each other's memory without the host.
    pub fn is_direct(&self) -> bool {
        self.peer.is_direct
    }

    /// Queues a copy of as many bytes from `from`, in a buffer of the first device.
    pub fn receive(&self, gpu: &Gpu, from: u64) -> Result<(), Trouble> {
        let (bytes, peer) = (self.bytes as usize, &self.peer);
        // SAFETY: both contexts are alive; the caller's range lies in a buffer of the first, and as many bytes are
        // here; both live until the stream has been waited for.
        #[allow(unsafe_code)]
        let code =
            unsafe { sys::cuMemcpyPeerAsync(self.address, peer.other, from, peer.own, bytes, gpu.stream()) };
        driver("cuMemcpyPeerAsync", code)
    }

    /// The 2 bytes at `offset`, which lie within.
    pub fn read(&self, offset: u64) -> Result<[u8; 2], Trouble> {
        let mut out = [0_u8; 2];
        if offset + 2 > self.bytes {
            return Ok(out);
        }
        // SAFETY: 2 bytes lie at `offset`, as was asked above, and in `out`; addresses are unique over all devices,
        // so that either context serves. Nothing runs on the device: all callers waited.
        #[allow(unsafe_code)]
        let code =
            unsafe { sys::cuMemcpyDtoH_v2(out.as_mut_ptr().cast::<c_void>(), self.address + offset, 2) };
        driver("cuMemcpyDtoH_v2", code).map(|()| out)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        if self.gpu.is_lost() {
            return;
        }
        // SAFETY: the address is from the allocator of the other context, current while it is freed, and this is
        // its only owner.
        #[allow(unsafe_code)]
        unsafe {
            sys::cuCtxSetCurrent(self.peer.other);
            sys::cuMemFree_v2(self.address);
            sys::cuCtxSetCurrent(self.peer.own);
        }
    }
}
