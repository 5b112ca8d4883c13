//! Tables from other people's logs.
//!
//! What a log does not say (which collective, how many ranks, on how many nodes) is asked for, and what is
//! given by hand must not contradict it.

mod aiconfigurator;
mod error;
mod json;
#[cfg(feature = "parquet")]
mod parquet;
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

/// Reads a `gemm_perf` or `nccl_perf` table of aiconfigurator: CSV text, or parquet where this build has it.
///
/// `nodes` are those that the collectives of more than 8 GPUs ran on, which the table does not say.
///
/// # Errors
/// When it is another table, a cell is not what its column holds, or no row is usable.
pub fn aiconfigurator(file: &str, bytes: &[u8], nodes: Option<u64>) -> Result<Imported, ImportError> {
    let cells = match bytes.starts_with(b"PAR1") {
        true => parquet(bytes),
        false => aiconfigurator::text(&String::from_utf8_lossy(bytes)),
    };
    let imported = cells.and_then(|cells| aiconfigurator::records(&cells, nodes));
    imported.map_err(|kind| ImportError::new(file, kind))
}

#[cfg(feature = "parquet")]
fn parquet(bytes: &[u8]) -> Result<aiconfigurator::Cells, ImportErrorKind> {
    parquet::cells(bytes)
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &[u8]) -> Result<aiconfigurator::Cells, ImportErrorKind> {
    Err(ImportErrorKind::NoParquet)
}
