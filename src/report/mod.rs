//! What people and programs read. Nothing is computed here that is not shown.

mod accuracy;
mod artifacts;
mod bandwidth;
mod breakdown;
mod checks;
mod compare;
mod comparison;
mod config;
mod doctor;
mod drawing;
mod explain;
mod explain_json;
mod formulas;
mod json;
mod one;
mod outlook;
mod overview;
mod page;
mod panels;
mod path_formula;
mod perfetto;
mod ranking;
mod rows;
mod search;
mod svg;
mod validate;

pub use accuracy::{accuracy, accuracy_json};
pub use artifacts::artifacts;
pub use bandwidth::bandwidths;
pub use checks::{checks, checks_json};
pub use compare::{compare, compare_json};
pub use comparison::{comparison, comparison_json, nodes, nodes_json};
pub use doctor::doctor;
pub use explain::{Conclusion, Verdict, explain};
pub use explain_json::explain_json;
pub use formulas::{formulas, time};
pub use json::{formulas_json, json, time_json};
pub use one::one;
pub use page::html;
pub use panels::{DrawError, page as panels_page, panels};
pub use path_formula::path_formula;
pub use perfetto::perfetto;
pub use ranking::ranking;
pub use search::{search, search_json};
pub use validate::{lessons, validation, validation_json};

use std::collections::BTreeSet;

use textwrap::core::display_width;

use crate::cost::Estimate;
use crate::dtype::Dtype;
use crate::evaluate::Evaluation;
use crate::source::Source;
use crate::units::{self, Seconds};

/// Beyond this half-width the ends of an interval say more than its width.
const WIDE: f64 = 0.5;

/// `58.3 s ± 1.9 %`, or `58.3 s (20.1–166 s)` where it is wide; without the interval where there is none.
pub fn with_error(estimate: &Estimate) -> String {
    let Estimate { seconds, low, high, .. } = *estimate;
    match estimate.relative_half_width() {
        0.0 => seconds.to_string(),
        w if w < 0.0995 => format!("{seconds} ± {:.1} %", w * 100.0),
        w if w < WIDE => format!("{seconds} ± {:.0} %", w * 100.0),
        _ => {
            let all = seconds.to_string();
            let number = all.split(' ').next().unwrap_or_default();
            format!("{number} ({})", units::range(low, high, seconds))
        }
    }
}

/// The interval in brackets, three blanks before it; nothing where there is none.
pub fn interval(estimate: &Estimate) -> String {
    match estimate.low == estimate.high {
        true => String::new(),
        false => format!("   ({})", units::range(estimate.low, estimate.high, estimate.seconds)),
    }
}

/// The line that says on what the plans run: how many devices, which, and in which element type.
fn machine(evaluations: &[&Evaluation], source: &Source) -> String {
    let gpus: BTreeSet<u64> = evaluations.iter().map(|e| e.plan.gpus).collect();
    let gpus: Vec<String> = gpus.iter().map(u64::to_string).collect();
    let dtypes: BTreeSet<Dtype> = evaluations.iter().map(|e| e.choice.dtype).collect();
    let dtypes: Vec<&str> = dtypes.iter().map(|dtype| dtype.name()).collect();
    let (gpus, dtypes) = (gpus.join(" or "), dtypes.join(" or "));
    wrapped(&format!("{gpus} × {} · {dtypes}", source.headline), "")
}

/// Columns of every screen.
const WIDTH: usize = 100;

/// A sentence within the screen's width, its further lines indented like the first.
pub fn wrapped(sentence: &str, indent: &str) -> String {
    let options = textwrap::Options::new(WIDTH).initial_indent(indent).subsequent_indent(indent);
    textwrap::fill(sentence, options)
}

/// The text as far as it goes into `width` columns, on one line.
fn clip(text: &str, width: usize) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if display_width(&plain) <= width {
        return plain;
    }
    let mut clipped = String::new();
    for c in plain.chars() {
        clipped.push(c);
        if display_width(&clipped) > width - 1 {
            clipped.pop();
            break;
        }
    }
    clipped + "…"
}

/// The text with blanks behind it up to `width` columns, clipped where it is wider. Chinese, Japanese and
/// Korean characters take two columns, which formatting to a width does not know.
fn padded(text: &str, width: usize) -> String {
    let text = clip(text, width);
    let blanks = " ".repeat(width.saturating_sub(display_width(&text)));
    text + &blanks
}

/// `1 layer`, `4 layers`.
fn plural(n: u64, word: &str) -> String {
    format!("{n} {word}{}", if n == 1 { "" } else { "s" })
}

/// A bar of `width` cells, filled by `share` of 1.
pub fn bar(share: f64, width: usize) -> String {
    let filled = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    "▇".repeat(filled) + &"░".repeat(width - filled)
}

/// In how many pieces the batch goes through.
fn pieces(e: &Evaluation) -> String {
    match e.choice.microbatches {
        1 => "batch undivided".to_owned(),
        n => format!("{n} micro-batches"),
    }
}

/// A number of seconds that is no estimate, in a person's unit.
fn three_seconds(seconds: f64) -> String {
    Seconds::new(seconds).map_or_else(|_| "–".to_owned(), |s| s.to_string())
}

/// ` 30.7 %`, six characters and the sign.
fn percent(part: f64, whole: f64) -> String {
    if whole > 0.0 { format!("{:>5.1} %", part / whole * 100.0) } else { "    – %".to_owned() }
}
