//! GPUs that work side by side, and their groups.

use super::Plan;
use super::layout::Pipeline;
use crate::dtype::Dtype;
use crate::op::{Collective, CollectiveKind, Op};

/// GPUs that run the same steps side by side, and how they are grouped.
pub(super) struct Team {
    pub gpus: Vec<u32>,
    /// The team's GPUs in groups that share attention and MLP.
    pub tensor_groups: Vec<Group>,
    /// The team's GPUs in groups that share experts.
    pub expert_groups: Vec<Group>,
    /// GPUs that hold the same part of attention and MLP, and sum up its gradients.
    pub replicas: Vec<Group>,
    /// GPUs that hold the same experts, likewise.
    pub expert_replicas: Vec<Group>,
    /// Experts on each GPU.
    pub experts: u64,
}

/// GPUs that take part in a collective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// Those that the graph shows: all of them, or one for all.
    pub gpus: Vec<u32>,
    /// How many there are.
    pub ranks: u64,
    /// Nodes that they stand on.
    pub nodes: u64,
}

impl Group {
    pub fn new(gpus: Vec<u32>, gpus_per_node: u64) -> Self {
        let mut nodes: Vec<u64> = gpus.iter().map(|gpu| u64::from(*gpu) / gpus_per_node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        Group { ranks: gpus.len() as u64, nodes: nodes.len() as u64, gpus }
    }

    /// A collective of the group.
    pub const fn collective(&self, kind: CollectiveKind, bytes: u64, dtype: Dtype) -> Op {
        Op::Collective(Collective { kind, bytes, ranks: self.ranks, nodes: self.nodes, dtype })
    }
}

impl Team {
    /// The GPUs of a stage of a pipeline.
    pub fn of_stage(plan: &Plan, gpus: std::ops::Range<u32>, layout: &Pipeline, gpus_per_node: u64) -> Self {
        let gpus: Vec<u32> = gpus.collect();
        let neighbours = |size: u64| match size {
            1 => Vec::new(),
            _ => gpus.chunks(size as usize).map(|gpus| Group::new(gpus.to_vec(), gpus_per_node)).collect(),
        };
        let apart = |size: u64| match gpus.len() as u64 / size {
            1 => Vec::new(),
            _ => (0..size as usize)
                .map(|i| {
                    Group::new(gpus.iter().copied().skip(i).step_by(size as usize).collect(), gpus_per_node)
                })
                .collect(),
        };
        Team {
            tensor_groups: neighbours(layout.tensor),
            expert_groups: neighbours(layout.expert),
            replicas: apart(layout.tensor),
            expert_replicas: apart(layout.expert),
            experts: plan.model.experts() / layout.expert,
            gpus,
        }
    }

    /// The team with its first GPU for all, where all do the same at the same time: `None` where some groups
    /// span more nodes than others.
    pub fn folded(&self) -> Option<Team> {
        let first = *self.gpus.first()?;
        let fold = |groups: &[Group]| {
            let Some(one) = groups.first() else { return Some(Vec::new()) };
            let alike = groups.iter().all(|group| (group.ranks, group.nodes) == (one.ranks, one.nodes));
            alike.then(|| vec![Group { gpus: vec![first], ..*one }])
        };
        Some(Team {
            gpus: vec![first],
            tensor_groups: fold(&self.tensor_groups)?,
            expert_groups: fold(&self.expert_groups)?,
            replicas: fold(&self.replicas)?,
            expert_replicas: fold(&self.expert_replicas)?,
            experts: self.experts,
        })
    }
}
