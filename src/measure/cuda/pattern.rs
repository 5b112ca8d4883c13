//! Random data: a block of normal numbers that fills the inputs again and again, known on both sides.

use half::{bf16, f16};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};

use crate::dtype::Dtype;

/// Length of the block: prime, so that rows, parts and batches of an op do not hold the same numbers.
pub(super) const PERIOD: usize = 1_000_003;

/// The block in one element type.
#[derive(Debug)]
pub(super) struct Pattern {
    /// Its elements as they lie in device memory.
    pub bytes: Vec<u8>,
    values: Vec<f32>,
}

impl Pattern {
    /// N(0, 1) rounded to `dtype`. Zeros would draw less power, and run faster, than numbers that occur.
    pub fn new(dtype: Dtype, seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        let draws = <StandardNormal as Distribution<f32>>::sample_iter(StandardNormal, random).take(PERIOD);
        let mut bytes = Vec::with_capacity(PERIOD * dtype.bytes() as usize);
        let table = f8_e4m3_values();
        let values = draws
            .map(|x| match dtype {
                Dtype::Bf16 => {
                    let x = bf16::from_f32(x);
                    bytes.extend(x.to_le_bytes());
                    x.to_f32()
                }
                Dtype::F16 => {
                    let x = f16::from_f32(x);
                    bytes.extend(x.to_le_bytes());
                    x.to_f32()
                }
                Dtype::F8E4m3 => {
                    let (code, x) = nearest(&table, x);
                    bytes.push(code);
                    x
                }
                _ => {
                    bytes.extend(x.to_le_bytes());
                    x
                }
            })
            .collect();
        Pattern { bytes, values }
    }

    /// The number at `element`, counted from where the inputs begin.
    pub fn value(&self, element: u64) -> f64 {
        f64::from(self.values[(element % PERIOD as u64) as usize])
    }
}

/// The number that an element of an output stands for.
pub(super) fn decode(dtype: Dtype, bits: [u8; 4]) -> f64 {
    let short = [bits[0], bits[1]];
    match dtype {
        Dtype::Bf16 => bf16::from_le_bytes(short).to_f64(),
        Dtype::F16 => f16::from_le_bytes(short).to_f64(),
        _ => f32::from_le_bytes(bits).into(),
    }
}

/// The largest relative error of rounding to a type.
pub(super) fn roundoff(dtype: Dtype) -> f64 {
    match dtype {
        Dtype::Bf16 => 2.0_f64.powi(-8),
        Dtype::F16 => 2.0_f64.powi(-11),
        _ => 2.0_f64.powi(-24),
    }
}

/// The positive numbers of the format with 4 exponent and 3 fraction bits, bias 7, without the NaN: code by code
/// in ascending order (OCP 8-bit Floating Point Specification, 2023).
fn f8_e4m3_values() -> Vec<f32> {
    (0..0x7f_u8)
        .map(|code| {
            let (exponent, fraction) = (i32::from(code >> 3), f32::from(code & 7));
            if exponent == 0 {
                fraction / 8.0 * 2.0_f32.powi(-6)
            } else {
                (1.0 + fraction / 8.0) * 2.0_f32.powi(exponent - 7)
            }
        })
        .collect()
}

/// The code of the number nearest to `x`, and that number.
fn nearest(table: &[f32], x: f32) -> (u8, f32) {
    let above = table.partition_point(|&y| y < x.abs()).min(table.len() - 1);
    let below = above.saturating_sub(1);
    let code = if x.abs() - table[below] < table[above] - x.abs() { below } else { above };
    if x < 0.0 { (code as u8 | 0x80, -table[code]) } else { (code as u8, table[code]) }
}

#[cfg(test)]
mod tests {
    use super::{PERIOD, Pattern, decode, f8_e4m3_values, nearest};
    use crate::dtype::Dtype;

    #[test]
    fn the_bytes_are_the_values() {
        for dtype in [Dtype::Bf16, Dtype::F16, Dtype::F32] {
            let pattern = Pattern::new(dtype, 1);
            let size = dtype.bytes() as usize;
            assert_eq!(pattern.bytes.len(), PERIOD * size);
            for at in [0, 1, 77_777, PERIOD - 1] {
                let mut bits = [0; 4];
                bits[..size].copy_from_slice(&pattern.bytes[at * size..][..size]);
                assert_eq!(decode(dtype, bits), pattern.value((at + 3 * PERIOD) as u64));
            }
        }
    }

    /// Largest, smallest normal, smallest, and the neighbours of 1, as the specification lists them.
    #[test]
    fn eight_bits() {
        let table = f8_e4m3_values();
        assert_eq!((table[0x7e], table[0x08], table[0x01]), (448.0, 0.015_625, 0.001_953_125));
        assert_eq!((nearest(&table, 1.0), nearest(&table, -1.1)), ((0x38, 1.0), (0xb9, -1.125)));
        assert_eq!(nearest(&table, 1e9), (0x7e, 448.0));
        assert_eq!(nearest(&table, 0.0).1, 0.0);
    }
}
