//! Formulas and single products.

use std::fmt::Write as _;

use super::{WIDTH, interval, with_error, wrapped};
use crate::cost::Estimate;
use crate::dtype::Dtype;
use crate::formula::Evaluated;
use crate::op::{Gemm, Op};
use crate::source::Source;
use crate::units;

/// Each formula with its calls.
pub fn formulas(formulas: &[Evaluated], source: &Source, dtype: Dtype) -> String {
    let mut out = wrapped(&format!("{} · {dtype}", source.headline), "") + "\n";
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
        let left = format!("  {:>6} × {text:<36}", count(call.count));
        let right = format!(" {each:>18} = {total:>9} {share:>5.1} %  {:<12}", call.estimate.basis);
        if left.chars().count() + right.chars().count() <= WIDTH {
            writeln!(out, "{}", (left + &right).trim_end())?;
        } else {
            writeln!(out, "{}\n{}", left.trim_end(), format!("{right:>WIDTH$}").trim_end())?;
        }
    }
    Ok(())
}

/// `16`, or `2.2857` where it is no whole number.
fn count(count: f64) -> String {
    if count.fract() == 0.0 && count.abs() < 1e15 {
        format!("{count:.0}")
    } else if (1e-3..1e6).contains(&count.abs()) {
        format!("{count:.4}")
    } else {
        format!("{count:.4e}")
    }
}

/// One product: its time, interval, rate and basis.
pub fn time(gemm: &Gemm, estimate: &Estimate, source: &Source) -> String {
    let range = interval(estimate);
    let rate = match estimate.seconds.get() {
        0.0 => String::new(),
        seconds => format!(" · {}", flops_per_second(gemm.flops() as f64 / seconds)),
    };
    let below = wrapped(&format!("{}{rate} · {}", Op::Gemm(*gemm), source.headline), "");
    format!("{}{range}   {}\n{below}\n", estimate.seconds, estimate.basis)
}

/// `620 TFLOP/s`, three significant digits.
fn flops_per_second(rate: f64) -> String {
    let (size, unit) = match rate {
        r if r < 999.5e3 => (1.0, "FLOP/s"),
        r if r < 999.5e6 => (1e6, "MFLOP/s"),
        r if r < 999.5e9 => (1e9, "GFLOP/s"),
        _ => (1e12, "TFLOP/s"),
    };
    format!("{} {unit}", units::three_digits(rate / size))
}
