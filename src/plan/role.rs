//! Which GPUs hold the same part of the model, and what that part is.

use super::layer::Writer;
use super::layout::{Layout, Pipeline, Separated};
use super::model::Mlp;
use super::step::{Share, Step, Tensor};
use super::{Choice, Plan};
use crate::graph::Shape;

/// GPUs that hold the same part of the model.
pub(super) struct Role {
    pub gpus: Vec<u32>,
    pub share: Share,
    /// Layers on each of them.
    pub layers: u64,
    /// One layer.
    pub steps: Vec<Step>,
    /// The residual stream as it enters a layer here.
    pub entering: Shape,
}

/// The roles of a plan for a micro-batch of `sequences` sequences on each replica.
pub(super) fn roles(plan: &Plan, choice: &Choice, sequences: u64) -> Vec<Role> {
    match &plan.layout {
        Layout::Pipeline(layout) => pipeline_roles(plan, layout, choice, sequences),
        Layout::Separated(layout) => separated_roles(plan, layout, choice, sequences),
    }
}

fn pipeline_roles(plan: &Plan, layout: &Pipeline, choice: &Choice, sequences: u64) -> Vec<Role> {
    let model = &plan.model;
    let tokens = sequences * model.sequence;
    let share = Share {
        sequences,
        tokens: if layout.sequence_parallel { tokens.div_ceil(layout.tensor) } else { tokens },
        tensor: layout.tensor,
        heads: model.heads / layout.tensor,
        kv_heads: model.kv_heads / layout.tensor,
        ffn: match model.mlp {
            Mlp::Dense { ffn } => ffn / layout.tensor,
            Mlp::Moe { .. } => 0,
        },
        expert: layout.expert,
        sequence_parallel: layout.sequence_parallel,
    };
    let writer = Writer { model, dtype: choice.dtype, attention: choice.attention, share };
    let mut steps = Vec::new();
    writer.attention(&mut steps);
    match model.mlp {
        Mlp::Dense { .. } => writer.dense(&mut steps),
        Mlp::Moe { .. } => writer.experts(&mut steps, "ln2", Tensor::Middle),
    }
    let entering = writer.stream();
    let role = |(stage, layers): (usize, &std::ops::Range<u64>)| Role {
        gpus: layout.gpus(stage).collect(),
        share,
        layers: layers.end - layers.start,
        steps: steps.clone(),
        entering: entering.clone(),
    };
    layout.stages.iter().enumerate().map(role).collect()
}

fn separated_roles(plan: &Plan, layout: &Separated, choice: &Choice, sequences: u64) -> Vec<Role> {
    let model = &plan.model;
    let tokens = sequences * model.sequence;
    let base = Share {
        sequences,
        tokens,
        tensor: layout.attention,
        heads: 0,
        kv_heads: 0,
        ffn: 0,
        expert: layout.moe,
        sequence_parallel: false,
    };
    let writer = |share| Writer { model, dtype: choice.dtype, attention: choice.attention, share };
    let mut roles: Vec<Role> = Vec::new();
    for gpu in 0..layout.attention {
        let heads = layout.heads(gpu, model.heads);
        match roles.last_mut() {
            Some(role) if role.share.heads == heads => role.gpus.push(gpu as u32),
            _ => {
                let share = Share { heads, kv_heads: heads, ..base };
                let mut steps = Vec::new();
                let writer = writer(share);
                writer.attention(&mut steps);
                roles.push(Role {
                    gpus: vec![gpu as u32],
                    share,
                    layers: model.layers,
                    steps,
                    entering: writer.stream(),
                });
            }
        }
    }
    let share = Share { tokens: tokens.div_ceil(layout.moe), ..base };
    let mut steps = Vec::new();
    let writer = writer(share);
    writer.experts(&mut steps, "ln_moe", Tensor::X);
    roles.push(Role {
        gpus: (layout.attention..layout.attention + layout.moe).map(|gpu| gpu as u32).collect(),
        share,
        layers: model.layers,
        steps,
        entering: writer.stream(),
    });
    roles
}
