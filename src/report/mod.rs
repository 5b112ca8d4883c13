//! What people and programs read. Nothing is computed here that is not shown.

mod compare;
mod formulas;
mod json;
mod one;
mod rows;

pub use compare::compare;
pub use formulas::{formulas, time};
pub use json::{formulas_json, json, time_json};
pub use one::one;

use crate::cost::Estimate;

/// `58.3 s ± 1.9 %`; without the interval where there is none.
pub fn with_error(estimate: &Estimate) -> String {
    let width = estimate.relative_half_width() * 100.0;
    match width {
        0.0 => estimate.seconds.to_string(),
        w if w < 9.95 => format!("{} ± {w:.1} %", estimate.seconds),
        w => format!("{} ± {w:.0} %", estimate.seconds),
    }
}

/// A bar of `width` cells, filled by `share` of 1.
pub fn bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    "▇".repeat(filled) + &"░".repeat(width - filled)
}

/// A number of seconds that is no estimate, in a person's unit.
fn three_seconds(seconds: f64) -> String {
    crate::units::Seconds::new(seconds).map_or_else(|_| "–".to_owned(), |s| s.to_string())
}
