//! What stands before the first layer and after the last: embedding, final layernorm, LM head, loss.

use super::layer::Writer;
use super::step::{Scope, Step};
use super::tensor::Tensor;
use crate::dag::Kind;
use crate::graph::{Cut, Shape};
use crate::op::{CollectiveKind, KernelKind};
use crate::spec::Phase;

/// Bytes of a token's number, and of a number in f32.
const WORD: u64 = 4;

impl Writer<'_> {
    /// Looks the tokens up, each GPU of the tensor group in its share of the vocabulary.
    pub fn embedding(&self, vocabulary: u64) -> Vec<Step> {
        let hidden = self.model.hidden;
        let tokens = self.share.all_tokens();
        let gather = self.kernel(KernelKind::Permute, tokens, hidden, 1);
        let numbers = Shape { element_bytes: Some(WORD), ..self.whole(1) };
        let found = if self.share.sequence_parallel { Tensor::Projected } else { Tensor::Out };
        let mut steps = vec![
            Step::on_gpu("embed", Kind::Mem, vec![(gather, 1)])
                .reads(Tensor::Tokens, numbers)
                .writes(found, self.whole(hidden))
                .holds(vocabulary / self.share.tensor * hidden, self.cut(Cut::Row)),
        ];
        self.reduced(&mut steps, ["all_reduce_embed", "reduce_scatter_embed"], found, Tensor::Out);
        steps
    }

    /// From the residual stream to the loss in training, else to the scores of the last token's successor.
    pub fn head(&self, vocabulary: u64, phase: Phase) -> Vec<Step> {
        let hidden = self.model.hidden;
        let here = vocabulary / self.share.tensor;
        let mut steps = Vec::new();
        let normed = self.normed(&mut steps, "ln_f", Tensor::X, Tensor::Ln1, Tensor::Ln1Whole);
        let sequences = self.share.sequences;
        let (read, rows, scored) = match phase {
            Phase::Train => (normed, self.share.all_tokens(), self.share.queries),
            Phase::Prefill | Phase::Decode => (self.newest(&mut steps, normed), sequences, 1),
        };
        let of_width = |width| Shape::new(&[sequences, scored, width]);
        let asked = of_width(here);
        let product = self.gemm(1, rows, hidden, here);
        let step = Step::on_gpu("lm_head", Kind::Gemm, vec![(product, 1)]);
        let whole = phase != Phase::Train && self.share.tensor == 1;
        let scores = if whole { Tensor::Out } else { Tensor::Logits };
        steps.push(
            step.reads(read, of_width(hidden))
                .writes(scores, asked.clone())
                .holds(hidden * here, self.cut(Cut::Column)),
        );
        if phase == Phase::Train {
            self.loss(&mut steps, rows, asked);
        } else if self.share.tensor > 1 {
            let whole = of_width(vocabulary);
            let bytes = whole.bytes(self.dtype.bytes());
            steps.push(
                Step::collective("all_gather_logits", Scope::TensorGroup, CollectiveKind::AllGather, bytes)
                    .reads(Tensor::Logits, asked)
                    .writes(Tensor::Out, whole),
            );
        }
        steps
    }

    /// Only the last token of each sequence, whose successor is asked for.
    fn newest(&self, steps: &mut Vec<Step>, normed: Tensor) -> Tensor {
        if self.share.queries == 1 {
            return normed;
        }
        let (sequences, hidden) = (self.share.sequences, self.model.hidden);
        let copy = self.kernel(KernelKind::Copy, sequences, hidden, 1);
        steps.push(
            Step::on_gpu("last_token", Kind::Mem, vec![(copy, 1)])
                .reads(normed, self.whole(hidden))
                .writes(Tensor::Newest, Shape::new(&[sequences, 1, hidden])),
        );
        Tensor::Newest
    }

    /// Cross entropy over a vocabulary that the tensor group shares out: of each token the group must know the
    /// largest score, the sum of all exponentials and the score of the right entry.
    fn loss(&self, steps: &mut Vec<Step>, rows: u64, logits: Shape) {
        let in_f32 = |shape: Shape| Shape { element_bytes: Some(WORD), ..shape };
        let softmax = self.kernel(KernelKind::Softmax, rows, logits.width(), 1);
        let known = in_f32(self.whole(3));
        steps.push(
            Step::on_gpu("loss", Kind::Mem, vec![(softmax, 1)])
                .reads(Tensor::Logits, logits.clone())
                .writes(Tensor::Chances, in_f32(logits))
                .writes(Tensor::Losses, known.clone()),
        );
        if self.share.tensor > 1 {
            let bytes = known.bytes(WORD);
            steps.push(
                Step::collective("all_reduce_loss", Scope::TensorGroup, CollectiveKind::AllReduce, bytes)
                    .reads(Tensor::Losses, known.clone())
                    .writes(Tensor::Losses, known),
            );
        }
    }
}
