//! What goes from one GPU to another beside the steps of a block.

use super::builder::{Builder, Place};
use super::team::Group;
use super::tensor::Tensor;
use crate::dag::{Kind, NameId, NodeId, TooLarge, Work, WorkId};
use crate::dtype::Dtype;
use crate::op::{CollectiveKind, Link, Op, P2p};

impl Builder {
    /// A send of `bytes` from one GPU, which holds them as `tensor`, to another; returns the arrival.
    pub fn send(
        &mut self,
        [send, recv]: [&str; 2],
        place: Place,
        [from, to]: [u32; 2],
        bytes: u64,
        tensor: Tensor,
    ) -> Result<NodeId, TooLarge> {
        let work = self.sending([from, to], bytes);
        let names = [self.dag.name(send)?, self.dag.name(recv)?];
        let mut after = self.writers.of(from, tensor).to_vec();
        let sent = self.push(names[0], place, work, &[from], &mut after)?;
        // the arrival takes no time, and does not wait for what its GPU is doing
        let kept = std::mem::take(&mut self.last[to as usize]);
        let received = self.push(names[1], place, self.free, &[to], &mut vec![sent])?;
        self.last[to as usize] = kept;
        Ok(received)
    }

    /// The work of sending so many bytes.
    pub(super) fn sending(&mut self, [from, to]: [u32; 2], bytes: u64) -> WorkId {
        let link = match u64::from(from) / self.gpus_per_node == u64::from(to) / self.gpus_per_node {
            true => Link::IntraNode,
            false => Link::InterNode,
        };
        let op = Op::P2p(P2p { bytes: bytes.max(1), link });
        self.dag.work(Work { kind: Kind::Send, ops: vec![(op, 1)] })
    }

    /// A collective of what the GPUs of each group hold, after all that they have done.
    pub fn after_all(
        &mut self,
        name: &str,
        place: Place,
        what: (CollectiveKind, u64, Dtype),
        groups: &[Group],
    ) -> Result<(), TooLarge> {
        for group in groups {
            let mut after: Vec<NodeId> = group.gpus.iter().flat_map(|gpu| self.last(*gpu)).collect();
            self.collective_after(name, place, what, group, groups.len(), &mut after)?;
        }
        Ok(())
    }

    /// A collective of one of several groups, after `after`.
    pub fn collective_after(
        &mut self,
        name: &str,
        place: Place,
        (kind, bytes, dtype): (CollectiveKind, u64, Dtype),
        group: &Group,
        groups: usize,
        after: &mut Vec<NodeId>,
    ) -> Result<NodeId, TooLarge> {
        let name = self.dag.name(name)?;
        let name = self.numbered(name, group, groups)?;
        let work = self.collective(kind, bytes.max(1), dtype, group);
        self.push(name, place, work, &group.gpus, after)
    }

    /// The name of a group's collective, with its first GPU where several groups do the same.
    pub(super) fn numbered(
        &mut self,
        name: NameId,
        group: &Group,
        groups: usize,
    ) -> Result<NameId, TooLarge> {
        if groups == 1 {
            return Ok(name);
        }
        let name = format!("{}_from{}", self.dag.name_text(name), group.gpus[0]);
        self.dag.name(&name)
    }

    pub(super) fn collective(
        &mut self,
        kind: CollectiveKind,
        bytes: u64,
        dtype: Dtype,
        group: &Group,
    ) -> WorkId {
        let op = group.collective(kind, bytes, dtype);
        self.dag.work(Work { kind: Kind::Collective, ops: vec![(op, 1)] })
    }
}
