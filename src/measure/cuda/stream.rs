//! Events and graphs: launches that follow each other without the host, and the time between two of them.

use cudarc::driver::sys;

use super::gpu::{Gpu, Shared};
use super::trouble::{Trouble, driver};

/// A moment in a stream.
#[derive(Debug)]
pub(super) struct Event {
    gpu: Shared,
    event: sys::CUevent,
}

impl Event {
    /// An event that keeps its time.
    pub fn new(gpu: &Shared) -> Result<Self, Trouble> {
        let mut event = std::ptr::null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DEFAULT as u32;
        // SAFETY: the pointer is to a variable of ours.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuEventCreate(&raw mut event, flags) };
        driver("cuEventCreate", code)?;
        Ok(Event { gpu: Shared::clone(gpu), event })
    }

    /// Queues the event.
    pub fn record(&self) -> Result<(), Trouble> {
        // SAFETY: event and stream are alive and of the same context.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuEventRecord(self.event, self.gpu.stream()) };
        driver("cuEventRecord", code)
    }

    /// Makes what is queued on the stream of `gpu` from now on wait for what was queued before the event.
    pub fn hold_back(&self, gpu: &Gpu) -> Result<(), Trouble> {
        // SAFETY: event and stream are alive and of the same context.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuStreamWaitEvent(gpu.stream(), self.event, 0) };
        driver("cuStreamWaitEvent", code)
    }

    /// Makes the event a node of the graph that is being captured: each launch of the graph records it.
    pub fn record_in_graph(&self) -> Result<(), Trouble> {
        let flags = sys::CUevent_record_flags_enum::CU_EVENT_RECORD_EXTERNAL as u32;
        // SAFETY: event and stream are alive and of the same context.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuEventRecordWithFlags(self.event, self.gpu.stream(), flags) };
        driver("cuEventRecordWithFlags", code)
    }

    /// Whether everything queued before it has ended.
    pub fn is_past(&self) -> Result<bool, Trouble> {
        // SAFETY: the event is alive.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuEventQuery(self.event) };
        match code {
            sys::CUresult::CUDA_ERROR_NOT_READY => Ok(false),
            code => driver("cuEventQuery", code).map(|()| true),
        }
    }

    /// Seconds from `start` to this event; both are past.
    pub fn seconds_since(&self, start: &Event) -> Result<f64, Trouble> {
        let mut milliseconds = 0.0_f32;
        // SAFETY: both events are alive; the pointer is to a variable of ours; the function is
        // the driver's.
        #[allow(unsafe_code)]
        let code = unsafe { (self.gpu.library().elapsed)(&raw mut milliseconds, start.event, self.event) };
        driver("cuEventElapsedTime", code)?;
        Ok(f64::from(milliseconds) * 1e-3)
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: this is the event's only owner, and destroying it does not wait for it.
        #[allow(unsafe_code)]
        let _ = unsafe { sys::cuEventDestroy_v2(self.event) };
    }
}

/// Launches that were captured, ready to be replayed.
#[derive(Debug)]
pub(super) struct Graph {
    gpu: Shared,
    executable: sys::CUgraphExec,
}

impl Graph {
    /// Captures what `queue` queues.
    pub fn capture(gpu: &Shared, queue: impl FnOnce() -> Result<(), Trouble>) -> Result<Self, Trouble> {
        // Relaxed: a library may load a kernel, and allocate for it, while it is captured for the first time.
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_RELAXED;
        // SAFETY: the stream is alive and nothing is captured on it now.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuStreamBeginCapture_v2(gpu.stream(), mode) };
        driver("cuStreamBeginCapture_v2", code)?;
        let queued = queue();
        let mut graph = std::ptr::null_mut();
        // SAFETY: a capture is under way; it must end whether the queueing worked or not. The pointer is to a
        // variable of ours.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuStreamEndCapture(gpu.stream(), &raw mut graph) };
        let ended = queued.and(driver("cuStreamEndCapture", code));
        if graph.is_null() {
            return Err(ended.err().unwrap_or(Trouble::Lost));
        }
        let mut executable = std::ptr::null_mut();
        let made = ended.and_then(|()| {
            // SAFETY: the graph is not null; the pointer is to a variable of ours.
            #[allow(unsafe_code)]
            let code = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut executable, graph, 0) };
            driver("cuGraphInstantiateWithFlags", code)
        });
        // SAFETY: the graph is ours, and what was made of it does not need it.
        #[allow(unsafe_code)]
        let _ = unsafe { sys::cuGraphDestroy(graph) };
        made?;
        let graph = Graph { gpu: Shared::clone(gpu), executable };
        // SAFETY: executable and stream are alive. Uploaded now, the first launch is as fast as the others.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuGraphUpload(graph.executable, gpu.stream()) };
        driver("cuGraphUpload", code)?;
        Ok(graph)
    }

    /// Queues a replay.
    pub fn launch(&self) -> Result<(), Trouble> {
        // SAFETY: executable and stream are alive, and so are the buffers that its nodes use: the case that
        // owns this graph borrows them.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuGraphLaunch(self.executable, self.gpu.stream()) };
        driver("cuGraphLaunch", code)
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.gpu.is_lost() {
            return;
        }
        // SAFETY: this is its only owner; the driver keeps what still runs until it has ended.
        #[allow(unsafe_code)]
        let _ = unsafe { sys::cuGraphExecDestroy(self.executable) };
    }
}

/// Copies within device memory.
///
/// Both ranges must lie in buffers that live until the stream has been waited for.
pub(super) fn copy(gpu: &Gpu, to: u64, from: u64, bytes: u64) -> Result<(), Trouble> {
    // SAFETY: as the caller says; ranges that are no device memory are an error and no more.
    #[allow(unsafe_code)]
    let code = unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes as usize, gpu.stream()) };
    driver("cuMemcpyDtoDAsync_v2", code)
}
