//! Lowers a pipeline: stages that take micro-batches in the order of their schedule.

use super::layout::Pipeline;
use super::lower::Lowering;
use super::order::{Unit, order};
use super::passage::Passages;
use super::run::Run;
use super::team::Team;
use crate::dag::TooLarge;
use crate::spec::Overlap;

impl<'a> Lowering<'a> {
    /// All micro-batches through all parts; `program(u)` is that of micro-batch u.
    pub(super) fn pipeline(
        &mut self,
        layout: &Pipeline,
        microbatches: u32,
        program: &dyn Fn(u64) -> usize,
        fold: bool,
    ) -> Result<(), TooLarge> {
        let stages = layout.pipeline as usize;
        let train = self.plan.train.is_some();
        let orders: Vec<Vec<Unit>> =
            (0..stages).map(|stage| order(self.plan.schedule, stage, stages, microbatches, train)).collect();
        let teams = teams(self, layout, fold);
        let in_line = self.plan.overlap == Overlap::None && !layout.scatter_sends;
        let one_by_one = fold && in_line && teams.iter().all(|team| team.gpus.len() == 1);
        let mut passages = match one_by_one {
            true => {
                let (parts, programs) = (layout.parts.len(), self.programs.len());
                Some(Passages::new(&mut self.builder, parts, microbatches, programs)?)
            }
            false => {
                self.prepare()?;
                None
            }
        };
        let mut run = Run::new(self, layout, teams, microbatches - 1);
        let mut progress = Progress::new(layout, microbatches);
        for microbatch in 0..microbatches {
            // what is done last with each micro-batch, and before it all that it needs
            let part = if train { 0 } else { layout.parts.len() - 1 };
            let mut wanted = vec![Unit { part, microbatch, backward: train }];
            while let Some(unit) = wanted.last().copied() {
                if progress.is_done(&unit) {
                    wanted.pop();
                    continue;
                }
                let stage = layout.stage(unit.part);
                let next = orders[stage][progress.stages[stage]];
                if let Some(before) = run.needs(&next).filter(|before| !progress.is_done(before)) {
                    wanted.push(before);
                    continue;
                }
                let program = program(next.microbatch.into());
                match &mut passages {
                    Some(passages) => run.passage(passages, &next, program)?,
                    None => run.unit(&next, program)?,
                }
                progress.now_done(&next, stage);
                if train && progress.stages[stage] == orders[stage].len() {
                    run.update(stage)?;
                }
            }
            if microbatch == 0 && !train && passages.is_none() {
                // with an edge for each GPU from one copy to the next
                let serial = run.lowering.plan.gpus.saturating_mul(microbatches.into());
                run.lowering.builder.reserve(u64::from(microbatches) - 1, serial)?;
            }
        }
        run.finish()
    }
}

/// The team of each stage; one GPU of each where `fold` asks for that and all are alike.
fn teams(lowering: &Lowering, layout: &Pipeline, fold: bool) -> Vec<Team> {
    let per_node = lowering.choice.gpus_per_node;
    let team = |stage| Team::of_stage(lowering.plan, layout.gpus(stage), layout, per_node);
    let whole: Vec<Team> = (0..layout.pipeline as usize).map(team).collect();
    let node = |gpu: &u32| u64::from(*gpu) / per_node;
    let alike = |from: &Team, to: &Team| {
        let mut pairs = from.gpus.iter().zip(&to.gpus).map(|(a, b)| node(a) == node(b));
        let first = pairs.next();
        pairs.all(|pair| Some(pair) == first)
    };
    let next = whole.iter().cycle().skip(1);
    if !fold || !whole.iter().zip(next).all(|(from, to)| alike(from, to)) {
        return whole;
    }
    whole.iter().map(Team::folded).collect::<Option<Vec<Team>>>().unwrap_or(whole)
}

/// Which units are in the graph.
struct Progress {
    /// By stage: how many.
    stages: Vec<usize>,
    done: Vec<bool>,
    microbatches: usize,
}

impl Progress {
    fn new(layout: &Pipeline, microbatches: u32) -> Self {
        let microbatches = microbatches as usize;
        let done = vec![false; 2 * layout.parts.len() * microbatches];
        Progress { stages: vec![0; layout.pipeline as usize], done, microbatches }
    }

    fn position(&self, unit: &Unit) -> usize {
        2 * (unit.part * self.microbatches + unit.microbatch as usize) + usize::from(unit.backward)
    }

    fn is_done(&self, unit: &Unit) -> bool {
        self.done[self.position(unit)]
    }

    fn now_done(&mut self, unit: &Unit, stage: usize) {
        let position = self.position(unit);
        self.done[position] = true;
        self.stages[stage] += 1;
    }
}
