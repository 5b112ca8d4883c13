//! Fused attention: where its operands lie, its launches and its check.

use std::rc::Rc;

use super::arena::{Buffers, Part, Zone};
use super::attention_plan::Plan;
use super::check::{Unchecked, compare, places, weights};
use super::dnn::Dnn;
use super::pattern::{decode, roundoff};
use super::product::read;
use super::trouble::Trouble;
use crate::dtype::Dtype;
use crate::op::Attention;

/// Rows of the output that are compared, and columns of each.
const CHECKED: (usize, usize) = (8, 8);

/// An attention with its operands' places and the plan that runs it.
#[derive(Debug)]
pub(super) struct Fused {
    op: Attention,
    dnn: Rc<Dnn>,
    plan: Rc<Plan>,
    scale: f32,
    q: Part,
    k: Part,
    v: Part,
    out: Part,
    workspace: Part,
    words: String,
}

/// Bytes of Q, of K, which is as large as V, and of the output, which is as large as Q.
pub(super) fn sizes(op: &Attention) -> [u128; 2] {
    let bytes = |rows: u64| {
        [op.batch, op.heads, rows, op.head_dim, op.dtype.bytes()].into_iter().map(u128::from).product()
    };
    [bytes(op.seq_q), bytes(op.seq_kv)]
}

/// Whether cuDNN can be asked for `op`, apart from memory.
pub(super) fn supported(op: &Attention) -> Result<(), String> {
    if !matches!(op.dtype, Dtype::Bf16 | Dtype::F16) {
        return Err(format!("fused attention is of bf16 and f16, not {}", op.dtype));
    }
    if !op.head_dim.is_multiple_of(8) {
        return Err(format!("a head of {} is no multiple of 8", op.head_dim));
    }
    if sizes(op).into_iter().any(|bytes| bytes >= 1 << 40) {
        return Err("tensors larger than any device's memory".into());
    }
    Ok(())
}

/// Whether cuDNN has engines for heads of this width on every device, as its documentation of attention has it:
/// wider ones only here and there.
pub(super) const fn is_promised(op: &Attention) -> bool {
    op.head_dim <= 128
}

impl Fused {
    /// Places `op`'s operands in `copies` copies each; its sizes have been checked against memory.
    pub fn new(
        (dnn, plan): (&Rc<Dnn>, &Rc<Plan>),
        op: &Attention,
        copies: u64,
        zones: (&mut Zone, &mut Zone),
    ) -> Self {
        let [query, key] = sizes(op).map(|bytes| bytes as u64);
        Fused {
            op: *op,
            dnn: Rc::clone(dnn),
            plan: Rc::clone(plan),
            scale: (1.0 / (op.head_dim as f64).sqrt()) as f32,
            q: zones.0.part(query, copies),
            k: zones.0.part(key, copies),
            v: zones.0.part(key, copies),
            out: zones.1.part(query, copies),
            workspace: zones.1.part(plan.workspace_bytes, 1),
            words: format!("engine={}", plan.engine),
        }
    }

    /// What is recorded of the plan.
    pub fn words(&self) -> &str {
        &self.words
    }

    /// Queues the attention over the operands of one turn.
    pub fn launch(&self, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        let (inputs, outputs) = (buffers.inputs.address(), buffers.outputs.address());
        let [q, k, v] = [self.q, self.k, self.v].map(|part| inputs + part.at(turn));
        self.launch_at([q, k, v], outputs + self.out.at(turn), outputs + self.workspace.at(0))
    }

    /// Queues the attention over tensors at these addresses, as [`Plan::execute`] asks for them.
    pub fn launch_at(&self, [q, k, v]: [u64; 3], out: u64, workspace: u64) -> Result<(), Trouble> {
        self.plan.execute(&self.dnn, [q, k, v, out], &self.scale, workspace)
    }

    /// Bytes that it needs beside its tensors.
    pub fn workspace_bytes(&self) -> u64 {
        self.plan.workspace_bytes
    }

    /// Compares some rows of the first copy, in some columns, with binary64; `share` as for products.
    pub fn check(&self, buffers: &Buffers<'_>, share: usize) -> Result<(), Unchecked> {
        let Attention { batch, heads, seq_q, seq_kv, head_dim: width, dtype } = self.op;
        let first = |part: Part| part.at(0) / dtype.bytes();
        let (of_q, of_k, of_v) = (first(self.q), first(self.k), first(self.v));
        let number = |element: u64| buffers.pattern.value(element);
        for place in places(CHECKED.0 / share.max(1), batch * heads * seq_q) {
            let (head, query) = (place / seq_q, place % seq_q);
            let (q, k) = (of_q + place * width, of_k + head * seq_kv * width);
            let queries: Vec<f64> = (0..width).map(|i| number(q + i)).collect();
            let score = |row: u64| {
                let keys = (0..width).map(|i| number(k + row * width + i));
                keys.zip(&queries).map(|(key, query)| key * query).sum::<f64>() * f64::from(self.scale)
            };
            let weights = weights(&(0..seq_kv).map(score).collect::<Vec<_>>());
            for column in places(CHECKED.1, width) {
                let (mut sum, mut absolute, mut squares) = (0.0, 0.0, 0.0);
                for (row, weight) in (0..seq_kv).zip(&weights) {
                    let term = weight * number(of_v + (head * seq_kv + row) * width + column);
                    sum += term;
                    absolute += f64::abs(term);
                    squares += term * term;
                }
                let got = decode(dtype, read(buffers, dtype, self.out.at(0), place * width + column)?);
                // Weights are rounded to the operands' type before they meet V, and the result is; exponentials
                // and sums in binary32 are off by far less.
                let bound = 4.0 * roundoff(dtype) * (f64::abs(sum) + f64::sqrt(squares)) + 1e-4 * absolute;
                let name = || format!("query {query} of head {head}, column {column}");
                compare(name, sum, got, bound)?;
            }
        }
        Ok(())
    }
}
