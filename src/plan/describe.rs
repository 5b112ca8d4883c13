//! A plan's graph with every tensor, for checks and pictures.

use std::collections::HashMap;

use super::role::{Role, roles};
use super::step::{Scope, Step, Tensor};
use super::{Choice, Layout, Mlp, Plan};
use crate::dag::{Dag, Kind, NodeId};
use crate::graph::{Cut, Edge, Facts, Graph, Node, Shape, Tensor as Named};
use crate::spec::AttentionMode;

/// Describes the graph that [`super::lower`] made of the plan: same nodes in the same order, same edges, with
/// the tensors of the steps that they come from.
pub fn describe(plan: &Plan, choice: &Choice, dag: &Dag) -> Graph {
    let share = plan.model.batch / plan.layout.replicas();
    let copies = choice.microbatches.clamp(1, share.max(1));
    let sizes = [share / copies, share / copies + 1];
    let program = |sequences| Program::new(plan, roles(plan, choice, sequences));
    // the first micro-batches take one sequence more where the batch does not divide
    let programs = sizes.map(program);
    let of = |node: NodeId| {
        let larger = u64::from(dag.tag(node).microbatch) < share % copies;
        &programs[usize::from(larger)]
    };
    let mut nodes: Vec<Node> = dag.nodes().map(|node| of(node).node(dag, node)).collect();
    let mut edges = Vec::with_capacity(dag.edges());
    for to in dag.nodes() {
        for from in dag.after(to) {
            let (from, to) = (from.index(), to.index());
            let carries = carried(&nodes[from], &nodes[to]);
            if nodes[to].kind == Some(Kind::Recv) {
                nodes[from].peer = nodes[to].gpus.first().copied();
                nodes[to].peer = nodes[from].gpus.first().copied();
            }
            edges.push(Edge { from, to, carries });
        }
    }
    Graph { name: plan.name.clone(), facts: Some(facts(plan, choice, copies)), nodes, edges }
}

fn facts(plan: &Plan, choice: &Choice, microbatches: u64) -> Facts {
    let model = &plan.model;
    let (ffn, experts, top_k) = match model.mlp {
        Mlp::Dense { ffn } => (ffn, 0, 0),
        Mlp::Moe { experts, top_k, ffn } => (ffn, experts, top_k),
    };
    Facts {
        layers: model.layers,
        hidden: model.hidden,
        heads: model.heads,
        kv_heads: model.kv_heads,
        head_dim: model.head_dim,
        ffn,
        up_matrices: model.up_matrices(),
        experts,
        top_k,
        batch: model.batch,
        sequence: model.sequence,
        microbatches,
        fused: choice.attention == AttentionMode::Fused,
        gpus: plan.gpus,
        gpus_per_node: choice.gpus_per_node,
        dtype: choice.dtype,
    }
}

/// What passes from one node to the other: what both name, and the residual stream, which is the next
/// layer's `x`. Nothing between micro-batches: these are only put in an order.
fn carried(from: &Node, to: &Node) -> Vec<(String, String)> {
    if from.microbatch != to.microbatch {
        return Vec::new();
    }
    let [x, middle, out] = [Tensor::X, Tensor::Middle, Tensor::Out].map(Tensor::name);
    let becomes = |writer: &str, reader: &str| {
        let arrives = from.kind == Some(Kind::Recv) && writer == middle;
        writer == reader
            || (reader == x && (writer == out || arrives))
            || (writer == x && reader == out && to.kind == Some(Kind::Output))
    };
    let mut carries = Vec::new();
    for written in &from.writes {
        for read in &to.reads {
            if becomes(&written.name, &read.name) {
                carries.push((written.name.clone(), read.name.clone()));
            }
        }
    }
    carries
}

/// The roles for one size of micro-batch.
struct Program<'a> {
    plan: &'a Plan,
    roles: Vec<Role>,
    /// The role of each GPU.
    role_of: HashMap<u32, usize>,
    /// The residual stream of a whole micro-batch.
    stream: Shape,
}

impl<'a> Program<'a> {
    fn new(plan: &'a Plan, roles: Vec<Role>) -> Self {
        let gpus = |(i, role): (usize, &Role)| role.gpus.iter().map(move |gpu| (*gpu, i)).collect::<Vec<_>>();
        let role_of = roles.iter().enumerate().flat_map(gpus).collect();
        let sequences = roles.first().map_or(0, |role| role.share.sequences) * plan.layout.replicas();
        let stream = Shape::new(&[sequences, plan.model.sequence, plan.model.hidden]);
        Program { plan, roles, role_of, stream }
    }

    fn node(&self, dag: &Dag, id: NodeId) -> Node {
        let work = dag.work_of(id);
        let tag = dag.tag(id);
        let gpus = dag.gpus_of(id);
        let name = dag.name_of(id);
        let mut node = Node {
            kind: Some(work.kind),
            op: name.to_owned(),
            gpus: gpus.to_vec(),
            layer: tag.layer.map(u64::from),
            microbatch: u64::from(tag.microbatch),
            ops: work.ops.clone(),
            ..Node::named(&dag.id(id))
        };
        let role = gpus.first().and_then(|gpu| self.roles.get(*self.role_of.get(gpu)?));
        let named = |tensor: Tensor, shape: &Shape| {
            vec![Named { name: tensor.name().to_owned(), shape: shape.clone() }]
        };
        match (work.kind, role) {
            (Kind::Input, _) => node.writes = named(Tensor::X, &self.stream),
            (Kind::Output, _) => node.reads = named(Tensor::Out, &self.stream),
            (Kind::Join, _) => {}
            (Kind::Send | Kind::Recv, Some(role)) => self.transfer(&mut node, role),
            (_, Some(role)) => match step(role, name) {
                Some((step, expert)) => fill(&mut node, step, expert),
                None => self.back(&mut node),
            },
            (_, None) => {}
        }
        node
    }

    /// A send, or its arrival: the residual stream, or the tokens that one expert GPU takes.
    fn transfer(&self, node: &mut Node, role: &Role) {
        let tensor = if node.layer.is_some() { Tensor::Middle } else { Tensor::Out };
        let message = match (&self.plan.layout, self.roles.last()) {
            (Layout::Separated(_), Some(experts)) => &experts.entering,
            _ => &role.entering,
        };
        let named = |shape: &Shape| vec![Named { name: tensor.name().to_owned(), shape: shape.clone() }];
        node.writes = named(message);
        node.reads = named(if node.kind == Some(Kind::Recv) { message } else { &role.entering });
    }

    /// The way back from the experts to all attention GPUs.
    fn back(&self, node: &mut Node) {
        let Layout::Separated(layout) = &self.plan.layout else { return };
        let Some(experts) = self.roles.last() else { return };
        let (to, from) = node.gpus.iter().partition(|gpu| u64::from(**gpu) < layout.attention);
        node.takers = Some(to);
        node.givers = Some(from);
        node.reads = vec![Named { name: Tensor::Out.name().to_owned(), shape: experts.entering.clone() }];
        node.writes = vec![Named { name: Tensor::X.name().to_owned(), shape: self.stream.clone() }];
    }
}

/// The step that a node's name stands for, and its expert: experts are numbered, and so are groups where
/// there are several.
fn step<'a>(role: &'a Role, name: &str) -> Option<(&'a Step, Option<u64>)> {
    let find = |name: &str| role.steps.iter().find(|step| step.name == name);
    if let Some(step) = find(name) {
        return Some((step, None));
    }
    let (family, last) = name.rsplit_once('_')?;
    let step = find(family)?;
    let expert = if step.scope == Scope::Expert { Some(last.parse().ok()?) } else { None };
    Some((step, expert))
}

fn fill(node: &mut Node, step: &Step, expert: Option<u64>) {
    let named = |tensors: &[(Tensor, Shape)]| {
        let named = |(tensor, shape): &(Tensor, Shape)| Named {
            name: tensor.name().to_owned(),
            shape: shape.clone(),
        };
        tensors.iter().map(named).collect::<Vec<_>>()
    };
    node.op = step.name.to_owned();
    node.expert = expert;
    node.cut = step.cut.filter(|cut| *cut != Cut::Experts || expert.is_some());
    node.parameters = step.parameters;
    node.reads = named(&step.reads);
    node.writes = named(&step.writes);
}
