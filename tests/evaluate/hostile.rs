//! Plans and formulas that are broken, absurd or huge: an answer or a refusal, never a panic.

use crate::{Files, evaluate, evaluate_text};

const MOST: &str = "1048576";

/// A dense plan with these lines instead of its own.
fn plan(changes: &[(&str, &str)]) -> String {
    let small = [
        ("layers", "1"),
        ("hidden", "8"),
        ("heads", "1"),
        ("head_dim", "8"),
        ("batch", "1"),
        ("sequence", "8"),
        ("gated", "false"),
    ];
    let value = |name: &str, own| changes.iter().find(|(n, _)| *n == name).map_or(own, |(_, v)| *v);
    let model: String = small.iter().map(|(name, own)| format!("{name} = {}\n", value(name, own))).collect();
    let mlp = value("mlp", "ffn = 8");
    let (name, gpus, parallel) = (value("name", "small"), value("gpus", "1"), value("parallel", ""));
    format!("name = \"{name}\"\n[cluster]\ngpus = {gpus}\n[parallel]\n{parallel}\n[model]\n{model}{mlp}\n")
}

/// As large as a plan may be.
fn largest<'a>(changes: &[(&'a str, &'a str)]) -> String {
    let all = ["hidden", "heads", "head_dim", "batch", "sequence"].map(|name| (name, MOST));
    let changes: Vec<_> = changes.iter().copied().chain([("gated", "true")]).chain(all).collect();
    plan(&changes)
}

#[test]
fn the_largest_plan_has_a_finite_answer() {
    let files = Files::new();
    let file = files.add("largest.toml", largest(&[("mlp", "ffn = 1048576")]));
    for more in [vec![], vec!["--attention", "fused"], vec!["--dtype", "f32"], vec!["--format", "json"]] {
        let text = evaluate(&[vec![file.as_str(), "--roofline", "h200-sxm"], more].concat()).answer();
        assert!(text.contains(" EB too much") || text.contains("\"fits\": false"), "{text}");
    }
    let wide = largest(&[("mlp", "ffn = 1048576"), ("gpus", "1024"), ("parallel", "tensor = 1024")]);
    evaluate(&[&files.add("wide.toml", wide), "--roofline", "h200-sxm"]).answer();
}

#[test]
fn what_goes_to_experts_must_be_countable() {
    let files = Files::new();
    let moe = |top_k: &str| format!("[model.moe]\nexperts = 1024\ntop_k = {top_k}\nffn = 1048576");
    let file = files.add("moe.toml", largest(&[("mlp", &moe("8"))]));
    let error = evaluate(&[&file, "--roofline", "h200-sxm"]).refusal();
    assert!(error.contains("batch × sequence × top_k × hidden is beyond 2^62"), "{error}");
    assert!(error.contains("moe.toml: line 11: "), "{error}");
    // just within it, in every layout
    for (gpus, parallel) in [
        ("1", ""),
        ("32", "data = 32"),
        ("32", "tensor = 32\nsequence_parallel = true"),
        ("32", "data = 32\nexpert = 4"),
        ("32", "attention_gpus = 16\nmoe_gpus = 16"),
    ] {
        let (mlp, batch) = (moe("1024"), "512");
        let changes = [("mlp", mlp.as_str()), ("gpus", gpus), ("parallel", parallel), ("batch", batch)];
        let file = files.add("moe.toml", largest(&changes));
        for dtype in ["bf16", "f32"] {
            let json = ["--roofline", "h200-sxm", "--dtype", dtype, "--format", "json"];
            let answers = evaluate(&[&[file.as_str()][..], &json].concat()).json();
            assert_eq!(answers[0]["fits"], false, "{parallel}");
            let seconds = answers[0]["makespan"]["seconds"].as_f64().unwrap();
            // the four projections of attention alone are 8·2^89 FLOP, on at most 32 GPUs
            assert!(seconds > 8.0 * 2_f64.powi(89) / 32.0 / 989e12, "{parallel}: {seconds}");
        }
    }
}

#[test]
fn a_graph_beyond_all_memory_is_refused() {
    let files = Files::new();
    let file = files.add("deep.toml", largest(&[("mlp", "ffn = 1048576"), ("layers", "65534")]));
    let auto = ["--roofline", "h200-sxm", "--microbatches", "auto"];
    let error = evaluate(&[&[file.as_str()][..], &auto].concat()).refusal();
    assert!(error.contains("65534 layers × 1048576 micro-batches are more than 20,000,000 nodes"), "{error}");
    assert!(error.contains("fewer micro-batches or layers, or allow it: --max-nodes"), "{error}");
    let most = ["--max-nodes", "9999999999"];
    let error = evaluate(&[&[file.as_str()][..], &auto, &most].concat()).refusal();
    assert!(error.contains("more nodes than a graph can hold"), "{error}");
    assert!(error.contains("fewer micro-batches or layers"), "{error}");
    // 1586 nodes
    let least = ["tp8-pp2", "--roofline", "h200-sxm", "--max-nodes"];
    evaluate(&[&least[..], &["1586"]].concat()).answer();
    let error = evaluate(&[&least[..], &["1585"]].concat()).refusal();
    assert!(error.contains("16 GPUs × 16 layers × 1 micro-batches are more than 1,585 nodes"), "{error}");
    let names = plan(&[("mlp", "[model.moe]\nexperts = 1048576\ntop_k = 1\nffn = 8")]);
    let error = evaluate(&[&files.add("names.toml", names), "--roofline", "h200-sxm"]).refusal();
    assert!(error.contains("more names than a graph can hold"), "{error}");
    let separated = plan(&[
        ("mlp", "[model.moe]\nexperts = 1\ntop_k = 1\nffn = 8"),
        ("gpus", "2"),
        ("parallel", "attention_gpus = 1\nmoe_gpus = 1"),
        ("layers", "65534"),
        ("batch", MOST),
    ]);
    let file = files.add("separated.toml", separated);
    let error = evaluate(&[&file, "--roofline", "h200-sxm", "--microbatches", MOST]).refusal();
    assert!(error.contains("more than 20,000,000 nodes"), "{error}");
}

#[test]
fn numbers_beyond_their_bounds_are_refused_with_their_line() {
    let files = Files::new();
    let cases = [
        (plan(&[("layers", "65535")]), "line 7: layers = 65535 is beyond 65,534"),
        (plan(&[("batch", "1048577")]), "line 11: batch = 1048577 is beyond 1,048,576"),
        (plan(&[("batch", "0")]), "line 11: batch must be at least 1"),
        (plan(&[("batch", "-1")]), "line 11: "),
        (plan(&[("batch", "1e3")]), "line 11: "),
        (plan(&[("batch", "99999999999999999999")]), "line 11: "),
        (format!("microbatches = nan\n{}", plan(&[])), "line 1: microbatches is \"auto\" or a whole number"),
        (format!("microbatches = {}\n{}", u64::MAX, plan(&[])), "line 1: microbatches is \"auto\" or"),
        (plan(&[("gpus", "3")]), "line 3: tensor 1 × pipeline 1 × data 1 = 1 GPUs, but gpus = 3"),
        (plan(&[]) + "gpu = 3\n", "unknown field `gpu`"),
        (String::new(), "line 1: missing field `name`"),
        ("name".to_owned(), "line 1: "),
    ];
    for (text, message) in cases {
        let file = files.add("case.toml", &text);
        let error = evaluate(&[&file, "--roofline", "h200-sxm"]).refusal();
        assert!(error.contains(&format!("{file}: ")) && error.contains(message), "{message}: {error}");
    }
}

#[test]
fn plans_that_are_no_plans_are_refused() {
    let files = Files::new();
    let folder = files.path("folder.toml");
    std::fs::create_dir(&folder).unwrap();
    let cases = [
        (folder.to_str().unwrap().to_owned(), "cannot be read"),
        (files.add("bytes.toml", b"name = \"\xff\"\n"), "UTF-8"),
        ("/nowhere/my.toml".to_owned(), "cannot be read"),
        ("tp8".to_owned(), "built in are tp8-pp2, layerwise"),
    ];
    for (plan, message) in cases {
        let error = evaluate(&[&plan]).refusal();
        assert!(error.contains(message) && error.contains(&plan), "{error}");
    }
    // one of several that is wrong
    evaluate(&["tp8-pp2", "nonsense"]).refusal();
    let late = evaluate(&["--roofline", "h200-sxm", "time", "8", "8", "8"]).refusal();
    assert!(late.contains("the command time stands before all options"), "{late}");
}

#[test]
fn names_in_any_script_and_length_keep_the_screen() {
    let files = Files::new();
    let name = "план 计划 ∞ ".repeat(20);
    let text = plan(&[("name", &(name.clone() + r"\n\u001b[31m"))]);
    let file = files.add("имя 名前.toml", text);
    for args in [vec![file.as_str()], vec![file.as_str(), "helix"], vec![file.as_str(), file.as_str()]] {
        let screen = evaluate(&[args, vec!["--roofline", "h200-sxm"]].concat()).answer();
        assert!(screen.contains("план 计划"), "{screen}");
        for line in screen.lines() {
            assert!(line.chars().count() <= 100 && !line.contains('\u{1b}'), "{line}");
        }
    }
    let json = evaluate(&[&file, "--roofline", "h200-sxm", "--format", "json"]).json();
    assert_eq!(json[0]["plan"], name + "\n\u{1b}[31m");
}

#[test]
fn products_beyond_128_bits_are_refused() {
    let most = u64::MAX.to_string();
    let error = evaluate(&["time", &most, &most, &most, "--roofline", "h200-sxm"]).refusal();
    assert!(error.contains("no finite time"), "{error}");
    let files = Files::new();
    let row = format!("op,dtype,m,k,n,batch,seconds\ngemm,bf16,{most},{most},{most},{most},1.0\n");
    let table = files.add("huge.csv", row);
    let answer = evaluate(&["time", &most, &most, &most, "--batch", &most, "--table", &table]).answer();
    assert!(answer.contains("measured"), "{answer}");
    evaluate(&["time", "0", "8", "8"]).usage();
    evaluate(&["time", "8", "8"]).usage();
}

#[test]
fn a_formula_that_makes_no_sense_is_refused_with_a_caret() {
    for text in ["T = Get_Time(8, 8, 8) + 3", "T = Get_Time(8, 8, 8) × Get_Time(8, 8, 8)"] {
        let error = evaluate_text(&["formula", "-", "--roofline", "h200-sxm"], text).refusal();
        let caret = error.lines().find(|line| line.trim_start().starts_with('^'));
        assert!(caret.is_some(), "{error}");
    }
    let missing = evaluate(&["formula", "/nowhere/plan.txt"]).refusal();
    assert!(missing.contains("/nowhere/plan.txt cannot be read"), "{missing}");
}

#[test]
fn plans_as_editors_save_them() {
    let files = Files::new();
    let marked = format!("\u{feff}{}", plan(&[]).replace('\n', "\r\n"));
    evaluate(&[&files.add("marked.toml", marked), "--roofline", "h200-sxm"]).answer();
    for (value, message) in [("nan", "line 7: "), ("inf", "line 7: "), ("4294967296", "line 7: ")] {
        let file = files.add("layers.toml", plan(&[("layers", value)]));
        let error = evaluate(&[&file, "--roofline", "h200-sxm"]).refusal();
        assert!(error.contains(message), "{value}: {error}");
    }
    let zero =
        evaluate(&[&files.add("zero.toml", plan(&[("gpus", "0")])), "--roofline", "h200-sxm"]).refusal();
    assert!(zero.contains("line 3: gpus must be at least 1"), "{zero}");
    // brackets within brackets, deep
    let deep = format!("{}x = {}1{}\n", plan(&[]), "[".repeat(100_000), "]".repeat(100_000));
    assert!(
        evaluate(&[&files.add("deep.toml", deep), "--roofline", "h200-sxm"])
            .refusal()
            .contains("deep.toml: line")
    );
}

#[test]
fn files_too_long_to_be_written_by_hand_are_not_read_to_their_end() {
    let files = Files::new();
    let long = files.add("long.toml", " ".repeat((2 << 20) + 1));
    for args in [
        vec![long.as_str()],
        vec!["formula", &long],
        vec!["explain", "ep16", "--formula", &long],
        vec!["search", "--gpus", "8", "--model", &long],
        vec!["helix", "--roofline", &long],
    ] {
        let error = evaluate(&args).refusal();
        assert!(error.contains("longer than 2 MiB") && error.contains(&long), "{error}");
    }
    // without an end
    #[cfg(unix)]
    {
        assert!(evaluate(&["formula", "/dev/zero"]).refusal().contains("longer than 2 MiB"));
        let table = evaluate(&["time", "8", "8", "8", "--table", "/dev/zero"]).refusal();
        assert!(table.contains("/dev/zero: cannot be read: it is longer than 128 MiB"), "{table}");
        let graph = files.path("endless.dot");
        std::os::unix::fs::symlink("/dev/zero", &graph).unwrap();
        let error = evaluate(&["check", graph.to_str().unwrap()]).refusal();
        assert!(error.contains("endless.dot cannot be read: it is longer than 128 MiB"), "{error}");
    }
}

#[test]
fn files_as_other_programs_save_them() {
    let files = Files::new();
    let sheet = ["--roofline", "h200-sxm"];
    let marked = files.add("marked.txt", "\u{feff}T = 2 × Get_Time(8, 8, 8)\r\n");
    evaluate(&[&["formula", &marked][..], &sheet].concat()).answer();
    let graph = files.add("marked.dot", "\u{feff}digraph g {\n a [kind=gem]\n}");
    let error = evaluate(&["check", &graph]).refusal();
    assert!(error.contains("line 2: a: kind = \"gem\" is none of"), "{error}");
    let wide: Vec<u8> = "T = 1 ms".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let error = evaluate(&["formula", &files.add("wide.txt", [&[0xff, 0xfe], &wide[..]].concat())]).refusal();
    assert!(error.contains("wide.txt cannot be read: line 1 is not UTF-8 text; save"), "{error}");
}

/// Names are out of other people's files: they do not command the terminal, nor push the message off the screen.
#[test]
fn names_do_not_take_the_terminal_over() {
    let files = Files::new();
    let row = "op,dtype,m,k,n,batch,seconds\ngemm,bf16,8,8,8,1,1e-5\n";
    let table = files.add("named.csv", format!("# [device]\n# name = \"\\u001b[2Jx\"\n{row}"));
    let answer = evaluate(&["time", "8", "8", "8", "--table", &table]).answer();
    assert!(answer.contains("\\u{1b}[2Jx, measured"), "{answer}");
    let table = files.add("op.csv", row.replace("gemm", "\u{1b}[2Jgemm"));
    let error = evaluate(&["time", "8", "8", "8", "--table", &table]).refusal();
    assert!(error.contains("\"\\u{1b}[2Jgemm\" is not an op"), "{error}");
    let name = "a".repeat(100_000);
    let error = evaluate_text(&["formula", "-"], &name).refusal();
    assert!(error.contains("left open: aaa") && error.len() < 3_000, "{}", error.len());
}
