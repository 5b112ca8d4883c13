//! Names: what joins to one, who defines it, and what is left open.

use gettime::formula::Setting;

use crate::{all, error};

fn named(text: &str, set: &[&str]) -> Vec<(Option<String>, f64)> {
    let values = all(text, set).unwrap_or_else(|error| panic!("{error}"));
    values.into_iter().map(|value| (value.name, value.seconds.get())).collect()
}

fn named_as(name: &str, seconds: f64) -> (Option<String>, f64) {
    (Some(name.to_owned()), seconds)
}

#[test]
fn formulas_refer_to_each_other_in_any_order() {
    let text =
        "Total = 2 × Stage time + overhead\nStage  time: Get_Time(tokens, 8, 8)\ntokens = 4×2\noverhead = 0";
    assert_eq!(named(text, &[]), [named_as("Total", 16.0), named_as("Stage time", 8.0)]);
}

#[test]
fn blanks_join_words_and_operators_part_them() {
    let set = ["Communication overhead = 3 s"];
    for text in [
        "2 × Communication overhead",
        "2 x Communication \t\u{a0}overhead",
        "Communication overhead x 2",
        "min(7 s, Communication overhead) × 2",
        "Communication overhead × max(2, 1)",
    ] {
        assert_eq!(named(text, &set), [(None, 6.0)], "{text}");
    }
    assert_eq!(named("Größe_1 + s_total", &["Größe_1=1 s", "s_total=2 s"]), [(None, 3.0)]);
    assert_eq!(named("s + min + max", &["s=1 s", "min=2 s", "max=3 s"]), [(None, 6.0)]);
}

#[test]
fn settings_may_use_the_text_and_each_other() {
    let set = ["c = d / 2", "d=2 × T", "f = 10,240,000"];
    assert_eq!(
        named("T = 3 s\nU = c + T + Get_Time(f, 1, 1)", &set).last(),
        Some(&named_as("U", 10_240_006.0))
    );
}

#[test]
fn settings_are_split_at_the_first_equals_sign() {
    let setting = Setting::parse(" Communication   overhead =12ms").unwrap();
    assert_eq!((setting.name(), setting.expression()), ("Communication overhead", "12ms"));
    for text in ["", "=", "a", "a b", "=3", "3=4", "a+b=4", "a(b)=3", "max(=3", "\n"] {
        let error = Setting::parse(text).unwrap_err().to_string();
        assert!(error.contains("is not a setting") && error.contains("--set NAME=VALUE"), "{error}");
    }
}

#[test]
fn open_names_are_listed_all_at_once() {
    let text = "T = 2 × Communication overhead +\n    a + b + a";
    let expected = "formula, line 1, column 9: left open: Communication overhead, a, c\n  \
        T = 2 × Communication overhead +\n          ^^^^^^^^^^^^^^^^^^^^^^\n  \
        set each to a number, a time such as 12ms or a formula (0 is both); words that are no name belong behind //\n  \
        --set 'Communication overhead=…' --set 'a=…' --set 'c=…'";
    assert_eq!(error(text, &["b=c"]), expected);
}

#[test]
fn settings_for_unknown_names_offer_the_nearest() {
    let text = "Communication overhead + other + 1 s";
    assert_eq!(
        error(text, &["Comunication_overhead=0"]),
        "--set Comunication_overhead, line 1, column 1: `Comunication_overhead` occurs nowhere in the formula\n  \
         Comunication_overhead=0\n  ^^^^^^^^^^^^^^^^^^^^^\n  \
         did you mean `Communication overhead`?"
    );
    assert!(error(text, &["zzz=0"]).contains("did you mean `Communication overhead` or `other`?"));
    assert!(error("1 s", &["zzz=0"]).contains("no name is open"));
}

#[test]
fn names_have_one_meaning() {
    let twice = error("A = 1 s\nB = 2 s\n**A**: 3 s", &[]);
    assert!(twice.starts_with("formula, line 3, column 3: `A` is already defined in line 1\n"), "{twice}");
    let set = error("\nA = 1 s", &["A=2 s"]);
    assert!(
        set.starts_with("--set A, line 1, column 1: `A` is already defined in line 2 of the formula"),
        "{set}"
    );
    assert!(error("A + 1 s", &["A=1 s", "A = 2 s"]).contains("`A` is set twice"));
}

#[test]
fn names_that_need_themselves_are_named_in_a_circle() {
    assert!(error("A = A + 1 s", &[]).contains("column 5: `A` needs itself: A → A\n"));
    let text = "T = 1 s + B\nB = 2 × C\nC = max(D, 1 s)";
    let circle = error(text, &["D=B"]);
    assert!(circle.starts_with("--set D, line 1, column 3: `B` needs itself: B → C → D → B\n"), "{circle}");
}

#[test]
fn a_long_chain_of_names_needs_no_stack() {
    let mut text: String = (0..20_000).map(|i| format!("a{i} = a{} + 1 s\n", i + 1)).collect();
    text.push_str("a20000 = 1 s");
    assert_eq!(named(&text, &[]).first(), Some(&named_as("a0", 20_001.0)));
}

#[test]
fn numbers_are_kept_only_where_something_uses_them() {
    assert_eq!(named("t = 1024×10\nT = Get_Time(t, 1, 1)", &[]), [named_as("T", 10_240.0)]);
    assert_eq!(named("Overhead = 0", &[]), [named_as("Overhead", 0.0)]);
    for text in ["tokens = 3\nT = 2 s", "a = 3\nb = a × 2"] {
        assert!(error(text, &[]).contains(", not a time"), "{text}");
    }
}
