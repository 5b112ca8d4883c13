//! Matrix products: where their operands lie, and how they are checked.

use std::rc::Rc;

use super::arena::{Buffers, Part, Zone};
use super::blas_lt::{Algorithm, BlasLt, Description};
use super::check::{Unchecked, compare, places};
use super::pattern::{decode, roundoff};
use super::trouble::Trouble;
use crate::dtype::Dtype;
use crate::op::Gemm;

/// Entries of a product that are compared.
const CHECKED: usize = 48;

/// A product with its operands' places and the algorithm that computes it.
#[derive(Debug)]
pub(super) struct Product {
    op: Gemm,
    pub a: Part,
    pub b: Part,
    pub c: Part,
    description: Description,
    algorithm: Option<Algorithm>,
}

/// The type of the result: products of 8-bit numbers are kept in bf16, as inference engines do.
pub(super) fn result_type(dtype: Dtype) -> Dtype {
    if dtype == Dtype::F8E4m3 { Dtype::Bf16 } else { dtype }
}

/// Bytes of A, B and C, over the batch.
pub(super) fn sizes(op: &Gemm) -> [u128; 3] {
    let bytes = |rows: u64, columns: u64, dtype: Dtype| {
        u128::from(op.batch) * u128::from(rows) * u128::from(columns) * u128::from(dtype.bytes())
    };
    [bytes(op.m, op.k, op.dtype), bytes(op.k, op.n, op.dtype), bytes(op.m, op.n, result_type(op.dtype))]
}

impl Product {
    /// Places `op`'s operands, so many copies of each of A, B and C; its sizes have been checked against memory.
    pub fn new(
        library: &Rc<BlasLt>,
        op: &Gemm,
        copies: [u64; 3],
        zones: (&mut Zone, &mut Zone),
    ) -> Result<Self, Trouble> {
        let [a, b, c] = sizes(op).map(|bytes| bytes as u64);
        let description = Description::new(library, op)?;
        Ok(Product {
            op: *op,
            a: zones.0.part(a, copies[0]),
            b: zones.0.part(b, copies[1]),
            c: zones.1.part(c, copies[2]),
            description,
            algorithm: None,
        })
    }

    /// The algorithms to choose from.
    pub fn algorithms(&self, count: usize) -> Result<Vec<Algorithm>, Trouble> {
        self.description.algorithms(count)
    }

    /// Chooses an algorithm.
    pub fn choose(&mut self, algorithm: Algorithm) {
        self.algorithm = Some(algorithm);
    }

    /// What is recorded of the algorithm.
    pub fn words(&self) -> &str {
        self.algorithm.as_ref().map_or("", |algorithm| &algorithm.words)
    }

    /// Queues the product of the operands of one turn.
    pub fn launch(&self, buffers: &Buffers<'_>, turn: u64) -> Result<(), Trouble> {
        let (inputs, outputs) = (buffers.inputs.address(), buffers.outputs.address());
        self.launch_at([inputs + self.a.at(turn), inputs + self.b.at(turn)], outputs + self.c.at(turn))
    }

    /// Queues the product of matrices at two addresses into a third, as [`Description::launch`] asks for them.
    pub fn launch_at(&self, [a, b]: [u64; 2], c: u64) -> Result<(), Trouble> {
        let algorithm = self.algorithm.as_ref().ok_or(Trouble::NoAlgorithm)?;
        self.description.launch(algorithm, a, b, c)
    }

    /// Compares some entries of the first copy, the corners among them, with dot products in binary64; `share` is
    /// the part of the usual number to leave it at: 1 all, 8 an eighth.
    pub fn check(&self, buffers: &Buffers<'_>, share: usize) -> Result<(), Unchecked> {
        let Gemm { m, k, n, batch, dtype } = self.op;
        let (of_a, of_b) = (self.a.at(0) / dtype.bytes(), self.b.at(0) / dtype.bytes());
        let result = result_type(dtype);
        for place in places(CHECKED / share.max(1), batch * m * n) {
            let (product, row, column) = (place / (m * n), place / n % m, place % n);
            let (mut sum, mut absolute, mut squares) = (0.0, 0.0, 0.0);
            for i in 0..k {
                let of_b = of_b + product * k * n;
                let at = if dtype == Dtype::F8E4m3 { column * k + i } else { i * n + column };
                let term = buffers.pattern.value(of_a + (product * m + row) * k + i)
                    * buffers.pattern.value(of_b + at);
                sum += term;
                absolute += f64::abs(term);
                squares += term * term;
            }
            let got = decode(result, read(buffers, result, self.c.at(0), place)?);
            // Rounding of the result and of the parts of a sum that was split, and of the sums themselves:
            // tensor cores keep fewer bits than binary32 has, and fewer still of tf32 and of 8 bits.
            let loss = match dtype {
                Dtype::Tf32 => 1e-3,
                Dtype::F8E4m3 => 2e-3,
                _ => 1e-5,
            };
            let bound = 4.0 * roundoff(result) * (f64::abs(sum) + f64::sqrt(squares)) + loss * absolute;
            compare(|| format!("C[{row},{column}] of product {product}"), sum, got, bound)?;
        }
        Ok(())
    }
}

/// The bits of element `place` of an output that begins at `offset`.
pub(super) fn read(buffers: &Buffers<'_>, dtype: Dtype, offset: u64, place: u64) -> Result<[u8; 4], Trouble> {
    let at = offset + place * dtype.bytes();
    if dtype.bytes() == 4 {
        return buffers.outputs.read::<4>(at);
    }
    let [low, high] = buffers.outputs.read::<2>(at)?;
    Ok([low, high, 0, 0])
}
