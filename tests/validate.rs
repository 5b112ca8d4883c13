//! A plan's share run for real: every op of a layer, in order, and nothing made up.

#![cfg(feature = "cpu")]

use std::process::Command;

use serde_json::Value;

fn validate(args: &[&str]) -> (String, String, Option<i32>) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    let run = command.args(["validate", "--backend=cpu"]).args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(run.stdout), text(run.stderr), run.status.code())
}

/// A few tokens are enough to see which ops run; how long they take is not for a test.
const SMALL: [&str; 4] = ["--scale", "1/1000000", "--rounds", "1"];

fn shares(plan: &str, more: &[&str]) -> Vec<Value> {
    let (text, error, code) = validate(&[&[plan, "--format", "json"], &SMALL[..], more].concat());
    assert_eq!(code, Some(0), "{error}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    answer["layers"].as_array().unwrap().clone()
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
        for time in ["alone_seconds", "executed_seconds"] {
            assert!(op[time].as_f64().unwrap() > 0.0, "{op}");
        }
    }
    // the whole holds its parts, and what is between them
    let executed: f64 =
        found[0]["ops"].as_array().unwrap().iter().map(|op| op["executed_seconds"].as_f64().unwrap()).sum();
    let whole = found[0]["whole"]["executed_seconds"].as_f64().unwrap();
    assert!(executed > 0.0 && executed <= whole * (1.0 + 1e-9), "{executed} {whole}");
    let ratios = found[0]["ratios"].as_array().unwrap();
    assert_eq!(ratios.len(), 1);
    assert_eq!(Some(found[0]["off"].as_f64().unwrap() + 1.0), ratios[0].as_f64());
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
    let (_, error, code) = validate(&["layerwise", "no-such-plan"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("no plan \"no-such-plan\""), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.csv");
    std::fs::write(&table, "op,dtype,m,k,n,batch,seconds\ngemm,f32,8,8,8,1,1e-6\n").unwrap();
    let (_, error, code) = validate(&[&["tp8-pp2", "--table", table.to_str().unwrap()], &SMALL[..]].concat());
    assert_eq!(code, Some(1));
    assert!(error.contains("tp8-pp2: ") && error.contains("leave --table out"), "{error}");
    // undivided it needs terabytes, and nothing is allocated
    let (_, error, code) = validate(&["tp8-pp2", "--scale", "1"]);
    assert_eq!(code, Some(1));
    assert!(error.contains("are available") && error.contains("smaller --scale"), "{error}");
}

#[test]
fn several_plans_are_shown_at_a_glance_and_fit_on_a_screen() {
    let (text, error, code) = validate(&[&["tp8-pp2", "ep16"], &SMALL[..]].concat());
    assert_eq!(code, Some(0), "{error}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    let glance: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("plan ")).collect();
    assert_eq!(glance.len(), 3, "{text}");
    assert!(glance[1].starts_with("tp8-pp2 ") && glance[2].starts_with("ep16 "), "{text}");
}

/// What a table says of the ops stands beside what they take here and now.
#[test]
fn a_table_is_judged() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("t.csv");
    let mut rows = "op,kind,dtype,m,k,n,batch,rows,cols,bytes,ranks,nodes,seconds\n".to_owned();
    rows += "gemm,,f32,64,64,64,1,,,,,,1e-3\n";
    for kind in ["layernorm", "softmax", "activation", "residual"] {
        rows += &format!("kernel,{kind},f32,,,,,64,64,,,,1e-3\n");
    }
    rows += "collective,all_reduce,f32,,,,,,,1024,8,1,1e-3\n";
    std::fs::write(&table, rows).unwrap();
    let judged = shares("tp8-pp2", &["--table", table.to_str().unwrap()]);
    let seconds = |name: &str| judged[0][name].as_f64().unwrap();
    let whole = judged[0]["whole"]["executed_seconds"].as_f64().unwrap();
    assert!(seconds("table_seconds") > 0.0);
    assert!((seconds("error") - (whole / seconds("table_seconds") - 1.0)).abs() < 1e-9, "{}", judged[0]);
}
