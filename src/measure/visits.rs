//! The order of a campaign's measurements, and the share of the time that each may take.

use std::collections::HashMap;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::op::{Family, Op};
use crate::units::Seconds;

/// The cases of one pass (from 1) in their order: shuffled; in the first pass with the heavy ones last, in
/// ascending order of work.
pub(super) fn order(ops: &[Op], pass: u32, seed: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ops.len()).collect();
    order.shuffle(&mut StdRng::seed_from_u64(seed.wrapping_add(u64::from(pass) << 32)));
    if pass == 1 {
        let mut totals: HashMap<Family, (f64, f64)> = HashMap::new();
        for op in ops {
            let (sum, count) = totals.entry(op.family()).or_default();
            *sum += work(op);
            *count += 1.0;
        }
        // Heavy: twice the mean of its family, which in a geometric grid a few ops are.
        let heavy =
            |op: &Op| totals.get(&op.family()).is_some_and(|(sum, count)| work(op) * count > 2.0 * sum);
        let (mut last, light): (Vec<_>, Vec<_>) = order.into_iter().partition(|&case| heavy(&ops[case]));
        last.sort_by(|&a, &b| work(&ops[a]).total_cmp(&work(&ops[b])));
        order = light.into_iter().chain(last).collect();
    }
    order
}

/// A measure of size among ops of one family: FLOPs of products, else bytes.
fn work(op: &Op) -> f64 {
    match op.flops() {
        0 => op.bytes() as f64,
        flops => flops as f64,
    }
}

/// What is known of the time that the remaining measurements take.
pub(super) struct Visits<'a> {
    ops: &'a [Op],
    left: Vec<u32>,
    /// Time of the shortest visit, where the case has been measured.
    cost: Vec<Option<Duration>>,
    /// The heaviest op measured so far in each family, and the time of its run.
    heaviest: HashMap<Family, (f64, Seconds)>,
    left_in_all: u32,
    /// Sum of the costs of all visits left whose cost is known.
    reserved: Duration,
}

impl<'a> Visits<'a> {
    pub fn new(ops: &'a [Op], passes: u32) -> Self {
        Visits {
            ops,
            left: vec![passes; ops.len()],
            cost: vec![None; ops.len()],
            heaviest: HashMap::new(),
            left_in_all: (ops.len() as u32).saturating_mul(passes),
            reserved: Duration::ZERO,
        }
    }

    /// Time that the next visit of `case` may take when the campaign has `time`; `None` where even the
    /// shortest visit would take longer than that.
    pub fn limit(&self, case: usize, time: Duration) -> Option<Duration> {
        let own = self.cost[case].unwrap_or_else(|| self.foreseen(&self.ops[case]));
        if time.is_zero() || own > time {
            return None;
        }
        let spare = time.saturating_sub(self.reserved.max(own));
        Some(own + spare / self.left_in_all.max(1))
    }

    /// Notes the time of the shortest visit of `case`, and of one run.
    pub fn measured(&mut self, case: usize, cost: Duration, run: Seconds) {
        if self.cost[case].is_none() {
            self.reserved = self.reserved.saturating_add(cost.saturating_mul(self.left[case]));
            self.cost[case] = Some(cost);
        }
        let work = work(&self.ops[case]);
        let heaviest = self.heaviest.entry(self.ops[case].family()).or_insert((work, run));
        if work > heaviest.0 {
            *heaviest = (work, run);
        }
    }

    /// Notes that one visit of `case` is over, whether it took place or not.
    pub fn done(&mut self, case: usize) {
        self.left[case] = self.left[case].saturating_sub(1);
        self.left_in_all = self.left_in_all.saturating_sub(1);
        self.reserved = self.reserved.saturating_sub(self.cost[case].unwrap_or_default());
    }

    /// The time that checking and sampling an op once will take, from the heaviest op measured in its family
    /// and in proportion to their work; nothing where that says too little.
    fn foreseen(&self, op: &Op) -> Duration {
        let Some(&(known, run)) = self.heaviest.get(&op.family()) else { return Duration::ZERO };
        let times = work(op) / known;
        // A short run is mostly overhead, and proportion holds over a short way only: better to try an op and
        // run a little late than to leave it out for nothing.
        if times <= 1.0 || times > 32.0 || run.get() < 1e-3 {
            return Duration::ZERO;
        }
        Duration::try_from_secs_f64(2.0 * run.get() * times).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Seconds, Visits, order};
    use crate::dtype::Dtype;
    use crate::op::{Gemm, Op};

    fn gemm(m: u64) -> Op {
        Op::Gemm(Gemm { m, k: 1, n: 1, batch: 1, dtype: Dtype::F32 })
    }

    #[test]
    fn orders_are_seeded_permutations() {
        let ops: Vec<Op> = (1..=50).map(gemm).collect();
        let orders = [1, 2, 3].map(|pass| order(&ops, pass, 5));
        assert_eq!(orders, [1, 2, 3].map(|pass| order(&ops, pass, 5)));
        for (i, order) in orders.iter().enumerate() {
            let mut sorted = order.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
            assert_ne!(order, &orders[(i + 1) % 3]);
        }
    }

    #[test]
    fn the_first_pass_takes_the_heaviest_last() {
        let ops: Vec<Op> = [100_000, 1, 2, 3, 4, 5, 6, 7, 200_000, 8].map(gemm).to_vec();
        assert_eq!(order(&ops, 1, 0)[8..], [0, 8]);
    }

    #[test]
    fn time_is_shared_and_what_does_not_fit_is_left_out() {
        let ops = [gemm(1), gemm(2), gemm(30)];
        let mut visits = Visits::new(&ops, 1);
        let second = Duration::from_secs(1);
        assert_eq!(visits.limit(0, 3 * second), Some(second));
        visits.measured(0, second / 2, Seconds::new(0.1).unwrap());
        visits.done(0);
        assert_eq!(visits.limit(1, 3 * second), Some(second / 5 * 2 + (3 * second - second / 5 * 2) / 2));
        assert_eq!(visits.limit(2, 5 * second), None); // 2 · 30 · 0.1 s foreseen
        assert_eq!(visits.limit(1, Duration::ZERO), None);
    }
}
