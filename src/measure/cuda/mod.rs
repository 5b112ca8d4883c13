//! One NVIDIA GPU: products by cuBLASLt, memory-bound kernels of our own, timed in CUDA graphs.
//!
//! The libraries are looked for when the program runs; nothing of CUDA is needed to build. Clocks, limits of
//! power and modes of the device are recorded and never changed.

mod arena;
mod attention;
mod attention_graph;
mod attention_plan;
mod blas_lt;
mod burn_in;
mod case;
mod chain;
mod check;
mod descriptor;
mod dnn;
pub mod found;
mod gpu;
mod kernel;
mod library;
mod memory;
pub mod nccl;
mod pattern;
mod peaks;
mod peer;
mod pinned;
mod preflight;
mod prepare;
mod product;
mod ptx;
mod settings;
mod stream;
mod switch;
mod timer;
mod transfer;
mod trouble;
mod watch;
mod wheels;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::time::Duration;

pub use self::library::Missing;
pub use self::settings::{Cache, Policy, Settings, Unavailable};

use self::arena::Arena;
use self::attention_plan::Plan;
use self::blas_lt::{Algorithm, BlasLt};
use self::case::Timed;
use self::check::Unchecked;
use self::dnn::Dnn;
use self::gpu::{Gpu, Shared};
use self::peer::Peer;
use self::timer::Timer;
use self::trouble::Trouble;
use self::watch::Watch;
use super::chain::{Chain, ChainOp};
use super::{Backend, Case, Clock, MeasureError, NO_OP, WallClock};
use crate::device::{Cluster, Device};
use crate::dtype::Dtype;
use crate::op::{Attention, Gemm, Op};

/// Memory left to the libraries and to whatever they load, in bytes.
const RESERVE: u64 = 1 << 30;

/// The version of CUDA whose drivers read the kernels: PTX 9.0.
const OLDEST_CUDA: i32 = 13_000;

/// Bytes that an op's buffers take beside its operands: copies begin at multiples of a size.
const SLACK: u128 = 16 << 20;

/// A GPU as a backend; keeps its buffers from one op to the next.
pub struct Cuda {
    settings: Settings,
    watch: Watch,
    details: toml::Table,
    /// Other processes that computed on the device when this one began.
    others: usize,
    /// What a launch takes that does nothing, within a graph.
    launch_seconds: Option<f64>,
    clock: WallClock,
    dtypes: Vec<Dtype>,
    algorithms: HashMap<Gemm, Algorithm>,
    plans: HashMap<Attention, Rc<Plan>>,
    /// cuDNN, or why there is none.
    dnn: Result<Rc<Dnn>, String>,
    /// Another device, or why copies between devices have nowhere to go.
    peer: Result<Rc<Peer>, String>,
    /// Ops whose results were right.
    checked: HashSet<Op>,
    // In the order in which they must be dropped: all before the device.
    timer: Timer,
    arena: Arena,
    blas_lt: Rc<BlasLt>,
    gpu: Shared,
}

impl Cuda {
    /// The GPU that the settings name.
    ///
    /// # Errors
    /// When a library or a GPU is missing, the GPU is too old, or another process computes on it.
    pub fn open(settings: Settings) -> Result<Self, Unavailable> {
        let library = library::find()?;
        let facts =
            gpu::facts(settings.device).map_err(|trouble| Unavailable::NoDevice(trouble.to_string()))?;
        if facts.capability.0 < 8 {
            let (major, minor) = facts.capability;
            return Err(Unavailable::TooOld { name: facts.name, major, minor });
        }
        if facts.cuda < OLDEST_CUDA {
            return Err(Unavailable::OldDriver { version: facts.cuda });
        }
        let watch = Watch::new(&facts.uuid);
        let others = watch.others();
        if others > 0 && !settings.allow_shared {
            return Err(Unavailable::InUse { name: facts.name, others });
        }
        let unusable = |trouble: Trouble| Unavailable::Unusable(trouble.to_string());
        let gpu = Rc::new(Gpu::open(facts, library).map_err(unusable)?);
        let blas_lt = Rc::new(BlasLt::open(&gpu).map_err(unusable)?);
        let timer = Timer::new(&gpu).map_err(unusable)?;
        let dnn = Dnn::open(&gpu);
        let peer = Peer::open(&gpu).map(Rc::new);
        let mut dtypes = vec![Dtype::Bf16, Dtype::F16, Dtype::Tf32, Dtype::F32];
        if gpu.facts.capability >= (8, 9) {
            dtypes.push(Dtype::F8E4m3);
        }
        let mut cuda = Cuda {
            details: preflight::details(&gpu, &blas_lt, &dnn, &watch),
            settings,
            watch,
            others,
            launch_seconds: None,
            clock: WallClock::start(),
            dtypes,
            algorithms: HashMap::new(),
            plans: HashMap::new(),
            dnn,
            peer,
            checked: HashSet::new(),
            timer,
            arena: Arena::new(&gpu, settings.seed),
            blas_lt,
            gpu,
        };
        cuda.burn_in().map_err(|error| Unavailable::Unusable(error.to_string()))?;
        Ok(cuda)
    }

    /// Whether the op's buffers can be had.
    fn fits(&self, op: &Op) -> Result<(), MeasureError> {
        let (asked, available) = (self.need(op), self.memory());
        if asked > u128::from(available) {
            return Err(MeasureError::OutOfMemory { op: *op, asked, available });
        }
        Ok(())
    }
}

impl Backend for Cuda {
    fn name(&self) -> &'static str {
        "gettime-cuda"
    }

    fn device(&self) -> Device {
        Device {
            name: self.gpu.facts.name.clone(),
            memory_bytes: Some(self.gpu.facts.memory_bytes),
            details: self.details.clone(),
        }
    }

    /// As many as are asked for; how many stand in one node is known only where several can be seen.
    fn cluster(&self, gpus: u64) -> Cluster {
        let seen = self.gpu.facts.devices;
        let gpus_per_node = (seen > 1).then_some(seen.min(gpus));
        Cluster { gpus: Some(gpus), gpus_per_node, ..Cluster::default() }
    }

    fn dtypes(&self) -> &[Dtype] {
        &self.dtypes
    }

    fn remarks(&self) -> Vec<String> {
        let no_attention = |reason: &String| format!("there is no fused attention in this table: {reason}");
        let mut remarks = preflight::remarks(&self.details);
        remarks.extend(self.dnn.as_ref().err().map(no_attention));
        remarks
    }

    fn supports(&self, op: &Op) -> Result<(), String> {
        match op {
            Op::Gemm(op) => {
                if !self.dtypes.contains(&op.dtype) {
                    return Err(format!("this device multiplies no {}", op.dtype));
                }
                if op.dtype == Dtype::F8E4m3 && [op.m, op.k, op.n].iter().any(|size| size % 16 != 0) {
                    return Err("8-bit products have sizes that are multiples of 16".into());
                }
                if [op.m, op.k, op.n, op.batch].iter().any(|size| *size >= 1 << 31) {
                    return Err("a size above what cuBLASLt counts".into());
                }
                Ok(())
            }
            Op::Kernel(op) => kernel::supported(op),
            Op::Attention(op) => {
                self.dnn.as_ref().map_err(|reason| format!("there is no fused attention: {reason}"))?;
                attention::supported(op)
            }
            Op::P2p(op) if op.link.is_copy() => transfer::supported(op, self.peer.as_ref().err()),
            Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) => Err("one GPU has nobody to send to".into()),
            Op::Chain(_) => Err(NO_OP.into()),
        }
    }

    fn need(&self, op: &Op) -> u128 {
        SLACK
            + match op {
                Op::Gemm(op) => product::sizes(op).into_iter().sum::<u128>(),
                Op::Kernel(op) => kernel::need(op),
                Op::Attention(op) => {
                    let workspace = self.plans.get(op).map_or(0, |plan| plan.workspace_bytes);
                    attention::sizes(op).into_iter().sum::<u128>() * 2 + u128::from(workspace)
                }
                op => op.bytes(),
            }
    }

    fn memory(&self) -> u64 {
        (self.gpu.free_bytes() + self.arena.bytes()).saturating_sub(RESERVE)
    }

    fn clock(&self) -> Rc<dyn Clock> {
        Rc::new(self.clock)
    }

    /// 1 ms: 2000 times the resolution of events.
    fn shortest_sample(&self) -> Duration {
        Duration::from_millis(1)
    }

    /// The clock of the multiprocessors, in MHz.
    fn pace(&mut self) -> Option<f64> {
        self.watch.state().map(|state| state.mhz.into())
    }

    fn chain(&mut self, links: &[ChainOp], buffers: &[u64]) -> Result<Box<dyn Chain>, MeasureError> {
        chain::linked(self, links, buffers).map(|chain| Box::new(chain) as Box<dyn Chain>)
    }

    fn prepare<'a>(&'a mut self, op: &Op) -> Result<Box<dyn Case + 'a>, MeasureError> {
        self.supports(op).map_err(|reason| MeasureError::Unsupported { op: *op, reason })?;
        self.fits(op)?;
        let start = self.clock.now();
        if let Op::Attention(attention) = op {
            self.plan(attention)?;
            self.fits(op)?; // with its workspace, which is known now
        }
        let once = self.clock.now().saturating_sub(start);
        let gpu = Rc::clone(&self.gpu);
        match self.prepared(op) {
            Ok(timed) => Ok(Box::new(Timed { once, ..timed })),
            Err(Unchecked::Trouble(trouble)) => {
                let error = trouble.of(op);
                let _ = gpu.note::<()>(Err(trouble));
                Err(error)
            }
            Err(Unchecked::Wrong(wrong)) => Err(MeasureError::WrongResult {
                op: *op,
                place: wrong.place,
                expected: wrong.expected,
                got: wrong.got,
            }),
        }
    }
}
