//! Formulas from outside: the golden formulas, their meaning, their errors, and texts nobody wrote.

mod errors;
mod fuzz;
mod golden;
mod language;
mod names;

use gettime::cost::{Basis, Cost, CostError, Estimate};
use gettime::dtype::Dtype;
use gettime::formula::{Evaluated, FormulaError, Setting, evaluate};
use gettime::op::{Gemm, Op};
use gettime::units::Seconds;

/// A cost that follows a law in m, k, n, without an interval; the law is for one product of a batch.
pub(crate) struct Law(fn(f64, f64, f64) -> f64);

impl Cost for Law {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let Op::Gemm(Gemm { m, k, n, batch, .. }) = *op else { return missing(op) };
        let seconds = batch as f64 * (self.0)(m as f64, k as f64, n as f64);
        Ok(Estimate::exactly(Seconds::new(seconds).unwrap_or(Seconds::ZERO), Basis::Modelled))
    }
}

pub(crate) fn missing(op: &Op) -> Result<Estimate, CostError> {
    Err(CostError::Missing { source_name: "the law".into(), missing: "gemm".into(), op: *op })
}

/// m seconds: `Get_Time(3, 1, 1)` takes 3 s.
pub(crate) const M: Law = Law(|m, _, _| m);

pub(crate) fn settings(texts: &[&str]) -> Vec<Setting> {
    texts.iter().map(|text| Setting::parse(text).unwrap()).collect()
}

/// Evaluates `text` where `Get_Time(m, k, n)` takes m seconds.
pub(crate) fn all(text: &str, set: &[&str]) -> Result<Vec<Evaluated>, FormulaError> {
    evaluate(text, &settings(set), Dtype::Bf16, &M)
}

/// The seconds of the only formula in `text`.
#[track_caller]
pub(crate) fn seconds(text: &str) -> f64 {
    match all(text, &[]).as_deref() {
        Ok([one]) => one.seconds.get(),
        Ok(other) => panic!("{text:?} has {} formulas", other.len()),
        Err(error) => panic!("{error}"),
    }
}

/// The error of `text`, in full.
#[track_caller]
pub(crate) fn error(text: &str, set: &[&str]) -> String {
    match all(text, set) {
        Err(error) => error.to_string(),
        Ok(values) => panic!("{text:?} is read as {values:?}"),
    }
}
