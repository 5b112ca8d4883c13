//! The products that a refinement chooses from, and which of them tell most.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::cost::Cost;
use crate::dtype::Dtype;
use crate::fit::Fit;
use crate::op::{Gemm, Op};
use crate::table::Table;

/// What plans' products have at least: rows, inner size, columns. Smaller ones take part in plans too, and next
/// to none of their time.
const DOMAIN: [u64; 3] = [1024, 512, 512];

/// Products that a refinement starts from, of its domain, and beside it: laws must know small products too.
const SEEDS: (usize, usize) = (50, 16);

/// Candidates that are considered at all.
const MOST_CANDIDATES: usize = 8_000;

/// Candidates that are compared for each product chosen. With 50 to 500 the error of 400 products of the H200 table is
/// the same within the luck of a campaign, 1 %.
const TRIES: usize = 200;

/// What a product is worth that no plan is near; one that is like all of the plans' time is worth 1 more.
const COMMON_WORTH: f64 = 1.0;

/// Where a product lies: log2 of m, k, n and batch, and its element type.
type Place = ([f64; 4], Option<Dtype>);

/// Octaves that no two products of one type are apart. Those of two types are: they tell nothing of each other.
const FAR: f64 = 256.0;

/// Whether a product is one that plans spend their time on.
pub fn is_of_domain(op: &Op) -> bool {
    let Op::Gemm(Gemm { m, k, n, .. }) = *op else { return false };
    [m, k, n].into_iter().zip(DOMAIN).all(|(size, least)| size >= least)
}

/// What there is to choose from.
pub struct Pool<'a> {
    /// Products that can be measured.
    pub candidates: &'a [Op],
    /// The ops of plans, at their true size.
    pub wanted: &'a [Op],
    /// Of what was measured before, the products drawn at random.
    pub drawn: &'a [Op],
}

/// The products to start from: most of the domain, some beside it, the same ones on every run.
pub fn seeds(candidates: &[Op], most: usize) -> Vec<Op> {
    let (mut inside, mut beside): (Vec<Op>, Vec<Op>) = candidates.iter().partition(|op| is_of_domain(op));
    let mut random = StdRng::seed_from_u64(0);
    inside.shuffle(&mut random);
    beside.shuffle(&mut random);
    beside.truncate(SEEDS.1.min(most / 8));
    inside.truncate(SEEDS.0.min(most - beside.len()));
    inside.extend(beside);
    inside
}

/// The products of the domain that no row is of.
pub(super) struct Unmeasured {
    ops: Vec<Op>,
    places: Vec<Place>,
    /// How far the nearest measured product is from each, in octaves.
    away: Vec<f64>,
}

impl Unmeasured {
    /// The products of `pool` that `table` lacks, in an order of chance.
    pub fn of(pool: &Pool<'_>, table: &Table, random: &mut StdRng) -> Self {
        let measured = table.records.iter().map(|record| record.op).filter(is_of_domain);
        let mut seen: HashSet<Op> = measured.clone().collect();
        // the lattice and the plans may name the same product; a table has one row of it
        let candidates = pool.candidates.iter().copied();
        let mut ops: Vec<Op> = candidates.filter(|op| is_of_domain(op) && seen.insert(*op)).collect();
        ops.shuffle(random);
        ops.truncate(MOST_CANDIDATES);
        let places: Vec<Place> = ops.iter().map(place).collect();
        let mut rest = Unmeasured { away: vec![FAR; ops.len()], ops, places };
        measured.for_each(|op| rest.approach(place(&op)));
        rest
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// Takes out as many products as that, at most, which stand best for all others.
    ///
    /// One after another, the one that takes most off the sum over all products of how far away the nearest measured
    /// one is, in octaves, each weighed by how much `fit` doubts it and by what it is worth to the plans' ops `wanted`.
    /// So a batch is spread over all that is doubtful, and crowds nowhere. It is compared with a sample of the others
    /// (stochastic greedy: Mirzasoleiman et al. 2015, arXiv 1409.7938). On the H200 table, in the mean of twelve campaigns,
    /// 400 products so chosen err by 3.05 / 10.8 % (median / 95th percentile), and 400 of the domain drawn at random by
    /// 3.15 / 11.0 %.
    pub fn choose(&mut self, most: usize, fit: &Fit, wanted: &[Op], random: &mut StdRng) -> Vec<Op> {
        let plans = Worth::of(fit, wanted);
        let weight = |(op, place)| fit.doubt(op) * plans.at(place);
        let weights: Vec<f64> = self.ops.iter().zip(&self.places).map(weight).collect();
        let mut left: Vec<usize> = (0..self.ops.len()).collect();
        let mut chosen = Vec::new();
        while chosen.len() < most && !left.is_empty() {
            let tried = (0..TRIES.min(left.len())).map(|_| random.random_range(0..left.len()));
            let gains = tried.map(|at| (self.gain(&self.places[left[at]], &weights), at));
            let best = gains.max_by(|(a, i), (b, j)| a.total_cmp(b).then(j.cmp(i)));
            let Some((_, at)) = best else { break };
            let product = left.swap_remove(at);
            self.approach(self.places[product]);
            chosen.push(self.ops[product]);
        }
        left.sort_unstable();
        self.keep(&left);
        chosen
    }

    /// Takes out as many products as that, at most, at random.
    pub fn draw(&mut self, most: usize, random: &mut StdRng) -> Vec<Op> {
        let mut order: Vec<usize> = (0..self.ops.len()).collect();
        order.shuffle(random);
        let left = order.split_off(most.min(order.len()));
        let drawn = order.iter().map(|product| self.ops[*product]).collect();
        order.iter().for_each(|product| self.approach(self.places[*product]));
        self.keep(&left);
        drawn
    }

    /// What a row at `here` would take off the weighed distances.
    fn gain(&self, here: &Place, weights: &[f64]) -> f64 {
        let nearer =
            self.places.iter().zip(&self.away).map(|(place, away)| (away - apart(place, here)).max(0.0));
        nearer.zip(weights).map(|(nearer, weight)| nearer * weight).sum()
    }

    /// Counts a row at `here` in.
    fn approach(&mut self, here: Place) {
        for (place, away) in self.places.iter().zip(&mut self.away) {
            *away = away.min(apart(place, &here));
        }
    }

    fn keep(&mut self, left: &[usize]) {
        self.ops = left.iter().map(|at| self.ops[*at]).collect();
        self.places = left.iter().map(|at| self.places[*at]).collect();
        self.away = left.iter().map(|at| self.away[*at]).collect();
    }
}

/// Where plans spend their time, by inner size and columns: rows there are more than can be measured.
struct Worth(Vec<(Place, f64)>);

impl Worth {
    fn of(fit: &Fit, wanted: &[Op]) -> Worth {
        let products = wanted.iter().filter(|op| is_of_domain(op));
        let priced = products.filter_map(|op| Some((place(op), fit.cost(op).ok()?.seconds.get())));
        let mut priced: Vec<(Place, f64)> = priced.collect();
        let total: f64 = priced.iter().map(|(_, seconds)| seconds).sum();
        priced.iter_mut().for_each(|(_, share)| *share /= total.max(f64::MIN_POSITIVE));
        Worth(priced)
    }

    /// The share of the plans' time that is like the product there, fading by a factor of e an octave, and some more.
    fn at(&self, ([_, k, n, _], _): &Place) -> f64 {
        let near = |([_, of_k, of_n, _], _): &Place| (-(of_k - k).hypot(of_n - n)).exp();
        COMMON_WORTH + self.0.iter().map(|(place, share)| share * near(place)).sum::<f64>()
    }
}

fn place(op: &Op) -> Place {
    let sizes = if let Op::Gemm(Gemm { m, k, n, batch, .. }) = *op { [m, k, n, batch] } else { [1; 4] };
    (sizes.map(|size| (size as f64).log2()), op.dtype())
}

/// The distance of two products in octaves.
fn apart((a, of_a): &Place, (b, of_b): &Place) -> f64 {
    if of_a != of_b {
        return FAR;
    }
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}
