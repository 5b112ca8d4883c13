//! The files that document 004 lists, made of one graph. The same evaluation gives the same bytes.

use std::collections::HashSet;

use super::breakdown::breakdown;
use super::checks::checks_json;
use super::config::config;
use super::drawing::drawing;
use super::overview::overview;
use crate::check::Check;
use crate::evaluate::Evaluation;
use crate::graph::{self, Graph};
use crate::units::grouped;

/// The plan that document 004 is about keeps the document's name for its graph.
const OF_DOCUMENT_004: (&str, &str) = ("tp8-pp2", "improved_tensor_parallel_dag");

/// File names and contents.
///
/// # Errors
/// When JSON cannot be written, which its types rule out.
pub fn artifacts(
    e: &Evaluation,
    graph: &Graph,
    checks: &[Check],
    source: &str,
) -> serde_json::Result<Vec<(String, String)>> {
    let stem = match e.plan.name.as_str() {
        name if name == OF_DOCUMENT_004.0 => OF_DOCUMENT_004.1.to_owned(),
        name => format!("{}_dag", name.replace('-', "_")),
    };
    let path: Vec<usize> = e.critical_path.iter().map(|node| node.index()).collect();
    let on_path: HashSet<usize> = path.iter().copied().collect();
    let subtitle = format!(
        "{} · {} ops · {} edges · {} · {} ({})",
        e.plan.title,
        grouped(graph.nodes.len() as u128),
        grouped(graph.edges.len() as u128),
        super::pieces(e),
        e.makespan().seconds,
        e.makespan().basis
    );
    Ok(vec![
        (format!("{stem}.dot"), graph::dot(graph, |node| on_path.contains(&node))),
        (format!("{stem}.svg"), drawing(graph, &path, &subtitle)),
        ("deployment_overview.svg".to_owned(), overview(e, graph)),
        ("layer_detailed_breakdown.svg".to_owned(), breakdown(e, graph)),
        ("deployment_config.json".to_owned(), config(e, graph, source)?),
        ("checks.json".to_owned(), checks_json(graph, checks)?),
    ])
}
