//! The graph of a plan: what runs, where, and after what. It knows ops and never times.
//!
//! Nodes are only ever appended, after nodes that exist already, so a cycle cannot be written down and the
//! order of appending is a topological order. Everything is kept in flat columns: a node and its edges take
//! about 30 bytes.

mod node;

use std::collections::HashMap;

pub use node::{Kind, Lane, NameId, NodeId, Part, Tag, Work, WorkId, role};

/// The graph. See the module for its promises.
#[derive(Clone, Debug, Default)]
pub struct Dag {
    work: Vec<WorkId>,
    lane: Vec<Lane>,
    tags: Vec<Tag>,
    /// `after[ends[i-1]..ends[i]]` are the predecessors of node i.
    ends: Vec<u32>,
    after: Vec<NodeId>,
    works: Vec<Work>,
    work_ids: HashMap<Work, WorkId>,
    lanes: Vec<Vec<u32>>,
    /// Which lanes are beside the GPUs' own.
    beside: Vec<bool>,
    lane_ids: [HashMap<Vec<u32>, Lane>; 2],
    names: Vec<String>,
    name_ids: HashMap<String, NameId>,
    gpus: u32,
    microbatches: u32,
    /// Nodes that it may have; none for as many as can be counted.
    most: Option<u32>,
}

/// More nodes, edges, names or layers than the graph's columns can count, or than memory takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the plan has more {0} than a graph can hold (4,294,967,295 nodes or edges, 65,534 layers or names, and no \
     more than memory takes)"
)]
pub struct TooLarge(pub &'static str);

impl Dag {
    /// A graph without nodes over `gpus` GPUs and `microbatches` copies.
    pub fn new(gpus: u32, microbatches: u32) -> Self {
        let mut dag = Dag { gpus, microbatches, ..Dag::default() };
        for gpu in 0..gpus {
            dag.lane(&[gpu]);
        }
        dag
    }

    /// Refuses more nodes than this.
    pub fn limit(&mut self, nodes: u64) {
        self.most = u32::try_from(nodes).ok();
    }

    /// Room for `nodes` more nodes and `edges` more edges, so that appending does not copy.
    ///
    /// # Errors
    /// When the graph could not count them, or there is no memory for them.
    pub fn reserve(&mut self, nodes: usize, edges: usize) -> Result<(), TooLarge> {
        if nodes.saturating_add(self.len()) > self.most.unwrap_or(u32::MAX) as usize {
            return Err(TooLarge("nodes"));
        }
        if edges.saturating_add(self.edges()) > u32::MAX as usize {
            return Err(TooLarge("edges"));
        }
        self.work.try_reserve_exact(nodes).map_err(|_| TooLarge("nodes"))?;
        self.lane.try_reserve_exact(nodes).map_err(|_| TooLarge("nodes"))?;
        self.tags.try_reserve_exact(nodes).map_err(|_| TooLarge("nodes"))?;
        self.ends.try_reserve_exact(nodes).map_err(|_| TooLarge("nodes"))?;
        self.after.try_reserve_exact(edges).map_err(|_| TooLarge("edges"))
    }

    /// The id of a work, kept once.
    pub fn work(&mut self, work: Work) -> WorkId {
        let works = &mut self.works;
        *self.work_ids.entry(work).or_insert_with_key(|work| {
            works.push(work.clone());
            WorkId(works.len() as u32 - 1)
        })
    }

    /// The lane of a group of GPUs, kept once. None at all, as for input and output, is a lane too.
    pub fn lane(&mut self, gpus: &[u32]) -> Lane {
        self.lane_of(gpus, false)
    }

    /// The lane of a group for what runs beside the GPUs' own work and does not occupy them, kept once.
    pub fn lane_beside(&mut self, gpus: &[u32]) -> Lane {
        self.lane_of(gpus, true)
    }

    fn lane_of(&mut self, gpus: &[u32], beside: bool) -> Lane {
        let ids = &mut self.lane_ids[usize::from(beside)];
        if let Some(lane) = ids.get(gpus) {
            return *lane;
        }
        let lane = Lane(self.lanes.len() as u32);
        self.lanes.push(gpus.to_vec());
        self.beside.push(beside);
        ids.insert(gpus.to_vec(), lane);
        lane
    }

    /// The id of a name, kept once.
    ///
    /// # Errors
    /// After 65,535 distinct names.
    pub fn name(&mut self, name: &str) -> Result<NameId, TooLarge> {
        if let Some(id) = self.name_ids.get(name) {
            return Ok(*id);
        }
        let id = NameId(u16::try_from(self.names.len()).map_err(|_| TooLarge("names"))?);
        self.names.push(name.to_owned());
        self.name_ids.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Appends a node that starts when all of `after` have ended. A predecessor named twice is one edge.
    ///
    /// # Errors
    /// When the graph is full.
    pub fn push(
        &mut self,
        tag: Tag,
        work: WorkId,
        lane: Lane,
        after: impl IntoIterator<Item = NodeId>,
    ) -> Result<NodeId, TooLarge> {
        let id = u32::try_from(self.work.len()).map_err(|_| TooLarge("nodes"))?;
        if self.most.is_some_and(|most| id >= most) {
            return Err(TooLarge("nodes"));
        }
        let first = self.after.len();
        self.after.extend(after);
        self.after[first..].sort_unstable();
        let mut kept = first;
        for i in first..self.after.len() {
            if i == first || self.after[i] != self.after[kept - 1] {
                self.after[kept] = self.after[i];
                kept += 1;
            }
        }
        self.after.truncate(kept);
        self.ends.push(u32::try_from(kept).map_err(|_| TooLarge("edges"))?);
        self.work.push(work);
        self.lane.push(lane);
        self.tags.push(tag);
        Ok(NodeId(id))
    }

    /// The text of a name.
    pub fn name_text(&self, name: NameId) -> &str {
        &self.names[usize::from(name.0)]
    }

    /// The lane of one GPU.
    pub const fn gpu(&self, gpu: u32) -> Lane {
        Lane(gpu)
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.work.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.work.is_empty()
    }

    /// Number of edges.
    pub fn edges(&self) -> usize {
        self.after.len()
    }

    /// Number of GPUs.
    pub const fn gpus(&self) -> u32 {
        self.gpus
    }

    /// Every node, in topological order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = NodeId> + use<> {
        (0..self.work.len() as u32).map(NodeId)
    }

    /// The node at a position; `None` beyond the last.
    pub fn node(&self, index: usize) -> Option<NodeId> {
        u32::try_from(index).ok().filter(|_| index < self.len()).map(NodeId)
    }

    /// The nodes that must end before `node` starts, in ascending order.
    pub fn after(&self, node: NodeId) -> &[NodeId] {
        let i = node.index();
        let first = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.after[first..self.ends[i] as usize]
    }

    /// The distinct works.
    pub fn works(&self) -> &[Work] {
        &self.works
    }

    /// The work of each node.
    pub fn work_column(&self) -> &[WorkId] {
        &self.work
    }

    /// The lane of each node.
    pub fn lane_column(&self) -> &[Lane] {
        &self.lane
    }

    /// Where the predecessors of each node end in [`Dag::after_column`].
    pub fn ends_column(&self) -> &[u32] {
        &self.ends
    }

    /// The predecessors of all nodes, one node's after the other's.
    pub fn after_column(&self) -> &[NodeId] {
        &self.after
    }

    /// The GPUs of each lane.
    pub fn lanes(&self) -> &[Vec<u32>] {
        &self.lanes
    }

    /// Whether each lane is beside the GPUs' own.
    pub fn beside(&self) -> &[bool] {
        &self.beside
    }

    /// What `node` does.
    pub fn work_of(&self, node: NodeId) -> &Work {
        &self.works[self.work[node.index()].index()]
    }

    /// The GPUs that `node` occupies.
    pub fn gpus_of(&self, node: NodeId) -> &[u32] {
        &self.lanes[self.lane[node.index()].index()]
    }

    /// The parts of the node's id.
    pub fn tag(&self, node: NodeId) -> Tag {
        self.tags[node.index()]
    }

    /// The op's name, such as `qkv`.
    pub fn name_of(&self, node: NodeId) -> &str {
        self.name_text(self.tags[node.index()].name)
    }

    /// What its name has in common with those of other stages, groups and experts.
    pub fn role_of(&self, node: NodeId) -> &str {
        role(self.name_of(node))
    }

    /// The node's id: `<op>_l<layer>_gpu<g>`, without the GPU for a collective, without the layer where it
    /// belongs to none, and with `_u<micro-batch>` where there are several.
    pub fn id(&self, node: NodeId) -> String {
        let tag = self.tag(node);
        let mut id = self.name_of(node).to_owned();
        if let Some(layer) = tag.layer {
            id += &format!("_l{layer}");
        }
        if let [gpu] = self.gpus_of(node) {
            id += &format!("_gpu{gpu}");
        }
        if self.microbatches > 1 {
            id += &format!("_u{}", tag.microbatch);
        }
        id
    }
}
