//! `evaluate search` from outside.

use crate::{Files, close, evaluate, table};

const MODEL: [&str; 6] = ["search", "--model", "tp8-pp2", "--gpus", "16", "--attention"];

#[test]
fn a_search_is_a_screen_and_every_row_a_plan() {
    let files = Files::new();
    let table = files.add("table.csv", table("bf16"));
    for source in [["--roofline", "h200-sxm"], ["--table", &table]] {
        let args = [&MODEL[..], &["fused"], &source].concat();
        let screen = evaluate(&args).answer();
        assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
        assert!(screen.lines().count() < 40, "{screen}");
        let answer = evaluate(&[&args[..], &["--format", "json"]].concat()).json();
        let found = answer["found"].as_array().unwrap();
        assert!(screen.contains(&format!("{} fit in memory", found.len())), "{screen}");
        for row in [1, 2, found.len()] {
            let (best, number) = (files.path("best.toml"), row.to_string());
            let best = best.to_str().unwrap();
            evaluate(&[&args[..], &["--write", best, "--row", &number]].concat()).answer();
            let plan = evaluate(&[&[best][..], &source, &["--format", "json"]].concat()).json();
            let f = &found[row - 1];
            for key in ["seconds", "low", "high"] {
                let [a, b] = [&plan[0]["makespan"][key], &f[key]].map(|x| x.as_f64().unwrap());
                assert!((a / b - 1.0).abs() < 1e-9, "row {row}, {key}: {a} {b}");
            }
            assert_eq!(plan[0]["microbatches"], f["microbatches"]);
        }
        let beyond = (found.len() + 1).to_string();
        let args = [&args[..], &["--write", "x.toml", "--row", &beyond]].concat();
        assert!(evaluate(&args).refusal().contains("there is no row"));
    }
}

#[test]
fn the_fastest_is_no_slower_than_the_built_in_plans() {
    let answer =
        evaluate(&[&MODEL[..], &["unfused", "--roofline", "h200-sxm", "--format", "json"]].concat()).json();
    let plans = evaluate(&[
        "tp8-pp2",
        "layerwise",
        "--microbatches",
        "auto",
        "--roofline",
        "h200-sxm",
        "--format",
        "json",
    ]);
    let best = answer["found"][0]["seconds"].as_f64().unwrap();
    let plans = plans.json();
    for plan in plans.as_array().unwrap() {
        assert!(best <= plan["makespan"]["seconds"].as_f64().unwrap() * (1.0 + 1e-9), "{plan}");
    }
    // tp8-pp2 itself is among them, in the pieces that its memory takes
    let itself = answer["found"].as_array().unwrap().iter().find(|f| {
        let is = |key: &str, value: u64| f[key].as_u64() == Some(value);
        let plain = f["sequence_parallel"] == false && f["schedule"] == "1f1b";
        plain && is("tensor", 8) && is("pipeline", 2) && is("data", 1) && is("microbatches", 8)
    });
    close(
        itself.unwrap()["seconds"].as_f64().unwrap(),
        plans[0]["makespan"]["seconds"].as_f64().unwrap(),
        "tp8-pp2",
    );
}

#[test]
fn searches_that_cannot_be_are_refused() {
    let error = evaluate(&["search", "--model", "nothing", "--gpus", "8"]).refusal();
    assert!(error.contains("no model \"nothing\"") && error.contains("llama-3.1-405b"), "{error}");
    assert!(evaluate(&["search", "--model", "tp8-pp2"]).usage().contains("--gpus"));
    let none =
        evaluate(&["search", "--model", "deepseek-v3", "--gpus", "8", "--roofline", "h200-sxm"]).answer();
    assert!(none.contains("none fits: the smallest needs"), "{none}");
}
