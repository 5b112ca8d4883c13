//! cuDNN's graph interface: descriptors that keep what they are given, and one engine for one graph.
//!
//! It takes the graph of an attention and no other, with everything that the library needs of it, and computes an
//! element of `softmax(scale·Q·Kᵀ)·V` when it is read.

use std::collections::HashMap;
use std::ffi::{c_char, c_int, c_void};
use std::sync::Mutex;

use crate::state::{State, What, bits, with};

type Status = c_int;
const BAD_PARAM: Status = 2000;
const NOT_SUPPORTED: Status = 3000;
const EXECUTION_FAILED: Status = 5000;

/// Kinds of descriptors, by the numbers of cudnn_graph.h.
const POINTWISE: c_int = 0;
const ENGINE: c_int = 2;
const HEURISTIC: c_int = 4;
const PLAN: c_int = 5;
const OPERATION_POINTWISE: c_int = 13;
const GRAPH: c_int = 15;
const PACK: c_int = 16;
const TENSOR: c_int = 17;
const MATMUL: c_int = 18;
const OPERATION_MATMUL: c_int = 19;
const REDUCTION: c_int = 21;
const OPERATION_REDUCTION: c_int = 22;

/// What each kind must have been given before it is closed.
fn needed(kind: c_int) -> &'static [c_int] {
    match kind {
        POINTWISE => &[0, 1],
        HEURISTIC => &[200, 201],
        PLAN => &[400, 401],
        OPERATION_POINTWISE => &[750, 751, 753],
        GRAPH => &[800, 801],
        PACK => &[1000, 1001, 1003],
        TENSOR => &[900, 901, 902, 903, 906],
        MATMUL => &[1500],
        OPERATION_MATMUL => &[1520, 1521, 1522, 1523],
        REDUCTION => &[1600, 1601],
        OPERATION_REDUCTION => &[1610, 1611, 1612],
        _ => &[],
    }
}

/// Bytes of a value of a type: of a flag one, of an enumeration four.
fn bytes_of(of: c_int) -> usize {
    match of {
        2 => 1,
        0 | 3 | 6 | 15 => 8,
        _ => 4,
    }
}

#[derive(Default)]
pub struct Descriptor {
    kind: c_int,
    closed: bool,
    values: HashMap<c_int, Vec<u64>>,
}

impl Descriptor {
    fn all(&self, attribute: c_int) -> &[u64] {
        self.values.get(&attribute).map_or(&[], Vec::as_slice)
    }

    fn one(&self, attribute: c_int) -> u64 {
        self.all(attribute)[0]
    }

    unsafe fn part(&self, attribute: c_int) -> &Descriptor {
        &*(self.one(attribute) as *const Descriptor)
    }

    /// The tensors of the graph behind a plan, by the order of their use: Q, Kᵀ, V and the result.
    unsafe fn tensors(&self) -> Option<[&Descriptor; 4]> {
        let operations: Vec<&Descriptor> =
            self.all(801).iter().map(|at| &*(*at as *const Descriptor)).collect();
        let kinds: Vec<(c_int, u64)> = operations
            .iter()
            .map(|operation| match operation.kind {
                OPERATION_POINTWISE => (operation.kind, operation.part(750).one(0)),
                OPERATION_REDUCTION => (operation.kind, operation.part(1612).one(1600)),
                kind => (kind, 0),
            })
            .collect();
        let (p, r, m) = (OPERATION_POINTWISE, OPERATION_REDUCTION, OPERATION_MATMUL);
        let attention = [(m, 0), (p, 1), (r, 3), (p, 9), (p, 13), (r, 0), (p, 15), (p, 0), (p, 6), (m, 0)];
        let (first, last) = (operations.first()?, operations.last()?);
        // Virtual are all but the four and the factor, which is on the host.
        let between = operations.iter().take(9).all(|operation| {
            let out = match operation.kind {
                OPERATION_POINTWISE => 753,
                OPERATION_REDUCTION => 1611,
                _ => 1522,
            };
            operation.part(out).all(907) == [1]
        });
        let on_host = operations.get(1)?.part(752).all(908) == [1];
        let tensors = [first.part(1520), first.part(1521), last.part(1521), last.part(1522)];
        (kinds == attention && between && on_host).then_some(tensors)
    }
}

/// An attention by its addresses and sizes.
pub struct Attention {
    q: u64,
    k: u64,
    v: u64,
    scale: f32,
    rows: u64,
    keys: u64,
    width: u64,
    /// The row asked for last, and its weights.
    known: Mutex<(u64, Vec<f64>)>,
}

impl Attention {
    pub fn element(&self, state: &State, _: u64, offset: u64) -> Vec<u8> {
        let element = offset / 2;
        let (row, column) = (element / self.width, element % self.width);
        let first = row / self.rows * self.keys;
        let mut known = self.known.lock().unwrap();
        if known.0 != row {
            *known = (row, self.weights(state, row, first));
        }
        let v = |key: u64| state.number_at(self.v, 2, key * self.width + column);
        bits(known.1.iter().zip(first..).map(|(weight, key)| weight * v(key)).sum(), 2)
    }

    fn weights(&self, state: &State, row: u64, first: u64) -> Vec<f64> {
        let query = state.numbers(self.q + 2 * row * self.width, self.width);
        let keys = state.numbers(self.k + 2 * first * self.width, self.keys * self.width);
        let powers = keys.chunks(self.width as usize).map(|key| {
            let score: f64 = query.iter().zip(key).map(|(x, y)| x * y).sum();
            (score * f64::from(self.scale)).exp()
        });
        let powers: Vec<f64> = powers.collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(|power| power / sum).collect()
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetVersion() -> usize {
    91_900
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnCreate(out: *mut usize) -> Status {
    *out = 1;
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetStream(_: usize, _: usize) -> Status {
    0
}

#[unsafe(no_mangle)]
pub extern "C" fn cudnnGetErrorString(status: Status) -> *const c_char {
    match status {
        BAD_PARAM => c"CUDNN_STATUS_BAD_PARAM",
        NOT_SUPPORTED => c"CUDNN_STATUS_NOT_SUPPORTED",
        _ => c"CUDNN_STATUS_EXECUTION_FAILED",
    }
    .as_ptr()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetLastErrorString(out: *mut c_char, _: usize) {
    *out = 0;
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendCreateDescriptor(kind: c_int, out: *mut *mut Descriptor) -> Status {
    *out = Box::into_raw(Box::new(Descriptor { kind, ..Descriptor::default() }));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendDestroyDescriptor(descriptor: *mut Descriptor) -> Status {
    drop(Box::from_raw(descriptor));
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendSetAttribute(
    descriptor: *mut Descriptor,
    attribute: c_int,
    of: c_int,
    count: i64,
    values: *const c_void,
) -> Status {
    let size = bytes_of(of);
    let values = (0..count as usize).map(|i| {
        let mut bytes = [0; 8];
        std::ptr::copy_nonoverlapping(values.cast::<u8>().add(i * size), bytes.as_mut_ptr(), size);
        u64::from_le_bytes(bytes)
    });
    let values: Vec<u64> = values.collect();
    let is_open = |at: &u64| !(*(*at as *const Descriptor)).closed;
    if (*descriptor).closed || (of == 15 && values.iter().any(is_open)) {
        return BAD_PARAM;
    }
    (*descriptor).values.insert(attribute, values);
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendFinalize(descriptor: *mut Descriptor) -> Status {
    let one = &mut *descriptor;
    if needed(one.kind).iter().any(|attribute| one.all(*attribute).is_empty()) {
        return BAD_PARAM;
    }
    if one.kind == GRAPH && one.tensors().is_none() {
        return NOT_SUPPORTED;
    }
    one.closed = true;
    0
}

/// Of a heuristic two configurations, none where the fault `no_engine` says so; of a configuration its engine; of an engine its number; of a plan its workspace.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendGetAttribute(
    descriptor: *const Descriptor,
    attribute: c_int,
    _: c_int,
    room: i64,
    count: *mut i64,
    out: *mut u64,
) -> Status {
    let one = &*descriptor;
    assert!(one.closed, "asked before it was closed");
    *count = 1;
    match attribute {
        202 => {
            // Of one width only, so that there are rows.
            let width = one.part(201).tensors().unwrap()[0].all(902)[3];
            *count = if with(|state| state.has("no_engine")) && width == 128 { 0 } else { room.min(2) };
            for i in 0..*count {
                let config = &mut *(*out.add(i as usize) as *mut Descriptor);
                config.closed = true;
                config.values.insert(-1, vec![one.one(201)]);
                config.values.insert(-2, vec![i as u64 + 4]);
            }
        }
        300 => {
            let engine = &mut *(*out as *mut Descriptor);
            assert_eq!(engine.kind, ENGINE);
            engine.closed = true;
            engine.values.insert(-2, vec![one.one(-2)]);
        }
        1301 => *out = one.one(-2),
        402 => *out = 4096,
        _ => return BAD_PARAM,
    }
    0
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnBackendExecute(
    _: usize,
    plan: *const Descriptor,
    pack: *const Descriptor,
) -> Status {
    let (plan, pack) = (&*plan, &*pack);
    let graph = &*(plan.part(401).one(-1) as *const Descriptor);
    let [q, k, v, out] = graph.tensors().unwrap();
    let at = |uid: u64| pack.all(1001)[pack.all(1000).iter().position(|known| *known == uid).unwrap()];
    let (sizes, keys) = (q.all(902), k.all(902)[3]);
    assert_eq!((k.all(902)[2], v.all(902)), (sizes[3], &[sizes[0], sizes[1], keys, sizes[3]][..]));
    let factor = graph.all(801)[1] as *const Descriptor;
    let scale = *(at((*factor).part(752).one(906)) as *const f32);
    let [batch, heads, rows, width] = [0, 1, 2, 3].map(|i| sizes[i]);
    let attention = Attention {
        q: at(q.one(906)),
        k: at(k.one(906)),
        v: at(v.one(906)),
        scale,
        rows,
        keys,
        width,
        known: Mutex::new((u64::MAX, Vec::new())),
    };
    let (to, workspace) = (at(out.one(906)), pack.one(1003));
    let cost = 3e-6 + (4 * batch * heads * rows * keys * width) as f64 / 400e12;
    let code = with(move |state| {
        if state.number("execute") == Some(width) {
            return EXECUTION_FAILED;
        }
        if state.broken != 0 {
            return state.broken;
        }
        state.launch(cost, move |state| {
            state.write_now(workspace, 4096, What::Set(0));
            state.write_now(to, batch * heads * rows * width * 2, What::Attention(Box::new(attention)))
        })
    });
    if code == 0 { 0 } else { EXECUTION_FAILED }
}
