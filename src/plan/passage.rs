//! Lowers a pipeline to passages: everything that a stage does with a micro-batch is one node, and its sending a
//! second.
//!
//! Where one GPU stands for all of a stage, and communication has no stream of its own, its nodes run one after
//! the other, and what leaves the stage waits for all of them. So a passage takes as long as its ops together,
//! and layers that are alike are counted, not repeated. What it can do before anything has come from the stage
//! before is a node of its own.

use super::builder::Builder;
use super::lower::Lowering;
use super::order::Unit;
use super::run::Run;
use super::step::{Doing, Scope, Step};
use super::team::Team;
use super::tensor::Tensor;
use super::update::sums;
use crate::dag::{Kind, NameId, NodeId, Tag, TooLarge, Work, WorkId};
use crate::dtype::Dtype;
use crate::op::Op;

/// The passages of a pipeline.
pub(super) struct Passages {
    name: NameId,
    microbatches: usize,
    programs: usize,
    /// What a unit does before and after what comes for it is needed, by part, program, whether it is backward,
    /// and whether it is of the last micro-batch.
    works: Vec<Option<[WorkId; 2]>>,
    /// What sends what a unit leaves behind, by part, program and whether it is backward.
    sends: Vec<Option<WorkId>>,
    /// What came for a unit, by part, micro-batch and whether it is backward.
    arrived: Vec<Option<NodeId>>,
}

impl Passages {
    pub fn new(
        builder: &mut Builder,
        parts: usize,
        microbatches: u32,
        programs: usize,
    ) -> Result<Self, TooLarge> {
        let microbatches = microbatches as usize;
        Ok(Passages {
            name: builder.dag.name("passage")?,
            microbatches,
            programs,
            works: vec![None; parts * programs * 4],
            sends: vec![None; parts * programs * 2],
            arrived: vec![None; parts * microbatches * 2],
        })
    }

    const fn arrival(&self, part: usize, unit: &Unit) -> usize {
        (part * self.microbatches + unit.microbatch as usize) * 2 + unit.backward as usize
    }
}

impl Run<'_, '_> {
    /// Appends a unit as one node, and its sending to the part that comes next.
    pub(super) fn passage(
        &mut self,
        passages: &mut Passages,
        unit: &Unit,
        program: usize,
    ) -> Result<(), TooLarge> {
        let part = unit.part;
        let last = unit.backward && unit.microbatch == self.last;
        let kind = (part * passages.programs + program) * 2 + usize::from(unit.backward);
        let [early, work] = match passages.works[kind * 2 + usize::from(last)] {
            Some(works) => works,
            None => {
                let ops = self.ops(part, program, unit.backward, last);
                let works = ops.map(|ops| self.lowering.builder.dag.work(Work { kind: Kind::Gemm, ops }));
                passages.works[kind * 2 + usize::from(last)] = Some(works);
                works
            }
        };
        let next = match unit.backward {
            true => part.checked_sub(1),
            false => Some(part + 1).filter(|next| *next < self.layout.parts.len()),
        };
        let gpu = self.teams[self.layout.stage(part)].gpus[0];
        let before = passages.arrived[passages.arrival(part, unit)];
        let builder = &mut self.lowering.builder;
        let tag = Tag { name: passages.name, layer: None, microbatch: unit.microbatch };
        let lane = builder.dag.gpu(gpu);
        let mut last = builder.last[gpu as usize][0];
        if !builder.dag.works()[early.index()].ops.is_empty() {
            last = Some(builder.dag.push(tag, early, lane, last)?);
        }
        let mut node = builder.dag.push(tag, work, lane, before.into_iter().chain(last))?;
        if let Some(next) = next {
            let send = match passages.sends[kind] {
                Some(send) => send,
                None => {
                    let to = self.teams[self.layout.stage(next)].gpus[0];
                    let entering = &self.lowering.programs[program].roles[part].entering;
                    let bytes = entering.bytes(self.lowering.choice.dtype.bytes());
                    let send = builder.sending([gpu, to], bytes);
                    passages.sends[kind] = Some(send);
                    send
                }
            };
            node = builder.dag.push(tag, send, lane, [node])?;
            let arrival = passages.arrival(next, unit);
            passages.arrived[arrival] = Some(node);
        }
        builder.last[gpu as usize][0] = Some(node);
        Ok(())
    }

    /// The ops of a unit on the stage's one GPU, each with how often it runs: those that run before what comes
    /// from another part is read, as what is computed again for the backward pass, and the others.
    fn ops(&self, part: usize, program: usize, backward: bool, last: bool) -> [Vec<(Op, u64)>; 2] {
        let Lowering { programs, plan, choice, .. } = &*self.lowering;
        let role = &programs[program].roles[part];
        let team = &self.teams[self.layout.stage(part)];
        let mut early = Sum { team, dtype: choice.dtype, ops: Vec::new() };
        let mut sum = Sum { team, dtype: choice.dtype, ops: Vec::new() };
        let (first, comes) = match backward {
            true => (role.blocks.last(), Tensor::Out.gradient()),
            false => (role.blocks.first(), Tensor::X),
        };
        for (kind, block) in role.kinds.iter().enumerate() {
            let blocks = role.blocks.iter().filter(|(_, other)| *other == kind).count() as u64;
            let steps = if backward { &block.backward.steps } else { &block.forward };
            let needs = |step: &Step| step.reads.iter().any(|(tensor, _)| *tensor == comes);
            if first.is_some_and(|(_, first)| *first == kind)
                && let Some(at) = steps.iter().position(needs)
            {
                steps[..at].iter().for_each(|step| early.step(step, 1));
                steps[at..].iter().for_each(|step| sum.step(step, 1));
                steps.iter().for_each(|step| sum.step(step, blocks - 1));
            } else {
                steps.iter().for_each(|step| sum.step(step, blocks));
            }
            if last && blocks > 0 {
                for (_, (kind, bytes, dtype), groups) in sums(plan, team, block) {
                    if let Some(group) = groups.first() {
                        sum.add(group.collective(kind, bytes, dtype), blocks);
                    }
                }
            }
        }
        [early.ops, sum.ops]
    }
}

/// Ops with their counts.
struct Sum<'a> {
    team: &'a Team,
    dtype: Dtype,
    ops: Vec<(Op, u64)>,
}

impl Sum<'_> {
    fn add(&mut self, op: Op, times: u64) {
        if times == 0 {
            return;
        }
        match self.ops.iter_mut().find(|(other, _)| *other == op) {
            Some((_, count)) => *count += times,
            None => self.ops.push((op, times)),
        }
    }

    fn step(&mut self, step: &Step, times: u64) {
        let group = match step.scope {
            Scope::Gpu | Scope::Expert => None,
            Scope::TensorGroup => self.team.tensor_groups.first(),
            Scope::ExpertGroup => self.team.expert_groups.first(),
        };
        match (&step.doing, step.scope, group) {
            (Doing::Ops(_, ops), Scope::Expert, _) => {
                // the first GPU holds the most wanted expert, where one is
                let hottest = step.hottest.as_ref().map_or(&[][..], |hottest| &hottest.ops);
                let others = self.team.experts - u64::from(!hottest.is_empty());
                hottest.iter().for_each(|(op, count)| self.add(*op, count * times));
                ops.iter().for_each(|(op, count)| self.add(*op, count * others * times));
            }
            (Doing::Ops(_, ops), Scope::Gpu, _) | (Doing::Ops(_, ops), _, Some(_)) => {
                ops.iter().for_each(|(op, count)| self.add(*op, count * times));
            }
            (Doing::Collective(kind, bytes), _, Some(group)) => {
                self.add(group.collective(*kind, *bytes, self.dtype), times);
            }
            // a group of one exchanges nothing
            (_, _, None) => {}
        }
    }
}
