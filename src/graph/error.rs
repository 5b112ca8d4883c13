//! Why a .dot file cannot be read.

/// A text that is no graph of a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DotError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

impl DotError {
    pub(super) fn at(line: usize, message: &str) -> Self {
        DotError { line, message: message.to_owned() }
    }
}
