//! What formulas mean: numbers, times, operators, lines, calls and intervals.

use std::cell::Cell;

use gettime::cost::{Basis, Cost, CostError, Estimate};
use gettime::dtype::Dtype;
use gettime::formula::{Evaluated, evaluate};
use gettime::op::{Gemm, Op};
use gettime::units::Seconds;

use crate::{Law, all, missing, seconds};

#[test]
fn numbers_are_read_in_every_notation() {
    for text in [
        "10_240_000 s",
        "10'240'000 s",
        "10’240’000 s",
        "10\u{a0}240\u{a0}000 s",
        "10\u{2009}240\u{2009}000 s",
        "10\u{202f}240\u{202f}000 s",
        "10,240,000 s",
        "10240000 s",
        "1.024e7 s",
        "1024E+4 s",
        "Get_Time((10,240,000), 1, 1)",
        "Get_Time(1024×10_000, 1, 1)",
        "max([10,240,000] × 1 s, 7 s)",
    ] {
        assert_eq!(seconds(text), 10_240_000.0, "{text}");
    }
    assert_eq!(seconds("0.5 s"), 0.5);
    assert_eq!(seconds(".5 s"), 0.5);
    assert_eq!(seconds("1,024.5 s"), 1024.5);
    assert_eq!(seconds("1e-3 s"), 0.001);
}

#[test]
fn times_are_a_number_and_a_unit() {
    for (text, expected) in [
        ("12ns", 12e-9),
        ("12 us", 12e-6),
        ("12µs", 12e-6), // micro sign
        ("12μs", 12e-6), // Greek letter
        ("12ms", 0.012),
        ("1.5 s", 1.5),
        ("2 min", 120.0),
        ("2h", 7200.0),
        ("5 s x 3", 15.0),
        ("1e3ms", 1.0),
        ("min(2 min, 3 min)", 120.0),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn operators_have_their_usual_rank() {
    for (text, expected) in [
        ("2 × [Get_Time(3, 1, 1) + 4 s]", 14.0),
        ("2 s + 3 × 4 s", 14.0),
        ("2*3·4⋅5∙1 s", 120.0),
        ("2 x 3 X Get_Time(5, 1, 1)", 30.0),
        ("Get_Time(5, 1, 1) x 3", 15.0),
        ("Get_Time(2x3, 1, 1) + Get_Time(1024x10, 1, 1)", 10_246.0),
        ("12 s / 4 ÷ 3", 1.0),
        ("10 s - 3 s - 2 s", 5.0),
        ("10 s − 3 s", 7.0),
        ("-2 s + 5 s", 3.0),
        ("--2 s", 2.0),
        ("3 s × -(1 - 3)", 6.0),
        ("{2 × [1 s + (2 s)]}", 6.0),
        ("8 s / (4 s / 2 s)", 4.0),
        ("max(3 s, 5 s, 4 s) + min(3 s, 5 s, 2 s)", 7.0),
        ("MAX(3 s) + Min (4 s)", 7.0),
        ("get_time(3, 1, 1) + GetTime(4, 1, 1) + GET_TIME[5, 1, 1]", 12.0),
        ("Get_Time_batched(16, 3, 1, 1)", 48.0),
        ("Get_Time(30 × 0.1, 1, 1)", 3.0),
        ("x = 3 s\n2 x x", 6.0),
    ] {
        assert_eq!(all(text, &[]).unwrap().last().unwrap().seconds.get(), expected, "{text}");
    }
}

#[test]
fn zero_is_both_a_number_and_a_time() {
    for (text, expected) in [
        ("0", 0.0),
        ("3 s + 0", 3.0),
        ("0 - 0 + 3 s", 3.0),
        ("max(0, 3 s)", 3.0),
        ("(0 + 2) × 3 s", 6.0),
        ("(3 - 3) + 1 s", 1.0),
        ("0 × 3 s", 0.0),
    ] {
        assert_eq!(seconds(text), expected, "{text}");
    }
}

#[test]
fn formulas_go_over_several_lines() {
    for text in [
        "T = 2 × [\n  1 s + // one\n  2 s # two\n]",
        "T =\n  2 s +\n  4 s",
        "2 s \n+ 3 s \n+ 1 s\n",
        "2 s\n// between\n+ 4 s",
        "2 s\r\n+ 4 s\r\n",
        "**T**:\r\n```text\r\nmax(\r\n  2 s, // a\r\n\r\n  6 s)\r\n```\r\n",
        "```\n6 s\n```",
        "`T = 6 s`",
        "- **Stage MHA Time**: 6 s`",
        "* T: 6 s",
        "• **T:** 6 s",
        "1. **T** = 6 s",
        "12) 6 s",
        "\u{feff}T := 6 s",
        "2 s +\n\n4 s",
    ] {
        assert_eq!(seconds(text), 6.0, "{text}");
    }
}

#[test]
fn a_complete_formula_ends_before_an_operand_a_label_and_an_empty_line() {
    let values = |text: &str| -> Vec<f64> {
        all(text, &[]).unwrap_or_else(|e| panic!("{e}")).iter().map(|value| value.seconds.get()).collect()
    };
    assert_eq!(values("1 s\n2 s"), [1.0, 2.0]);
    assert_eq!(values("- A: 3 s\n- B: 2 s\n* C = 1 s"), [3.0, 2.0, 1.0]);
    assert_eq!(values("A = 3 s\n- 1 s"), [2.0]);
    assert_eq!(values("1. 3 s\n2. 4 s"), [3.0, 4.0]);
    // Items of one list, and what stands behind an empty line, are not subtracted in silence.
    for text in ["- A: 3 s\n- 1 s", "A = 3 s\n\n- 1 s"] {
        assert!(crate::error(text, &[]).contains("list bullet"), "{text}");
    }
}

/// 10 % around m seconds; the basis follows k. Counts how often it is asked.
struct Uncertain(Cell<usize>);

impl Cost for Uncertain {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        self.0.set(self.0.get() + 1);
        let Op::Gemm(Gemm { m, k, .. }) = *op else { return missing(op) };
        let basis = [Basis::Measured, Basis::Interpolated, Basis::Extrapolated, Basis::Modelled]
            [k.min(4) as usize - 1];
        let of = |factor: f64| Seconds::new(m as f64 * factor).unwrap();
        Ok(Estimate { seconds: of(1.0), low: of(0.5), high: of(1.5), basis })
    }
}

fn uncertain(text: &str) -> Evaluated {
    let cost = Uncertain(Cell::new(0));
    let values = evaluate(text, &[], Dtype::Bf16, &cost).unwrap_or_else(|e| panic!("{e}"));
    values.into_iter().next().unwrap()
}

fn interval(text: &str) -> (f64, f64, f64) {
    let value = uncertain(text);
    (value.low.get(), value.seconds.get(), value.high.get())
}

#[test]
fn intervals_combine_at_their_ends() {
    assert_eq!(interval("Get_Time(4, 1, 1)"), (2.0, 4.0, 6.0));
    assert_eq!(interval("3 × Get_Time(4, 1, 1) + 1 s"), (7.0, 13.0, 19.0));
    assert_eq!(interval("Get_Time(4, 1, 1) / 2"), (1.0, 2.0, 3.0));
    // 10..30 without 2..6
    assert_eq!(interval("Get_Time(20, 1, 1) - Get_Time(4, 1, 1)"), (4.0, 16.0, 28.0));
    // 2..6 without 1.5..4.5 begins below 0
    assert_eq!(interval("Get_Time(4, 1, 1) - Get_Time(3, 1, 1)"), (0.0, 1.0, 4.5));
    assert_eq!(interval("10 s - 2 × Get_Time(4, 1, 1)"), (0.0, 2.0, 6.0));
    assert_eq!(interval("max(Get_Time(4, 1, 1), 5 s)"), (5.0, 5.0, 6.0));
    assert_eq!(interval("min(Get_Time(4, 1, 1), 5 s)"), (2.0, 4.0, 5.0));
    // 2..6 over 1..3 is a number from 2/3 to 6
    assert_eq!(interval("3 s × (Get_Time(4, 1, 1) / Get_Time(2, 1, 1))"), (2.0, 6.0, 18.0));
}

#[test]
fn the_worst_basis_of_all_calls_counts() {
    assert_eq!(uncertain("3 s").basis, None);
    assert_eq!(uncertain("Get_Time(4, 1, 1)").basis, Some(Basis::Measured));
    assert_eq!(uncertain("Get_Time(4, 2, 1) + Get_Time(4, 1, 1)").basis, Some(Basis::Interpolated));
    assert_eq!(uncertain("max(Get_Time(4, 1, 1), Get_Time(3, 4, 1))").basis, Some(Basis::Modelled));
    assert_eq!(uncertain("Get_Time(4, 1, 1) × (Get_Time(4, 3, 1) / 2 s)").basis, Some(Basis::Extrapolated));
}

fn counts(text: &str) -> Vec<(u64, f64)> {
    uncertain(text).calls.iter().map(|call| (call.gemm.m, call.count)).collect()
}

#[test]
fn calls_are_counted_with_their_multipliers() {
    assert_eq!(counts("16 × [3 × Get_Time(4, 1, 1) + Get_Time(5, 1, 1)]"), [(4, 48.0), (5, 16.0)]);
    assert_eq!(counts("Get_Time(5, 1, 1) + Get_Time(4, 1, 1) × 3 + Get_Time(5, 1, 1)"), [(5, 2.0), (4, 3.0)]);
    assert_eq!(counts("(9 s - Get_Time(4, 1, 1)) / 4"), [(4, -0.25)]);
    assert_eq!(counts("2 × max(Get_Time(4, 1, 1), Get_Time(5, 1, 1))"), [(5, 2.0)]);
    assert_eq!(counts("2 × min(Get_Time(4, 1, 1), Get_Time(5, 1, 1))"), [(4, 2.0)]);
    assert_eq!(counts("max(Get_Time(4, 1, 1), Get_Time(4, 2, 1) + 0)"), [(4, 1.0)]);
    assert_eq!(
        counts("T = 2 × A + B\nB = Get_Time(5, 1, 1)\nA = 3 × Get_Time(4, 1, 1)"),
        [(4, 6.0), (5, 1.0)]
    );
    let first_of_a_tie = uncertain("max(Get_Time(4, 2, 1), Get_Time(4, 1, 1))");
    assert_eq!(first_of_a_tie.calls[0].gemm.k, 2);
}

#[test]
fn each_distinct_call_is_asked_for_once() {
    let cost = Uncertain(Cell::new(0));
    let text = "A = Get_Time(4, 1, 1) + 3×Get_Time(4, 1, 1)\nB = A + Get_Time(2×2, 1, 1) + Get_Time(4, 1, 2)";
    evaluate(text, &[], Dtype::F16, &cost).unwrap();
    assert_eq!(cost.0.get(), 2);
}

#[test]
fn a_call_becomes_the_product_of_its_arguments() {
    let gemms = |text: &str| evaluate(text, &[], Dtype::F16, &Law(|_, _, _| 1.0)).unwrap()[0].calls[0].gemm;
    let dtype = Dtype::F16;
    assert_eq!(gemms("Get_Time(2, 3, 4)"), Gemm { m: 2, k: 3, n: 4, batch: 1, dtype });
    assert_eq!(gemms("Get_Time_batched(5, 2, 3, 4)"), Gemm { m: 2, k: 3, n: 4, batch: 5, dtype });
    assert_eq!(gemms("Get_Time(9_007_199_254_740_992, 1, 1)").m, 1 << 53);
}
