//! The backward pass of a block, derived from its forward pass.
//!
//! Every forward step has its counterpart, in reverse: a product C = A·B becomes dA = dC·Bᵀ and dB = Aᵀ·dC, each
//! of the same FLOPs; an all_gather becomes a reduce_scatter and the other way round; a column-parallel product
//! of a whole input leaves partial sums of its gradient, which are reduced. A memory-bound kernel becomes one
//! that moves its operands, the gradient that comes and the one that goes: it is priced as the forward kernels
//! that move as many bytes. A tensor that two steps read gets both gradients, added.

use super::recompute::Again;
use super::step::{Doing, Hottest, Scope, Share, Step};
use super::tensor::Tensor;
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{Attention, CollectiveKind, Gemm, Kernel, KernelKind, Op};
use crate::spec::Recompute;

/// The backward pass of a block.
pub(super) struct Backward {
    pub steps: Vec<Step>,
    /// What it reads of the forward pass: this must be kept.
    pub kept: Vec<(Tensor, Shape, u64)>,
}

/// Derives the backward pass of `forward`, which computes again what `recompute` says.
pub(super) fn backward(forward: &[Step], share: &Share, recompute: Recompute) -> Backward {
    let mut pass = Deriving { share, steps: Vec::new(), held: [None; Tensor::COUNT] };
    pass.held[Tensor::Out.index()] = Some(Tensor::Out.gradient());
    let mut again = Again::new(forward, recompute);
    for (i, step) in forward.iter().enumerate().rev() {
        again.before(i, forward, &mut pass.steps);
        let before = pass.steps.len();
        pass.reverse(step);
        again.follow(&mut pass.steps[before..]);
    }
    let mut kept: Vec<(Tensor, Shape, u64)> = Vec::new();
    let mut written = Vec::new();
    for step in &pass.steps {
        for (tensor, shape) in &step.reads {
            let known = written.contains(tensor) || kept.iter().any(|(other, ..)| other == tensor);
            if !tensor.is_gradient() && !known && *tensor != Tensor::Cache {
                let shape = original(forward, *tensor).unwrap_or(shape);
                let times = writer(forward, *tensor).map_or(1, |step| step.times);
                kept.push((*tensor, shape.clone(), times));
            }
        }
        written.extend(step.writes.iter().map(|(tensor, _)| *tensor));
    }
    Backward { steps: pass.steps, kept }
}

/// The forward step that writes a tensor first.
fn writer(forward: &[Step], tensor: Tensor) -> Option<&Step> {
    forward.iter().find(|step| step.writes.iter().any(|(written, _)| *written == tensor))
}

/// The size of a tensor as it was written.
fn original(forward: &[Step], tensor: Tensor) -> Option<&Shape> {
    writer(forward, tensor)?.writes.iter().find(|(written, _)| *written == tensor).map(|(_, shape)| shape)
}

struct Deriving<'a> {
    share: &'a Share,
    steps: Vec<Step>,
    /// By value: the tensor that holds its gradient so far.
    held: [Option<Tensor>; Tensor::COUNT],
}

impl Deriving<'_> {
    fn reverse(&mut self, step: &Step) {
        match &step.doing {
            Doing::Collective(kind, bytes) => self.collective(step, *kind, *bytes),
            Doing::Ops(_, ops) => match ops.last() {
                Some((Op::Gemm(_), _)) if step.parameters > 0 => self.product(step),
                Some((Op::Gemm(_), _)) => self.product_of_activations(step),
                Some((Op::Attention(op), _)) => self.attention(step, op),
                Some((Op::Kernel(op), _)) => self.kernel(step, op),
                _ => {}
            },
        }
    }

    /// The gradients of what the step wrote, with their sizes.
    fn coming(&self, step: &Step) -> Vec<(Tensor, Shape)> {
        let of = |(tensor, shape): &(Tensor, Shape)| Some((self.held[tensor.index()]?, shape.clone()));
        step.writes.iter().filter_map(of).collect()
    }

    /// The counterpart of a step, under another name.
    fn counterpart(&self, step: &Step, suffix: &str, kind: Kind, ops: Vec<(Op, u64)>) -> Step {
        let name = format!("{}_{suffix}", step.name);
        Step { scope: step.scope, times: step.times, ..Step::on_gpu(name, kind, ops) }
    }

    /// The step writes the gradient of what `step` read as its `i`-th operand; `adds` to what is there already.
    fn leaves(&mut self, mut back: Step, step: &Step, i: usize) -> Step {
        let (tensor, shape) = &step.reads[i];
        if let Some(held) = self.held[tensor.index()] {
            back.reads.push((held, shape.clone()));
        }
        self.held[tensor.index()] = Some(tensor.gradient());
        back.writes(tensor.gradient(), shape.clone())
    }

    fn collective(&mut self, step: &Step, kind: CollectiveKind, bytes: u64) {
        let (Some((from, whole)), Some((to, _))) = (step.reads.first(), step.writes.first()) else { return };
        let kind = match kind {
            // every rank has the gradient of the sum already
            CollectiveKind::AllReduce | CollectiveKind::Broadcast => {
                self.held[from.index()] = self.held[to.index()];
                return;
            }
            CollectiveKind::AllGather => CollectiveKind::ReduceScatter,
            CollectiveKind::ReduceScatter => CollectiveKind::AllGather,
            CollectiveKind::AllToAll => CollectiveKind::AllToAll,
        };
        let reads = self.coming(step);
        let mut back = Step::collective(format!("{}_bwd", step.name), step.scope, kind, bytes);
        back.reads = reads;
        self.held[from.index()] = Some(from.gradient());
        self.steps.push(back.writes(from.gradient(), whole.clone()));
    }

    /// A product with weights: dX = dY·Wᵀ, the sum of it over the group, and dW = Xᵀ·dY.
    fn product(&mut self, step: &Step) {
        let turned = |ops: &[(Op, u64)], turn: fn(&Gemm) -> Gemm| -> Vec<(Op, u64)> {
            let turn = |(op, count): &(Op, u64)| match op {
                Op::Gemm(gemm) => (Op::Gemm(turn(gemm)), *count),
                other => (*other, *count),
            };
            ops.iter().map(turn).collect()
        };
        let Doing::Ops(_, ops) = &step.doing else { return };
        let coming = self.coming(step);
        let make = |suffix: &str, turn: fn(&Gemm) -> Gemm| {
            let of_hottest = |hottest: &Hottest| Hottest { ops: turned(&hottest.ops, turn), ..*hottest };
            let back = self.counterpart(step, suffix, Kind::Gemm, turned(ops, turn));
            Step { hottest: step.hottest.as_ref().map(of_hottest), ..back }
        };
        let mut to_input = make("dgrad", |g| Gemm { k: g.n, n: g.k, ..*g });
        let mut to_weights = make("wgrad", |g| Gemm { m: g.k, k: g.m, ..*g });
        to_weights.reads.push(step.reads[0].clone());
        to_weights.reads.extend(coming.iter().cloned());
        to_input.reads = coming;
        let to_input = self.leaves(to_input, step, 0);
        self.steps.push(to_input);
        if step.cut == Some(Cut::Column) && !self.share.sequence_parallel {
            let (tensor, shape) = &step.reads[0];
            let (gradient, width) = (tensor.gradient(), element_bytes(ops));
            let (name, bytes) = (format!("all_reduce_{}", step.name), shape.bytes(width));
            let sum = Step::collective(name, Scope::TensorGroup, CollectiveKind::AllReduce, bytes);
            self.steps.push(sum.reads(gradient, shape.clone()).writes(gradient, shape.clone()));
        }
        self.steps.push(to_weights);
    }

    /// A product of two activations: dA = dC·Bᵀ and dB = Aᵀ·dC, where several A may share a B.
    fn product_of_activations(&mut self, step: &Step) {
        let Doing::Ops(_, ops) = &step.doing else { return };
        let Some((Op::Gemm(gemm), _)) = ops.first() else { return };
        let of_b = step.reads.get(1).map_or(1, |(_, shape)| shape.elements());
        let whole_b = [gemm.batch, gemm.k, gemm.n].map(u128::from).iter().product::<u128>();
        let sharing = (whole_b / of_b.max(1)).max(1) as u64;
        let to_a = Gemm { k: gemm.n, n: gemm.k, ..*gemm };
        let to_b = Gemm { batch: gemm.batch / sharing, m: gemm.k, k: gemm.m * sharing, ..*gemm };
        let ops = vec![(Op::Gemm(to_a), 1), (Op::Gemm(to_b), 1)];
        let mut back = self.counterpart(step, "bwd", Kind::Gemm, ops);
        back.reads = self.coming(step);
        back.reads.extend(step.reads.iter().cloned());
        for i in 0..step.reads.len() {
            back = self.leaves(back, step, i);
        }
        self.steps.push(back);
    }

    /// Fused attention has five products to the forward pass's two, as it makes the scores again (Dao,
    /// arXiv 2307.08691): two and a half times its work.
    fn attention(&mut self, step: &Step, op: &Attention) {
        let half = Attention { seq_kv: op.seq_kv.div_ceil(2), ..*op };
        let ops = vec![(Op::Attention(*op), 2), (Op::Attention(half), 1)];
        let mut back = self.counterpart(step, "bwd", Kind::Attention, ops);
        back.reads = self.coming(step);
        back.reads.extend(step.reads.iter().chain(&step.writes).cloned());
        for i in 0..step.reads.len() {
            back = self.leaves(back, step, i);
        }
        self.steps.push(back);
    }

    fn kernel(&mut self, step: &Step, op: &Kernel) {
        let moving = |kind, op: &Kernel| (Op::Kernel(Kernel { kind, top_k: 1, ..*op }), 1);
        let [three_rows, two_rows] = [KernelKind::Residual, KernelKind::Copy];
        let mut read: Vec<(Tensor, Shape)> = step.reads.clone();
        let ops = match op.kind {
            KernelKind::Residual => return self.addition(step, op),
            KernelKind::Layernorm if self.held[step.reads[0].0.index()].is_some() => {
                // the gradient that went round the block is added
                vec![moving(three_rows, op), moving(three_rows, op)]
            }
            KernelKind::Layernorm | KernelKind::Activation => vec![moving(three_rows, op)],
            KernelKind::GatedActivation => vec![moving(three_rows, op), moving(two_rows, op)],
            KernelKind::Softmax | KernelKind::Copy => {
                // of softmax and dropout the result says enough
                let copies = op.kind == KernelKind::Copy;
                read = step.writes.iter().skip(usize::from(copies)).cloned().collect();
                let chances = step.writes[0].0 == Tensor::Chances;
                let mut ops = vec![moving(if copies || chances { two_rows } else { three_rows }, op)];
                if copies {
                    ops.insert(0, (mask_bytes(op), 1));
                }
                ops
            }
            KernelKind::GateTopk => {
                read = step.writes.clone();
                vec![moving(two_rows, op)]
            }
            KernelKind::Permute if step.parameters > 0 => {
                // the embedding: rows are added to those of the table
                let mut back = self.counterpart(step, "wgrad", Kind::Mem, vec![moving(op.kind, op)]);
                back.reads = step.reads.iter().cloned().chain(self.coming(step)).collect();
                return self.steps.push(back);
            }
            KernelKind::Permute => {
                read.remove(0);
                let (rows, cols) = (self.share.tokens, op.cols);
                let top_k = op.rows / rows.max(1);
                vec![(Op::Kernel(Kernel { kind: KernelKind::Unpermute, rows, cols, top_k, ..*op }), 1)]
            }
            KernelKind::Unpermute => {
                let rows = op.rows * op.top_k;
                let there = Kernel { kind: KernelKind::Permute, rows, top_k: 1, ..*op };
                vec![(Op::Kernel(there), 1), moving(two_rows, &there)]
            }
        };
        let mut back = self.counterpart(step, "bwd", Kind::Mem, ops);
        if let Some(hottest) = &step.hottest {
            let Some((Op::Kernel(most), _)) = hottest.ops.first() else { return };
            let ops = back_ops(&back).iter().map(|(op, count)| (with_rows(op, most.rows), *count)).collect();
            back.hottest = Some(Hottest { ops, ..*hottest });
        }
        back.reads = self.coming(step);
        back.reads.extend(read);
        let indices = 0..if op.kind == KernelKind::Permute { 1 } else { step.reads.len() };
        for i in indices {
            back = self.leaves(back, step, i);
        }
        self.steps.push(back);
    }

    /// Both operands of a sum have its gradient; where dropout came first, one has what is left of it.
    fn addition(&mut self, step: &Step, op: &Kernel) {
        let Some(held) = self.held[step.writes[0].0.index()] else { return };
        for (tensor, _) in &step.reads {
            self.held[tensor.index()] = Some(held);
        }
        let Some(mask) = step.writes.get(1) else { return };
        let change = &step.reads[1];
        let copy = Kernel { kind: KernelKind::Copy, ..*op };
        let mut back =
            self.counterpart(step, "bwd", Kind::Mem, vec![(mask_bytes(op), 1), (Op::Kernel(copy), 1)]);
        back.reads = vec![(held, step.writes[0].1.clone()), mask.clone()];
        self.held[change.0.index()] = Some(change.0.gradient());
        self.steps.push(back.writes(change.0.gradient(), change.1.clone()));
    }
}

/// The reading of a byte for each element, as a copy that moves as many bytes.
fn mask_bytes(op: &Kernel) -> Op {
    let cols = op.cols.div_ceil(2 * op.dtype.bytes());
    Op::Kernel(Kernel { kind: KernelKind::Copy, cols, top_k: 1, ..*op })
}

fn back_ops(step: &Step) -> &[(Op, u64)] {
    match &step.doing {
        Doing::Ops(_, ops) => ops,
        Doing::Collective(..) => &[],
    }
}

fn with_rows(op: &Op, rows: u64) -> Op {
    match op {
        Op::Kernel(kernel) => Op::Kernel(Kernel { rows, ..*kernel }),
        other => *other,
    }
}

fn element_bytes(ops: &[(Op, u64)]) -> u64 {
    ops.first().and_then(|(op, _)| op.dtype()).map_or(1, |dtype| dtype.bytes())
}
