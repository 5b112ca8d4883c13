//! GPUs that work side by side, and their groups.

use super::Plan;
use super::layout::Pipeline;

/// GPUs that run the same steps side by side, and how they are grouped.
pub(super) struct Team {
    pub gpus: Vec<u32>,
    /// The team's GPUs in groups that share attention and MLP.
    pub tensor_groups: Vec<Vec<u32>>,
    /// The team's GPUs in groups that share experts.
    pub expert_groups: Vec<Vec<u32>>,
    /// Experts on each GPU.
    pub experts: u64,
}

impl Team {
    /// A stage of a pipeline.
    pub fn of_stage(plan: &Plan, gpus: &[u32], layout: &Pipeline) -> Self {
        let groups = |size: u64| match size {
            1 => Vec::new(),
            _ => gpus.chunks(size as usize).map(<[u32]>::to_vec).collect(),
        };
        Team {
            gpus: gpus.to_vec(),
            tensor_groups: groups(layout.tensor),
            expert_groups: groups(layout.expert),
            experts: plan.model.experts() / layout.expert,
        }
    }
}
