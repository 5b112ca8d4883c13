//! What a rank received, compared with what the others sent.

use crate::dtype::Dtype;
use crate::measure::cuda::arena::Buffers;
use crate::measure::cuda::check::places;
use crate::measure::cuda::pattern::{decode, roundoff};
use crate::measure::cuda::trouble::Trouble;
use crate::measure::exchange::{Origin, Shape};
use crate::measure::fabric::Wrong;

/// Elements of a result that are compared.
const CHECKED: usize = 64;

/// Where rank `rank` of a group begins to send from in the random numbers, in bytes: each sends others.
pub(super) const fn first_sent(rank: u64) -> u64 {
    256 + 4096 * rank
}

/// Compares some of what rank `rank` received, from `offset` of the outputs on.
pub(super) fn compare(
    shape: &Shape,
    dtype: Dtype,
    rank: usize,
    (buffers, offset): (Buffers<'_>, u64),
) -> Result<Result<(), Wrong>, Trouble> {
    let size = dtype.bytes();
    let value = |rank: usize, at: usize| buffers.pattern.value(first_sent(rank as u64) / size + at as u64);
    for place in places(CHECKED, shape.received() as u64) {
        let place = place as usize;
        let (expected, sum) = match shape.origin(rank, place) {
            None => return Ok(Ok(())),
            Some(Origin::Copy(from, at)) => (value(from, at), 0.0),
            Some(Origin::Sum(at)) => (0..shape.ranks)
                .map(|from| value(from, at))
                .fold((0.0, 0.0), |(sum, size), x| (sum + x, size + x.abs())),
        };
        let mut bits = [0; 4];
        buffers.outputs.download(offset + place as u64 * size, &mut bits[..size as usize])?;
        let got = decode(dtype, bits);
        // each of the additions rounds, whatever their order
        let bound = sum * roundoff(dtype) * shape.ranks as f64;
        let is_right = (got - expected).abs() <= bound; // NaN is not
        if !is_right {
            return Ok(Err(Wrong { place, expected, got }));
        }
    }
    Ok(Ok(()))
}
