//! A plan's graph with every tensor, for checks and pictures.

use std::collections::HashMap;

use super::role::{Role, roles};
use super::run::{GATHER, GATHER_BACK};
use super::step::{Hottest, Scope, Step};
use super::tensor::Tensor;
use super::update::{GRADIENT, OPTIMIZER, Parameters};
use super::{Choice, Layout, Mlp, Plan};
use crate::dag::{Dag, Kind, NodeId};
use crate::graph::{Cut, Edge, Facts, Graph, Node, Shape, Tensor as Named};
use crate::spec::{AttentionMode, Recompute};

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
        let before = dag.after(to);
        for from_id in before {
            let (from, to) = (from_id.index(), to.index());
            let mut carries = carried(&nodes[from], &nodes[to]);
            // another one wrote it in place meanwhile, beside what the GPU was doing
            carries.retain(|(written, _)| {
                let rewrites = |other: &NodeId| {
                    nodes[other.index()].writes(written).is_some() && dag.after(*other).contains(from_id)
                };
                !before.iter().any(rewrites)
            });
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
        fused: choice.attention == AttentionMode::Fused || model.mla.is_some(),
        gpus: plan.gpus,
        gpus_per_node: choice.gpus_per_node,
        dtype: choice.dtype,
        phase: plan.phase,
        vocabulary: model.vocabulary.unwrap_or(0),
        dense_layers: model.dense_first.map_or(0, |(layers, _)| layers),
        dense_ffn: model.dense_ffn(),
        shared_experts: model.shared_experts,
        uneven: plan.hottest.is_some(),
        recompute: plan.train.map_or(Recompute::None, |train| train.recompute),
        mla: model.mla.map_or([0; 5], |m| [m.q_rank, m.kv_rank, m.nope_dim, m.rope_dim, m.v_dim]),
        gradient_bytes: plan.train.map_or(0, |_| GRADIENT.bytes()),
        state_bytes: plan.train.map_or(0, |train| train.optimizer.state_bytes()),
    }
}

/// What passes from one node to the other: what both name, and the residual stream, which is the next
/// block's `x`, and on the way back its gradient. Nothing between micro-batches: these are only put in an order.
fn carried(from: &Node, to: &Node) -> Vec<(String, String)> {
    if from.microbatch != to.microbatch {
        return Vec::new();
    }
    let [x, middle, out] = [Tensor::X, Tensor::Middle, Tensor::Out].map(Tensor::name);
    let [back_in, back_out] = [Tensor::Out, Tensor::X].map(|tensor| tensor.gradient().name());
    let becomes = |writer: &str, reader: &str| {
        let arrives = from.kind == Some(Kind::Recv) && writer == middle;
        writer == reader
            || (reader == x && (writer == out || arrives))
            || (reader == back_in && writer == back_out)
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
    /// The roles of each GPU.
    roles_of: HashMap<u32, Vec<usize>>,
    /// The residual stream of a whole micro-batch.
    stream: Shape,
}

impl<'a> Program<'a> {
    fn new(plan: &'a Plan, roles: Vec<Role>) -> Self {
        let mut roles_of: HashMap<u32, Vec<usize>> = HashMap::new();
        for (i, role) in roles.iter().enumerate() {
            for gpu in &role.gpus {
                roles_of.entry(*gpu).or_default().push(i);
            }
        }
        let sequences = roles.first().map_or(0, |role| role.share.sequences) * plan.layout.replicas();
        let stream = Shape::new(&[sequences, plan.model.queries, plan.model.hidden]);
        Program { plan, roles, roles_of, stream }
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
        let roles = gpus.first().and_then(|gpu| self.roles_of.get(gpu)).map_or(&[][..], Vec::as_slice);
        let first = roles.first().map(|role| &self.roles[*role]);
        match (work.kind, first) {
            (Kind::Input, _) => node.writes = vec![self.entering()],
            (Kind::Output, _) => node.reads = self.leaving().into_iter().collect(),
            (Kind::Join, Some(role)) if self.plan.train.is_some() => {
                node.reads = vec![named(Tensor::Out, &role.entering)];
                node.writes = vec![named(Tensor::Out.gradient(), &role.entering)];
            }
            (Kind::Join, _) => {}
            (Kind::Send | Kind::Recv, Some(role)) => self.transfer(&mut node, role),
            (Kind::Mem, Some(_)) if name == OPTIMIZER => node.parameters = self.updated(roles),
            (Kind::Collective, Some(role)) if name.starts_with(GATHER) => self.gathered(&mut node, role),
            (_, Some(_)) => match self.step(roles, node.layer, name) {
                Some((step, expert)) => fill(&mut node, step, expert),
                None => self.back(&mut node),
            },
            (_, None) => {}
        }
        node
    }

    /// What the input brings: the residual stream, or the tokens' numbers.
    fn entering(&self) -> Named {
        match self.plan.model.vocabulary {
            None => named(Tensor::X, &self.stream),
            Some(_) => {
                let dims = [self.stream.dims[0], self.stream.dims[1], 1];
                named(Tensor::Tokens, &Shape { element_bytes: Some(4), ..Shape::new(&dims) })
            }
        }
    }

    /// What the output takes: the residual stream, the scores of the next token, or nothing in training.
    fn leaving(&self) -> Option<Named> {
        match self.plan.model.vocabulary {
            _ if self.plan.train.is_some() => None,
            None => Some(named(Tensor::Out, &self.stream)),
            Some(vocabulary) => Some(named(Tensor::Out, &Shape::new(&[self.stream.dims[0], 1, vocabulary]))),
        }
    }

    /// A send, or its arrival: the residual stream or its gradient, or the tokens that one expert GPU takes.
    fn transfer(&self, node: &mut Node, role: &Role) {
        let tensor = match node.layer {
            Some(_) => Tensor::Middle,
            None if node.op.contains("_grad") => Tensor::X.gradient(),
            None => Tensor::Out,
        };
        let message = match (&self.plan.layout, self.roles.last()) {
            (Layout::Separated(_), Some(experts)) => experts.entering.clone(),
            _ => self.sent(role),
        };
        let read = if node.kind == Some(Kind::Recv) { &message } else { &role.entering };
        node.reads = vec![named(tensor, read)];
        node.writes = vec![named(tensor, &message)];
    }

    /// What a GPU sends to the next stage.
    fn sent(&self, role: &Role) -> Shape {
        match &self.plan.layout {
            Layout::Pipeline(layout) if layout.scatter_sends => {
                Shape::new(&[role.share.tokens.div_ceil(layout.tensor), self.plan.model.hidden])
            }
            _ => role.entering.clone(),
        }
    }

    /// Shares that were sent, put together.
    fn gathered(&self, node: &mut Node, role: &Role) {
        let back = node.op.starts_with(GATHER_BACK);
        let tensor = if back { Tensor::X.gradient() } else { Tensor::Out };
        node.reads = vec![named(tensor, &self.sent(role))];
        node.writes = vec![named(tensor, &role.entering)];
    }

    /// Parameters that the optimizer updates on a GPU.
    fn updated(&self, roles: &[usize]) -> u64 {
        let (Layout::Pipeline(layout), Some(train)) = (&self.plan.layout, self.plan.train) else { return 0 };
        let sum = |parameters: fn(Parameters) -> u64| {
            roles.iter().map(|role| parameters(Parameters::of_role(&self.roles[*role]))).sum()
        };
        let all = Parameters { shared: sum(|p| p.shared), experts: sum(|p| p.experts) };
        match train.shard_optimizer {
            true => all.divided(layout.data, layout.stage_gpus() / layout.expert),
            false => all.all(),
        }
    }

    /// The way back from the experts to all attention GPUs.
    fn back(&self, node: &mut Node) {
        let Layout::Separated(layout) = &self.plan.layout else { return };
        let Some(experts) = self.roles.last() else { return };
        let (to, from) = node.gpus.iter().partition(|gpu| u64::from(**gpu) < layout.attention);
        node.takers = Some(to);
        node.givers = Some(from);
        node.reads = vec![named(Tensor::Out, &experts.entering)];
        node.writes = vec![named(Tensor::X, &self.stream)];
    }

    /// The step that a node's name stands for, and its expert: experts are numbered, and so are groups where
    /// there are several.
    fn step(&self, roles: &[usize], layer: Option<u64>, name: &str) -> Option<(&Step, Option<u64>)> {
        let of_role = |role: &usize| {
            let role = &self.roles[*role];
            role.blocks.iter().filter(|(of, _)| *of == layer).map(|(_, kind)| &role.kinds[*kind])
        };
        let find = |name: &str| {
            let blocks = roles.iter().flat_map(of_role);
            blocks
                .flat_map(|block| block.forward.iter().chain(&block.backward.steps))
                .find(|s| s.name == name)
        };
        if let Some(step) = find(name) {
            return Some((step, None));
        }
        let (family, last) = name.rsplit_once('_')?;
        let step = find(family)?;
        let expert = if step.scope == Scope::Expert { Some(last.parse().ok()?) } else { None };
        Some((step, expert))
    }
}

fn named(tensor: Tensor, shape: &Shape) -> Named {
    Named { name: tensor.name().to_owned(), shape: shape.clone() }
}

fn fill(node: &mut Node, step: &Step, expert: Option<u64>) {
    // of the most wanted expert, every tensor of an expert's has its rows
    let rows = match &step.hottest {
        Some(Hottest { rows, .. }) if expert == Some(0) => Some(*rows),
        _ => None,
    };
    let named = |tensors: &[(Tensor, Shape)]| {
        let named = |(tensor, shape): &(Tensor, Shape)| match (rows, shape.dims.as_slice()) {
            (Some(rows), [_, width]) => named(*tensor, &Shape { dims: vec![rows, *width], ..*shape }),
            _ => named(*tensor, shape),
        };
        tensors.iter().map(named).collect::<Vec<_>>()
    };
    node.op = step.name.to_string();
    node.expert = expert;
    node.cut = step.cut.filter(|cut| *cut != Cut::Experts || expert.is_some());
    node.parameters = step.parameters;
    node.reads = named(&step.reads);
    node.writes = named(&step.writes);
}
