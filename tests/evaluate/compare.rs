//! `evaluate compare` from outside.

use crate::{Files, PLANS, evaluate, table};

#[test]
fn every_pair_is_a_screen_and_an_answer_for_programs() {
    let files = Files::new();
    let table = files.add("table.csv", table("bf16"));
    for (i, first) in PLANS.iter().enumerate() {
        // each with itself, its neighbour and one further on
        for second in [first, &PLANS[(i + 1) % 7], &PLANS[(i + 3) % 7]] {
            for source in [["--roofline", "h200-sxm"], ["--table", &table]] {
                let args = [&["compare", first, second, "--microbatches", "4"][..], &source].concat();
                let screen = evaluate(&args).answer();
                assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
                assert!(screen.lines().count() < 40, "{screen}");
                let answer = evaluate(&[&args[..], &["--format", "json"]].concat()).json();
                let whole = answer["difference_seconds"].as_f64().unwrap();
                for account in ["per_gpu", "critical_path"] {
                    let terms = answer[account].as_array().unwrap();
                    let sum: f64 = terms.iter().map(|t| t["difference_seconds"].as_f64().unwrap()).sum();
                    assert_eq!(sum, whole, "{first} {second} {account}");
                }
            }
        }
    }
}

#[test]
fn the_screen_says_which_is_faster_and_how_sure_that_is() {
    let modelled = evaluate(&["compare", "layerwise", "tp8-pp2", "--roofline", "h200-sxm"]).answer();
    let modelled = modelled.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(modelled.contains("tp8-pp2 is faster by"), "{modelled}");
    assert!(modelled.contains("nothing was measured"), "{modelled}");
    let files = Files::new();
    let table = files.add("table.csv", table("bf16"));
    let same = evaluate(&["compare", "tp8-pp2", "tp8-pp2", "--table", &table]).answer();
    assert!(same.contains("cannot be told apart") || same.contains("take the same time"), "{same}");
    let apart = evaluate(&["compare", "tp8-pp2", "layerwise", "--table", &table]).answer();
    let apart = apart.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(apart.contains("in 32 of 32 scenarios"), "{apart}");
    let other = evaluate(&["compare", "tp8-pp2", "ep16", "--table", &table]).answer();
    assert!(other.contains("they compute different things"), "{other}");
}

#[test]
fn slack_of_every_op_is_in_the_detailed_answer() {
    let answer = evaluate(&["helix", "--roofline", "h200-sxm", "--detail", "--format", "json"]).json();
    let ops = answer[0]["ops"].as_array().unwrap();
    assert_eq!(ops.len() as u64, answer[0]["nodes"].as_u64().unwrap());
    let makespan = answer[0]["makespan"]["seconds"].as_f64().unwrap();
    for op in ops {
        let number = |key: &str| op[key].as_f64().unwrap();
        assert!(
            number("start") <= number("end") && number("end") + number("slack") <= makespan * (1.0 + 1e-12)
        );
    }
    let levers = answer[0]["levers"].as_array().unwrap();
    let on_path: f64 = levers.iter().map(|l| l["critical_path_seconds"].as_f64().unwrap()).sum();
    assert!((on_path / makespan - 1.0).abs() < 1e-12);
    let text = evaluate(&["helix", "--roofline", "h200-sxm", "--detail"]).answer();
    assert!(text.contains("without any"), "{text}");
}

#[test]
fn a_comparison_needs_two_plans_that_exist() {
    assert!(evaluate(&["compare", "tp8-pp2"]).usage().contains("<SECOND>"));
    let error = evaluate(&["compare", "tp8-pp2", "nothing", "--roofline", "h200-sxm"]).refusal();
    assert!(error.contains("no plan \"nothing\""), "{error}");
}
