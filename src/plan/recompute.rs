//! What the backward pass computes again instead of keeping it.

use super::step::{Doing, Step};
use super::tensor::Tensor;
use crate::graph::Shape;
use crate::op::CollectiveKind;
use crate::spec::Recompute;

/// What the names of steps that run again end with.
pub(super) const AGAIN: &str = "_again";

/// The core of attention: little work, and most of the memory.
const CORE: [&str; 4] = ["attn_scores", "attn_weights", "attn_dropout", "attn_output"];

/// Forward steps that the backward pass runs again, each group right before the first step that needs it.
pub(super) struct Again {
    groups: Vec<Group>,
    /// What the group that ran last came to: read by the step after it, as frameworks do.
    result: Option<(Tensor, Shape)>,
}

struct Group {
    steps: Vec<usize>,
    /// The forward step before whose counterpart they run.
    before: usize,
    /// Whether their result is nothing that the backward pass needs.
    idle: bool,
}

impl Again {
    pub fn new(forward: &[Step], recompute: Recompute) -> Self {
        let group = |steps: Vec<usize>| Group { before: steps[steps.len() - 1], steps, idle: true };
        if recompute == Recompute::Full && !forward.is_empty() {
            return Again { groups: vec![group((0..forward.len()).collect())], result: None };
        }
        let mut groups = Vec::new();
        for (i, step) in forward.iter().enumerate() {
            // tokens that were gathered are dropped, and gathered again (arXiv 2205.05198, section 4.2.2)
            if let (Doing::Collective(CollectiveKind::AllGather, _), [(whole, _)]) =
                (&step.doing, step.writes.as_slice())
            {
                let reads = |step: &Step| step.reads.iter().any(|(tensor, _)| tensor == whole);
                let before = forward.iter().rposition(reads).unwrap_or(i);
                groups.push(Group { steps: vec![i], before, idle: false });
            }
        }
        let in_core = |i: &usize| CORE.contains(&forward[*i].name.as_ref());
        let core: Vec<usize> = (0..forward.len()).filter(in_core).collect();
        if recompute == Recompute::Selective && !core.is_empty() {
            groups.push(group(core));
        }
        Again { groups, result: None }
    }

    /// Appends the groups that must run before the counterpart of forward step `i`.
    pub fn before(&mut self, i: usize, forward: &[Step], steps: &mut Vec<Step>) {
        for group in self.groups.extract_if(.., |group| group.before == i) {
            for i in &group.steps {
                let step = &forward[*i];
                steps.push(Step {
                    name: format!("{}{AGAIN}", step.name).into(),
                    parameters: 0,
                    ..step.clone()
                });
            }
            if group.idle {
                self.result = forward[group.before].writes.first().cloned();
            }
        }
    }

    /// The first of these steps follows what ran again.
    pub fn follow(&mut self, steps: &mut [Step]) {
        if let Some(first) = steps.first_mut()
            && let Some(result) = self.result.take()
        {
            first.reads.push(result);
        }
    }
}
