//! From a plan to its graph.

use super::builder::{Builder, Place};
use super::layout::{Layout, Pipeline};
use super::prepared::Prepared;
use super::role::{Role, roles};
use super::step::Tensor;
use super::team::Team;
use super::{Choice, Plan};
use crate::dag::{Dag, Kind, NodeId, TooLarge, Work};

/// Lowers a plan to its graph.
///
/// With M micro-batches the graph is M copies, each of its share of the sequences (shares differ by one where
/// they do not go up), and the copies are put in an order on every GPU by edges: a stage of a pipeline
/// finishes one micro-batch before it begins the next; two separated groups take micro-batches in pairs, so
/// that one group can work on the first of a pair while the other works on the second.
///
/// # Errors
/// When the graph would be larger than its ids can count.
pub fn lower(plan: &Plan, choice: &Choice) -> Result<Dag, TooLarge> {
    let share = plan.model.batch / plan.layout.replicas();
    let copies = choice.microbatches.clamp(1, share.max(1));
    let mut graph = Lowering {
        plan,
        choice,
        builder: Builder::new(plan.gpus, copies, choice.dtype, choice.gpus_per_node),
        programs: Vec::new(),
    };
    // the first micro-batches take one sequence more where the batch does not divide
    let (size, larger) = (share / copies, share % copies);
    if larger > 0 {
        graph.program(size + 1)?;
    }
    graph.program(size)?;
    let program = |u: u64| usize::from(larger > 0 && u >= larger);
    match &plan.layout {
        Layout::Pipeline(layout) => {
            for u in 0..copies {
                graph.pipeline(layout, program(u), u as u32)?;
                if u == 0 {
                    // with an edge for each GPU from one copy to the next
                    graph.builder.reserve(copies - 1, plan.gpus.saturating_mul(copies))?;
                }
            }
        }
        Layout::Separated(layout) => {
            for u in (0..copies).step_by(2) {
                let pair: Vec<_> = (u..copies.min(u + 2)).map(|u| (program(u), u as u32)).collect();
                graph.separated(layout, &pair)?;
                if u == 0 {
                    graph.builder.reserve(copies.div_ceil(2) - 1, plan.gpus.saturating_mul(copies))?;
                }
            }
        }
    }
    Ok(graph.builder.finish())
}

/// A graph on its way.
pub(super) struct Lowering<'a> {
    pub plan: &'a Plan,
    pub choice: &'a Choice,
    pub builder: Builder,
    /// By size of micro-batch.
    pub programs: Vec<Program>,
}

/// What the roles do for one size of micro-batch.
pub(super) struct Program {
    pub roles: Vec<Role>,
    pub steps: Vec<Vec<Prepared>>,
}

impl Lowering<'_> {
    fn program(&mut self, sequences: u64) -> Result<(), TooLarge> {
        let roles = roles(self.plan, self.choice, sequences);
        let steps = roles.iter().map(|role| self.builder.prepare(&role.steps)).collect::<Result<_, _>>()?;
        self.programs.push(Program { roles, steps });
        Ok(())
    }

    fn pipeline(&mut self, layout: &Pipeline, program: usize, u: u32) -> Result<(), TooLarge> {
        let Lowering { builder, programs, plan, choice } = self;
        let Program { roles, steps } = &programs[program];
        let anywhere = Place { layer: None, microbatch: u };
        let input = builder.node("input", anywhere, free(Kind::Input), &[], &[])?;
        for (stage, (role, steps)) in roles.iter().zip(steps).enumerate() {
            let gpus = layout.gpus(stage);
            if stage == 0 {
                gpus.clone().for_each(|gpu| builder.wrote(&[Tensor::X], gpu, input));
            }
            let team = Team::of_stage(plan, &role.gpus, layout);
            builder.begin(gpus.clone(), u);
            for layer in layout.stages[stage].clone() {
                let place = Place { layer: Some(layer as u16), microbatch: u };
                builder.layer(&team, |_| steps, place)?;
                builder.pass_on(&team.gpus);
                if u == 0 && layer == 0 {
                    builder.reserve(plan.model.layers - 1, 0)?;
                }
            }
            if stage + 1 == roles.len() {
                let after = all_writers(builder, gpus, Tensor::X);
                builder.node("output", anywhere, free(Kind::Output), &[], &after)?;
                break;
            }
            // a stage of several GPUs names the stage that it sends to
            let names = match layout.stage_gpus() {
                1 => ["send".to_owned(), "recv".to_owned()],
                _ => ["send", "recv"].map(|name| format!("{name}_stage{}", stage + 1)),
            };
            for (from, to) in gpus.zip(layout.gpus(stage + 1)) {
                let names = [names[0].as_str(), names[1].as_str()];
                let bytes = role.entering.bytes(choice.dtype.bytes());
                let arrived = builder.send(names, anywhere, from, to, bytes, Tensor::X)?;
                builder.wrote(&[Tensor::X], to, arrived);
            }
        }
        Ok(())
    }
}

/// A node that takes no time.
pub(super) const fn free(kind: Kind) -> Work {
    Work { kind, ops: Vec::new() }
}

/// What wrote `tensor` on any of these GPUs.
pub(super) fn all_writers(
    builder: &Builder,
    gpus: impl IntoIterator<Item = u32>,
    tensor: Tensor,
) -> Vec<NodeId> {
    gpus.into_iter().flat_map(|gpu| builder.writers(gpu, tensor).to_vec()).collect()
}
