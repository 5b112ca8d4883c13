//! Tables and data sheets on the command line: what they say of the machine, what they lack, what is wrong
//! with them.

use crate::{Files, PLANS, evaluate, table};

const GEMM: &str = "op,dtype,m,k,n,batch,seconds\n";

/// A table with one product in each of `dtypes`, on nodes of 8.
fn products(dtypes: &[&str]) -> String {
    let rows: String = dtypes.iter().map(|dtype| format!("gemm,{dtype},4096,4096,4096,1,2e-4\n")).collect();
    format!("# [cluster]\n# gpus_per_node = 8\n{GEMM}{rows}")
}

#[test]
fn every_plan_is_priced_by_a_table_alone() {
    let files = Files::new();
    let table = files.add("table.csv", table("bf16"));
    let run = evaluate(&["--table", &table, "--format", "json"]);
    assert_eq!(run.err, "");
    let answers = run.json();
    assert_eq!(answers.as_array().unwrap().len(), PLANS.len());
    for answer in answers.as_array().unwrap() {
        let makespan = &answer["makespan"];
        let number = |key: &str| makespan[key].as_f64().unwrap();
        assert!(number("low") < number("seconds") && number("seconds") < number("high"), "{makespan}");
        assert_ne!(makespan["basis"], "modelled", "{}", answer["plan"]);
        assert_eq!(answer["dtype"], "bf16");
        assert!(answer["max_sequences"].is_u64(), "the header's memory is not used");
    }
}

#[test]
fn an_op_that_the_table_lacks_is_an_error_with_a_way_out() {
    let files = Files::new();
    let lacking = table("bf16")
        .lines()
        .filter(|line| !line.contains("softmax"))
        .fold(String::new(), |all, line| all + line + "\n");
    let lacking = files.add("lacking.csv", lacking);
    let error = evaluate(&["tp8-pp2", "--table", &lacking]).refusal();
    assert!(error.contains("has no softmax in bf16") && error.contains("attn_weights_l0_gpu0"), "{error}");
    assert!(error.contains("--fallback h200-model") && error.contains("calibrate"), "{error}");

    let filled =
        evaluate(&["tp8-pp2", "--table", &lacking, "--fallback", "h200-sxm", "--format", "json"]).json();
    assert_eq!(filled[0]["makespan"]["basis"], "modelled");
    for step in filled[0]["critical_path"].as_array().unwrap() {
        let id = step["id"].as_str().unwrap();
        assert_eq!(step["basis"] == "modelled", id.starts_with("attn_weights"), "{step}");
    }
    // fused attention needs no softmax
    evaluate(&["tp8-pp2", "--table", &lacking, "--attention", "fused"]).answer();
}

#[test]
fn plans_that_can_be_priced_are_shown_beside_those_that_cannot() {
    let files = Files::new();
    let dense = table("bf16")
        .lines()
        .filter(|line| !line.contains("gate_topk"))
        .fold(String::new(), |all, line| all + line + "\n");
    let run = evaluate(&["--table", &files.add("dense.csv", dense)]);
    assert_eq!(run.code, Some(1));
    assert!(run.out.contains("tp8-pp2") && !run.out.contains("ep16"), "{}", run.out);
    assert!(run.err.contains("ep16: ") && run.err.contains("has no gate_topk"), "{}", run.err);
}

#[test]
fn a_single_product_that_the_table_lacks_has_a_way_out_too() {
    let files = Files::new();
    let table = files.add("f32.csv", products(&["f32"]));
    let error = evaluate(&["time", "8", "9", "10", "--table", &table, "--dtype", "bf16"]).refusal();
    assert!(error.contains("has no gemm in bf16") && error.contains("evaluate time 8 9 10"), "{error}");
    let found =
        evaluate(&["time", "8", "9", "10", "--table", &table, "--fallback", "h200-sxm", "--dtype", "bf16"]);
    assert!(found.answer().contains("modelled"));
}

#[test]
fn the_element_type_is_bf16_or_the_only_one() {
    let files = Files::new();
    let ask = |dtypes: &[&str], more: &[&str]| {
        let table = files.add("dtypes.csv", products(dtypes));
        let mut args = vec!["tp8-pp2", "--table", &table, "--fallback", "h200-sxm"];
        args.extend(more);
        evaluate(&args)
    };
    let json = |dtypes: &[&str], more: &[&str]| {
        let answers = ask(dtypes, &[more, &["--format", "json"]].concat()).json();
        answers[0]["dtype"].as_str().unwrap().to_owned()
    };
    assert_eq!(json(&["f32"], &[]), "f32");
    assert!(ask(&["f32"], &[]).answer().contains(" · f32\n"));
    assert_eq!(json(&["f32", "bf16"], &[]), "bf16");
    assert_eq!(json(&["f32", "f16"], &["--dtype", "f16"]), "f16");
    let error = ask(&["f32", "f16"], &[]).refusal();
    assert!(error.contains("in f32, f16: choose one with --dtype"), "{error}");
    assert!(evaluate(&["--dtype", "bf17"]).usage().contains("known are f32"));
}

#[test]
fn nodes_are_as_large_as_the_header_says() {
    let files = Files::new();
    let sends = |gpus_per_node: &str| {
        let table = table("bf16").replace("gpus_per_node = 16", gpus_per_node);
        let table = files.add("nodes.csv", table);
        evaluate(&["tp8-pp2", "--table", &table, "--fallback", "h200-sxm"])
    };
    assert!(sends("gpus_per_node = 16").answer().contains("within a node"));
    assert!(sends("gpus_per_node = 8").answer().contains("between nodes"));
    let error = sends("gpus_per_node = 0").refusal();
    assert!(error.contains("line 5: ") && error.contains("gpus_per_node must be at least 1"), "{error}");
}

#[test]
fn several_tables_are_joined() {
    let files = Files::new();
    let products = files.add("products.csv", products(&["bf16"]).replace("4096", "5000"));
    let all = table("bf16");
    let rest = files.add("rest.csv", all.replace("gpus_per_node = 16", "gpus_per_node = 8"));
    evaluate(&["helix", "--table", &products, "--table", &rest, "--fallback", "h200-sxm"]).answer();
    let other = files.add("other.csv", format!("{GEMM}gemm,bf16,5000,5000,5000,1,3e-4\n"));
    let error = evaluate(&["helix", "--table", &products, "--table", &other]).refusal();
    assert!(error.contains("other.csv") && error.contains("products.csv"), "{error}");
}

#[test]
fn sources_that_contradict_each_other_are_a_usage_error() {
    evaluate(&["--table", "a.csv", "--roofline", "h200-sxm"]).usage();
    evaluate(&["--fallback", "h200-sxm"]).usage();
}

#[test]
fn tables_and_sheets_that_are_none_are_refused() {
    let files = Files::new();
    std::fs::create_dir(files.path("folder")).unwrap();
    let folder = files.path("folder").to_str().unwrap().to_owned();
    let whole = table("bf16");
    let tables = [
        (files.add("empty.csv", ""), "empty"),
        (files.add("bytes.csv", b"op,\xff\n"), "UTF-8"),
        (files.add("negative.csv", format!("{GEMM}gemm,bf16,1,1,1,1,-1e-5\n")), "line 2, column seconds"),
        (files.add("nan.csv", format!("{GEMM}gemm,bf16,1,1,1,1,NaN\n")), "line 2, column seconds"),
        (files.add("cut.csv", &whole[..whole.len() - 30]), "cut off"),
        (files.add("column.csv", "op,secnods\ngemm,1\n"), "did you mean \"seconds\"?"),
        (folder.clone(), "is it a file"),
        ("/nowhere/t.csv".to_owned(), "no such file"),
    ];
    for (table, message) in tables {
        let error = evaluate(&["tp8-pp2", "--table", &table]).refusal();
        assert!(error.contains(message) && error.contains(&table), "{table}: {error}");
    }
    let nan = crate::sheet("nan", "inf");
    let sheets = [
        (files.add("nan.toml", nan), "line 7: bf16 = NaN must be above 0"),
        (files.add("zero.toml", crate::sheet("1", "0")), "line 3: memory_bandwidth_bytes_per_s = 0"),
        (files.add("empty.toml", ""), "missing field `name`"),
        (files.add("bytes.toml", b"\xff"), "UTF-8"),
        (folder, "no data sheet"),
        ("h100".to_owned(), "built in (h200-sxm, a100-sxm-80gb, h200-model)"),
    ];
    for (sheet, message) in sheets {
        let error = evaluate(&["tp8-pp2", "--roofline", &sheet]).refusal();
        assert!(error.contains(message), "{sheet}: {error}");
    }
}
