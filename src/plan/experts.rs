//! The experts of a layer, from the layernorm before the gate to the residual add.

use super::layer::{Writer, moe};
use super::step::{Scope, Share, Step, Tensor};
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{CollectiveKind, KernelKind};

/// Bytes of one routing entry: expert and weight.
const ROUTE_BYTES: u64 = 4;

impl Writer<'_> {
    /// The experts from the layernorm `norm` of `stream` to the second residual add.
    pub fn experts(&self, steps: &mut Vec<Step>, norm: &'static str, stream: Tensor) {
        let Some([experts, top_k, ffn]) = moe(self.model) else { return };
        let Share { tokens, expert: group, .. } = self.share;
        let hidden = self.model.hidden;
        let here = experts / group;
        let copies = tokens * top_k;
        // routing is taken as uniform: every expert gets its share of the group's tokens, rounded up
        let rows = (u128::from(copies) * u128::from(group)).div_ceil(experts.into()) as u64;
        let message = Shape::new(&[copies, hidden]);
        let routes = Shape { dims: vec![tokens, top_k], element_bytes: Some(ROUTE_BYTES) };
        let logits = Shape::new(&[tokens, experts]);

        steps.push(self.layernorm(norm, stream, Tensor::Ln2));
        let op = self.gemm(1, tokens, hidden, experts);
        steps.push(
            Step::on_gpu("gate", Kind::Gemm, vec![(op, 1)])
                .reads(Tensor::Ln2, self.stream())
                .writes(Tensor::Logits, logits.clone())
                .holds(hidden * experts, None),
        );
        let op = self.kernel(KernelKind::GateTopk, tokens, experts, top_k);
        steps.push(
            Step::on_gpu("gate_topk", Kind::Mem, vec![(op, 1)])
                .reads(Tensor::Logits, logits)
                .writes(Tensor::Routes, routes.clone()),
        );

        // Several experts on a GPU need the rows that arrive sorted by expert, and put back in order
        // afterwards. The graph has no nodes of their own for that: the steps beside the exchange take it on.
        let sorts = u64::from(here > 1 && group > 1);
        let permute = self.kernel(KernelKind::Permute, copies, hidden, 1);
        steps.push(
            Step::on_gpu("permute", Kind::Mem, vec![(permute, 1 + sorts)])
                .reads(Tensor::Ln2, self.stream())
                .reads(Tensor::Routes, routes.clone())
                .writes(Tensor::Permuted, message.clone()),
        );
        let exchange = |name, from, to| {
            let bytes = message.bytes(self.dtype.bytes());
            Step::collective(name, Scope::ExpertGroup, CollectiveKind::AllToAll, bytes)
                .reads(from, message.clone())
                .writes(to, message.clone())
        };
        let (arrives, returns) = match group {
            1 => (Tensor::Permuted, Tensor::ExpertOut),
            _ => (Tensor::Received, Tensor::Combined),
        };
        if group > 1 {
            steps.push(exchange("dispatch", Tensor::Permuted, Tensor::Received));
        }
        let [up, act, down] = self.mlp(rows, ffn);
        let up_width = self.model.up_matrices() * ffn;
        let of_width = |width| Shape::new(&[rows, width]);
        let cut = Some(Cut::Experts);
        let chain = [
            Step::on_gpu("expert_up", Kind::Gemm, vec![(up, 1)])
                .reads(arrives, of_width(hidden))
                .writes(Tensor::Up, of_width(up_width))
                .holds(hidden * up_width, cut),
            Step::on_gpu("expert_act", Kind::Mem, vec![(act, 1)])
                .reads(Tensor::Up, of_width(up_width))
                .writes(Tensor::Act, of_width(ffn))
                .holds(0, cut),
            Step::on_gpu("expert_down", Kind::Gemm, vec![(down, 1)])
                .reads(Tensor::Act, of_width(ffn))
                .writes(Tensor::ExpertOut, of_width(hidden))
                .holds(ffn * hidden, cut),
        ];
        steps.extend(chain.map(|step| step.for_experts(here)));
        if group > 1 {
            steps.push(exchange("combine", Tensor::ExpertOut, Tensor::Combined));
        }
        let mut gather = vec![(self.kernel(KernelKind::Unpermute, tokens, hidden, top_k), 1)];
        if sorts > 0 {
            gather.insert(0, (permute, sorts));
        }
        steps.push(
            Step::on_gpu("expert_agg", Kind::Mem, gather)
                .reads(returns, message.clone())
                .reads(Tensor::Routes, routes)
                .writes(Tensor::Moe, self.stream()),
        );
        steps.push(self.added("res2", stream, Tensor::Moe, Tensor::Out));
    }
}
