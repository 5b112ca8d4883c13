//! The end of an iteration: replicas sum up their gradients, and the optimizer updates the weights.

use super::Plan;
use super::builder::Place;
use super::lower::{Lowering, free};
use super::role::{Block, Role};
use super::run::Run;
use super::step::Scope;
use super::team::{Group, Team};
use crate::dag::{Kind, TooLarge, Work};
use crate::dtype::Dtype;
use crate::op::{CollectiveKind, Kernel, KernelKind, Op};
use crate::spec::Optimizer;

/// Gradients are summed in f32.
pub(super) const GRADIENT: Dtype = Dtype::F32;

/// The name of the optimizer's step.
pub(super) const OPTIMIZER: &str = "optimizer";

/// Parameters: those that all replicas hold, and those of experts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Parameters {
    pub shared: u64,
    pub experts: u64,
}

impl Parameters {
    /// Those of a block on one GPU.
    pub fn of_block(block: &Block) -> Self {
        let of = |expert: bool| {
            let steps = block.forward.iter().filter(|step| (step.scope == Scope::Expert) == expert);
            steps.map(|step| step.parameters.saturating_mul(step.times)).fold(0, u64::saturating_add)
        };
        Parameters { shared: of(false), experts: of(true) }
    }

    /// Those of a role on one GPU.
    pub fn of_role(role: &Role) -> Self {
        let mut sum = Parameters::default();
        let kinds: Vec<Parameters> = role.kinds.iter().map(Parameters::of_block).collect();
        for (_, kind) in &role.blocks {
            sum.shared = sum.shared.saturating_add(kinds[*kind].shared);
            sum.experts = sum.experts.saturating_add(kinds[*kind].experts);
        }
        sum
    }

    /// All of them.
    pub const fn all(self) -> u64 {
        self.shared.saturating_add(self.experts)
    }

    /// Those whose state one of so many replicas holds, when they share it out.
    pub const fn divided(self, replicas: u64, expert_replicas: u64) -> u64 {
        self.shared.div_ceil(replicas).saturating_add(self.experts.div_ceil(expert_replicas))
    }
}

/// A collective: its kind, its bytes and their type.
type Exchange = (CollectiveKind, u64, Dtype);

/// The sums of a block's gradients: their names, what is exchanged, and by which groups.
pub(super) fn sums<'t>(
    plan: &Plan,
    team: &'t Team,
    block: &Block,
) -> impl Iterator<Item = (&'static str, Exchange, &'t [Group])> + use<'t> {
    let parameters = Parameters::of_block(block);
    let (sum, names) = match plan.train.is_some_and(|train| train.shard_optimizer) {
        true => (CollectiveKind::ReduceScatter, ["grad_reduce_scatter", "expert_grad_reduce_scatter"]),
        false => (CollectiveKind::AllReduce, ["grad_all_reduce", "expert_grad_all_reduce"]),
    };
    let held = [(parameters.shared, &team.replicas), (parameters.experts, &team.expert_replicas)];
    held.into_iter().zip(names).filter(|((parameters, _), _)| *parameters > 0).map(
        move |((parameters, groups), name)| {
            let bytes = parameters.saturating_mul(GRADIENT.bytes()).max(1);
            (name, (sum, bytes, GRADIENT), groups.as_slice())
        },
    )
}

impl Run<'_, '_> {
    /// Sums the gradients of a block over the GPUs that hold the same.
    pub(super) fn sum_gradients(
        &mut self,
        part: usize,
        block: usize,
        program: usize,
        place: Place,
    ) -> Result<(), TooLarge> {
        let Lowering { builder, programs, plan, .. } = &mut *self.lowering;
        let (_, kind) = programs[program].roles[part].blocks[block];
        let block = &programs[program].roles[part].kinds[kind];
        let team = &self.teams[self.layout.stage(part)];
        for (name, what, groups) in sums(plan, team, block) {
            builder.after_all(name, place, what, groups)?;
        }
        Ok(())
    }

    /// The optimizer's step on a stage that has nothing else left to do.
    pub(super) fn update(&mut self, stage: usize) -> Result<(), TooLarge> {
        let Lowering { builder, programs, plan, choice } = &mut *self.lowering;
        let Some(train) = plan.train.filter(|train| train.optimizer != Optimizer::None) else {
            return Ok(());
        };
        let team = &self.teams[stage];
        let parts = (0..self.layout.parts.len()).filter(|part| self.layout.stage(*part) == stage);
        let of_parts: Vec<Parameters> =
            parts.map(|part| Parameters::of_role(&programs[0].roles[part])).collect();
        let parameters = Parameters {
            shared: of_parts.iter().fold(0, |sum, part| sum.saturating_add(part.shared)),
            experts: of_parts.iter().fold(0, |sum, part| sum.saturating_add(part.experts)),
        };
        let [replicas, of_experts] = [&team.replicas, &team.expert_replicas]
            .map(|groups| groups.first().map_or(1, |group| group.ranks));
        let updated = match train.shard_optimizer {
            true => parameters.divided(replicas, of_experts),
            false => parameters.all(),
        };
        // priced as a copy that moves as many bytes
        let width = choice.dtype.bytes();
        let bytes = train.optimizer.moved_bytes() + width;
        let hidden = plan.model.hidden;
        let rows = u128::from(updated) * u128::from(bytes);
        let rows = rows.div_ceil(u128::from(2 * width * hidden)).max(1);
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        let copy = Kernel { kind: KernelKind::Copy, rows, cols: hidden, top_k: 1, dtype: choice.dtype };
        let work = Work { kind: Kind::Mem, ops: vec![(Op::Kernel(copy), 1)] };
        let place = Place { layer: None, microbatch: self.last };
        for gpu in &team.gpus {
            let after: Vec<_> = builder.last(*gpu).collect();
            builder.node(OPTIMIZER, place, work.clone(), &[*gpu], &after)?;
        }
        if train.shard_optimizer {
            let names = ["all_gather_weights", "all_gather_experts"];
            let groups = [(parameters.shared, &team.replicas), (parameters.experts, &team.expert_replicas)];
            for ((parameters, groups), name) in groups.into_iter().zip(names) {
                let bytes = parameters.saturating_mul(width);
                if parameters > 0 {
                    builder.after_all(
                        name,
                        place,
                        (CollectiveKind::AllGather, bytes, choice.dtype),
                        groups,
                    )?;
                }
            }
        }
        Ok(())
    }

    /// In training, what comes after all GPUs are done.
    pub(super) fn finish(&mut self) -> Result<(), TooLarge> {
        if self.train {
            let builder = &mut self.lowering.builder;
            let gpus = self.teams.iter().flat_map(|team| team.gpus.iter().copied());
            let after: Vec<_> = gpus.flat_map(|gpu| builder.last(gpu)).collect();
            let anywhere = Place { layer: None, microbatch: self.last };
            builder.node("output", anywhere, free(Kind::Output), &[], &after)?;
        }
        Ok(())
    }
}
