//! A pipeline on its way into the graph, unit by unit: a part of the layers for one micro-batch, forward or backward.

use std::collections::HashMap;

use super::builder::Place;
use super::layout::Pipeline;
use super::lower::{Lowering, free};
use super::order::Unit;
use super::team::Team;
use super::tensor::Tensor;
use crate::dag::{Kind, NodeId, TooLarge};
use crate::op::CollectiveKind;

/// The names of the gathering of what was sent in shares.
pub(super) const GATHER: &str = "gather";
/// Likewise of gradients.
pub(super) const GATHER_BACK: &str = "gather_grad";

/// A pipeline on its way into the graph.
pub(super) struct Run<'r, 'a> {
    pub lowering: &'r mut Lowering<'a>,
    pub layout: &'r Pipeline,
    /// By stage.
    pub teams: Vec<Team>,
    /// The last micro-batch.
    pub last: u32,
    pub train: bool,
    /// What was sent to a part, or is the loss of the last, and not yet taken: micro-batch, whether it is a gradient,
    /// and the arrivals.
    arrivals: HashMap<(usize, u32, bool), Vec<NodeId>>,
}

impl<'r, 'a> Run<'r, 'a> {
    /// Nothing of it is there yet.
    pub fn new(lowering: &'r mut Lowering<'a>, layout: &'r Pipeline, teams: Vec<Team>, last: u32) -> Self {
        let train = lowering.plan.train.is_some();
        Run { lowering, layout, teams, last, train, arrivals: HashMap::new() }
    }
}

impl Run<'_, '_> {
    /// The unit of another stage that this one takes its data from.
    pub fn needs(&self, unit: &Unit) -> Option<Unit> {
        let last = self.layout.parts.len() - 1;
        let part = match unit.backward {
            false => unit.part.checked_sub(1)?,
            true if unit.part == last => return Some(Unit { backward: false, ..*unit }),
            true => unit.part + 1,
        };
        Some(Unit { part, ..*unit })
    }

    /// Appends a unit, node by node.
    pub fn unit(&mut self, unit: &Unit, program: usize) -> Result<(), TooLarge> {
        let (part, u) = (unit.part, unit.microbatch);
        let anywhere = Place { layer: None, microbatch: u };
        let gpus = self.teams[self.layout.stage(part)].gpus.clone();
        let enters = if unit.backward { Tensor::Out.gradient() } else { Tensor::X };
        if let Some(arrivals) = self.arrivals.remove(&(part, u, unit.backward)) {
            for (gpu, arrived) in gpus.iter().zip(arrivals) {
                self.lowering.builder.writers.wrote(&[enters], *gpu, arrived);
            }
            let sent = !unit.backward || part + 1 < self.layout.parts.len();
            if self.layout.scatter_sends && sent {
                self.gather(unit, program, enters)?;
            }
        } else if !unit.backward {
            let builder = &mut self.lowering.builder;
            let input = builder.node("input", anywhere, free(Kind::Input), &[], &[])?;
            let enters = if self.lowering.plan.model.vocabulary.is_some() { Tensor::Tokens } else { enters };
            gpus.iter().for_each(|gpu| builder.writers.wrote(&[enters], *gpu, input));
        }
        if unit.backward {
            self.backward(unit, program, &gpus)?;
            return match part {
                0 => Ok(()),
                _ => self.send(unit, part - 1, program, Tensor::Out.gradient()),
            };
        }
        self.forward(unit, program, &gpus)?;
        if part + 1 < self.layout.parts.len() {
            return self.send(unit, part + 1, program, Tensor::X);
        }
        let builder = &mut self.lowering.builder;
        if !self.train {
            let after = builder.all_writers(gpus, Tensor::X);
            builder.node("output", anywhere, free(Kind::Output), &[], &after)?;
        } else if self.lowering.plan.model.vocabulary.is_none() {
            // the loss is out of scope, but its gradient comes from somewhere
            let mut losses = Vec::with_capacity(gpus.len());
            for gpu in gpus {
                let after = builder.writers.of(gpu, Tensor::X).to_vec();
                losses.push(builder.node("loss", anywhere, free(Kind::Join), &[gpu], &after)?);
            }
            self.arrivals.insert((part, u, true), losses);
        }
        Ok(())
    }

    fn forward(&mut self, unit: &Unit, program: usize, gpus: &[u32]) -> Result<(), TooLarge> {
        let Lowering { builder, programs, plan, .. } = &mut *self.lowering;
        let team = &self.teams[self.layout.stage(unit.part)];
        let blocks = &programs[program].roles[unit.part].blocks;
        for (i, (layer, kind)) in blocks.iter().enumerate() {
            let steps = &programs[program].steps[0][*kind];
            let place = Place { layer: layer.map(|layer| layer as u16), microbatch: unit.microbatch };
            builder.block(team, |_| &steps.forward, place)?;
            if self.train {
                builder.writers.keep(gpus, ((unit.part, i), unit.microbatch), &steps.kept);
            }
            builder.writers.pass_on(gpus, Tensor::Out, Tensor::X);
            if !self.train && unit.part == 0 && i == 0 && unit.microbatch == 0 {
                builder.reserve(plan.model.layers - 1, 0)?;
            }
        }
        Ok(())
    }

    fn backward(&mut self, unit: &Unit, program: usize, gpus: &[u32]) -> Result<(), TooLarge> {
        let blocks = self.lowering.programs[program].roles[unit.part].blocks.len();
        for i in (0..blocks).rev() {
            let Lowering { builder, programs, .. } = &mut *self.lowering;
            let (layer, kind) = programs[program].roles[unit.part].blocks[i];
            let steps = &programs[program].steps[0][kind];
            let place = Place { layer: layer.map(|layer| layer as u16), microbatch: unit.microbatch };
            builder.writers.restore(gpus, ((unit.part, i), unit.microbatch));
            builder.block(&self.teams[self.layout.stage(unit.part)], |_| &steps.backward, place)?;
            let [from, to] = [Tensor::X, Tensor::Out].map(Tensor::gradient);
            builder.writers.pass_on(gpus, from, to);
            if unit.microbatch == self.last {
                self.sum_gradients(unit.part, i, program, place)?;
            }
        }
        Ok(())
    }

    /// What a unit leaves behind as `tensor`, to the GPUs that hold another part.
    fn send(&mut self, unit: &Unit, part: usize, program: usize, tensor: Tensor) -> Result<(), TooLarge> {
        let Lowering { builder, programs, choice, .. } = &mut *self.lowering;
        let what = if unit.backward { ["send_grad", "recv_grad"] } else { ["send", "recv"] };
        // a stage of several GPUs names the stage that it sends to
        let names = match (self.layout.stage_gpus(), self.layout.parts.len() as u64) {
            (1, parts) if parts == self.layout.pipeline => what.map(str::to_owned),
            _ => what.map(|name| format!("{name}_stage{part}")),
        };
        let whole = programs[program].roles[unit.part].entering.bytes(choice.dtype.bytes());
        let bytes = if self.layout.scatter_sends { whole.div_ceil(self.layout.tensor) } else { whole };
        let place = Place { layer: None, microbatch: unit.microbatch };
        let [from, to] = [unit.part, part].map(|part| &self.teams[self.layout.stage(part)].gpus);
        let mut arrivals = Vec::with_capacity(to.len());
        for (from, to) in from.iter().zip(to) {
            let names = [names[0].as_str(), names[1].as_str()];
            arrivals.push(builder.send(names, place, [*from, *to], bytes, tensor)?);
        }
        self.arrivals.insert((part, unit.microbatch, unit.backward), arrivals);
        Ok(())
    }

    /// The shares that the GPUs of a tensor group were sent, put together.
    fn gather(&mut self, unit: &Unit, program: usize, tensor: Tensor) -> Result<(), TooLarge> {
        let Lowering { builder, programs, choice, .. } = &mut *self.lowering;
        let bytes = programs[program].roles[unit.part].entering.bytes(choice.dtype.bytes());
        let name = format!("{}_stage{}", if unit.backward { GATHER_BACK } else { GATHER }, unit.part);
        let place = Place { layer: None, microbatch: unit.microbatch };
        let groups = &self.teams[self.layout.stage(unit.part)].tensor_groups;
        for group in groups {
            let mut after = builder.all_writers(group.gpus.iter().copied(), tensor);
            let what = (CollectiveKind::AllGather, bytes, choice.dtype);
            let node = builder.collective_after(&name, place, what, group, groups.len(), &mut after)?;
            group.gpus.iter().for_each(|gpu| builder.writers.wrote(&[tensor], *gpu, node));
        }
        Ok(())
    }
}
