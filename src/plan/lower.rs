//! From a plan to its graph.

use super::builder::Builder;
use super::layout::Layout;
use super::prepared::Prepared;
use super::role::{Role, roles};
use super::tensor::Tensor;
use super::{Choice, Plan};
use crate::dag::{Dag, Kind, TooLarge, Work};

/// Lowers a plan to its graph.
///
/// With M micro-batches the graph is M copies, each of its share of the sequences (shares differ by one where
/// they do not go up), and the copies are put in an order on every GPU by edges: a stage of a pipeline takes
/// them as its schedule says; two separated groups take micro-batches in pairs, so that one group can work on
/// the first of a pair while the other works on the second.
///
/// # Errors
/// When the graph would be larger than its ids can count.
pub fn lower(plan: &Plan, choice: &Choice) -> Result<Dag, TooLarge> {
    whole_or_folded(plan, choice, false, u64::MAX)
}

/// [`lower`], and no more than `most` nodes.
///
/// # Errors
/// When the graph would be larger than that.
pub fn lower_within(plan: &Plan, choice: &Choice, most: u64) -> Result<Dag, TooLarge> {
    whole_or_folded(plan, choice, false, most)
}

/// Lowers a plan to a graph with one GPU for all that do the same at the same time, the first of each stage of a
/// pipeline, and one node for all that it does with a micro-batch, where communication has no stream of its own.
/// Its makespan is that of the whole graph. Plans whose GPUs differ are lowered whole.
///
/// # Errors
/// When the graph would be larger than its ids can count.
pub fn lower_folded(plan: &Plan, choice: &Choice) -> Result<Dag, TooLarge> {
    whole_or_folded(plan, choice, true, u64::MAX)
}

fn whole_or_folded(plan: &Plan, choice: &Choice, fold: bool, most: u64) -> Result<Dag, TooLarge> {
    let share = plan.model.batch / plan.layout.replicas();
    let copies = choice.microbatches.clamp(1, share.max(1));
    let mut graph = Lowering {
        plan,
        choice,
        builder: Builder::new(plan.gpus, copies, choice.dtype, choice.gpus_per_node, plan.overlap),
        programs: Vec::new(),
    };
    graph.builder.limit(most);
    // the first micro-batches take one sequence more where the batch does not divide
    let (size, larger) = (share / copies, share % copies);
    if larger > 0 {
        graph.program(size + 1);
    }
    graph.program(size);
    let program = |u: u64| usize::from(larger > 0 && u >= larger);
    match &plan.layout {
        Layout::Pipeline(layout) => graph.pipeline(layout, copies as u32, &program, fold)?,
        Layout::Separated(layout) => {
            graph.prepare()?;
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
    /// The steps of the kinds of blocks of each role; all roles of a pipeline have those of the first.
    pub steps: Vec<Vec<PreparedBlock>>,
}

/// The steps of a block that the graph knows.
pub(super) struct PreparedBlock {
    pub forward: Vec<Prepared>,
    pub backward: Vec<Prepared>,
    pub kept: Vec<Tensor>,
}

impl Lowering<'_> {
    fn program(&mut self, sequences: u64) {
        let roles = roles(self.plan, self.choice, sequences);
        self.programs.push(Program { roles, steps: Vec::new() });
    }

    /// Makes the steps of all programs known to the graph.
    pub(super) fn prepare(&mut self) -> Result<(), TooLarge> {
        for program in &mut self.programs {
            program.steps = prepared(&mut self.builder, &program.roles)?;
        }
        Ok(())
    }
}

/// The steps of the kinds of blocks of each role.
fn prepared(builder: &mut Builder, roles: &[Role]) -> Result<Vec<Vec<PreparedBlock>>, TooLarge> {
    let mut steps: Vec<Vec<PreparedBlock>> = Vec::new();
    for (i, role) in roles.iter().enumerate() {
        if i > 0 && std::rc::Rc::ptr_eq(&role.kinds, &roles[0].kinds) {
            continue;
        }
        let mut blocks = Vec::new();
        for block in role.kinds.iter() {
            blocks.push(PreparedBlock {
                forward: builder.prepare(&block.forward)?,
                backward: builder.prepare(&block.backward.steps)?,
                kept: block.backward.kept.iter().map(|(tensor, ..)| *tensor).collect(),
            });
        }
        steps.push(blocks);
    }
    Ok(steps)
}

/// A node that takes no time.
pub(super) const fn free(kind: Kind) -> Work {
    Work { kind, ops: Vec::new() }
}
