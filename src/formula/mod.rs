//! Runtime formulas as people write them: `T = 16 × [Get_Time(1024×10000, 8192, 8192) × 3 + 12 ms]`.
//!
//! Text → tokens → statements → names → values. Every token keeps its place, so every error can point at it.
//!
//! * Operators `+ - * × · /`, and `x` between two operands; brackets `( [ {`, closed by their own kind.
//! * `Get_Time(m, k, n)`, `Get_Time_batched(b, m, k, n)`, `max(…)`, `min(…)`.
//! * Numbers `10240000`, `10_240_000`, `0.5`, `1e3`; `10,240,000` only where no call could take the comma.
//! * Times `12ms`, `1.5 s`: a number and one of `ns us ms s min h`. 0 is both a number and a time.
//! * Names of one or more words: `Communication overhead`. Definitions `NAME = …` or `NAME: …`, in any order.
//! * Comments from `//` or `#`; bold labels, list bullets and backticks of Markdown are skipped.
//! * A formula goes on in the next line while it is incomplete, and where that line starts with an operator.
//!   An empty line ends it.

mod ast;
mod error;
mod eval;
mod kind;
mod lexer;
mod names;
mod nearest;
mod number;
mod parser;
mod place;
mod remedy;
mod setting;
mod statement;
mod tally;
mod token;
mod value;

use std::collections::HashMap;

use crate::cost::{Basis, Cost, Estimate};
use crate::dtype::Dtype;
use crate::op::Gemm;
use crate::units::Seconds;

pub use error::FormulaError;
pub use kind::FormulaErrorKind;
pub use setting::Setting;

use error::Fault;
use eval::Evaluator;
use names::{Definition, Names};
use place::{Place, Source};
use value::Value;

/// A matrix product in a formula.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Call {
    /// The product.
    pub gemm: Gemm,
    /// How often it counts: the product of its multipliers, negative where it is subtracted.
    pub count: f64,
    /// How long one of them takes.
    pub estimate: Estimate,
}

/// A formula and its time. The counts times the estimates of `calls`, and times written as such, add up to
/// `seconds`, unless a formula multiplies by a ratio of times.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// Its name, where it has one.
    pub name: Option<String>,
    /// The time.
    pub seconds: Seconds,
    /// Lower end of the interval.
    pub low: Seconds,
    /// Upper end of the interval.
    pub high: Seconds,
    /// The worst of all calls in it, also of those that lost in a `max`: with another time they could have
    /// won. `None` when there is no call.
    pub basis: Option<Basis>,
    /// The distinct products in order of first appearance; of a `max` or `min`, those of the winner.
    pub calls: Vec<Call>,
}

/// Evaluates the formulas in `text`, in their order, with products of `dtype` that take what `cost` says.
///
/// Numbers that other formulas use, as in `tokens = 1024×10000`, are left out of the result.
///
/// # Errors
/// When the text or a setting cannot be read, a name is left open or defined twice, times and numbers are
/// mixed up, a result is no time, or `cost` misses a call.
pub fn evaluate(
    text: &str,
    settings: &[Setting],
    dtype: Dtype,
    cost: &dyn Cost,
) -> Result<Vec<Evaluated>, FormulaError> {
    let mut sources = vec![Source { name: "formula".into(), text }];
    sources.extend(settings.iter().map(Setting::source));
    run(settings, dtype, cost, &sources).map_err(|fault| fault.in_sources(&sources))
}

fn run(
    settings: &[Setting],
    dtype: Dtype,
    cost: &dyn Cost,
    sources: &[Source<'_>],
) -> Result<Vec<Evaluated>, Fault> {
    let statements = statement::statements(sources.first().map_or("", |source| source.text))?;
    if statements.is_empty() {
        return Err(Fault::new(Place::start_of(0), FormulaErrorKind::Empty));
    }
    let names = Names::resolve(statements, settings)?;
    let mut evaluator = Evaluator {
        names: &names,
        sources,
        dtype,
        cost,
        values: Vec::new(),
        calls: Vec::new(),
        known: HashMap::new(),
    };
    evaluator.run()?;
    let values = std::mem::take(&mut evaluator.values);
    names
        .definitions
        .iter()
        .zip(values.into_iter().flatten())
        .filter(|(definition, value)| !(definition.is_setting || definition.is_used && value.is_number()))
        .map(|(definition, value)| finish(definition, value, &evaluator.calls))
        .collect()
}

/// Checks that the value of a formula is a time.
fn finish(definition: &Definition, value: Value, calls: &[(Gemm, Estimate)]) -> Result<Evaluated, Fault> {
    let label =
        || definition.name.as_ref().map_or_else(|| "the formula".to_owned(), |name| format!("`{name}`"));
    if !value.is_time() {
        let kind = FormulaErrorKind::NotATime { label: label(), value: value.middle };
        return Err(Fault::new(definition.place, kind));
    }
    let Ok(seconds) = Seconds::new(value.middle) else {
        let leading_minus = definition.expr.starts_with_minus();
        let place = if leading_minus { definition.expr.place } else { definition.place };
        let kind = FormulaErrorKind::Negative { label: label(), seconds: value.middle, leading_minus };
        return Err(Fault::new(place, kind));
    };
    if value.calls.iter().any(|(_, count)| !count.is_finite()) {
        return Err(Fault::new(definition.place, FormulaErrorKind::NotFinite)); // calls that take no time
    }
    let count =
        |(call, count): (usize, f64)| calls.get(call).map(|&(gemm, estimate)| Call { gemm, count, estimate });
    Ok(Evaluated {
        name: definition.name.clone(),
        seconds,
        low: Seconds::new(value.low).unwrap_or(Seconds::ZERO), // nothing takes less than no time
        high: Seconds::new(value.high).unwrap_or(seconds),
        basis: value.basis,
        calls: value.calls.iter().filter_map(count).collect(),
    })
}
