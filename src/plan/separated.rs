//! Lowers attention and experts on GPUs of their own.

use super::builder::Place;
use super::layout::Separated;
use super::lower::{Lowering, Program, free};
use super::team::{Group, Team};
use super::tensor::Tensor;
use crate::dag::{Kind, NodeId, TooLarge, Work};
use crate::op::{Collective, CollectiveKind, Op};

impl Lowering<'_> {
    /// One or two micro-batches through all layers. The order on the GPUs: attention of the first, attention
    /// of the second while the experts work on the first, and so on.
    pub(super) fn separated(&mut self, layout: &Separated, pair: &[(usize, u32)]) -> Result<(), TooLarge> {
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
        let Lowering { builder, programs, choice, .. } = self;
        let Program { roles, steps } = &programs[program];
        let gpus: Vec<u32> = (0..layout.attention as u32).collect();
        let team = Team {
            gpus: gpus.clone(),
            tensor_groups: vec![Group::new(gpus.clone(), choice.gpus_per_node)],
            expert_groups: Vec::new(),
            replicas: Vec::new(),
            expert_replicas: Vec::new(),
            experts: 0,
        };
        let of_gpu = |gpu: usize| {
            let role = roles.iter().position(|role| role.gpus.contains(&(gpu as u32)));
            steps[role.unwrap_or(0)][0].forward.as_slice()
        };
        gpus.iter().for_each(|gpu| builder.writers.wrote(&[Tensor::X], *gpu, stream));
        builder.block(&team, of_gpu, place)?;

        // the last GPUs of the group send a share of the tokens each
        let senders = &gpus[(layout.attention - layout.moe) as usize..];
        let bytes = roles.last().map_or(0, |experts| experts.entering.bytes(choice.dtype.bytes()));
        let mut arrived = Vec::new();
        for (to, from) in (layout.attention as u32..).zip(senders) {
            let names = ["scatter", "recv_moe"];
            arrived.push(builder.send(names, place, [*from, to], bytes, Tensor::Middle)?);
        }
        // the others are done; joined, so that every node reaches the output
        let done = builder.all_writers(gpus.iter().copied(), Tensor::Middle);
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
        let bytes = roles.last().map_or(0, |experts| experts.entering.bytes(choice.dtype.bytes()));
        for (gpu, arrived) in gpus.iter().zip(&handover.arrived) {
            builder.arrived(Tensor::X, *gpu, *arrived);
        }
        let team = Team {
            gpus: gpus.clone(),
            tensor_groups: Vec::new(),
            expert_groups: vec![Group::new(gpus.clone(), choice.gpus_per_node)],
            replicas: Vec::new(),
            expert_replicas: Vec::new(),
            experts: plan.model.experts() / layout.moe,
        };
        let steps = steps.last().map_or(&[][..], |blocks| blocks[0].forward.as_slice());
        builder.block(&team, |_| steps, place)?;

        // each expert GPU broadcasts its tokens to the whole attention group
        let mut circle: Vec<u32> = (0..layout.attention as u32).collect();
        let mut after = builder.all_writers(gpus.iter().copied(), Tensor::Out);
        after.push(handover.joined);
        after.extend(circle.iter().filter_map(|gpu| builder.other_before(*gpu, place.microbatch)));
        let everyone: Vec<u32> = (0..plan.gpus as u32).collect();
        circle.push(gpus[0]);
        let circle = Group::new(circle, choice.gpus_per_node);
        let back = Op::Collective(Collective {
            kind: CollectiveKind::Broadcast,
            bytes: bytes.max(1),
            ranks: circle.ranks,
            nodes: circle.nodes,
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
