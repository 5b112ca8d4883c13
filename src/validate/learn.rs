//! What layers teach a table: by how much ops of a family take longer there than alone.

use std::collections::BTreeMap;

use super::Validation;
use crate::op::{Chained, Op};
use crate::stats::{self, Spread};
use crate::table::{Record, Route};
use crate::units::Seconds;

/// A share of the time below which nothing is learned: clocks do not tell it from 0.
const LEAST: f64 = 0.001;

/// What was learned of one family.
#[derive(Clone, Debug, PartialEq)]
pub struct Lesson {
    /// The row for a table: the time that a second of such ops takes in a layer.
    pub row: Record,
    /// Whether the whole interval is away from 1: by chance it would not be.
    pub is_systematic: bool,
    /// Layers that it rests on.
    pub layers: usize,
}

/// What the layers say together, family by family; each layer counts as one pass, whose rounds are its samples.
///
/// Layers during which others had the cores teach nothing: what others do to the caches may show more in a layer than
/// in its ops alone (ep16's took 4 % longer beside others who had two cores for 70 % of the time, 1.5 % alone), and
/// would be taken for the layer's own.
pub fn lessons(found: &[Validation], source: &str) -> Vec<Lesson> {
    let mut layers: BTreeMap<Chained, Vec<Vec<Seconds>>> = BTreeMap::new();
    for (family, ratios) in found.iter().filter(|one| one.is_calm()).flat_map(|one| &one.families) {
        layers.entry(*family).or_default().push(ratios.clone());
    }
    let lesson = |(family, passes): (Chained, Vec<Vec<Seconds>>)| {
        let (summary, flags) = stats::join(&passes)?;
        let spread = Spread::of(&passes).map(|spread| spread.to_string());
        let words = [flags.to_string(), format!("layers={}", passes.len()), spread.unwrap_or_default()];
        let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
        let (low, high) = summary.ends();
        Some(Lesson {
            row: Record {
                op: Op::Chain(family),
                summary,
                flags: words.join(" "),
                route: Route::default(),
                source: source.to_owned(),
            },
            is_systematic: low.get() > 1.0 + LEAST || high.get() < 1.0 - LEAST,
            layers: passes.len(),
        })
    };
    layers.into_iter().filter_map(lesson).collect()
}
