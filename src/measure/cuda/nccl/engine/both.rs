//! A product on a stream of its own, beside the exchanges of this rank.

use std::rc::Rc;

use super::{Nccl, own};
use crate::measure::cuda::arena::{Arena, Zone, copies};
use crate::measure::cuda::blas_lt::BlasLt;
use crate::measure::cuda::check::{Unchecked, Wrong};
use crate::measure::cuda::gpu::{Gpu, Shared};
use crate::measure::cuda::product::{self, Product};
use crate::measure::cuda::stream::Event;
use crate::measure::cuda::trouble::Trouble as DeviceTrouble;
use crate::measure::fabric::Group;
use crate::op::Gemm;
use crate::world::watch::Trouble;

/// Copies of the weights at most.
const MOST_COPIES: u64 = 64;

/// What computes beside the exchanges: the same device by another stream.
pub(super) struct Compute {
    /// The product that is ready, and its next turn.
    product: Option<(Product, u64)>,
    start: Event,
    stop: Event,
    arena: Arena,
    blas_lt: Rc<BlasLt>,
    gpu: Shared,
}

impl Compute {
    fn open(gpu: &Shared, seed: u64) -> Result<Self, DeviceTrouble> {
        let gpu = Shared::new(Gpu::open(gpu.facts.clone(), gpu.library())?);
        Ok(Compute {
            product: None,
            start: Event::new(&gpu)?,
            stop: Event::new(&gpu)?,
            arena: Arena::new(&gpu, seed),
            blas_lt: Rc::new(BlasLt::open(&gpu)?),
            gpu,
        })
    }

    /// Makes a product ready, with weights that are in no cache, runs it once and compares its result.
    fn prepare(&mut self, op: &Gemm, memory: u64) -> Result<(), Unchecked> {
        self.product = None;
        let (mut inputs, mut outputs) = (Zone::default(), Zone::default());
        let [_, weights, _] = product::sizes(op);
        let turns = copies(weights as u64, 3 * self.gpu.facts.l2_bytes, MOST_COPIES, memory / 8);
        let mut product = Product::new(&self.blas_lt, op, [1, turns, 1], (&mut inputs, &mut outputs))?;
        let algorithm = product.algorithms(1)?.into_iter().next().ok_or(DeviceTrouble::NoAlgorithm)?;
        product.choose(algorithm);
        let buffers = self.arena.buffers(op.dtype, inputs.bytes, outputs.bytes, &[])?;
        buffers.outputs.set(0xff, outputs.bytes)?;
        product.launch(&buffers, 0)?;
        self.stop.record()?;
        let stop = &self.stop;
        self.gpu.wait(|| stop.is_past(), || ())?;
        product.check(&buffers, 1)?;
        self.product = Some((product, 0));
        Ok(())
    }

    /// Queues so many runs between the two events.
    fn queue(&mut self, runs: u64) -> Result<(), DeviceTrouble> {
        let (Some((product, turn)), Some(buffers)) = (&mut self.product, self.arena.held()) else {
            return Err(DeviceTrouble::Lost);
        };
        self.start.record()?;
        for _ in 0..runs {
            product.launch(&buffers, *turn)?;
            *turn += 1;
        }
        self.stop.record()
    }
}

impl Nccl {
    /// Makes the product of a pair ready beside its all-reduce.
    pub(super) fn prepare_product(&mut self, op: &Gemm) -> Result<(), Trouble> {
        if self.compute.is_none() {
            self.compute = Some(Compute::open(&self.gpu, self.seed).map_err(own)?);
        }
        let memory = self.gpu.free_bytes();
        match self.compute.as_mut().map_or(Ok(()), |compute| compute.prepare(op, memory)) {
            Ok(()) => Ok(()),
            Err(Unchecked::Trouble(trouble)) => Err(own(trouble)),
            Err(Unchecked::Wrong(Wrong { place, expected, got })) => {
                let text = format!("{place} of {op} is wrong: expected {expected}, got {got}");
                Err(Trouble { text, is_echo: false })
            }
        }
    }

    /// Seconds of so many products and so many exchanges, which begin once a barrier has been passed.
    pub(super) fn both_runs(
        &mut self,
        group: Group,
        products: u64,
        exchanges: u64,
    ) -> Result<[f64; 2], Trouble> {
        let exchanging = self.behind_barrier(group, |rank| {
            rank.start.record().map_err(own)?;
            (0..exchanges).try_for_each(|_| rank.queue())?;
            rank.stop.record().map_err(own)?;
            let Some(compute) = &mut rank.compute else { return Ok(()) };
            rank.start.hold_back(&compute.gpu).map_err(own)?;
            compute.queue(products).map_err(own)
        })?;
        let Some(compute) = &self.compute else { return Ok([0.0, exchanging]) };
        self.finish(&compute.stop)?;
        Ok([compute.stop.seconds_since(&compute.start).map_err(own)?, exchanging])
    }
}
