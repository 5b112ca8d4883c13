//! The TOML files that people write: plans and data sheets, as they stand, before anything is checked
//! against anything else.

mod passes;
mod plan;
mod sheet;

use std::ops::Range;

use serde::de::DeserializeOwned;

pub use passes::{Optimizer, Overlap, Phase, Recompute, Schedule, TrainSpec};
pub use plan::{
    AttentionMode, ClusterSpec, Count, Microbatches, MlaSpec, ModelSpec, MoeSpec, ParallelSpec, PlanSpec, Qkv,
};
pub use sheet::{LinkSpec, Sheet};

/// A TOML file that cannot be used, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: line {line}: {message}")]
pub struct SpecError {
    /// The file, or the built-in plan or sheet.
    pub file: String,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong, and what to do.
    pub message: String,
}

impl SpecError {
    /// An error at a byte range of `text`.
    pub fn at(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        let upto = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
        let line = upto.iter().filter(|b| **b == b'\n').count() + 1;
        SpecError { file: file.to_owned(), line, message: message.into() }
    }
}

/// Reads a TOML file into `T`.
///
/// # Errors
/// When it is no TOML, has an unknown or missing key, or a value of the wrong type.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, SpecError> {
    toml::from_str(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        SpecError::at(file, text, span, error.message())
    })
}
