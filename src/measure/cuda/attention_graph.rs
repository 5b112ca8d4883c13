//! Fused attention as a graph of cuDNN's operations.
//!
//! The library takes `softmax(Q·Kᵀ/√d)·V` as one kernel only where the graph is drawn as its own front end draws
//! it: with the statistics of the softmax, here computed and not kept (cudnn-frontend, CompositeSDPANode).

use std::rc::Rc;

use super::descriptor::{Code, Descriptor, Kind};
use super::dnn::Dnn;
use super::trouble::Trouble;
use crate::dtype::Dtype;
use crate::op::Attention;

/// Element types.
const FLOAT: i32 = 0;
const HALF: i32 = 2;
const BFLOAT16: i32 = 9;

/// Operations element by element.
const ADD: i32 = 0;
const MUL: i32 = 1;
const DIV: i32 = 6;
const SUB: i32 = 9;
const EXP: i32 = 13;
const LOG: i32 = 15;

/// Reductions along a row.
const SUM: i32 = 0;
const LARGEST: i32 = 3;

/// Bytes that every operand's address is a multiple of, less than what all of them are.
const ALIGNMENT: i64 = 16;

/// Tensors that lie in memory, by the names that a variant pack calls them: the factor is on the host.
#[derive(Clone, Copy, Debug)]
#[repr(i64)]
pub(super) enum Operand {
    Q = 1,
    K = 2,
    V = 3,
    Out = 4,
    Scale = 5,
}

/// A graph as it grows.
pub(super) struct Graph {
    dnn: Rc<Dnn>,
    /// All of its descriptors.
    pub parts: Vec<Descriptor>,
    operations: Vec<usize>,
    next: i64,
}

/// Sizes and steps of a tensor: sequences, heads, rows, columns.
type Shape = ([i64; 4], [i64; 4]);

impl Graph {
    /// The graph of an attention.
    pub fn new(dnn: &Rc<Dnn>, op: &Attention) -> Result<Self, Trouble> {
        let mut graph = Graph { dnn: Rc::clone(dnn), parts: Vec::new(), operations: Vec::new(), next: 100 };
        graph.attention(op)?;
        Ok(graph)
    }

    /// Its operations, in their order.
    pub fn operations(&self) -> Vec<&Descriptor> {
        self.operations.iter().map(|place| &self.parts[*place]).collect()
    }

    fn keep(&mut self, part: Descriptor) -> usize {
        self.parts.push(part);
        self.parts.len() - 1
    }

    fn new_tensor(&self, uid: i64, (sizes, steps): Shape, of: i32) -> Result<Descriptor, Trouble> {
        let tensor = Descriptor::new(&self.dnn, Kind::Tensor)?.code(901, Code::DataType, of)?;
        tensor.longs(902, &sizes)?.longs(903, &steps)?.longs(906, &[uid])?.longs(900, &[ALIGNMENT])
    }

    /// A tensor in memory.
    fn operand(&mut self, operand: Operand, shape: Shape, of: i32) -> Result<usize, Trouble> {
        let tensor = self.new_tensor(operand as i64, shape, of)?;
        let is_on_host = matches!(operand, Operand::Scale);
        let tensor = if is_on_host { tensor.flag(908)? } else { tensor };
        Ok(self.keep(tensor.close()?))
    }

    /// A tensor that is never written down.
    fn between(&mut self, shape: Shape, of: i32) -> Result<usize, Trouble> {
        self.next += 1;
        let tensor = self.new_tensor(self.next, shape, of)?.flag(907)?.close()?;
        Ok(self.keep(tensor))
    }

    fn add(&mut self, operation: Descriptor) -> Result<(), Trouble> {
        let operation = operation.close()?;
        let place = self.keep(operation);
        self.operations.push(place);
        Ok(())
    }

    fn matmul(&mut self, a: usize, b: usize, c: usize) -> Result<(), Trouble> {
        let how = Descriptor::new(&self.dnn, Kind::Matmul)?.code(1500, Code::DataType, FLOAT)?.close()?;
        let operation = Descriptor::new(&self.dnn, Kind::OperationMatmul)?;
        let part = |place: usize| &self.parts[place];
        let operation =
            operation.parts(1520, &[part(a)])?.parts(1521, &[part(b)])?.parts(1522, &[part(c)])?;
        let operation = operation.parts(1523, &[&how])?;
        self.keep(how);
        self.add(operation)
    }

    fn pointwise(&mut self, mode: i32, x: usize, beside: Option<usize>, y: usize) -> Result<(), Trouble> {
        let how = Descriptor::new(&self.dnn, Kind::Pointwise)?.code(0, Code::Pointwise, mode)?;
        let how = how.code(1, Code::DataType, FLOAT)?.close()?;
        let operation = Descriptor::new(&self.dnn, Kind::OperationPointwise)?.parts(750, &[&how])?;
        let mut operation = operation.parts(751, &[&self.parts[x]])?;
        if let Some(beside) = beside {
            operation = operation.parts(752, &[&self.parts[beside]])?;
        }
        let operation = operation.parts(753, &[&self.parts[y]])?;
        self.keep(how);
        self.add(operation)
    }

    fn reduction(&mut self, operator: i32, x: usize, y: usize) -> Result<(), Trouble> {
        let how = Descriptor::new(&self.dnn, Kind::Reduction)?.code(1600, Code::Reduction, operator)?;
        let how = how.code(1601, Code::DataType, FLOAT)?.close()?;
        let operation = Descriptor::new(&self.dnn, Kind::OperationReduction)?;
        let operation = operation.parts(1610, &[&self.parts[x]])?.parts(1611, &[&self.parts[y]])?;
        let operation = operation.parts(1612, &[&how])?;
        self.keep(how);
        self.add(operation)
    }

    /// All operations of an attention.
    fn attention(&mut self, op: &Attention) -> Result<(), Trouble> {
        let [b, h, q, kv, d] = [op.batch, op.heads, op.seq_q, op.seq_kv, op.head_dim].map(|size| size as i64);
        let of = if op.dtype == Dtype::F16 { HALF } else { BFLOAT16 };
        let rows = |rows: i64, cols: i64| ([b, h, rows, cols], [h * rows * cols, rows * cols, cols, 1]);
        let transposed = ([b, h, d, kv], [h * kv * d, kv * d, 1, d]);
        let (q_in, k_in) =
            (self.operand(Operand::Q, rows(q, d), of)?, self.operand(Operand::K, transposed, of)?);
        let (v_in, out) =
            (self.operand(Operand::V, rows(kv, d), of)?, self.operand(Operand::Out, rows(q, d), of)?);
        let scale = self.operand(Operand::Scale, ([1; 4], [1; 4]), FLOAT)?;
        let scores = self.between(rows(q, kv), FLOAT)?;
        self.matmul(q_in, k_in, scores)?;
        let scaled = self.between(rows(q, kv), FLOAT)?;
        self.pointwise(MUL, scores, Some(scale), scaled)?;
        let most = self.between(rows(q, 1), FLOAT)?;
        self.reduction(LARGEST, scaled, most)?;
        let less = self.between(rows(q, kv), FLOAT)?;
        self.pointwise(SUB, scaled, Some(most), less)?;
        let powers = self.between(rows(q, kv), FLOAT)?;
        self.pointwise(EXP, less, None, powers)?;
        let sum = self.between(rows(q, 1), FLOAT)?;
        self.reduction(SUM, powers, sum)?;
        let (log, statistics) = (self.between(rows(q, 1), FLOAT)?, self.between(rows(q, 1), FLOAT)?);
        self.pointwise(LOG, sum, None, log)?;
        self.pointwise(ADD, most, Some(log), statistics)?;
        let weights = self.between(rows(q, kv), of)?;
        self.pointwise(DIV, powers, Some(sum), weights)?;
        self.matmul(weights, v_in, out)
    }
}
