//! Tables from other people's logs.
//!
//! What a log does not say (which collective, how many ranks, on how many nodes) is asked for, and what is
//! given by hand must not contradict it.

mod error;
mod json;
mod rows;
mod text;

pub use error::{ImportError, ImportErrorKind};
pub use rows::{Given, Imported, LeftOut};

/// Reads a log of nccl-tests: the text that any version since 2.0 prints, or the JSON of versions 1 to 3.
///
/// `bytes` of a row is the column `size`; the time is that of the out-of-place half, unless `given` says
/// otherwise. Rows that are there twice become their median.
///
/// # Errors
/// When something is not said and not given, what is given contradicts the log, or no row is usable.
pub fn nccl_tests(file: &str, text: &str, given: &Given) -> Result<Imported, ImportError> {
    let runs = match text.trim_start().starts_with('{') {
        true => json::runs(text),
        false => Ok(text::runs(text)),
    };
    runs.and_then(|runs| rows::records(runs, given)).map_err(|kind| ImportError::new(file, kind))
}
