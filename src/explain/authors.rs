//! The formulas of the documents, compiled in beside the plans.

use serde::Deserialize;

/// A formula as its author wrote it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// The built-in plan that it is about.
    pub plan: String,
    /// Document and lines.
    pub source: String,
    /// Word for word.
    pub text: String,
    /// What is evaluated, where prose stands in the text as a part of it.
    pub reads_as: Option<String>,
    /// Values of names that the text leaves open, as `NAME=EXPR`.
    #[serde(default)]
    pub settings: Vec<String>,
    /// The plan that the author compares it with.
    pub rival: Option<String>,
    /// The plan that wins, says the author.
    pub winner: Option<String>,
    /// In the author's words.
    pub claim: Option<String>,
}

#[derive(Deserialize)]
struct File {
    formula: Vec<Written>,
}

/// The formula of a built-in plan.
pub fn author_of(plan: &str) -> Option<Written> {
    let file: File =
        crate::spec::parse("plans/formulas.toml", include_str!("../../plans/formulas.toml")).ok()?;
    file.formula.into_iter().find(|written| written.plan == plan)
}
