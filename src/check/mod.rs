//! Checks of a graph: not of what was meant, but of what the nodes and edges say.
//!
//! D1 to D5 are the ticks of document 004 made into definitions, D6 is the one that it leaves out.

mod acyclic;
mod balance;
mod complete;
mod connected;
mod dimensions;
mod flow;
mod memory;
mod products;

pub use memory::{Lifetime, lifetimes};

use crate::cost::Cost;
use crate::graph::{Edge, Graph, Node};

/// What a graph is checked against.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Memory of one GPU.
    pub memory_bytes: Option<u64>,
    /// How long ops take, for the balance of busy times.
    pub cost: Option<&'a dyn Cost>,
    /// By how much the most loaded GPU may exceed the mean, as a fraction.
    pub tolerance: f64,
}

/// One of the six checks.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// `D1` to `D6`.
    pub id: &'static str,
    /// What is checked, in two or three words.
    pub title: &'static str,
    /// What came out.
    pub verdict: Verdict,
}

/// What came out of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It holds; with the figures that show it.
    Pass(String),
    /// It does not hold: the offences, in the order of the graph.
    Fail(Vec<Offence>),
    /// It cannot be told; with the reason.
    Open(String),
}

/// An object of the graph that breaks a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Offence {
    /// The id of a node, `a -> b` for an edge, or a GPU or layer.
    pub object: String,
    /// Its line in the file; 0 where there is none.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl Offence {
    fn of(node: &Node, what: impl Into<String>) -> Self {
        Offence { object: node.id.clone(), line: node.line, what: what.into() }
    }

    fn at(object: impl Into<String>, what: impl Into<String>) -> Self {
        Offence { object: object.into(), line: 0, what: what.into() }
    }

    fn edge(graph: &Graph, edge: &Edge, what: impl Into<String>) -> Self {
        let [from, to] = [edge.from, edge.to].map(|i| &graph.nodes[i]);
        Offence { object: format!("{} -> {}", from.id, to.id), line: from.line, what: what.into() }
    }
}

impl Verdict {
    /// Passed with `figures` where there is no offence.
    fn of(offences: Vec<Offence>, figures: impl FnOnce() -> String) -> Self {
        if offences.is_empty() { Verdict::Pass(figures()) } else { Verdict::Fail(offences) }
    }

    /// Whether it does not hold.
    pub const fn failed(&self) -> bool {
        matches!(self, Verdict::Fail(_))
    }
}

/// Runs all six checks.
pub fn check(graph: &Graph, limits: &Limits) -> Vec<Check> {
    let order = graph.order();
    let one = |id, title, verdict| Check { id, title, verdict };
    vec![
        one("D1", "acyclic", acyclic::acyclic(graph, &order)),
        one("D2", "connected", connected::connected(graph)),
        one("D3", "dimensions preserved", dimensions::dimensions(graph)),
        one("D4", "load balance", balance::balance(graph, limits)),
        one("D5", "complete model", complete::complete(graph)),
        one("D6", "memory", memory::memory(graph, &order, limits.memory_bytes)),
    ]
}

/// Whether `counted` is `whole`, or more by less than one row for each of `parts` parts: routing that does not
/// go up is rounded up part by part.
fn rounds_up_to(counted: u128, whole: u128, parts: u128) -> bool {
    counted == whole || (counted > whole && counted - whole < parts)
}
