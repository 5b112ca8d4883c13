//! Which GPUs hold the same part of the model, and what that part is.

use std::rc::Rc;

use super::backward::{Backward, backward};
use super::layer::Writer;
use super::layout::{Layout, Pipeline, Separated};
use super::step::{Share, Step};
use super::tensor::Tensor;
use super::{Choice, Plan};
use crate::graph::Shape;
use crate::spec::Recompute;

/// GPUs that hold the same part of the model. A GPU has several roles where parts are interleaved.
pub(super) struct Role {
    pub gpus: Vec<u32>,
    pub share: Share,
    /// The kinds of blocks there are.
    pub kinds: Rc<[Block]>,
    /// The blocks of this part in the order of the model: the layer, where it is one, and the kind.
    pub blocks: Vec<(Option<u64>, usize)>,
    /// The residual stream as it enters a layer here.
    pub entering: Shape,
}

/// A layer, or what stands before the first or after the last.
pub(super) struct Block {
    pub forward: Vec<Step>,
    /// Only in training.
    pub backward: Backward,
}

impl Role {
    /// The blocks' kinds, one for each block.
    pub fn held(&self) -> impl Iterator<Item = &Block> {
        self.blocks.iter().map(|(_, kind)| &self.kinds[*kind])
    }
}

/// The roles of a plan for a micro-batch of `sequences` sequences on each replica; those of a pipeline in the
/// order of its parts.
pub(super) fn roles(plan: &Plan, choice: &Choice, sequences: u64) -> Vec<Role> {
    match &plan.layout {
        Layout::Pipeline(layout) => pipeline_roles(plan, layout, choice, sequences),
        Layout::Separated(layout) => separated_roles(plan, layout, choice, sequences),
    }
}

fn writer<'a>(plan: &'a Plan, choice: &Choice, share: Share) -> Writer<'a> {
    Writer {
        model: &plan.model,
        dtype: choice.dtype,
        attention: choice.attention,
        share,
        dropout: plan.train.is_some_and(|train| train.dropout),
        hottest: plan.hottest,
    }
}

fn pipeline_roles(plan: &Plan, layout: &Pipeline, choice: &Choice, sequences: u64) -> Vec<Role> {
    let model = &plan.model;
    let tokens = sequences * model.queries;
    let share = Share {
        sequences,
        queries: model.queries,
        tokens: if layout.sequence_parallel { tokens.div_ceil(layout.tensor) } else { tokens },
        tensor: layout.tensor,
        heads: model.heads / layout.tensor,
        kv_heads: model.kv_heads / layout.tensor,
        ffn: model.dense_ffn() / layout.tensor,
        expert: layout.expert,
        sequence_parallel: layout.sequence_parallel,
    };
    let writer = writer(plan, choice, share);
    let recompute = plan.train.map(|train| train.recompute);
    let block = |forward: Vec<Step>, recompute: Option<Recompute>| {
        let backward = match recompute {
            Some(recompute) => backward(&forward, &share, recompute),
            None => Backward { steps: Vec::new(), kept: Vec::new() },
        };
        Block { forward, backward }
    };
    let mut kinds = Vec::new();
    let mut kind = |block: Block| {
        kinds.push(block);
        kinds.len() - 1
    };
    let layer = |dense: bool| {
        let mut steps = Vec::new();
        writer.attention(&mut steps);
        match dense {
            true => writer.dense(&mut steps),
            false => writer.experts(&mut steps, "ln2", Tensor::Middle),
        }
        block(steps, recompute)
    };
    let of_layers = [false, true].map(|dense| {
        let some = (0..model.layers).any(|layer| model.is_dense(layer) == dense);
        if some { kind(layer(dense)) } else { 0 }
    });
    let ends = model.vocabulary.map(|vocabulary| {
        let keep_all = recompute.map(|_| Recompute::None);
        let [first, last] = [writer.embedding(vocabulary), writer.head(vocabulary, plan.phase)];
        [first, last].map(|steps| kind(block(steps, keep_all)))
    });
    let kinds: Rc<[Block]> = kinds.into();
    let parts = layout.parts.len();
    let role = |(part, layers): (usize, &std::ops::Range<u64>)| {
        let first = ends.filter(|_| part == 0).map(|[first, _]| (None, first));
        let last = ends.filter(|_| part + 1 == parts).map(|[_, last]| (None, last));
        let layers = layers.clone().map(|layer| (Some(layer), of_layers[usize::from(model.is_dense(layer))]));
        Role {
            gpus: layout.gpus(part).collect(),
            share,
            kinds: kinds.clone(),
            blocks: first.into_iter().chain(layers).chain(last).collect(),
            entering: writer.stream(),
        }
    };
    layout.parts.iter().enumerate().map(role).collect()
}

fn separated_roles(plan: &Plan, layout: &Separated, choice: &Choice, sequences: u64) -> Vec<Role> {
    let model = &plan.model;
    let tokens = sequences * model.queries;
    let base = Share {
        sequences,
        queries: model.queries,
        tokens,
        tensor: layout.attention,
        heads: 0,
        kv_heads: 0,
        ffn: 0,
        expert: layout.moe,
        sequence_parallel: false,
    };
    let role = |gpus: Vec<u32>, share: Share, steps: &dyn Fn(&Writer, &mut Vec<Step>)| {
        let writer = writer(plan, choice, share);
        let mut forward = Vec::new();
        steps(&writer, &mut forward);
        let block = Block { forward, backward: Backward { steps: Vec::new(), kept: Vec::new() } };
        Role {
            gpus,
            share,
            kinds: Rc::new([block]),
            blocks: (0..model.layers).map(|layer| (Some(layer), 0)).collect(),
            entering: writer.stream(),
        }
    };
    let mut roles: Vec<Role> = Vec::new();
    for gpu in 0..layout.attention {
        let heads = layout.heads(gpu, model.heads);
        match roles.last_mut() {
            Some(role) if role.share.heads == heads => role.gpus.push(gpu as u32),
            _ => {
                let share = Share { heads, kv_heads: heads, ..base };
                roles.push(role(vec![gpu as u32], share, &|writer, steps| writer.attention(steps)));
            }
        }
    }
    let share = Share { tokens: tokens.div_ceil(layout.moe), ..base };
    let gpus = (layout.attention..layout.attention + layout.moe).map(|gpu| gpu as u32).collect();
    roles.push(role(gpus, share, &|writer, steps| writer.experts(steps, "ln_moe", Tensor::X)));
    roles
}
