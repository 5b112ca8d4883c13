//! Which call of a formula stands for which op of the plan.

use crate::evaluate::Evaluation;
use crate::graph::Graph;
use crate::op::{Gemm, Op};

/// Products of one shape, and how often they count.
#[derive(Clone, Debug, PartialEq)]
pub struct Products {
    /// The shape.
    pub gemm: Gemm,
    /// How often it is on the path.
    pub count: f64,
    /// The steps that do it; empty for a call of a formula.
    pub steps: Vec<String>,
    /// Seconds of one.
    pub seconds: f64,
    /// Whether it counts: false for a call that a `max` leaves out.
    pub counts: bool,
}

impl Products {
    /// FLOPs of all of them.
    pub fn flops(&self) -> f64 {
        self.gemm.flops() as f64 * self.count
    }
}

/// The products on the critical path, in its order; those of one shape together.
pub fn on_path(e: &Evaluation, graph: &Graph) -> Vec<Products> {
    let mut found: Vec<Products> = Vec::new();
    for node in &e.critical_path {
        let described = &graph.nodes[node.index()];
        let work = e.dag.work_of(*node);
        let total: f64 = work.ops.iter().map(|(_, count)| *count as f64).sum();
        for (op, count) in &work.ops {
            let Op::Gemm(gemm) = op else { continue };
            let count = *count as f64;
            match found.iter_mut().find(|products| products.gemm == *gemm) {
                Some(products) => {
                    products.count += count;
                    if !products.steps.contains(&described.op) {
                        products.steps.push(described.op.clone());
                    }
                }
                None => found.push(Products {
                    gemm: *gemm,
                    count,
                    steps: vec![described.op.clone()],
                    // ops of one work are products of one step: shared out by number
                    seconds: e.prices.of(&e.dag, *node).seconds.get() / total,
                    counts: true,
                }),
            }
        }
    }
    found
}

/// A call and the op that it stands for; one of the two where the other has none.
pub type Pair = (Option<Products>, Option<Products>);

/// Leaving a call or an op without a partner costs as much as a factor of about 400 in its shape.
const GAP: f64 = 6.0;

/// Pairs calls with ops in the order that both keep, at the least distance of their shapes. `whole` gives an
/// op's inner width and columns before it was cut.
pub fn pair(
    calls: &[Products],
    ops: &[Products],
    whole: &dyn Fn(&Products) -> Option<[u64; 2]>,
) -> Vec<Pair> {
    let calls = shared_out(calls, ops, whole);
    let (n, m) = (calls.len(), ops.len());
    // least[i][j]: the first i calls with the first j ops
    let mut least = vec![vec![0.0; m + 1]; n + 1];
    for i in 0..=n {
        for j in 0..=m {
            let mut best = if i == 0 && j == 0 { 0.0 } else { f64::INFINITY };
            if i > 0 {
                best = f64::min(best, least[i - 1][j] + GAP);
            }
            if j > 0 {
                best = f64::min(best, least[i][j - 1] + GAP);
            }
            if i > 0 && j > 0 {
                best = f64::min(best, least[i - 1][j - 1] + distance(&calls[i - 1], &ops[j - 1], whole));
            }
            least[i][j] = best;
        }
    }
    let (mut i, mut j) = (n, m);
    let mut pairs = Vec::new();
    while i > 0 || j > 0 {
        let matched = i > 0
            && j > 0
            && least[i][j] == least[i - 1][j - 1] + distance(&calls[i - 1], &ops[j - 1], whole);
        if matched {
            pairs.push((Some(calls[i - 1].clone()), Some(ops[j - 1].clone())));
            (i, j) = (i - 1, j - 1);
        } else if i > 0 && least[i][j] == least[i - 1][j] + GAP {
            pairs.push((Some(calls[i - 1].clone()), None));
            i -= 1;
        } else {
            pairs.push((None, Some(ops[j - 1].clone())));
            j -= 1;
        }
    }
    pairs.reverse();
    pairs
}

/// How far a call is from an op: factors in rows, inner width, columns and FLOPs, as logarithms.
fn distance(call: &Products, op: &Products, whole: &dyn Fn(&Products) -> Option<[u64; 2]>) -> f64 {
    let log = |a: f64, b: f64| (a / b).ln().abs();
    let [k, n] = [call.gemm.k as f64, call.gemm.n as f64];
    let rows = |p: &Products| p.gemm.batch as f64 * p.gemm.m as f64;
    let [own_k, own_n] = [op.gemm.k as f64, op.gemm.n as f64];
    let direct = log(k, own_k) + log(n, own_n);
    // cut along the other axis, or not at all: what an author slips on
    let other_axis = k * n == own_k * own_n && whole(op).is_some_and(|whole| leaves_one_whole(call, whole));
    let uncut = whole(op).map_or(f64::INFINITY, |[k0, n0]| 0.5 + log(k, k0 as f64) + log(n, n0 as f64));
    // attention over all sequences as one: an inner size is the number of rows, in either place
    let folded = |size: f64| if size == call.gemm.m as f64 { op.gemm.m as f64 } else { size };
    let straight = log(folded(k), own_k) + log(folded(n), own_n);
    let crossed = log(folded(n), own_k) + log(folded(k), own_n);
    let as_one = match op.gemm.batch > 1 && (folded(k), folded(n)) != (k, n) {
        true => 0.5 + straight.min(crossed),
        false => f64::INFINITY,
    };
    let shape = if other_axis { direct.min(0.3) } else { direct.min(uncut).min(as_one) };
    log(rows(call), rows(op)) * 0.5 + shape + 0.25 * log(call.flops(), op.flops())
}

/// Whether one axis is that of the whole product, and the other a part of it.
pub fn leaves_one_whole(call: &Products, [k, n]: [u64; 2]) -> bool {
    (call.gemm.k == k && call.gemm.n < n) || (call.gemm.n == n && call.gemm.k < k)
}

/// A shape that a formula writes in two places is one call with both counts; where no op has that count and
/// two ops together have, it is both.
fn shared_out(
    calls: &[Products],
    ops: &[Products],
    whole: &dyn Fn(&Products) -> Option<[u64; 2]>,
) -> Vec<Products> {
    let mut all = Vec::new();
    for call in calls {
        let part = |op: &Products| Products { count: op.count, ..call.clone() };
        let mut best: Option<(f64, usize, usize)> = None;
        for (i, first) in ops.iter().enumerate() {
            for (j, second) in ops.iter().enumerate().skip(i + 1) {
                if first.count + second.count == call.count {
                    let far = distance(&part(first), first, whole) + distance(&part(second), second, whole);
                    if best.is_none_or(|(least, ..)| far < least) {
                        best = Some((far, i, j));
                    }
                }
            }
        }
        let alone = ops.iter().map(|op| distance(call, op, whole)).fold(f64::INFINITY, f64::min);
        match best {
            Some((far, i, j)) if far < alone + GAP && !ops.iter().any(|op| op.count == call.count) => {
                // what comes later on the path may come later among the calls too
                all.push((i, part(&ops[i])));
                all.push((j, part(&ops[j])));
            }
            _ => all.push((usize::MAX, call.clone())),
        }
    }
    in_order(all)
}

/// Parts of shared calls move behind the calls that stand between their ops.
fn in_order(all: Vec<(usize, Products)>) -> Vec<Products> {
    let mut out: Vec<Products> = Vec::new();
    let mut late: Vec<(usize, Products)> = Vec::new();
    let mut at = 0;
    for (op, products) in all {
        if op != usize::MAX && op > at + 1 {
            late.push((op, products));
            continue;
        }
        out.push(products);
        at += 1;
        while let Some(i) = late.iter().position(|(op, _)| *op <= at) {
            out.push(late.remove(i).1);
            at += 1;
        }
    }
    out.extend(late.into_iter().map(|(_, products)| products));
    out
}
