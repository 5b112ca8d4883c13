//! Matrix products, single and batched, in row-major order.

use gemm::Parallelism;
use rayon::prelude::*;

use super::Operands;
use super::check::{Checked, all_written, compare, places, sum_error};
use crate::op::Gemm;

/// Multiply-adds below which a product is not shared among threads.
const SHARED: usize = 1 << 16;

/// Entries of a product that are compared.
const CHECKED: usize = 48;

/// Sizes of one product `C[m,n] = A[m,k]·B[k,n]`, of the batch, and the threads to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Product {
    m: usize,
    k: usize,
    n: usize,
    batch: usize,
    threads: usize,
}

impl Product {
    /// The product of `op`; its sizes have been checked against memory.
    pub fn new(op: &Gemm, threads: usize) -> Self {
        let [m, k, n, batch] = [op.m, op.k, op.n, op.batch].map(|size| size as usize);
        Product { m, k, n, batch, threads }
    }

    /// Elements of A and B together, over the batch.
    pub fn inputs(&self) -> usize {
        self.batch * (self.m + self.n) * self.k
    }

    /// Elements of C, over the batch.
    pub fn outputs(&self) -> usize {
        self.batch * self.m * self.n
    }

    /// All A, and all B, where they lie one behind the other.
    pub fn operands<'a>(&self, input: &'a [f32]) -> Operands<'a> {
        let (a, b) = input.split_at(self.batch * self.m * self.k);
        [a, b, &[]]
    }

    /// Multiplies all A by all B.
    pub fn run(&self, [a, b, _]: Operands<'_>, output: &mut [f32]) {
        let Product { m, k, n, batch, threads } = *self;
        let work = m * k * n;
        // Products too small to share go one to a thread.
        if batch >= threads && threads > 1 && batch * work >= SHARED && work < 64 * SHARED {
            let products = output.par_chunks_mut(m * n).zip(a.par_chunks(m * k)).zip(b.par_chunks(k * n));
            products.with_min_len(batch.div_ceil(8 * threads)).for_each(|((c, a), b)| {
                multiply(c, (m, k, n), Matrix::new(a, k), Matrix::new(b, n), false, 1.0, Parallelism::None);
            });
        } else {
            for ((c, a), b) in output.chunks_mut(m * n).zip(a.chunks(m * k)).zip(b.chunks(k * n)) {
                self.run_one(a, b, c);
            }
        }
    }

    fn run_one(&self, a: &[f32], b: &[f32], c: &mut [f32]) {
        let Product { m, k, n, threads, .. } = *self;
        // The crate has loops of their own for vectors and k ≤ 2, which use one thread: share these by hand.
        let vectors = m == 1 || n == 1 || k <= 2;
        if !vectors || threads == 1 || m * k * n < SHARED {
            multiply(
                c,
                (m, k, n),
                Matrix::new(a, k),
                Matrix::new(b, n),
                false,
                1.0,
                Parallelism::Rayon(threads),
            );
        } else if m == 1 {
            let columns = n.div_ceil(threads).next_multiple_of(16);
            c.par_chunks_mut(columns).enumerate().for_each(|(block, c)| {
                let b = Matrix { values: &b[block * columns..], row: n, column: 1 };
                multiply(c, (1, k, c.len()), Matrix::new(a, k), b, false, 1.0, Parallelism::None);
            });
        } else {
            let rows = m.div_ceil(threads);
            c.par_chunks_mut(rows * n).zip(a.par_chunks(rows * k)).for_each(|(c, a)| {
                let sizes = (c.len() / n, k, n);
                multiply(c, sizes, Matrix::new(a, k), Matrix::new(b, n), false, 1.0, Parallelism::None);
            });
        }
    }

    /// Compares some entries, the corners among them, with dot products in binary64.
    pub fn check(&self, input: &[f32], output: &[f32]) -> Checked {
        let Product { m, k, n, batch, .. } = *self;
        all_written(output)?;
        let (a, b) = input.split_at(batch * m * k);
        for place in places(CHECKED, batch * m * n) {
            let (product, row, column) = (place / (m * n), place / n % m, place % n);
            let a = &a[(product * m + row) * k..][..k];
            let b = b[product * k * n + column..].iter().step_by(n);
            let (mut sum, mut absolute) = (0.0, 0.0);
            for (&x, &y) in a.iter().zip(b) {
                let term = f64::from(x) * f64::from(y);
                sum += term;
                absolute += term.abs();
            }
            let name = || format!("C[{row},{column}] of product {product}");
            compare(name, sum, output[place], sum_error(k) * absolute + 1e-37)?;
        }
        Ok(())
    }
}

/// A matrix in a slice, with the distances between rows and between columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix<'a> {
    pub values: &'a [f32],
    pub row: usize,
    pub column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `width` elements, one after the other.
    pub fn new(values: &'a [f32], width: usize) -> Self {
        Matrix { values, row: width, column: 1 }
    }

    /// Whether `rows` by `columns` elements lie in the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.values.len()
    }
}

/// `C[m,n] = scale·A[m,k]·B[k,n]`, added to C if `add`, on the calling thread; C in rows of n elements.
pub(super) fn multiply_here(
    c: &mut [f32],
    sizes: (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    add: bool,
    scale: f32,
) {
    multiply(c, sizes, a, b, add, scale, Parallelism::None);
}

#[allow(unsafe_code)] // the crate `gemm` takes pointers; nothing else in this module tree does
fn multiply(
    c: &mut [f32],
    (m, k, n): (usize, usize, usize),
    a: Matrix<'_>,
    b: Matrix<'_>,
    add: bool,
    scale: f32,
    parallelism: Parallelism,
) {
    assert!(c.len() >= m * n && a.holds(m, k) && b.holds(k, n), "matrices must lie in their slices");
    // SAFETY: the line above holds every index that the sizes and strides lead to within the three slices;
    // `c` is borrowed alone and the others are shared, so C overlaps neither; lengths of slices fit in isize.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.values.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.values.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::Product;
    use crate::dtype::Dtype;
    use crate::op::Gemm;

    /// 2×3 by 3×2, by hand.
    #[test]
    fn a_product_by_hand() {
        let op = Gemm { m: 2, k: 3, n: 2, batch: 1, dtype: Dtype::F32 };
        let product = Product::new(&op, 2);
        let input = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0];
        let mut output = [f32::NAN; 4];
        product.run(product.operands(&input), &mut output);
        assert_eq!(output, [58.0, 64.0, 139.0, 154.0]);
        product.check(&input, &output).unwrap();
    }

    #[test]
    fn every_wrong_element_of_a_small_product_is_found() {
        let op = Gemm { m: 3, k: 17, n: 5, batch: 2, dtype: Dtype::F32 };
        let product = Product::new(&op, 2);
        let input: Vec<f32> = (0..product.inputs()).map(|i| (i as f32 * 0.7).sin()).collect();
        let mut output = vec![f32::NAN; product.outputs()];
        product.run(product.operands(&input), &mut output);
        product.check(&input, &output).unwrap();
        for place in 0..output.len() {
            let right = output[place];
            for wrong in [right + 1e-3, f32::NAN, 0.0] {
                output[place] = wrong;
                assert!(product.check(&input, &output).is_err(), "{place}");
            }
            output[place] = right;
        }
    }
}
