//! Errors: the message, the exact column, and what to do.

use gettime::cost::{Cost, CostError, Estimate};
use gettime::dtype::Dtype;
use gettime::formula::{FormulaErrorKind, evaluate};
use gettime::op::Op;

use crate::{all, error, missing};

#[test]
fn an_error_prints_its_place_its_line_and_a_remedy() {
    assert_eq!(
        error("16 × [Get_Time(8, 8, 8) + 3]", &[]),
        "formula, line 1, column 25: a time and a number cannot be added\n  \
         16 × [Get_Time(8, 8, 8) + 3]\n                          ^\n  \
         give the number a unit, as in 3 ms, or multiply the two"
    );
    assert_eq!(
        error("T = a + 1 s", &["a = 2 s ×\t3 s"]),
        "--set a, line 1, column 9: two times cannot be multiplied\n  \
         a = 2 s ×\t3 s\n          ^\n  \
         multiply a time by a number; was a + meant?"
    );
}

#[test]
fn errors_stand_under_what_is_wrong() {
    let cases = [
        // types
        ("3 - 1 s", 1, 3, "a time and a number cannot be subtracted"),
        ("max(1 s, 3)", 1, 10, "a time and a number cannot be compared"),
        ("1 s +\n(2 s × Get_Time(1, 1, 1))", 2, 6, "two times cannot be multiplied"),
        ("3 / 1 s", 1, 3, "a number cannot be divided by a time"),
        ("3 s / (2 - 2)", 1, 5, "divides by 0"),
        ("3 s / 0 s", 1, 5, "divides by 0"),
        ("1e200 × 1e200 s", 1, 7, "not finite"),
        ("1e999 s", 1, 1, "too large"),
        ("T = 3", 1, 1, "`T` is the number 3, not a time"),
        ("2 × 3.5", 1, 1, "the formula is the number 7, not a time"),
        ("T = 1 s - 2 s", 1, 1, "`T` is negative: -1 s"),
        ("T = -2 × 1 s", 1, 5, "`T` is negative: -2 s"),
        ("-2 s", 1, 1, "the formula is negative"),
        ("- 2 s", 1, 1, "list bullet"),
        ("* 2 s", 1, 1, "list bullet"),
        // brackets
        ("2 × [1 s + 3 s", 1, 5, "`[` is not closed"),
        ("2 × [1 s\n + 3 s)", 2, 7, "`[` of line 1, column 5, is closed by `)`"),
        ("1 s]", 1, 4, "`]` closes nothing"),
        ("max(3 s]", 1, 8, "`(` of line 1, column 4, is closed by `]`"),
        // operands and operators
        ("T =", 1, 3, "is missing here"),
        ("A = 1 s +\nB = 2 s", 1, 9, "is missing here"),
        ("3 × × 4 s", 1, 5, "is missing here"),
        ("()", 1, 2, "is missing here"),
        ("Get_Time(8, 8, )", 1, 16, "is missing here"),
        ("2 [1 s]", 1, 3, "an operator is missing"),
        ("2 3 s", 1, 3, "an operator is missing"),
        ("5 min(3, 4)", 1, 3, "an operator is missing"),
        ("a = b = 3 s", 1, 7, "only a single name"),
        ("1 s ** 2", 1, 5, "`**` is no operator"),
        ("2 ; 3", 1, 3, "`;` does not belong"),
        // commas
        ("[1 s, 2 s]", 1, 5, "a comma stands only"),
        ("1024,000 s", 1, 5, "a comma stands only"),
        ("10,24 s", 1, 3, "a comma stands only"),
        // prose
        ("1 s - parallel across 8 devices", 1, 7, "\"parallel across\" reads as prose"),
        ("1 s + (repeated for 2 full layers)", 1, 8, "\"repeated for\" reads as prose"),
        ("Get_Time(1, 1, 1) per head", 1, 19, "\"per head\" reads as prose"),
        ("12 layers × 1 s", 1, 4, "\"layers\" reads as prose"),
        ("3 s_total", 1, 3, "\"s_total\" reads as prose"),
        ("3 s total", 1, 3, "\"s total\" reads as prose"),
        ("0x10 × 1 s", 1, 2, "\"x10\" reads as prose"),
        ("Q proj (8 GPUs) × 1 s", 1, 1, "\"Q proj\" reads as prose"),
        ("2 × ceil(3.5) × 1 s", 1, 5, "`ceil` is not a function"),
        // calls
        ("1 s + Get_Time(8, 8)", 1, 7, "Get_Time takes 3 arguments (m, k, n), not 2"),
        ("GetTime(10,240,000, 8, 8)", 1, 1, "Get_Time takes 3 arguments (m, k, n), not 5"),
        ("Get_Time_batched(1, 2, 3)", 1, 1, "Get_Time_batched takes 4 arguments (b, m, k, n), not 3"),
        ("max()", 1, 1, "max takes at least 1 argument, not 0"),
        ("Get_Time(8, 1024×10000/3, 8)", 1, 13, "k = 1024×10000/3 = 3413333.33 is not a whole number"),
        ("Get_Time(8, 8, 0.5)", 1, 16, "n = 0.5 is not a whole number"),
        ("Get_Time(3 -\n 3, 8, 8)", 1, 10, "m = 3 - 3 = 0 is not at least 1"),
        ("Get_Time(-3, 8, 8)", 1, 10, "m = -3 is not at least 1"),
        ("Get_Time(8, 8, 1e300)", 1, 16, "n = 1e300 is not at most 2^53"),
        ("Get_Time_batched(2 s, 8, 8, 8)", 1, 18, "b = 2 s is a time, not a number"),
        // nothing
        ("", 1, 1, "there is no formula here"),
        (" \n// only a comment\n\n```\n```", 1, 1, "there is no formula here"),
    ];
    for (text, line, column, message) in cases {
        let error = all(text, &[]).expect_err(text);
        let shown = error.to_string();
        assert_eq!((error.line(), error.column()), (line, column), "{shown}");
        assert!(shown.contains(message), "{shown}");
        assert_eq!(error.source_name(), "formula");
        if !text.trim().is_empty() && !matches!(error.kind(), FormulaErrorKind::Empty) {
            let lines: Vec<&str> = shown.lines().collect();
            assert_eq!(lines[1], format!("  {}", text.lines().nth(line - 1).unwrap()));
            assert_eq!(lines[2].find('^'), Some(column + 1), "{shown}");
            assert!(lines[3].len() > 5, "{shown}");
        }
    }
}

#[test]
fn remedies_name_the_likely_cause() {
    assert!(
        error("T = -2 × 1 s", &[]).ends_with("is the minus at its start a list bullet? then take it out")
    );
    assert!(error("Get_Time(10,240,000, 8, 8)", &[]).ends_with("(10,240,000)"));
    assert!(error("[1 s", &[]).ends_with("close it with `]`"));
}

struct Nothing;

impl Cost for Nothing {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        missing(op)
    }
}

#[test]
fn a_call_without_a_cost_is_named_with_its_place() {
    let error = evaluate("T = 1 s +\n  2×Get_Time( 2×4, 8, 8)", &[], Dtype::Bf16, &Nothing).unwrap_err();
    assert_eq!((error.line(), error.column()), (2, 5));
    let shown = error.to_string();
    assert!(
        shown.contains("Get_Time( 2×4, 8, 8): the law has no gemm, which gemm bf16 8×8×8 needs"),
        "{shown}"
    );
    assert!(matches!(error.kind(), FormulaErrorKind::Cost { error: CostError::Missing { .. }, .. }));
}

#[test]
fn brackets_nest_to_a_limit() {
    let nested = |depth: usize| format!("{}1 s{}", "(".repeat(depth), ")".repeat(depth));
    assert_eq!(crate::seconds(&nested(100)), 1.0);
    for text in [nested(101), "(".repeat(500), "[".repeat(100_000), "max(".repeat(100_000)] {
        let shown = error(&text, &[]);
        assert!(shown.contains("brackets are nested deeper than 100"), "{shown}");
        assert!(shown.len() < 1000, "a long line is cut: {shown}");
    }
    // The most that each level can hold: a sum of a product of a sign of a call.
    let level = "max(0 + 2 × -";
    let text = format!("{}{}1 s{}", level.repeat(100), "-".repeat(100_000), ")".repeat(100));
    assert!(all(&text, &[]).is_ok());
}

#[test]
fn long_chains_need_no_stack() {
    let sum = vec!["1 s"; 100_000].join(" + ");
    assert_eq!(crate::seconds(&sum), 100_000.0);
    let product = format!("1 s{}", " × 1".repeat(100_000));
    assert_eq!(crate::seconds(&product), 1.0);
}

#[test]
fn the_caret_counts_characters_and_keeps_tabs() {
    let shown = error("\tÄ × × 2", &[]);
    assert!(shown.contains("column 6") && shown.contains("\n  \tÄ × × 2\n  \t    ^\n"), "{shown}");
    let long = format!("{} ; {}", "1 s + ".repeat(100), "1 s + ".repeat(100));
    let shown = error(&long, &[]);
    let lines: Vec<Vec<char>> = shown.lines().map(|line| line.chars().collect()).collect();
    let caret = lines[2].iter().position(|&c| c == '^').unwrap();
    assert_eq!(lines[1][caret], ';', "{shown}");
}
