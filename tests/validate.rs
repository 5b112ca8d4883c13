//! A plan's share run for real: every op of a layer, in order, and nothing made up.

#![cfg(feature = "cpu")]

use std::process::Command;

use serde_json::Value;

fn validate(args: &[&str]) -> (String, String, Option<i32>) {
    let run = Command::new(env!("CARGO_BIN_EXE_evaluate")).arg("validate").args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(run.stdout), text(run.stderr), run.status.code())
}

/// A few tokens are enough to see which ops run; how long they take is not for a test.
const SMALL: [&str; 4] = ["--scale", "1/1000000", "--rounds", "1"];

fn shares(plan: &str, more: &[&str]) -> Vec<Value> {
    let (text, error, code) = validate(&[&[plan, "--format", "json"], &SMALL[..], more].concat());
    assert_eq!(code, Some(0), "{error}");
    serde_json::from_str(&text).unwrap()
}

fn nodes(share: &Value) -> Vec<&str> {
    share["ops"].as_array().unwrap().iter().map(|op| op["node"].as_str().unwrap()).collect()
}

#[test]
fn the_ops_of_a_layer_run_in_their_order() {
    let found = shares("tp8-pp2", &[]);
    let layer = [
        "ln1",
        "qkv",
        "attn_scores",
        "attn_weights",
        "attn_output",
        "o_proj",
        "all_reduce_attn",
        "res1",
        "ln2",
        "mlp_up",
        "mlp_act",
        "mlp_down",
        "all_reduce_mlp",
        "res2",
    ];
    assert_eq!(nodes(&found[0]), layer);
    for op in found[0]["ops"].as_array().unwrap() {
        for time in ["predicted_seconds", "executed_seconds"] {
            assert!(op[time].as_f64().unwrap() > 0.0, "{op}");
        }
    }
    // the whole is the sum of its parts, run once
    let round = &found[0]["rounds"][0];
    let executed: f64 =
        found[0]["ops"].as_array().unwrap().iter().map(|op| op["executed_seconds"].as_f64().unwrap()).sum();
    let whole = round["executed"].as_f64().unwrap();
    assert!((executed / whole - 1.0).abs() < 0.5, "{executed} {whole}");
    assert_eq!(nodes(&shares("tp8-pp2", &["--layers", "2"])[0]), [layer, layer].concat());
}

#[test]
fn experts_and_separated_groups_run_too() {
    let experts = shares("ep16", &[]);
    // three products of Q, K and V, and one expert
    let found = nodes(&experts[0]);
    assert_eq!(found.iter().filter(|node| **node == "qkv").count(), 3);
    assert!(
        ["dispatch", "expert_up", "expert_down", "combine"].iter().all(|node| found.contains(node)),
        "{found:?}"
    );
    let separated = shares("ma-separation", &[]);
    assert_eq!(separated.len(), 2);
    assert!(nodes(&separated[0]).contains(&"attn_scores") && !nodes(&separated[0]).contains(&"gate"));
    assert!(nodes(&separated[1]).contains(&"gate") && !nodes(&separated[1]).contains(&"attn_scores"));
    assert_eq!(separated[0]["left_out"].as_array().unwrap().len(), 0);
    assert!(nodes(&shares("helix", &["--attention", "fused"])[0]).contains(&"attention"));
}

#[test]
fn what_cannot_be_run_or_priced_is_refused() {
    for scale in ["0", "2", "1/0", "-1", "x"] {
        let (_, error, code) = validate(&["tp8-pp2", &format!("--scale={scale}")]);
        assert_eq!(code, Some(2), "{error}");
    }
    let (_, error, code) = validate(&["no-such-plan"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no plan \"no-such-plan\""), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.csv");
    std::fs::write(&table, "op,dtype,m,k,n,batch,seconds\ngemm,f32,8,8,8,1,1e-6\n").unwrap();
    let (_, error, code) = validate(&[&["tp8-pp2", "--table", table.to_str().unwrap()], &SMALL[..]].concat());
    assert_eq!(code, Some(1));
    assert!(error.contains("leave --table out"), "{error}");
    // undivided it needs terabytes, and nothing is allocated
    let (_, error, code) = validate(&["tp8-pp2", "--scale", "1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("are available") && error.contains("smaller --scale"), "{error}");
}
