//! The experts of a layer, from the layernorm before the gate to the residual add.

use super::layer::{Writer, moe};
use super::step::{Hottest, Scope, Share, Step};
use super::tensor::Tensor;
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
        let Routing { rows, hottest } = self.routing(copies, group, experts);
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
        // an exchange is over when the rank that has most has it
        let fullest = hottest.map_or(copies, |hottest| copies.max(hottest + (here - 1) * rows));
        let exchange = |name, from, to| {
            let bytes = Shape::new(&[fullest, hidden]).bytes(self.dtype.bytes());
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
        let shared = self.shared(steps, ffn);
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
        let of_hottest = hottest.map(|rows| (rows, self.mlp(rows, ffn)));
        steps.extend(chain.into_iter().enumerate().map(|(i, step)| Step {
            hottest: of_hottest.map(|(rows, ops)| Hottest { rows, ops: vec![(ops[i], 1)] }),
            ..step.for_experts(here)
        }));
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
        let change = match shared {
            None => Tensor::Moe,
            Some(shared) => {
                let add = self.kernel(KernelKind::Residual, tokens, hidden, 1);
                steps.push(
                    Step::on_gpu("shared_add", Kind::Mem, vec![(add, 1)])
                        .reads(Tensor::Moe, self.stream())
                        .reads(shared, self.stream())
                        .writes(Tensor::MoeSum, self.stream()),
                );
                Tensor::MoeSum
            }
        };
        steps.push(self.added("res2", [stream, change], Tensor::Out, Tensor::MlpMask));
    }

    /// The experts that every token goes to, as one MLP of their widths together, which every GPU holds.
    fn shared(&self, steps: &mut Vec<Step>, ffn: u64) -> Option<Tensor> {
        let width = self.model.shared_experts * ffn;
        if width == 0 {
            return None;
        }
        let (hidden, up_width) = (self.model.hidden, self.model.up_matrices() * width);
        let [up, act, down] = self.mlp(self.share.tokens, width);
        let of_width = |width| Shape::new(&[self.share.tokens, width]);
        steps.push(
            Step::on_gpu("shared_up", Kind::Gemm, vec![(up, 1)])
                .reads(Tensor::Ln2, self.stream())
                .writes(Tensor::SharedUp, of_width(up_width))
                .holds(hidden * up_width, None),
        );
        steps.push(
            Step::on_gpu("shared_act", Kind::Mem, vec![(act, 1)])
                .reads(Tensor::SharedUp, of_width(up_width))
                .writes(Tensor::SharedAct, of_width(width)),
        );
        steps.push(
            Step::on_gpu("shared_down", Kind::Gemm, vec![(down, 1)])
                .reads(Tensor::SharedAct, of_width(width))
                .writes(Tensor::SharedDown, self.stream())
                .holds(width * hidden, None),
        );
        Some(Tensor::SharedDown)
    }

    /// Rows of each expert, rounded up, when every GPU of the group sends `copies`.
    fn routing(&self, copies: u64, group: u64, experts: u64) -> Routing {
        let all = u128::from(copies) * u128::from(group);
        let Some(share) = self.hottest.filter(|_| experts > 1) else {
            return Routing { rows: all.div_ceil(experts.into()) as u64, hottest: None };
        };
        let most = ((all as f64 * share).ceil() as u128).min(all);
        let rows = (all - most).div_ceil(u128::from(experts - 1)).max(1) as u64;
        Routing { rows, hottest: Some(most as u64) }
    }
}

/// Rows of the experts.
struct Routing {
    /// Of each.
    rows: u64,
    /// Of the most wanted one, where it has others.
    hottest: Option<u64>,
}
