//! Plans under data sheets, as JSON, against the golden plans.

use serde_json::Value;

use crate::{Files, PLANS, close, data, evaluate, sheet};

/// Golden name, nodes and edges of each built-in plan.
const GOLDEN: [(&str, u64, u64); 7] = [
    ("000-baseline", 1586, 2200),
    ("000-layerwise", 224, 271),
    ("001-baseline", 410, 568),
    ("001-ma-separation", 678, 1045),
    ("002-helix", 214, 296),
    ("003-ep16", 1034, 1488),
    ("003-baseline-moe", 642, 984),
];

fn golden(name: &str) -> Value {
    let plans = data("plans.json");
    plans["plans"].as_array().unwrap().iter().find(|plan| plan["plan"] == name).unwrap().clone()
}

/// The answers under law A, a FLOP a second and everything else free, in the order of [`PLANS`].
fn under_law_a(more: &[&str]) -> Vec<Value> {
    let files = Files::new();
    let law = files.add("a.toml", sheet("1", "inf"));
    let mut args = vec!["--roofline", &law, "--format", "json"];
    args.extend(more);
    let answers = evaluate(&args).json();
    let answers = answers.as_array().unwrap().clone();
    assert_eq!(answers.len(), PLANS.len());
    answers
}

#[test]
fn paths_graphs_and_flops_are_the_golden_ones() {
    for ((answer, plan), (golden_name, nodes, edges)) in under_law_a(&[]).iter().zip(PLANS).zip(GOLDEN) {
        let golden = golden(golden_name);
        assert_eq!(answer["plan"], plan);
        assert_eq!(
            (answer["nodes"].as_u64(), answer["edges"].as_u64()),
            (Some(nodes), Some(edges)),
            "{plan}"
        );
        let makespan = answer["makespan"]["seconds"].as_f64().unwrap();
        close(makespan, golden["path"]["flops"].as_f64().unwrap(), plan);
        let flops: u64 = answer["gpus"].as_array().unwrap().iter().map(|gpu| exact(&gpu["gemm_flops"])).sum();
        assert_eq!(flops, exact(&golden["total_forward_flops"]), "{plan}");
        close(
            answer["utilisation"].as_f64().unwrap(),
            golden["path"]["utilisation_of_16_gpus"].as_f64().unwrap(),
            plan,
        );
    }
}

/// An integer that was not written as a decimal fraction.
#[track_caller]
fn exact(number: &Value) -> u64 {
    number.as_u64().unwrap_or_else(|| panic!("{number} is no exact integer"))
}

#[test]
fn sequences_in_memory_are_the_golden_ones() {
    for mode in ["fused", "unfused"] {
        for (answer, (golden_name, ..)) in under_law_a(&["--attention", mode]).iter().zip(GOLDEN) {
            let expected = &golden(golden_name)["max_sequences_in_141e9"][mode];
            assert_eq!(&answer["max_sequences"], expected, "{golden_name} {mode}");
        }
    }
}

#[test]
fn as_many_micro_batches_as_memory_asks_for() {
    for (answer, (golden_name, ..)) in under_law_a(&["--microbatches", "auto"]).iter().zip(GOLDEN) {
        let at_once = exact(&golden(golden_name)["max_sequences_in_141e9"]["unfused"]);
        let expected = 1024_u64.div_ceil(at_once);
        assert_eq!(exact(&answer["microbatches"]), expected, "{golden_name}");
        assert_eq!(answer["fits"], true, "{golden_name}");
    }
    for answer in under_law_a(&["--microbatches", "1"]) {
        assert_eq!(answer["fits"], 1024 <= exact(&answer["max_sequences"]), "{}", answer["plan"]);
    }
}

#[test]
fn stages_follow_the_closed_form() {
    // (M + p − 1)/M of one stage's time for the full batch
    for (name, stages) in [("tp8-pp2", 2.0), ("layerwise", 16.0), ("moe-tp8-pp2", 2.0)] {
        let index = PLANS.iter().position(|plan| *plan == name).unwrap();
        let stage = golden(GOLDEN[index].0)["path"]["flops"].as_f64().unwrap() / stages;
        let answer = &under_law_a(&["--microbatches", "8"])[index];
        close(answer["makespan"]["seconds"].as_f64().unwrap(), (8.0 + stages - 1.0) / 8.0 * stage, name);
        assert_eq!(exact(&answer["nodes"]), 8 * GOLDEN[index].1);
    }
}

#[test]
fn the_json_has_its_keys_and_its_path_adds_up() {
    let answers = evaluate(&["--roofline", "h200-sxm", "--format", "json"]).json();
    for answer in answers.as_array().unwrap() {
        let plan = &answer["plan"];
        has(answer, &["plan", "microbatches", "nodes", "edges", "makespan", "critical_path", "gpus"]);
        has(answer, &["utilisation", "fits", "max_sequences"]);
        has(&answer["makespan"], &["seconds", "low", "high", "basis"]);
        let mut sum = 0.0;
        for step in answer["critical_path"].as_array().unwrap() {
            has(step, &["id", "kind", "seconds", "basis"]);
            sum += step["seconds"].as_f64().unwrap();
        }
        let makespan = answer["makespan"]["seconds"].as_f64().unwrap();
        assert!((sum / makespan - 1.0).abs() < 1e-9, "{plan}: {sum} is not {makespan}");
        for (number, gpu) in answer["gpus"].as_array().unwrap().iter().enumerate() {
            has(gpu, &["gpu", "busy_seconds", "gemm_flops", "weight_bytes", "peak_bytes"]);
            assert_eq!(exact(&gpu["gpu"]), number as u64);
            assert!(exact(&gpu["peak_bytes"]) > exact(&gpu["weight_bytes"]), "{plan}");
            assert!(gpu["busy_seconds"].as_f64().unwrap() <= makespan * (1.0 + 1e-9), "{plan}");
        }
        assert_eq!(answer["gpus"].as_array().unwrap().len(), 16);
        let ends = [answer["critical_path"][0]["id"].as_str(), last_id(answer)];
        assert_eq!(ends, [Some("input"), Some("output")], "{plan}");
    }
}

fn last_id(answer: &Value) -> Option<&str> {
    answer["critical_path"].as_array().unwrap().last()?["id"].as_str()
}

#[track_caller]
fn has(object: &Value, keys: &[&str]) {
    for key in keys {
        assert!(object.get(key).is_some(), "no \"{key}\" in {object}");
    }
}

#[test]
fn micro_batches_are_refused_where_they_make_no_sense() {
    for wrong in ["0", "-1", "nonsense", "1.5", "", "99999999999999999999999"] {
        let error = evaluate(&["tp8-pp2", &format!("--microbatches={wrong}")]).usage();
        assert!(error.contains("auto"), "{wrong}: {error}");
    }
    let error = evaluate(&["tp8-pp2", "--microbatches", "1025"]).refusal();
    assert!(error.contains("1025 micro-batches are more than the 1024 sequences"), "{error}");
    // beyond 32 bits
    let error = evaluate(&["tp8-pp2", "--microbatches", "4294967297"]).refusal();
    assert!(error.contains("4294967297 micro-batches"), "{error}");
}
