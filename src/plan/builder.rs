//! Appends the steps of blocks to a graph.

use super::prepared::{Prepared, PreparedWork};
use super::recompute;
use super::step::{Scope, Step};
use super::team::{Group, Team};
use super::tensor::Tensor;
use super::writers::Writers;
use crate::dag::{Dag, Kind, Lane, NameId, NodeId, Part, Tag, TooLarge, Work, WorkId};
use crate::dtype::Dtype;
use crate::op::{CollectiveKind, Op};
use crate::spec::Overlap;

/// A graph under construction.
///
/// On every GPU a node waits for the one before it on its stream: one stream for all, or one for communication
/// and one for the rest.
pub(super) struct Builder {
    pub(super) dag: Dag,
    dtype: Dtype,
    pub gpus_per_node: u64,
    /// What communication has a stream of its own.
    overlap: Overlap,
    pub writers: Writers,
    /// The last node on each stream of each GPU.
    pub(super) last: Vec<[Option<NodeId>; 2]>,
    pub(super) free: WorkId,
    scratch: Vec<NodeId>,
}

/// Which layer and micro-batch nodes belong to.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub layer: Option<u16>,
    pub microbatch: u32,
}

/// One of the experts of a GPU.
#[derive(Clone, Copy)]
struct Expert {
    /// Among those of the GPU.
    here: usize,
    /// Whether most tokens go to it.
    hottest: bool,
}

impl Builder {
    pub fn new(gpus: u64, microbatches: u64, dtype: Dtype, gpus_per_node: u64, overlap: Overlap) -> Self {
        let gpus = gpus as u32;
        let mut dag = Dag::new(gpus, microbatches.min(u64::from(u32::MAX)) as u32);
        let free = dag.work(Work { kind: Kind::Recv, ops: Vec::new() });
        let (writers, last, scratch) = (Writers::new(gpus), vec![[None; 2]; gpus as usize], Vec::new());
        Builder { dag, dtype, gpus_per_node, overlap, writers, last, free, scratch }
    }

    /// Refuses more nodes than this.
    pub fn limit(&mut self, nodes: u64) {
        self.dag.limit(nodes);
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

    /// Appends one block of a team; `steps(i)` are those of its i-th GPU, the same names for all.
    pub fn block<'a>(
        &mut self,
        team: &Team,
        steps: impl Fn(usize) -> &'a [Prepared],
        place: Place,
    ) -> Result<(), TooLarge> {
        let count = if team.gpus.is_empty() { 0 } else { steps(0).len() };
        let mut i = 0;
        while i < count {
            let groups = match steps(0)[i].scope {
                Scope::Gpu => {
                    for (g, gpu) in team.gpus.iter().enumerate() {
                        let step = &steps(g)[i];
                        self.on_gpu(step, step.name, *gpu, place, None)?;
                    }
                    &[][..]
                }
                Scope::Expert => {
                    let chain = (i..count).take_while(|j| steps(0)[*j].scope == Scope::Expert).count();
                    for (g, gpu) in team.gpus.iter().enumerate() {
                        self.experts(team, &steps(g)[i..i + chain], g, *gpu, place)?;
                    }
                    i += chain - 1;
                    &[]
                }
                Scope::TensorGroup => &team.tensor_groups,
                Scope::ExpertGroup => &team.expert_groups,
            };
            for group in groups {
                self.on_group(&steps(0)[i], group, groups.len(), place)?;
            }
            i += 1;
        }
        Ok(())
    }

    /// The experts of one GPU, one after the other. What one of them writes only the same one reads.
    fn experts(
        &mut self,
        team: &Team,
        chain: &[Prepared],
        index_in_team: usize,
        gpu: u32,
        place: Place,
    ) -> Result<(), TooLarge> {
        let group = team.expert_groups.first().map_or(1, |group| group.ranks as usize);
        let first = (index_in_team % group) as u64 * team.experts;
        let mut written: Vec<(Tensor, Vec<NodeId>)> = Vec::new();
        for x in 0..team.experts {
            let expert = Expert { here: x as usize, hottest: first + x == 0 };
            for step in chain {
                let name = format!("{}_{}", self.dag.name_text(step.name), first + x);
                let name = self.dag.name(&name)?;
                let node = self.on_gpu(step, name, gpu, place, Some(expert))?;
                for tensor in &step.writes {
                    match written.iter_mut().find(|(other, _)| other == tensor) {
                        Some((_, nodes)) => nodes.push(node),
                        None => written.push((*tensor, vec![node])),
                    }
                }
            }
        }
        for (tensor, nodes) in written {
            self.writers.wrote_together(tensor, gpu, nodes);
        }
        Ok(())
    }

    fn on_gpu(
        &mut self,
        step: &Prepared,
        name: NameId,
        gpu: u32,
        place: Place,
        expert: Option<Expert>,
    ) -> Result<NodeId, TooLarge> {
        let work = match step.work {
            PreparedWork::Ops { hottest: Some(work), .. } if expert.is_some_and(|e| e.hottest) => work,
            PreparedWork::Ops { work, .. } => work,
            PreparedWork::Collective(..) => self.free, // a collective is never a step of one GPU
        };
        let mut after = std::mem::take(&mut self.scratch);
        after.clear();
        for tensor in &step.reads {
            after.extend_from_slice(match expert {
                Some(expert) => self.writers.of_expert(gpu, *tensor, expert.here),
                None => self.writers.of(gpu, *tensor),
            });
        }
        let node = self.push(name, place, work, &[gpu], &mut after)?;
        self.scratch = after;
        self.writers.wrote(&step.writes, gpu, node);
        Ok(node)
    }

    fn on_group(
        &mut self,
        step: &Prepared,
        group: &Group,
        groups: usize,
        place: Place,
    ) -> Result<(), TooLarge> {
        let mut after = std::mem::take(&mut self.scratch);
        after.clear();
        for gpu in &group.gpus {
            for tensor in &step.reads {
                after.extend_from_slice(self.writers.of(*gpu, *tensor));
            }
        }
        let work = match step.work {
            PreparedWork::Ops { work, .. } => work,
            PreparedWork::Collective(kind, bytes) => self.collective(kind, bytes, self.dtype, group),
        };
        let name = self.numbered(step.name, group, groups)?;
        let node = self.push(name, place, work, &group.gpus, &mut after)?;
        self.scratch = after;
        for gpu in &group.gpus {
            self.writers.wrote(&step.writes, *gpu, node);
        }
        Ok(())
    }

    /// A node that is not a step of a block, and waits for `after` only.
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
        self.append(name, place, work, gpus, after)
    }

    /// The last node on each stream of the GPU.
    pub fn last(&self, gpu: u32) -> impl Iterator<Item = NodeId> + use<> {
        self.last[gpu as usize].into_iter().flatten()
    }

    /// The last node on the GPU, where it is of another micro-batch.
    pub fn other_before(&self, gpu: u32, microbatch: u32) -> Option<NodeId> {
        self.last(gpu).last().filter(|node| self.dag.tag(*node).microbatch != microbatch)
    }

    /// `node` brought `tensor` to the GPU. Of the same micro-batch, all that the GPU did lies before it already.
    pub fn arrived(&mut self, tensor: Tensor, gpu: u32, node: NodeId) {
        self.writers.wrote(&[tensor], gpu, node);
        if self.other_before(gpu, self.dag.tag(node).microbatch).is_none() {
            self.last[gpu as usize][0] = Some(node);
        }
    }

    /// What wrote `tensor` on any of these GPUs.
    pub fn all_writers(&self, gpus: impl IntoIterator<Item = u32>, tensor: Tensor) -> Vec<NodeId> {
        gpus.into_iter().flat_map(|gpu| self.writers.of(gpu, tensor).to_vec()).collect()
    }

    /// Appends a node after `after` and what stands before it on its stream.
    pub(super) fn push(
        &mut self,
        name: NameId,
        place: Place,
        work: WorkId,
        gpus: &[u32],
        after: &mut Vec<NodeId>,
    ) -> Result<NodeId, TooLarge> {
        let stream = self.stream(name, work);
        after.extend(gpus.iter().filter_map(|gpu| self.last[*gpu as usize][stream]));
        self.append(name, place, work, gpus, after)
    }

    fn append(
        &mut self,
        name: NameId,
        place: Place,
        work: WorkId,
        gpus: &[u32],
        after: &[NodeId],
    ) -> Result<NodeId, TooLarge> {
        let stream = self.stream(name, work);
        let lane = self.lane(gpus, stream);
        let tag = Tag { name, layer: place.layer, microbatch: place.microbatch };
        let node = self.dag.push(tag, work, lane, after.iter().copied())?;
        for gpu in gpus {
            self.last[*gpu as usize][stream] = Some(node);
        }
        Ok(node)
    }

    fn lane(&mut self, gpus: &[u32], stream: usize) -> Lane {
        match (gpus, stream) {
            ([gpu], 0) => self.dag.gpu(*gpu),
            (gpus, 0) => self.dag.lane(gpus),
            (gpus, _) => self.dag.lane_beside(gpus),
        }
    }

    /// The stream of a work on its GPUs.
    fn stream(&self, name: NameId, work: WorkId) -> usize {
        let work = &self.dag.works()[work.index()];
        let gathers = |(op, _): &(Op, u64)| match op {
            Op::Collective(op) => op.kind == CollectiveKind::AllGather,
            _ => false,
        };
        usize::from(match self.overlap {
            Overlap::None => false,
            Overlap::Regather => {
                work.ops.iter().any(gathers) && self.dag.name_text(name).contains(recompute::AGAIN)
            }
            Overlap::All => work.kind.part() == Some(Part::Communication),
        })
    }
}
