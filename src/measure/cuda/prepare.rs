//! From an op to something that can be timed: its operands placed, its algorithm chosen, its result checked.

use std::rc::Rc;
use std::time::Duration;

use super::arena::{Buffers, Zone, copies};
use super::attention::{self, Fused};
use super::attention_plan::Plan;
use super::blas_lt::Algorithm;
use super::case::{MOST_LAUNCHES, Timed};
use super::check::Unchecked;
use super::kernel::{self, Streaming};
use super::product::{self, Product};
use super::timer::{Timer, Work};
use super::transfer::Transfer;
use super::trouble::Trouble;
use super::{Cache, Cuda, Policy};
use crate::dtype::Dtype;
use crate::measure::Backend;
use crate::measure::MeasureError;
use crate::op::{Attention, Gemm, Op};

/// Launches by which candidates of an algorithm are compared, and how often.
const TRIAL: (u64, usize) = (4, 5);

impl Cuda {
    /// Places an op's operands in as many copies as the cache asks for, and makes it ready to run.
    pub(super) fn work(&self, op: &Op) -> Result<(Work, Zone, Zone), Trouble> {
        let (mut inputs, mut outputs) = (Zone::default(), Zone::default());
        let zones = (&mut inputs, &mut outputs);
        let (rotated, cap) = (3 * self.gpu.facts.l2_bytes, self.memory() / 4);
        let cold = self.settings.cache != Cache::Hot;
        let turns = |bytes: u128, of: u128| {
            let cap = u64::try_from(u128::from(cap) * bytes / of.max(1)).unwrap_or(cap);
            if cold { copies(bytes as u64, rotated, MOST_LAUNCHES, cap) } else { 1 }
        };
        let work = match op {
            Op::Gemm(gemm) => {
                let [a, b, c] = product::sizes(gemm);
                let count = match self.settings.cache {
                    Cache::Hot => [1; 3],
                    Cache::WeightsCold => [1, turns(b, b), 1],
                    Cache::Cold => [turns(a + b + c, a + b + c); 3],
                };
                Work::Product(Product::new(&self.blas_lt, gemm, count, zones)?)
            }
            Op::Kernel(kernel) => {
                let bytes = kernel::need(kernel);
                Work::Kernel(Streaming::new(&self.gpu, kernel, turns(bytes, bytes), zones)?)
            }
            Op::Attention(op) => {
                let (Ok(dnn), Some(plan)) = (&self.dnn, self.plans.get(op)) else {
                    return Err(Trouble::NoEngine);
                };
                let bytes = 2 * attention::sizes(op).into_iter().sum::<u128>();
                Work::Attention(Fused::new((dnn, plan), op, turns(bytes, bytes), zones))
            }
            Op::P2p(op) if op.link.is_copy() => {
                let copies = turns(op.bytes.into(), op.bytes.into());
                Work::Transfer(Transfer::new(&self.gpu, self.peer.as_ref().ok(), op, copies, zones)?)
            }
            Op::Collective(_) | Op::P2p(_) | Op::Overlap(_) | Op::Chain(_) => {
                return Err(Trouble::NoAlgorithm);
            }
        };
        Ok((work, inputs, outputs))
    }

    /// The algorithm of a product: the library's first choice, or the fastest of several.
    pub(super) fn algorithm(&mut self, op: &Gemm) -> Result<Algorithm, Trouble> {
        if let Some(known) = self.algorithms.get(op) {
            return Ok(known.clone());
        }
        let count = match self.settings.policy {
            Policy::Heuristic => 1,
            Policy::BestOf8 => 8,
        };
        let (Work::Product(mut product), inputs, outputs) = self.work(&Op::Gemm(*op))? else {
            return Err(Trouble::NoAlgorithm);
        };
        let mut candidates = product.algorithms(count)?.into_iter();
        let Some(mut best) = candidates.next() else { return Err(Trouble::NoAlgorithm) };
        if candidates.len() > 0 {
            let buffers = self.arena.buffers(op.dtype, inputs.bytes, outputs.bytes, &[])?;
            let (timer, cache) = (&self.timer, self.settings.cache);
            let mut least = f64::INFINITY;
            for candidate in std::iter::once(best.clone()).chain(candidates) {
                product.choose(candidate.clone());
                let work = Work::Product(product);
                let seconds = trial(timer, cache, &work, &buffers);
                let Work::Product(again) = work else { break };
                product = again;
                match seconds {
                    Ok(seconds) if seconds < least => (least, best) = (seconds, candidate),
                    Err(trouble) if trouble.is_final() => return self.gpu.note(Err(trouble)),
                    _ => {}
                }
            }
        }
        self.algorithms.insert(*op, best.clone());
        Ok(best)
    }

    /// Makes the plan of an attention, once.
    pub(super) fn plan(&mut self, op: &Attention) -> Result<(), MeasureError> {
        let Ok(dnn) = &self.dnn else { return Ok(()) };
        if !self.plans.contains_key(op) {
            let plan = Plan::new(dnn, op, None).map_err(|trouble| {
                let (promised, op) = (attention::is_promised(op), Op::Attention(*op));
                if promised {
                    trouble.of(&op)
                } else {
                    MeasureError::Unsupported { op, reason: trouble.to_string() }
                }
            })?;
            self.plans.insert(*op, Rc::new(plan));
        }
        Ok(())
    }

    pub(super) fn prepared<'a>(&'a mut self, op: &Op) -> Result<Timed<'a>, Unchecked> {
        let algorithm = match op {
            Op::Gemm(gemm) => Some(self.algorithm(gemm)?),
            _ => None,
        };
        let (mut work, inputs, outputs) = self.work(op)?;
        let mut gathered: &[u32] = &[];
        match (&mut work, algorithm) {
            (Work::Product(product), Some(algorithm)) => product.choose(algorithm),
            (Work::Kernel(kernel), _) => gathered = &kernel.gathered,
            _ => {}
        }
        let dtype = op.dtype().unwrap_or(Dtype::Bf16);
        let buffers = self.arena.buffers(dtype, inputs.bytes, outputs.bytes, gathered)?;
        // Bytes that are no number in any type, so that what is not written is seen.
        buffers.outputs.set(0xff, outputs.bytes)?;
        self.timer.once(&work, &buffers)?;
        // Later passes run the same on the same data: a few elements tell whether the device still computes.
        let share = if self.checked.insert(*op) { 1 } else { 8 };
        match &work {
            Work::Product(product) => product.check(&buffers, share)?,
            Work::Kernel(kernel) => kernel.check(&buffers, share)?,
            Work::Attention(fused) => fused.check(&buffers, share)?,
            Work::Transfer(transfer) => transfer.check(&buffers)?,
        }
        Ok(Timed {
            op: *op,
            work,
            gpu: &self.gpu,
            timer: &self.timer,
            buffers,
            settings: &self.settings,
            watch: &self.watch,
            shared: self.others > 0,
            once: Duration::ZERO,
            graph: None,
            eager: false,
            least: None,
            asked: None,
            states: Vec::new(),
            state: None,
            discarded: 0,
            launch_seconds: self.launch_seconds,
            taken: Vec::new(),
        })
    }
}

/// The least time of some runs of a candidate, in seconds.
fn trial(timer: &Timer, cache: Cache, work: &Work, buffers: &Buffers<'_>) -> Result<f64, Trouble> {
    timer.once(work, buffers)?; // its kernel is loaded then
    let graph = timer.graph(work, buffers, cache, TRIAL.0)?;
    (0..TRIAL.1).try_fold(f64::INFINITY, |least, _| Ok(least.min(timer.replay(&graph, || ())?)))
}
