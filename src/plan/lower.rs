//! From a plan to its graph.

use super::builder::{Builder, Place, Prepared, Team};
use super::layer::{Share, Step, Tensor, Writer};
use super::layout::{Layout, Pipeline, Separated};
use super::model::Mlp;
use super::{Choice, Plan};
use crate::dag::{Dag, Kind, NodeId, TooLarge, Work};
use crate::op::{Collective, CollectiveKind, Op};

/// GPUs that hold the same part of the model.
pub(super) struct Role {
    pub gpus: Vec<u32>,
    pub share: Share,
    /// Layers on each of them.
    pub layers: u64,
    /// Whether they do attention.
    pub attention: bool,
    /// Whether they do the MLP or the experts.
    pub mlp: bool,
    /// One layer.
    pub steps: Vec<Step>,
    /// Size of the residual stream as it enters a layer here.
    pub entering_bytes: u64,
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
    let entering_bytes = share.tokens * model.hidden * choice.dtype.bytes();
    let role = |(stage, layers): (usize, &std::ops::Range<u64>)| Role {
        gpus: layout.gpus(stage).collect(),
        share,
        layers: layers.end - layers.start,
        attention: true,
        mlp: true,
        steps: steps.clone(),
        entering_bytes,
    };
    layout.stages.iter().enumerate().map(role).collect()
}

fn separated_roles(plan: &Plan, layout: &Separated, choice: &Choice, sequences: u64) -> Vec<Role> {
    let model = &plan.model;
    let tokens = sequences * model.sequence;
    let width = model.hidden * choice.dtype.bytes();
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
                writer(share).attention(&mut steps);
                roles.push(Role {
                    gpus: vec![gpu as u32],
                    share,
                    layers: model.layers,
                    attention: true,
                    mlp: false,
                    steps,
                    entering_bytes: tokens * width,
                });
            }
        }
    }
    let share = Share { tokens: tokens.div_ceil(layout.moe), ..base };
    let mut steps = Vec::new();
    writer(share).experts(&mut steps, "ln_moe", Tensor::X);
    roles.push(Role {
        gpus: (layout.attention..layout.attention + layout.moe).map(|gpu| gpu as u32).collect(),
        share,
        layers: model.layers,
        attention: false,
        mlp: true,
        steps,
        entering_bytes: share.tokens * width,
    });
    roles
}

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
                    graph.reserve(copies);
                }
            }
        }
        Layout::Separated(layout) => {
            for u in (0..copies).step_by(2) {
                let pair: Vec<_> = (u..copies.min(u + 2)).map(|u| (program(u), u as u32)).collect();
                graph.separated(layout, &pair)?;
            }
        }
    }
    Ok(graph.builder.finish())
}

struct Lowering<'a> {
    plan: &'a Plan,
    choice: &'a Choice,
    builder: Builder,
    /// By size of micro-batch.
    programs: Vec<Program>,
}

/// What the roles do for one size of micro-batch.
struct Program {
    roles: Vec<Role>,
    steps: Vec<Vec<Prepared>>,
}

impl Lowering<'_> {
    fn program(&mut self, sequences: u64) -> Result<(), TooLarge> {
        let roles = roles(self.plan, self.choice, sequences);
        let steps = roles.iter().map(|role| self.builder.prepare(&role.steps)).collect::<Result<_, _>>()?;
        self.programs.push(Program { roles, steps });
        Ok(())
    }

    /// Room for all copies of what the first one took.
    fn reserve(&mut self, copies: u64) {
        let (nodes, edges) = self.builder.counts();
        let copies = copies as usize;
        let serial = self.plan.gpus as usize * copies;
        self.builder.reserve(nodes * (copies - 1), edges * (copies - 1) + serial);
    }

    fn pipeline(&mut self, layout: &Pipeline, program: usize, u: u32) -> Result<(), TooLarge> {
        let Lowering { builder, programs, plan, .. } = self;
        let Program { roles, steps } = &programs[program];
        let anywhere = Place { layer: None, microbatch: u };
        let input = builder.node("input", anywhere, free(Kind::Input), &[], &[])?;
        for (stage, (role, steps)) in roles.iter().zip(steps).enumerate() {
            let gpus = layout.gpus(stage);
            if stage == 0 {
                gpus.clone().for_each(|gpu| builder.wrote(&[Tensor::X], gpu, input));
            }
            let team = team(plan, &role.gpus, layout);
            builder.begin(gpus.clone(), u);
            for layer in layout.stages[stage].clone() {
                let place = Place { layer: Some(layer as u16), microbatch: u };
                builder.layer(&team, |_| steps, place)?;
                builder.pass_on(&team.gpus);
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
                let bytes = role.entering_bytes;
                let arrived = builder.send(names, anywhere, from, to, bytes, Tensor::X)?;
                builder.wrote(&[Tensor::X], to, arrived);
            }
        }
        Ok(())
    }

    /// One or two micro-batches through all layers. The order on the GPUs: attention of the first, attention
    /// of the second while the experts work on the first, and so on.
    fn separated(&mut self, layout: &Separated, pair: &[(usize, u32)]) -> Result<(), TooLarge> {
        let layers = self.plan.model.layers;
        let mut inputs = Vec::new();
        for (_, u) in pair {
            let anywhere = Place { layer: None, microbatch: *u };
            inputs.push(self.builder.node("input", anywhere, free(Kind::Input), &[], &[])?);
        }
        let place = |layer: u64, u: u32| Place { layer: Some(layer as u16), microbatch: u };
        let mut waiting = Vec::new();
        for ((program, u), input) in pair.iter().zip(&inputs) {
            waiting.push(self.attend(layout, *program, place(0, *u), *input)?);
        }
        for layer in 0..layers {
            for (i, (program, u)) in pair.iter().enumerate() {
                let back = self.experts(layout, *program, place(layer, *u), &waiting[i])?;
                if layer + 1 < layers {
                    waiting[i] = self.attend(layout, *program, place(layer + 1, *u), back)?;
                } else {
                    let anywhere = Place { layer: None, microbatch: *u };
                    self.builder.node("output", anywhere, free(Kind::Output), &[], &[back])?;
                }
            }
        }
        Ok(())
    }

    /// Attention of one layer and micro-batch, and the way over to the expert GPUs.
    fn attend(
        &mut self,
        layout: &Separated,
        program: usize,
        place: Place,
        stream: NodeId,
    ) -> Result<Handover, TooLarge> {
        let Lowering { builder, programs, .. } = self;
        let Program { roles, steps } = &programs[program];
        let gpus: Vec<u32> = (0..layout.attention as u32).collect();
        let team = Team {
            gpus: gpus.clone(),
            tensor_groups: vec![gpus.clone()],
            expert_groups: Vec::new(),
            experts: 0,
        };
        let of_gpu = |gpu: usize| {
            let role = roles.iter().position(|role| role.gpus.contains(&(gpu as u32)));
            steps[role.unwrap_or(0)].as_slice()
        };
        gpus.iter().for_each(|gpu| builder.wrote(&[Tensor::X], *gpu, stream));
        builder.begin(gpus.iter().copied(), place.microbatch);
        builder.layer(&team, of_gpu, place)?;

        // the last GPUs of the group send a share of the tokens each
        let senders = &gpus[(layout.attention - layout.moe) as usize..];
        let bytes = roles.last().map_or(0, |experts| experts.entering_bytes);
        let mut arrived = Vec::new();
        for (to, from) in (layout.attention as u32..).zip(senders) {
            let names = ["scatter", "recv_moe"];
            arrived.push(builder.send(names, place, *from, to, bytes, Tensor::Middle)?);
        }
        // the others are done; joined, so that every node reaches the output
        let done = all_writers(builder, gpus.iter().copied(), Tensor::Middle);
        let joined = builder.node("sync_res1", place, free(Kind::Join), &[], &done)?;
        Ok(Handover { arrived, joined })
    }

    /// The experts of one layer and micro-batch, and the way back to all attention GPUs.
    fn experts(
        &mut self,
        layout: &Separated,
        program: usize,
        place: Place,
        handover: &Handover,
    ) -> Result<NodeId, TooLarge> {
        let Lowering { builder, programs, plan, choice, .. } = self;
        let Program { roles, steps } = &programs[program];
        let gpus: Vec<u32> = (layout.attention as u32..plan.gpus as u32).collect();
        let bytes = roles.last().map_or(0, |experts| experts.entering_bytes);
        for (gpu, arrived) in gpus.iter().zip(&handover.arrived) {
            builder.wrote(&[Tensor::X], *gpu, *arrived);
        }
        let team = Team {
            gpus: gpus.clone(),
            tensor_groups: Vec::new(),
            expert_groups: vec![gpus.clone()],
            experts: plan.model.experts() / layout.moe,
        };
        builder.begin(gpus.iter().copied(), place.microbatch);
        builder.layer(&team, |_| steps.last().map_or(&[][..], Vec::as_slice), place)?;

        // each expert GPU broadcasts its tokens to the whole attention group
        let mut circle: Vec<u32> = (0..layout.attention as u32).collect();
        let mut after = all_writers(builder, gpus.iter().copied(), Tensor::Out);
        after.push(handover.joined);
        after.extend(circle.iter().filter_map(|gpu| builder.other_before(*gpu, place.microbatch)));
        let everyone: Vec<u32> = (0..plan.gpus as u32).collect();
        circle.push(gpus[0]);
        let back = Op::Collective(Collective {
            kind: CollectiveKind::Broadcast,
            bytes: bytes.max(1),
            ranks: circle.len() as u64,
            nodes: builder.nodes(&circle),
            dtype: choice.dtype,
        });
        let work = Work { kind: Kind::Collective, ops: vec![(back, layout.moe)] };
        builder.node("return", place, work, &everyone, &after)
    }
}

/// What attention leaves for the experts.
struct Handover {
    /// The arrivals, by expert GPU.
    arrived: Vec<NodeId>,
    /// When all attention GPUs are done.
    joined: NodeId,
}

fn team(plan: &Plan, gpus: &[u32], layout: &Pipeline) -> Team {
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

const fn free(kind: Kind) -> Work {
    Work { kind, ops: Vec::new() }
}

fn all_writers(builder: &Builder, gpus: impl IntoIterator<Item = u32>, tensor: Tensor) -> Vec<NodeId> {
    gpus.into_iter().flat_map(|gpu| builder.writers(gpu, tensor).to_vec()).collect()
}
