//! NCCL's functions.

use std::ffi::{c_char, c_int, c_void};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::exchange::{Comm, GROUP, Hub, Request};
use crate::hub::{self, Coming, Packet, SPLIT};
use crate::log;
use crate::state::{Item, Node, with};

const SYSTEM_ERROR: c_int = 2;
const REMOTE_ERROR: c_int = 6;
const INIT: u8 = 101;

/// Whether a communicator was aborted: from then on nothing of this process waits.
static ABORTED: AtomicBool = AtomicBool::new(false);

/// Queues an exchange, or makes it a node of a graph.
fn queue(mut request: Request) -> c_int {
    with(|state| {
        log::tell(state, &request);
        if let Some(nodes) = &mut state.captured {
            request.is_replay = true;
            nodes.push(Node::Exchange(request));
            return 0;
        }
        if state.turn("dies") {
            std::process::exit(9);
        }
        if state.turn("hangs") {
            std::thread::sleep(Duration::from_secs(3600));
        }
        state.queue.push_back(Item::Exchange(request));
        0
    })
}

/// An exchange that the host waits for.
fn wait_for(hub: &mut Hub, coming: &Coming) -> Option<Packet> {
    coming.packet().send(&hub.stream).ok()?;
    loop {
        if let Some(answer) = hub.answer() {
            return Some(answer);
        }
        if hub.lost || ABORTED.load(Ordering::Relaxed) {
            return None;
        }
    }
}

fn plain(comm: Comm, key: u8, now: f64, content: Vec<u8>) -> Coming {
    let Comm { id: comm, size, index, .. } = comm;
    Coming { comm, size, index, key: vec![key], times: 1, now, slow: 0, bytes: 0.0, factor: 0.0, content }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetVersion(out: *mut c_int) -> c_int {
    *out = 22703;
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetErrorString(code: c_int) -> *const c_char {
    match code {
        SYSTEM_ERROR => c"unhandled system error",
        REMOTE_ERROR => c"remote process exited or there was a network error",
        _ => c"an error of the double",
    }
    .as_ptr()
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGetLastError(_: *mut c_void) -> *const c_char {
    c"".as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclGetUniqueId(out: *mut [u8; 128]) -> c_int {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    if with(|state| state.has("no_id")) {
        return SYSTEM_ERROR;
    }
    let name = format!("gettime-double-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    hub::open(&name);
    *out = [0; 128];
    (&mut *out)[..name.len()].copy_from_slice(name.as_bytes());
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommInitRank(
    out: *mut *mut Comm,
    size: c_int,
    id: [u8; 128],
    rank: c_int,
) -> c_int {
    with(|state| {
        if state.has("init_fails") {
            return SYSTEM_ERROR;
        }
        let name = String::from_utf8(id.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap();
        let Ok(stream) = UnixStream::connect_addr(&hub::address(&name)) else { return SYSTEM_ERROR };
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let node = std::env::var("NCCL_HOSTID").unwrap_or_default();
        Packet::default().put_bytes(node.as_bytes()).send(&stream).unwrap();
        let mut hub = Hub::new(stream);
        let (size, index) = (size as u64, rank as u64);
        let mut comm = Comm { id: 0, size, index, inside: false, between: false };
        let Some(mut answer) = wait_for(&mut hub, &plain(comm, INIT, state.now, node.into_bytes())) else {
            return REMOTE_ERROR;
        };
        let [_, _, count] = std::array::from_fn(|_| answer.number());
        let nodes: Vec<Vec<u8>> = (0..count).map(|_| answer.bytes()).collect();
        (comm.inside, comm.between) = log::links(&nodes);
        state.hub = Some(hub);
        *out = Box::into_raw(Box::new(comm));
        0
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommSplit(
    comm: *const Comm,
    color: c_int,
    key: c_int,
    out: *mut *mut Comm,
    _: *mut c_void,
) -> c_int {
    with(|state| {
        let mut hub = state.hub.take().expect("a split without a hub");
        let node = std::env::var("NCCL_HOSTID").unwrap_or_default();
        let own = Packet::default().put(color as u64).put(key as u64).put_bytes(node.as_bytes()).data;
        let answer = wait_for(&mut hub, &plain(*comm, SPLIT, state.now, own));
        state.hub = Some(hub);
        let Some(mut answer) = answer else { return REMOTE_ERROR };
        state.now = f64::from_bits(answer.number());
        let (id, count) = (answer.number(), answer.number());
        let all: Vec<(u64, Vec<u8>)> = (0..count)
            .map(|_| {
                let mut packet = Packet::new(answer.bytes());
                let [color, _] = std::array::from_fn(|_| packet.number());
                (color, packet.bytes())
            })
            .collect();
        *out = std::ptr::null_mut();
        if color >= 0 {
            let nodes = all.into_iter().filter(|(other, _)| *other == color as u64).map(|(_, node)| node);
            let nodes: Vec<Vec<u8>> = nodes.collect();
            let ((inside, between), size) = (log::links(&nodes), nodes.len() as u64);
            *out = Box::into_raw(Box::new(Comm { id, size, index: key as u64, inside, between }));
        }
        0
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclCommAbort(_: *mut Comm) -> c_int {
    ABORTED.store(true, Ordering::Relaxed);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclCommGetAsyncError(_: *mut Comm, out: *mut c_int) -> c_int {
    *out = with(|state| if state.hub.as_ref().is_some_and(|hub| hub.lost) { REMOTE_ERROR } else { 0 });
    0
}

/// One of the four whose buffers hold `sent` and `received` elements.
unsafe fn collective(
    (kind, root): (u8, u64),
    (from, to): (u64, u64),
    (sent, received, count): (u64, u64, u64),
    dtype: c_int,
    comm: *const Comm,
) -> c_int {
    let (sends, receives) = (vec![(None, from, sent)], vec![(None, to, received)]);
    queue(Request { comm: *comm, kind, count, dtype, root, sends, receives, is_replay: false })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllReduce(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    operation: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    assert_eq!(operation, 0, "a sum");
    let count = count as u64;
    collective((0, 0), (from, to), (count, count, count), dtype, comm)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclAllGather(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    let count = count as u64;
    collective((1, 0), (from, to), (count, count * (*comm).size, count), dtype, comm)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclReduceScatter(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    operation: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    assert_eq!(operation, 0, "a sum");
    let count = count as u64;
    collective((2, 0), (from, to), (count * (*comm).size, count, count), dtype, comm)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclBroadcast(
    from: u64,
    to: u64,
    count: usize,
    dtype: c_int,
    root: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    let count = count as u64;
    collective((3, root as u64), (from, to), (count, count, count), dtype, comm)
}

thread_local! {
    /// What has been sent and received since the group began.
    static OPEN: std::cell::RefCell<Option<Option<Request>>> = const { std::cell::RefCell::new(None) };
}

unsafe fn in_group(comm: *const Comm, count: u64, dtype: c_int, add: impl FnOnce(&mut Request)) -> c_int {
    let comm = *comm;
    let (sends, receives) = (Vec::new(), Vec::new());
    let new = || Request { comm, kind: GROUP, count, dtype, root: 0, sends, receives, is_replay: false };
    OPEN.with(|open| match &mut *open.borrow_mut() {
        Some(request) => {
            add(request.get_or_insert_with(new));
            0
        }
        None => {
            let mut request = new();
            add(&mut request);
            queue(request)
        }
    })
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclSend(
    from: u64,
    count: usize,
    dtype: c_int,
    peer: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    let send = (Some(peer as u64), from, count as u64);
    in_group(comm, count as u64, dtype, |request| request.sends.push(send))
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn ncclRecv(
    to: u64,
    count: usize,
    dtype: c_int,
    peer: c_int,
    comm: *const Comm,
    _: usize,
) -> c_int {
    let receive = (Some(peer as u64), to, count as u64);
    in_group(comm, count as u64, dtype, |request| request.receives.push(receive))
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGroupStart() -> c_int {
    OPEN.with(|open| *open.borrow_mut() = Some(None));
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn ncclGroupEnd() -> c_int {
    OPEN.with(|open| open.borrow_mut().take()).flatten().map_or(0, queue)
}
