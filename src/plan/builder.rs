//! Appends the steps of layers to a graph.

use super::prepared::{Prepared, PreparedWork};
use super::step::{Scope, Step, Tensor};
use super::team::Team;
use crate::dag::{Dag, Kind, Lane, NameId, NodeId, Tag, TooLarge, Work, WorkId};
use crate::dtype::Dtype;
use crate::op::{Collective, Link, Op, P2p};

/// A graph under construction.
pub(super) struct Builder {
    dag: Dag,
    dtype: Dtype,
    gpus_per_node: u64,
    /// Who wrote each tensor, by GPU: one node, or one for each expert.
    writers: Vec<[Vec<NodeId>; Tensor::COUNT]>,
    /// The last node on each GPU.
    last: Vec<Option<NodeId>>,
    /// A node that the next one on this GPU must wait for, though it reads nothing of it.
    serial: Vec<Option<NodeId>>,
    free: WorkId,
    scratch: Vec<NodeId>,
}

/// Which layer and micro-batch nodes belong to.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub layer: Option<u16>,
    pub microbatch: u32,
}

impl Builder {
    pub fn new(gpus: u64, microbatches: u64, dtype: Dtype, gpus_per_node: u64) -> Self {
        let gpus = gpus as u32;
        let mut dag = Dag::new(gpus, microbatches.min(u64::from(u32::MAX)) as u32);
        let free = dag.work(Work { kind: Kind::Recv, ops: Vec::new() });
        Builder {
            dag,
            dtype,
            gpus_per_node,
            writers: (0..gpus).map(|_| std::array::from_fn(|_| Vec::new())).collect(),
            last: vec![None; gpus as usize],
            serial: vec![None; gpus as usize],
            free,
            scratch: Vec::new(),
        }
    }

    /// Room for `times` as much as there is already, and `serial` edges.
    pub fn reserve(&mut self, times: u64, serial: u64) -> Result<(), TooLarge> {
        let much = |n: usize| n.saturating_mul(times as usize);
        self.dag.reserve(much(self.dag.len()), much(self.dag.edges()).saturating_add(serial as usize))
    }

    pub fn finish(self) -> Dag {
        self.dag
    }

    /// Makes steps known to the graph.
    pub fn prepare(&mut self, steps: &[Step]) -> Result<Vec<Prepared>, TooLarge> {
        steps.iter().map(|step| Prepared::new(step, &mut self.dag)).collect()
    }

    /// A stretch of micro-batch `microbatch` begins on these GPUs: its first node waits until another
    /// micro-batch has left the GPU. Within one micro-batch the tensors keep the order.
    pub fn begin(&mut self, gpus: impl IntoIterator<Item = u32>, microbatch: u32) {
        for gpu in gpus {
            self.serial[gpu as usize] = self.other_before(gpu, microbatch);
        }
    }

    /// The last node on the GPU, where it is of another micro-batch.
    pub fn other_before(&self, gpu: u32, microbatch: u32) -> Option<NodeId> {
        self.last[gpu as usize].filter(|node| self.dag.tag(*node).microbatch != microbatch)
    }

    /// Appends one layer of a team; `steps(i)` are those of its i-th GPU, the same names for all.
    pub fn layer<'a>(
        &mut self,
        team: &Team,
        steps: impl Fn(usize) -> &'a [Prepared],
        place: Place,
    ) -> Result<(), TooLarge> {
        let count = if team.gpus.is_empty() { 0 } else { steps(0).len() };
        let mut i = 0;
        while i < count {
            match steps(0)[i].scope {
                Scope::Gpu => {
                    for (g, gpu) in team.gpus.iter().enumerate() {
                        let step = &steps(g)[i];
                        self.on_gpu(step, step.name, *gpu, place)?;
                    }
                }
                Scope::Expert => {
                    let chain = (i..count).take_while(|j| steps(0)[*j].scope == Scope::Expert).count();
                    for (g, gpu) in team.gpus.iter().enumerate() {
                        self.experts(team, &steps(g)[i..i + chain], g, *gpu, place)?;
                    }
                    i += chain - 1;
                }
                Scope::TensorGroup => {
                    for group in &team.tensor_groups {
                        self.on_group(&steps(0)[i], group, team.tensor_groups.len(), place)?;
                    }
                }
                Scope::ExpertGroup => {
                    for group in &team.expert_groups {
                        self.on_group(&steps(0)[i], group, team.expert_groups.len(), place)?;
                    }
                }
            }
            i += 1;
        }
        Ok(())
    }

    /// The experts of one GPU, one after the other.
    fn experts(
        &mut self,
        team: &Team,
        chain: &[Prepared],
        index_in_team: usize,
        gpu: u32,
        place: Place,
    ) -> Result<(), TooLarge> {
        let group = team.expert_groups.first().map_or(1, Vec::len);
        let first_expert = (index_in_team % group) as u64 * team.experts;
        let mut written: Vec<NodeId> = Vec::with_capacity(team.experts as usize);
        for x in 0..team.experts {
            for step in chain {
                let name = format!("{}_{}", self.dag.name_text(step.name), first_expert + x);
                let name = self.dag.name(&name)?;
                let node = self.on_gpu(step, name, gpu, place)?;
                if std::ptr::eq(step, &chain[chain.len() - 1]) {
                    written.push(node);
                }
            }
            if x + 1 < team.experts {
                self.serial[gpu as usize] = self.last[gpu as usize];
            }
        }
        if let Some(out) = chain.last().and_then(|step| step.writes.first()) {
            self.writers[gpu as usize][*out as usize] = written;
        }
        Ok(())
    }

    fn on_gpu(&mut self, step: &Prepared, name: NameId, gpu: u32, place: Place) -> Result<NodeId, TooLarge> {
        let mut after = std::mem::take(&mut self.scratch);
        after.clear();
        self.collect(&mut after, &step.reads, gpu);
        after.extend(self.serial[gpu as usize].take());
        let work = match step.work {
            PreparedWork::Ops(work) => work,
            PreparedWork::Collective(..) => self.free, // a collective is never a step of one GPU
        };
        let node = self.push(name, place, work, self.dag.gpu(gpu), &after)?;
        self.scratch = after;
        self.wrote(&step.writes, gpu, node);
        Ok(node)
    }

    fn on_group(
        &mut self,
        step: &Prepared,
        group: &[u32],
        groups: usize,
        place: Place,
    ) -> Result<(), TooLarge> {
        let mut after = std::mem::take(&mut self.scratch);
        after.clear();
        for gpu in group {
            self.collect(&mut after, &step.reads, *gpu);
            after.extend(self.serial[*gpu as usize].take());
        }
        let work = match step.work {
            PreparedWork::Ops(work) => work,
            PreparedWork::Collective(kind, bytes) => {
                let op = Op::Collective(Collective {
                    kind,
                    bytes,
                    ranks: group.len() as u64,
                    nodes: self.nodes(group),
                    dtype: self.dtype,
                });
                self.dag.work(Work { kind: Kind::Collective, ops: vec![(op, 1)] })
            }
        };
        let name = match groups {
            1 => step.name,
            _ => {
                let name = format!("{}_from{}", self.dag.name_text(step.name), group[0]);
                self.dag.name(&name)?
            }
        };
        let lane = self.dag.lane(group);
        let node = self.push(name, place, work, lane, &after)?;
        self.scratch = after;
        for gpu in group {
            self.wrote(&step.writes, *gpu, node);
        }
        Ok(())
    }

    /// A send of `bytes` from one GPU, which holds them as `out`, to another; returns the arrival.
    pub fn send(
        &mut self,
        [send, recv]: [&str; 2],
        place: Place,
        from: u32,
        to: u32,
        bytes: u64,
        out: Tensor,
    ) -> Result<NodeId, TooLarge> {
        let link = match u64::from(from) / self.gpus_per_node == u64::from(to) / self.gpus_per_node {
            true => Link::IntraNode,
            false => Link::InterNode,
        };
        let op = Op::P2p(P2p { bytes: bytes.max(1), link });
        let work = self.dag.work(Work { kind: Kind::Send, ops: vec![(op, 1)] });
        let names = [self.dag.name(send)?, self.dag.name(recv)?];
        let after = self.writers[from as usize][out as usize].clone();
        let sent = self.push(names[0], place, work, self.dag.gpu(from), &after)?;
        // the arrival takes no time, and does not wait for what its GPU is doing
        let kept = self.last[to as usize];
        let received = self.push(names[1], place, self.free, self.dag.gpu(to), &[sent])?;
        self.last[to as usize] = kept;
        Ok(received)
    }

    /// A node that is not a step of a layer.
    pub fn node(
        &mut self,
        name: &str,
        place: Place,
        work: Work,
        gpus: &[u32],
        after: &[NodeId],
    ) -> Result<NodeId, TooLarge> {
        let name = self.dag.name(name)?;
        let work = self.dag.work(work);
        let lane = self.dag.lane(gpus);
        self.push(name, place, work, lane, after)
    }

    /// What wrote `tensor` on the GPU.
    pub fn writers(&self, gpu: u32, tensor: Tensor) -> &[NodeId] {
        &self.writers[gpu as usize][tensor as usize]
    }

    /// `node` wrote `tensors` on the GPU.
    pub fn wrote(&mut self, tensors: &[Tensor], gpu: u32, node: NodeId) {
        for tensor in tensors {
            let writers = &mut self.writers[gpu as usize][*tensor as usize];
            writers.clear();
            writers.push(node);
        }
    }

    /// What left the layer on these GPUs enters the next one.
    pub fn pass_on(&mut self, gpus: &[u32]) {
        for gpu in gpus {
            let tensors = &mut self.writers[*gpu as usize];
            tensors.swap(Tensor::X as usize, Tensor::Out as usize);
        }
    }

    /// Nodes that a group of GPUs stands on.
    pub fn nodes(&self, group: &[u32]) -> u64 {
        let mut nodes: Vec<u64> = group.iter().map(|gpu| u64::from(*gpu) / self.gpus_per_node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.len() as u64
    }

    fn collect(&self, after: &mut Vec<NodeId>, reads: &[Tensor], gpu: u32) {
        for tensor in reads {
            after.extend_from_slice(&self.writers[gpu as usize][*tensor as usize]);
        }
    }

    fn push(
        &mut self,
        name: NameId,
        place: Place,
        work: WorkId,
        lane: Lane,
        after: &[NodeId],
    ) -> Result<NodeId, TooLarge> {
        let tag = Tag { name, layer: place.layer, microbatch: place.microbatch };
        let node = self.dag.push(tag, work, lane, after.iter().copied())?;
        for gpu in &self.dag.lanes()[lane.index()] {
            self.last[*gpu as usize] = Some(node);
        }
        Ok(node)
    }
}
