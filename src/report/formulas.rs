//! Formulas and single products.

use std::fmt::Write as _;

use super::{interval, with_error};
use crate::cost::Estimate;
use crate::dtype::Dtype;
use crate::formula::Evaluated;
use crate::op::{Gemm, Op};
use crate::source::Source;
use crate::units;

/// Each formula with its calls.
pub fn formulas(formulas: &[Evaluated], source: &Source, dtype: Dtype) -> String {
    let mut out = format!("{} · {dtype}\n", source.headline);
    for formula in formulas {
        // writing to a String does not fail
        let _ = write_formula(&mut out, formula);
    }
    out
}

fn write_formula(out: &mut String, formula: &Evaluated) -> std::fmt::Result {
    let name = formula.name.as_deref().unwrap_or("formula");
    let range = match formula.low == formula.high {
        true => String::new(),
        false => format!("   ({})", units::range(formula.low, formula.high, formula.seconds)),
    };
    writeln!(out, "\n{name} = {}{range}", formula.seconds)?;
    let whole = formula.seconds.get();
    for call in &formula.calls {
        let Gemm { m, k, n, batch, .. } = call.gemm;
        let text = match batch {
            1 => format!("Get_Time({m}, {k}, {n})"),
            _ => format!("Get_Time_batched({batch}, {m}, {k}, {n})"),
        };
        let part = call.estimate.seconds.get() * call.count;
        let share = if whole > 0.0 { part / whole * 100.0 } else { 0.0 };
        let total = super::three_seconds(part.abs());
        let each = with_error(&call.estimate);
        let basis = call.estimate.basis;
        writeln!(out, "  {:>6} × {text:<36} {each:>18} = {total:>9} {share:>5.1} %  {basis}", call.count)?;
    }
    Ok(())
}

/// One product: its time, interval, rate and basis.
pub fn time(gemm: &Gemm, estimate: &Estimate, source: &Source) -> String {
    let range = interval(estimate);
    let rate = match estimate.seconds.get() {
        0.0 => String::new(),
        seconds => format!(" · {:.4} TFLOP/s", gemm.flops() as f64 / seconds / 1e12),
    };
    let op = Op::Gemm(*gemm);
    format!("{}{range}   {}\n{op}{rate} · {}\n", estimate.seconds, estimate.basis, source.headline)
}
