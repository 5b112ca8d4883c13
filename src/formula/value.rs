//! Numbers and times with their interval, their basis and the calls in them.

use super::kind::FormulaErrorKind as Kind;
use super::tally::Tally;
use crate::cost::{Basis, Estimate};

/// Whether a value counts or takes time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Number,
    Time,
}

/// A number or a time in seconds; `low <= middle <= high`, all finite, of any sign.
///
/// A ratio of two times is a number and keeps its interval and its basis, though not its calls: what it
/// multiplies later would not be a sum of calls.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) unit: Unit,
    pub(super) middle: f64,
    pub(super) low: f64,
    pub(super) high: f64,
    /// The worst of the calls in it, also of those that lost in a `max`; `None` without calls.
    pub(super) basis: Option<Basis>,
    pub(super) calls: Tally,
}

impl Value {
    /// A value without an interval and without calls.
    pub(super) fn exactly(unit: Unit, value: f64) -> Self {
        Value { unit, middle: value, low: value, high: value, basis: None, calls: Tally::default() }
    }

    /// One call, known in the tally as `call`.
    pub(super) fn call(call: usize, estimate: &Estimate) -> Self {
        Value {
            unit: Unit::Time,
            middle: estimate.seconds.get(),
            low: estimate.low.get(),
            high: estimate.high.get(),
            basis: Some(estimate.basis),
            calls: Tally::once(call),
        }
    }

    /// Exactly 0, which is both a number and a time.
    pub(super) fn is_zero(&self) -> bool {
        self.middle == 0.0 && self.low == 0.0 && self.high == 0.0
    }

    pub(super) fn is_time(&self) -> bool {
        self.unit == Unit::Time || self.is_zero()
    }

    pub(super) fn is_number(&self) -> bool {
        self.unit == Unit::Number || self.is_zero()
    }

    pub(super) fn negated(mut self) -> Self {
        self.middle = -self.middle;
        (self.low, self.high) = (-self.high, -self.low);
        self.calls.scale(-1.0);
        self
    }

    pub(super) fn add(mut self, other: Value, operation: &'static str) -> Result<Self, Kind> {
        self.unit = common_unit(&self, &other, operation)?;
        self.middle += other.middle;
        self.low += other.low;
        self.high += other.high;
        self.basis = self.basis.max(other.basis);
        self.calls.append(other.calls);
        self.checked()
    }

    pub(super) fn times(self, other: Value) -> Result<Self, Kind> {
        if !self.is_number() && !other.is_number() {
            return Err(Kind::TimeTimesTime);
        }
        // Whichever may be the number scales the calls of the other; two numbers have none.
        let (number, mut value) = if other.unit == Unit::Number { (other, self) } else { (self, other) };
        value.unit = if number.unit == Unit::Time { Unit::Time } else { value.unit };
        value.scale([number.low, number.middle, number.high], |a, b| a * b);
        value.calls.scale(number.middle);
        value.basis = value.basis.max(number.basis);
        value.checked()
    }

    pub(super) fn over(mut self, divisor: Value) -> Result<Self, Kind> {
        if divisor.middle == 0.0 {
            return Err(Kind::DivisionByZero);
        }
        if divisor.low <= 0.0 && divisor.high >= 0.0 {
            return Err(Kind::NotFinite);
        }
        match (self.is_time(), divisor.unit) {
            (_, Unit::Number) => self.calls.scale(1.0 / divisor.middle),
            (true, Unit::Time) => (self.unit, self.calls) = (Unit::Number, Tally::default()),
            (false, Unit::Time) => return Err(Kind::NumberOverTime),
        }
        self.scale([divisor.low, divisor.middle, divisor.high], |a, b| a / b);
        self.basis = self.basis.max(divisor.basis);
        self.checked()
    }

    /// The larger of the two, or the smaller; of equals the first. Low and high are the larger of both as
    /// well, since the loser may win within its interval; the calls are those of the winner.
    pub(super) fn extreme(self, other: Value, largest: bool) -> Result<Self, Kind> {
        let unit = common_unit(&self, &other, "compared")?;
        let pick = if largest { f64::max } else { f64::min };
        let (low, high) = (pick(self.low, other.low), pick(self.high, other.high));
        let basis = self.basis.max(other.basis);
        let wins = if largest { other.middle > self.middle } else { other.middle < self.middle };
        let winner = if wins { other } else { self };
        Ok(Value { unit, low, high, basis, ..winner })
    }

    /// Applies an operation that is monotone in each operand: its extremes are at the ends of the intervals.
    fn scale(&mut self, [low, middle, high]: [f64; 3], operation: impl Fn(f64, f64) -> f64) {
        let ends = [(self.low, low), (self.low, high), (self.high, low), (self.high, high)]
            .map(|(a, b)| operation(a, b));
        self.middle = operation(self.middle, middle);
        self.low = ends.into_iter().fold(f64::INFINITY, f64::min);
        self.high = ends.into_iter().fold(f64::NEG_INFINITY, f64::max);
    }

    fn checked(self) -> Result<Self, Kind> {
        let finite = [self.middle, self.low, self.high].into_iter().all(f64::is_finite);
        if finite { Ok(self) } else { Err(Kind::NotFinite) }
    }
}

fn common_unit(a: &Value, b: &Value, operation: &'static str) -> Result<Unit, Kind> {
    match (a.unit, b.unit) {
        (a, b) if a == b => Ok(a),
        (_, unit) if a.is_zero() => Ok(unit),
        (unit, _) if b.is_zero() => Ok(unit),
        _ => Err(Kind::Mixed { operation }),
    }
}
