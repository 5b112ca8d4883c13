//! Communicators, and the calls that queue exchanges on a stream.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::table::{self, Code, Functions, Handle, NO_COLOR, SUCCESS, SUM, UniqueId, dtype};
use crate::dtype::Dtype;
use crate::measure::cuda::gpu::Shared;
use crate::measure::exchange::{Pattern, Shape};
use crate::op::CollectiveKind;
use crate::world::watch::Trouble;

/// All communicators of this process, so that another thread can end what they wait for.
#[derive(Clone, Debug, Default)]
pub(super) struct Registry(Arc<Mutex<Vec<usize>>>);

impl Registry {
    fn handles(&self) -> MutexGuard<'_, Vec<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Aborts every communicator: what runs on the devices ends, and so do the calls that wait for it.
    pub fn abort(&self) {
        let handles = std::mem::take(&mut *self.handles());
        let Ok(functions) = table::find() else { return };
        for handle in handles {
            // SAFETY: made by NCCL, and aborted once: it was taken out of the list. NCCL takes this call from any
            // thread while another is inside of a call with the same communicator.
            #[allow(unsafe_code)]
            let _ = unsafe { (functions.abort)(handle as Handle) };
        }
    }
}

/// A group of ranks, as one of them sees it.
pub(super) struct Comm {
    functions: &'static Functions,
    handle: Handle,
    gpu: Shared,
    registry: Registry,
    /// This rank's number in the group.
    pub rank: usize,
}

/// The number by which NCCL knows an element type.
fn number(dtype: Dtype) -> Option<c_int> {
    match dtype {
        Dtype::F32 | Dtype::Tf32 => Some(dtype::F32),
        Dtype::F16 => Some(dtype::F16),
        Dtype::Bf16 => Some(dtype::BF16),
        Dtype::F8E4m3 | Dtype::F8E5m2 | Dtype::I8 => None,
    }
}

/// The id by which the ranks of a run find each other; made on rank 0.
pub(super) fn unique_id() -> Result<Vec<u8>, String> {
    let functions = table::find()?;
    let mut id = UniqueId([0; 128]);
    // SAFETY: the pointer is to 128 bytes of ours.
    #[allow(unsafe_code)]
    let code = unsafe { (functions.unique_id)(&raw mut id) };
    if code == SUCCESS { Ok(id.0.to_vec()) } else { Err(functions.explain("ncclGetUniqueId", code)) }
}

impl Comm {
    /// All ranks of the run, which all call this with the same id.
    pub fn all(
        gpu: &Shared,
        registry: &Registry,
        id: &[u8],
        (rank, size): (usize, usize),
    ) -> Result<Comm, Trouble> {
        let own = |text| Trouble { text, is_echo: false };
        let functions = table::find().map_err(own)?;
        let mut bytes = [0; 128];
        let length = id.len().min(128);
        bytes[..length].copy_from_slice(&id[..length]);
        let mut handle = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours; the device of this rank is current on this thread.
        #[allow(unsafe_code)]
        let code =
            unsafe { (functions.init)(&raw mut handle, size as c_int, UniqueId(bytes), rank as c_int) };
        if code != SUCCESS {
            // what a rank is refused here is mostly its own fault: a device or an interface that is not there
            return Err(own(functions.explain("ncclCommInitRank", code)));
        }
        registry.handles().push(handle as usize);
        Ok(Comm { functions, handle, gpu: Shared::clone(gpu), registry: registry.clone(), rank })
    }

    /// A group in which this rank has the number `rank`, or which it is not in; all ranks call.
    pub fn split(&self, rank: Option<usize>) -> Result<Option<Comm>, Trouble> {
        let mut handle = std::ptr::null_mut();
        let (color, key) = rank.map_or((NO_COLOR, 0), |rank| (0, rank as c_int));
        // SAFETY: the communicator is alive; the pointer is to a variable of ours; without a configuration the
        // group takes this one's.
        #[allow(unsafe_code)]
        let code =
            unsafe { (self.functions.split)(self.handle, color, key, &raw mut handle, std::ptr::null_mut()) };
        self.checked("ncclCommSplit", code)?;
        let Some(rank) = rank else { return Ok(None) };
        self.registry.handles().push(handle as usize);
        let (gpu, registry) = (Shared::clone(&self.gpu), self.registry.clone());
        Ok(Some(Comm { functions: self.functions, handle, gpu, registry, rank }))
    }

    /// Whether the group still works.
    pub fn poll(&self) -> Result<(), Trouble> {
        let handles = self.registry.handles();
        if !handles.contains(&(self.handle as usize)) {
            return Err(Trouble { text: "it was told to end".to_owned(), is_echo: true });
        }
        let mut state = SUCCESS;
        // SAFETY: the communicator is in the list and so is alive: who aborts it takes it out first, for which the
        // list is locked. The pointer is to a variable of ours.
        #[allow(unsafe_code)]
        let code = unsafe { (self.functions.async_error)(self.handle, &raw mut state) };
        drop(handles);
        self.checked("ncclCommGetAsyncError", code)?;
        self.checked("an exchange of NCCL", if state == table::IN_PROGRESS { SUCCESS } else { state })
    }

    fn checked(&self, call: &str, code: Code) -> Result<(), Trouble> {
        match code {
            SUCCESS => Ok(()),
            // what one rank dies of, the others are told of as errors of their own
            code => Err(Trouble { text: self.functions.explain(call, code), is_echo: true }),
        }
    }

    /// Queues that rank 0's `words` 64-bit numbers at `buffer` become everyone's.
    pub fn queue_broadcast(&self, buffer: u64, words: usize) -> Result<(), Trouble> {
        let (stream, handle) = (self.gpu.stream(), self.handle);
        // SAFETY: the caller's buffer holds that many numbers and lives until the stream has been waited for.
        #[allow(unsafe_code)]
        let code =
            unsafe { (self.functions.broadcast)(buffer, buffer, words, dtype::U64, 0, handle, stream) };
        self.checked("ncclBroadcast", code)
    }

    /// Queues that every rank's `numbers` binary64 numbers at `from` are at `to`, by rank.
    pub fn queue_gather(&self, from: u64, to: u64, numbers: usize) -> Result<(), Trouble> {
        let (stream, handle) = (self.gpu.stream(), self.handle);
        // SAFETY: as above; `to` holds as many for every rank.
        #[allow(unsafe_code)]
        let code = unsafe { (self.functions.all_gather)(from, to, numbers, dtype::F64, handle, stream) };
        self.checked("ncclAllGather", code)
    }

    /// Queues something that ends on no rank before all have begun it, by one f32 at `from` and one at `to`.
    pub fn queue_barrier(&self, from: u64, to: u64) -> Result<(), Trouble> {
        let (stream, handle) = (self.gpu.stream(), self.handle);
        // SAFETY: as above, of one number.
        #[allow(unsafe_code)]
        let code = unsafe { (self.functions.all_reduce)(from, to, 1, dtype::F32, SUM, handle, stream) };
        self.checked("ncclAllReduce", code)
    }

    /// Queues the exchange from `from` to `to`, which hold what the shape says, in elements of `dtype`.
    pub fn queue(&self, shape: &Shape, dtype: Dtype, from: u64, to: u64) -> Result<(), Trouble> {
        let Some(number) = number(dtype) else {
            return Err(Trouble { text: format!("NCCL moves no {dtype}"), is_echo: false });
        };
        let (functions, handle, stream) = (self.functions, self.handle, self.gpu.stream());
        let (whole, part) = (shape.whole, shape.part());
        let stride = part as u64 * dtype.bytes();
        // SAFETY: the communicator is alive; both buffers hold what the shape says, as the caller promises, and
        // live until the stream has been waited for. A group that is begun is ended.
        #[allow(unsafe_code)]
        let (call, code) = unsafe {
            match shape.pattern {
                Pattern::Collective(CollectiveKind::AllReduce) => {
                    ("ncclAllReduce", (functions.all_reduce)(from, to, whole, number, SUM, handle, stream))
                }
                Pattern::Collective(CollectiveKind::AllGather) => {
                    ("ncclAllGather", (functions.all_gather)(from, to, part, number, handle, stream))
                }
                Pattern::Collective(CollectiveKind::ReduceScatter) => (
                    "ncclReduceScatter",
                    (functions.reduce_scatter)(from, to, part, number, SUM, handle, stream),
                ),
                Pattern::Collective(CollectiveKind::Broadcast) => {
                    ("ncclBroadcast", (functions.broadcast)(from, to, whole, number, 0, handle, stream))
                }
                Pattern::Collective(CollectiveKind::AllToAll) => {
                    let mut code = (functions.group_start)();
                    for other in 0..shape.ranks {
                        let (offset, other) = (other as u64 * stride, other as c_int);
                        code = code.max((functions.send)(from + offset, part, number, other, handle, stream));
                        code =
                            code.max((functions.receive)(to + offset, part, number, other, handle, stream));
                    }
                    ("an all-to-all of ncclSend and ncclRecv", code.max((functions.group_end)()))
                }
                Pattern::Send if self.rank == 0 => {
                    ("ncclSend", (functions.send)(from, whole, number, 1, handle, stream))
                }
                Pattern::Send => ("ncclRecv", (functions.receive)(to, whole, number, 0, handle, stream)),
            }
        };
        self.checked(call, code)
    }
}
