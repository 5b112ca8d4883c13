//! Seconds and bytes: SI in, SI out, and the way people read them.

use std::cmp::Ordering;
use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Mul};

/// A duration in seconds: finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds(f64);

/// A number that is no duration.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a time: a time is a finite number of seconds, not below 0")]
pub struct NotATime(pub f64);

impl Seconds {
    /// No time at all.
    pub const ZERO: Seconds = Seconds(0.0);

    /// Checks `seconds`.
    ///
    /// # Errors
    /// When it is NaN, infinite or negative.
    pub fn new(seconds: f64) -> Result<Self, NotATime> {
        if seconds.is_finite() && seconds >= 0.0 {
            Ok(Seconds(seconds + 0.0)) // -0.0 becomes 0.0
        } else {
            Err(NotATime(seconds))
        }
    }

    /// The number of seconds.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl Eq for Seconds {}

impl PartialOrd for Seconds {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Seconds {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl Add for Seconds {
    type Output = Seconds;

    fn add(self, other: Seconds) -> Seconds {
        Seconds((self.0 + other.0).min(f64::MAX))
    }
}

impl Sum for Seconds {
    fn sum<I: Iterator<Item = Seconds>>(iter: I) -> Seconds {
        iter.fold(Seconds::ZERO, Add::add)
    }
}

/// `count` times a duration, as in `16 × Get_Time(…)`.
impl Mul<u64> for Seconds {
    type Output = Seconds;

    fn mul(self, count: u64) -> Seconds {
        Seconds((self.0 * count as f64).min(f64::MAX))
    }
}

/// Three significant digits in the unit a person would choose: `319 µs`, `58.3 s`, `26.1 h`.
impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match unit(self.0) {
            _ if self.0 == 0.0 => f.pad("0 s"),
            None => f.pad(&format!("{:.2e} s", self.0)),
            Some((size, name)) => f.pad(&format!("{} {name}", three_digits(self.0 / size))),
        }
    }
}

/// The unit in which a person would read a time: its size in seconds and its name; none for an age of the earth.
fn unit(seconds: f64) -> Option<(f64, &'static str)> {
    match seconds {
        s if s < 999.5e-9 => Some((1e-9, "ns")),
        s if s < 999.5e-6 => Some((1e-6, "µs")),
        s if s < 999.5e-3 => Some((1e-3, "ms")),
        s if s < 9_999.5 => Some((1.0, "s")),
        s if s < 1e7 => Some((3600.0, "h")),
        s if s < 3e9 => Some((86_400.0, "days")),
        _ => None,
    }
}

/// Two times in the unit of a third, written once: `23.0–700 h`.
pub fn range(low: Seconds, high: Seconds, of: Seconds) -> String {
    match unit(of.get()) {
        Some((size, name)) => {
            format!("{}–{} {name}", three_digits(low.get() / size), three_digits(high.get() / size))
        }
        None => format!("{low} – {high}"),
    }
}

/// Decimal units, three significant digits: `168 GB`.
pub fn human_bytes(bytes: u64) -> String {
    let (value, unit) = match bytes as f64 {
        b if b < 999.5 => return format!("{bytes} B"),
        b if b < 999.5e3 => (b / 1e3, "kB"),
        b if b < 999.5e6 => (b / 1e6, "MB"),
        b if b < 999.5e9 => (b / 1e9, "GB"),
        b if b < 999.5e12 => (b / 1e12, "TB"),
        b if b < 999.5e15 => (b / 1e15, "PB"),
        b => (b / 1e18, "EB"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A positive number with three significant digits, never in scientific notation.
pub fn three_digits(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}

/// An integer with a comma between groups of three digits.
pub fn grouped(n: u128) -> String {
    let digits = n.to_string();
    let head = digits.len() % 3;
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && i % 3 == head {
            out.push(',');
        }
        out.push(c);
    }
    out
}
