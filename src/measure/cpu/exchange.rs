//! What one rank does in a collective.

use std::ops::Range;
use std::sync::RwLock;

use super::super::exchange::{Origin, Pattern, Shape};
use super::barrier::{Barrier, Broken};
use super::check::{Checked, all_written, compare, places, sum_error};
use super::vector::vectorised;
use crate::op::CollectiveKind;

/// Elements that are summed at a time, so that the sum stays in the first cache.
const SUMMED: usize = 2048;

/// Elements of each rank's result that are compared.
const CHECKED: usize = 64;

/// The ranks' part in an exchange of f32 through this process's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    shape: Shape,
}

impl Exchange {
    /// `pattern` among `ranks`, where `bytes` is the larger of one rank's two buffers.
    pub fn new(pattern: Pattern, bytes: u64, ranks: u64) -> Self {
        Exchange { shape: Shape::new(pattern, bytes.div_ceil(4), ranks) }
    }

    /// Its sizes.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// What `rank` does: reads the others' `sends` and writes `receive`.
    ///
    /// `reduced` holds one part a rank, for the step between the two phases of an all_reduce.
    ///
    /// # Errors
    /// When another rank is lost on the way.
    pub fn run(
        &self,
        rank: usize,
        sends: &[&[f32]],
        receive: &mut [f32],
        reduced: &[RwLock<Vec<f32>>],
        barrier: &Barrier,
    ) -> Result<(), Broken> {
        let shape = &self.shape;
        let part = shape.part();
        // Each starts with its neighbour, so that not all read the same buffer at once.
        let others = (0..shape.ranks).map(|step| (rank + step) % shape.ranks);
        match shape.pattern {
            Pattern::Collective(CollectiveKind::AllReduce) => {
                let mine = shape.part_of(rank);
                {
                    let mut reduced = reduced[rank].write().map_err(|_| Broken)?;
                    sum(sends, mine.clone(), &mut reduced[..mine.len()]);
                }
                barrier.wait()?;
                for other in others {
                    let place = shape.part_of(other);
                    let reduced = reduced[other].read().map_err(|_| Broken)?;
                    receive[place.clone()].copy_from_slice(&reduced[..place.len()]);
                }
            }
            Pattern::Collective(CollectiveKind::AllGather) => {
                others.for_each(|other| receive[other * part..][..part].copy_from_slice(sends[other]));
            }
            Pattern::Collective(CollectiveKind::ReduceScatter) => sum(sends, shape.part_of(rank), receive),
            Pattern::Collective(CollectiveKind::AllToAll) => others.for_each(|other| {
                receive[other * part..][..part].copy_from_slice(&sends[other][rank * part..][..part]);
            }),
            Pattern::Collective(CollectiveKind::Broadcast) => receive.copy_from_slice(sends[0]),
            Pattern::Send => {
                if rank == 1 {
                    receive.copy_from_slice(sends[0]);
                }
            }
        }
        Ok(())
    }

    /// Compares some elements of what `rank` received with what the ranks sent.
    pub fn check(&self, rank: usize, sends: &[&[f32]], received: &[f32]) -> Checked {
        if self.shape.origin(rank, 0).is_none() {
            return Ok(()); // receives nothing
        }
        all_written(received)?;
        for place in places(CHECKED, received.len()) {
            let (expected, size) = match self.shape.origin(rank, place) {
                Some(Origin::Sum(at)) => {
                    let terms = sends.iter().map(|send| f64::from(send[at]));
                    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
                }
                Some(Origin::Copy(from, at)) => (f64::from(sends[from][at]), 0.0),
                None => continue,
            };
            let name = || format!("element {place} of rank {rank}");
            compare(name, expected, received[place], size * sum_error(self.shape.ranks))?;
        }
        Ok(())
    }
}

/// The sum of the same range of all `sends`.
fn sum(sends: &[&[f32]], range: Range<usize>, out: &mut [f32]) {
    vectorised(
        out,
        #[inline(always)]
        |out: &mut [f32]| {
            for (i, out) in out.chunks_mut(SUMMED).enumerate() {
                let from = range.start + i * SUMMED;
                out.copy_from_slice(&sends[0][from..][..out.len()]);
                for send in &sends[1..] {
                    for (out, &x) in out.iter_mut().zip(&send[from..]) {
                        *out += x;
                    }
                }
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::{Barrier, Exchange, Pattern, RwLock};
    use crate::op::CollectiveKind;

    /// Runs all ranks of an exchange that needs no barrier, one after the other.
    fn received(kind: CollectiveKind, bytes: u64, ranks: u64) -> (Exchange, Vec<Vec<f32>>, Vec<Vec<f32>>) {
        let exchange = Exchange::new(Pattern::Collective(kind), bytes, ranks);
        let sends: Vec<Vec<f32>> = (0..ranks as usize)
            .map(|rank| (0..exchange.shape().sent()).map(|i| (100 * rank + i) as f32).collect())
            .collect();
        let parts: Vec<&[f32]> = sends.iter().map(Vec::as_slice).collect();
        let reduced: Vec<_> = parts.iter().map(|_| RwLock::new(vec![0.0; exchange.shape().part()])).collect();
        let barrier = Barrier::new(ranks as usize, 1);
        let received = std::thread::scope(|scope| {
            let rank = |rank| {
                let (parts, reduced, barrier) = (&parts, &reduced, &barrier);
                scope.spawn(move || {
                    let mut receive = vec![f32::NAN; exchange.shape().received()];
                    exchange.run(rank, parts, &mut receive, reduced, barrier).unwrap();
                    receive
                })
            };
            let threads: Vec<_> = (0..ranks as usize).map(rank).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (exchange, sends, received)
    }

    /// Three ranks of which rank r sends 100r, 100r + 1, …
    #[test]
    fn collectives_by_hand() {
        let third = |kind, bytes| received(kind, bytes, 3).2.swap_remove(2);
        assert_eq!(third(CollectiveKind::AllReduce, 16), [300.0, 303.0, 306.0, 309.0]);
        assert_eq!(third(CollectiveKind::AllGather, 24), [0.0, 1.0, 100.0, 101.0, 200.0, 201.0]);
        assert_eq!(third(CollectiveKind::ReduceScatter, 24), [312.0, 315.0]);
        assert_eq!(third(CollectiveKind::AllToAll, 24), [4.0, 5.0, 104.0, 105.0, 204.0, 205.0]);
        assert_eq!(third(CollectiveKind::Broadcast, 7), [0.0, 1.0]); // the second element is begun
        assert_eq!(third(CollectiveKind::AllGather, 1), [0.0, 100.0, 200.0]); // one element a part
    }

    #[test]
    fn every_wrong_element_is_found_on_every_rank() {
        for kind in CollectiveKind::ALL {
            let (exchange, sends, mut received) = received(kind, 52, 3);
            let sends: Vec<&[f32]> = sends.iter().map(Vec::as_slice).collect();
            for (rank, received) in received.iter_mut().enumerate() {
                exchange.check(rank, &sends, received).unwrap();
                for place in 0..received.len() {
                    received[place] += 1.0;
                    assert!(exchange.check(rank, &sends, received).is_err(), "{kind:?} {rank} {place}");
                    received[place] -= 1.0;
                }
            }
        }
    }
}
