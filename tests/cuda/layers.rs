//! Layers run whole: what the double adds to ops that follow each other is found, explained, and learned.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::run::{Run, whole};

/// `evaluate` with the double in the loader's way.
fn evaluate(faults: &str, args: &[&str]) -> (String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    command.env("LD_LIBRARY_PATH", whole()).env("GETTIME_DOUBLE", faults).args(args);
    let run = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let errors = text(run.stderr);
    assert!(run.status.success(), "{errors}");
    (text(run.stdout), errors)
}

fn layers(faults: &str, args: &[&str]) -> Value {
    let always = ["validate", "--backend=cuda", "--scale=1/500", "--rounds=5", "--format=json"];
    serde_json::from_str(&evaluate(faults, &[&always, args].concat()).0).unwrap()
}

fn number(value: &Value, name: &str) -> f64 {
    value[name].as_f64().unwrap_or_else(|| panic!("no {name} in {value}"))
}

fn ops(layer: &Value) -> &[Value] {
    layer["ops"].as_array().unwrap()
}

/// By how much each op of a chain is to be longer than alone: not the first, nor one that follows its like.
fn factors(layer: &Value, chained: f64) -> Vec<f64> {
    let alone: Vec<f64> = ops(layer).iter().map(|op| number(op, "alone_seconds")).collect();
    let of = |i: usize| if i > 0 && (alone[i] / alone[i - 1] - 1.0).abs() > 1e-4 { chained } else { 1.0 };
    (0..alone.len()).map(of).collect()
}

fn near(got: f64, expected: f64) -> bool {
    (got - expected).abs() < 2e-4
}

#[test]
fn what_a_chain_adds_is_found_op_by_op_and_in_whole() {
    let plans = ["tp8-pp2", "layerwise", "ep16", "ma-separation"];
    for layer in layers("chained=4", &plans)["layers"].as_array().unwrap() {
        let (mut sum, mut chained) = (0.0, 0.0);
        for (op, factor) in ops(layer).iter().zip(factors(layer, 1.04)) {
            let alone = number(op, "alone_seconds");
            assert!(near(number(op, "off"), factor - 1.0), "{op}: {factor}");
            // behind a sweep nothing is left of the op before
            assert!(near(number(op, "cache"), factor - 1.0), "{op}: {factor}");
            (sum, chained) = (sum + alone, chained + alone * factor);
        }
        assert!(ops(layer).len() > 3 && near(number(layer, "off"), chained / sum - 1.0), "{layer}");
        let interval = layer["interval"].as_array().unwrap();
        assert!(interval.iter().all(|end| near(end.as_f64().unwrap(), number(layer, "off"))), "{layer}");
        assert_eq!((layer["clock"].as_str(), number(layer, "pace")), (Some("wall"), 0.0));
        // one GPU has nobody to talk to
        let is_exchange = |op: &Value| op["node"].as_str().unwrap().starts_with("all_reduce");
        assert!(!ops(layer).iter().any(is_exchange), "{layer}");
    }
}

#[test]
fn gaps_between_launches_are_told_from_the_ops() {
    let found = layers("launch_gap=3", &["tp8-pp2"]);
    let layer = &found["layers"][0];
    let sum: f64 = ops(layer).iter().map(|op| number(op, "alone_seconds")).sum();
    assert!(near(number(layer, "off"), 0.0), "{layer}");
    assert!(near(number(layer, "launches"), 3e-6 * ops(layer).len() as f64 / sum), "{layer}");
    let left_out = layer["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), 2, "{layer}"); // the all-reduces behind attention and MLP
}

/// The times of a layer's ops in the law of the double, of a table that knows just that law.
#[test]
fn a_table_learns_what_layers_add_and_evaluate_counts_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.csv");
    let path = table.to_str().unwrap();
    let run = Run::new(whole(), "learner", "", &["--for", "layerwise"]);
    fs::copy(&run.table, &table).unwrap();
    let rows = run.records().records.len();
    let before = layers("chained=4", &["layerwise"]);
    let found = layers("chained=4", &["layerwise", "--learn", path]);
    let layer = &found["layers"][0];
    assert_eq!(ops(layer).len(), ops(&before["layers"][0]).len());
    let (mut sum, mut chained) = (0.0, 0.0);
    for (op, factor) in ops(layer).iter().zip(factors(layer, 1.04)) {
        if op["op"].as_str().unwrap().starts_with("gemm") {
            let alone = number(op, "alone_seconds");
            (sum, chained) = (sum + alone, chained + alone * factor);
        }
    }
    let expected = chained / sum;
    assert!(expected > 1.01, "{expected}");
    let text = fs::read_to_string(&table).unwrap();
    let row = text.lines().find(|line| line.starts_with("chain,gemm,bf16,")).unwrap();
    assert!(row.contains("layers=1") && row.ends_with(",gettime-cuda"), "{row}");
    assert!(text.lines().filter(|line| !line.starts_with(['#', 'o'])).count() > rows, "{text}");
    // a formula is of layers, one Get_Time of itself
    let formula = folder.path().join("f.txt");
    fs::write(&formula, "T = Get_Time(4096, 8192, 3072)").unwrap();
    let asked = ["formula", formula.to_str().unwrap(), "--table", path];
    let (screen, _) = evaluate("", &asked);
    assert!(screen.contains("as in layers:") && screen.contains("gemm × 1.0"), "{screen}");
    let (answer, note) = evaluate("", &[&asked[..], &["--format=json"]].concat());
    assert!(note.contains("times of gemm in bf16 as in layers: × 1.0"), "{note}");
    let formula: Value = serde_json::from_str(&answer).unwrap();
    let (alone, _) = evaluate("", &["time", "4096", "8192", "3072", "--table", path, "--format=json"]);
    let alone: Value = serde_json::from_str(&alone).unwrap();
    let formula = &formula["formulas"][0];
    let ratio = number(formula, "seconds") / number(&alone, "seconds");
    assert!(near(ratio, expected), "{ratio} {expected}");
    assert_ne!(formula["calls"][0]["basis"], "measured");
    // nothing systematic any more: the row goes
    layers("", &["layerwise", "--learn", path]);
    assert!(!fs::read_to_string(&table).unwrap().contains("chain,"));
}

#[test]
fn another_device_teaches_a_table_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.csv");
    let other = "# format = \"gettime-table-1\"\n# [device]\n# name = \"Other\"\nop,dtype,m,k,n,seconds\n\
                 gemm,bf16,8,8,8,1e-6\n# [end]\n";
    fs::write(&table, other).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    command.env("LD_LIBRARY_PATH", whole()).args(["validate", "layerwise", "--learn"]).arg(&table);
    let run = command.output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{errors}");
    assert!(errors.contains("cannot learn from this machine") && errors.contains("Other"), "{errors}");
    assert_eq!(fs::read_to_string(&table).unwrap(), other);
}

#[test]
fn without_a_gpu_it_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    command.env("LD_LIBRARY_PATH", Path::new("/nowhere")).args(["validate", "layerwise", "--backend=cuda"]);
    let run = command.output().unwrap();
    let errors = String::from_utf8_lossy(&run.stderr);
    if errors.contains("libcuda") {
        assert_eq!(run.status.code(), Some(1), "{errors}");
        assert!(errors.contains("no layer can be run on a GPU here"), "{errors}");
    } else {
        eprintln!("skipped: this machine has a CUDA driver");
    }
}
