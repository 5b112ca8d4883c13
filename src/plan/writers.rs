//! Which node wrote which tensor last, and what a later pass will read.

use std::collections::HashMap;

use super::tensor::Tensor;
use crate::dag::NodeId;

/// Who wrote each tensor on each GPU: one node, or one for each expert.
pub(super) struct Writers {
    by_gpu: Vec<Vec<Vec<NodeId>>>,
    kept: HashMap<(u32, Pass), Vec<Kept>>,
}

/// A tensor, and who wrote it.
type Kept = (Tensor, Vec<NodeId>);

/// A block, as its part of the model and its position there, and the micro-batch.
pub(super) type Pass = ((usize, usize), u32);

impl Writers {
    pub fn new(gpus: u32) -> Self {
        Writers { by_gpu: vec![vec![Vec::new(); Tensor::COUNT]; gpus as usize], kept: HashMap::new() }
    }

    /// What wrote `tensor` on the GPU.
    pub fn of(&self, gpu: u32, tensor: Tensor) -> &[NodeId] {
        &self.by_gpu[gpu as usize][tensor.index()]
    }

    /// What `expert` reads of `tensor`: of what several experts wrote, its own.
    pub fn of_expert(&self, gpu: u32, tensor: Tensor, expert: usize) -> &[NodeId] {
        let writers = self.of(gpu, tensor);
        if writers.len() > 1 { writers.get(expert..=expert).unwrap_or(writers) } else { writers }
    }

    /// `node` wrote `tensors` on the GPU.
    pub fn wrote(&mut self, tensors: &[Tensor], gpu: u32, node: NodeId) {
        for tensor in tensors {
            let writers = &mut self.by_gpu[gpu as usize][tensor.index()];
            writers.clear();
            writers.push(node);
        }
    }

    /// `nodes` wrote `tensor` on the GPU, each its part.
    pub fn wrote_together(&mut self, tensor: Tensor, gpu: u32, nodes: Vec<NodeId>) {
        self.by_gpu[gpu as usize][tensor.index()] = nodes;
    }

    /// What left a block on these GPUs as `from` enters the next one as `to`.
    pub fn pass_on(&mut self, gpus: &[u32], from: Tensor, to: Tensor) {
        for gpu in gpus {
            self.by_gpu[*gpu as usize].swap(from.index(), to.index());
        }
    }

    /// Keeps who wrote `tensors`, for the backward pass.
    pub fn keep(&mut self, gpus: &[u32], pass: Pass, tensors: &[Tensor]) {
        for gpu in gpus {
            let kept = tensors.iter().map(|tensor| (*tensor, self.of(*gpu, *tensor).to_vec())).collect();
            self.kept.insert((*gpu, pass), kept);
        }
    }

    /// Brings back what was kept.
    pub fn restore(&mut self, gpus: &[u32], pass: Pass) {
        for gpu in gpus {
            for (tensor, nodes) in self.kept.remove(&(*gpu, pass)).unwrap_or_default() {
                self.wrote_together(tensor, *gpu, nodes);
            }
        }
    }
}
