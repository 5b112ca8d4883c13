//! A formula beside the plan that it is about: term by term, and what general rules say of the difference.
//!
//! Nothing here knows an error of a particular formula. A formula is a multiset of products; a plan's critical
//! path is another, and the two are paired by shape and order. What is left over, and how the shapes of a pair
//! differ, gives the findings.

mod authors;
mod findings;
mod terms;

pub use authors::{Written, author_of};
pub use terms::{Pair, Products};

use crate::dag::Part;
use crate::evaluate::Evaluation;
use crate::formula::Evaluated;
use crate::graph::Graph;

/// What is said of a formula and a plan.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Calls and ops side by side, in the order of the path.
    pub pairs: Vec<Pair>,
    /// Seconds by the formula.
    pub written_seconds: f64,
    /// Seconds of the plan's critical path.
    pub plan_seconds: f64,
    /// FLOPs of the formula's products.
    pub written_flops: f64,
    /// FLOPs of the products on the plan's critical path.
    pub path_flops: f64,
    /// What is wrong, the costliest first.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The op or call that it is about.
    pub about: String,
    /// What is wrong.
    pub what: String,
    /// By which factor the term's FLOPs are off; `None` where that is not the point.
    pub ratio: Option<f64>,
}

/// Sets the formula beside the plan. Of several formulas in one text the longest is the result, and the
/// products that only the others have are written, but do not count.
pub fn explain(e: &Evaluation, graph: &Graph, formulas: &[Evaluated]) -> Explanation {
    let ops = terms::on_path(e, graph);
    let result = formulas.iter().max_by(|a, b| a.seconds.cmp(&b.seconds));
    let products = |formula: &Evaluated| -> Vec<Products> {
        let of = |call: &crate::formula::Call| Products {
            gemm: call.gemm,
            count: call.count,
            steps: Vec::new(),
            seconds: call.estimate.seconds.get(),
            counts: true,
        };
        formula.calls.iter().map(of).collect()
    };
    let calls = result.map(&products).unwrap_or_default();
    let mut dropped: Vec<Products> = Vec::new();
    for other in formulas.iter().flat_map(products) {
        if !calls.iter().chain(&dropped).any(|call| call.gemm == other.gemm) {
            dropped.push(Products { counts: false, ..other });
        }
    }
    let all: Vec<Products> = calls.iter().chain(&dropped).cloned().collect();
    let whole = |op: &Products| findings::whole(graph, op);
    let pairs = terms::pair(&all, &ops, &whole);
    let flops = |products: &[Products]| products.iter().map(Products::flops).sum::<f64>();
    let mut explanation = Explanation {
        written_seconds: result.map_or(0.0, |formula| formula.seconds.get()),
        plan_seconds: e.makespan().seconds.get(),
        written_flops: flops(&calls),
        path_flops: flops(&ops),
        findings: findings::of_pairs(e, graph, &pairs, &dropped),
        pairs,
    };
    let products = calls.iter().map(|call| call.seconds * call.count).sum::<f64>();
    let without = |seconds: f64| seconds <= explanation.written_seconds - products + 1e-9;
    for part in [Part::Communication, Part::Memory] {
        let seconds = e.seconds_on(part);
        if seconds > 0.0 && !without(seconds) {
            explanation.findings.push(Finding {
                about: part.name().to_owned(),
                what: format!(
                    "absent: {} on the plan's path, {:.0} % of it",
                    crate::units::Seconds::new(seconds).unwrap_or_default(),
                    100.0 * seconds / explanation.plan_seconds
                ),
                ratio: Some(0.0),
            });
        }
    }
    explanation.findings.extend(findings::memory(e));
    explanation
}
