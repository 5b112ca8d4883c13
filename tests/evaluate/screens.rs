//! What people see: nothing wider than 100 columns, nothing longer than a screen, answers apart from remarks.

use std::process::Stdio;

use crate::{Files, PLANS, evaluate, evaluate_text, program, table};

#[track_caller]
fn narrow(text: &str) {
    for line in text.lines() {
        let columns = line.chars().count();
        assert!(columns <= 100, "{columns} columns: {line}");
    }
}

#[test]
fn no_screen_is_wider_than_100_columns_or_longer_than_40_lines() {
    let files = Files::new();
    let table = files.add("table.csv", table("bf16"));
    for source in [["--roofline", "h200-sxm"], ["--table", &table]] {
        for attention in ["fused", "unfused"] {
            for pieces in ["1", "auto", "64"] {
                let mut args = vec!["--attention", attention, "--microbatches", pieces];
                args.extend(source);
                let all = evaluate(&args).answer();
                narrow(&all);
                assert!(all.lines().count() < 40, "{all}");
                for plan in PLANS {
                    let mut args = args.clone();
                    args.insert(0, plan);
                    let one = evaluate(&args).answer();
                    narrow(&one);
                    assert!(one.lines().count() < 40, "{plan}: {} lines\n{one}", one.lines().count());
                    assert!(one.starts_with(plan), "{one}");
                    args.push("--detail");
                    narrow(&evaluate(&args).answer());
                }
            }
        }
    }
}

#[test]
fn formulas_and_single_products_are_narrow_too() {
    let files = Files::new();
    let table = files
        .add("a rather long name for a table of measured times, in a folder of its own.csv", table("bf16"));
    let formula = "Total Runtime = 16 × [Get_Time(10240000, 10240000, 10240000) × 3 + \
         Get_Time_batched(2048, 10000, 10240000, 10240000) / 7]";
    for source in [["--roofline", "h200-sxm"], ["--table", &table]] {
        let [option, file] = source;
        narrow(&evaluate_text(&["formula", "-", option, file], formula).answer());
        let most = "9007199254740992";
        narrow(&evaluate(&["time", "1000000000", "1000000000", "1000000000", option, file]).answer());
        narrow(&evaluate(&["time", "1", "1", most, option, file]).answer());
    }
    narrow(&evaluate(&["list"]).answer());
}

#[test]
fn answers_are_on_stdout_and_remarks_on_stderr() {
    let modelled = evaluate(&["tp8-pp2"]);
    assert!(
        modelled.err.contains("modelled from the data sheet h200-model, not measured"),
        "{}",
        modelled.err
    );
    assert!(modelled.answer().contains("modelled"));
    // whoever asks for a sheet knows that
    let asked = evaluate(&["tp8-pp2", "--roofline", "h200-sxm"]);
    assert_eq!(asked.err, "");
    assert!(asked.answer().contains("nothing was measured"));
}

#[test]
fn the_list_has_every_plan_and_sheet() {
    let list = evaluate(&["list"]).answer();
    for name in PLANS.iter().chain(&["h200-sxm"]) {
        assert!(list.lines().any(|line| line.trim().split(' ').next() == Some(name)), "{list}");
    }
}

#[test]
fn plans_are_ranked_among_those_that_compute_the_same() {
    let all = evaluate(&["--roofline", "h200-sxm"]).answer();
    let place = |name: &str| all.lines().position(|line| line.trim().starts_with(name)).unwrap();
    assert!(place("tp8-pp2 ") < place("layerwise"), "{all}");
    assert!(all.contains("tp8-pp2 wins over layerwise by"), "{all}");
    assert!(all.contains("ep16 wins over moe-tp8-pp2 by"), "{all}");
    assert!(!all.contains("tp8-pp2 wins over helix"), "{all}");
    let twice = evaluate(&["helix", "helix", "--roofline", "h200-sxm"]).answer();
    assert!(twice.contains("helix and helix take the same time"), "{twice}");
}

#[test]
fn what_takes_no_time_takes_0_percent() {
    let files = Files::new();
    let one = "name = \"one\"\n[model]\nlayers = 1\nhidden = 8\nheads = 1\nffn = 8\nbatch = 1\nsequence = 8\n\
         [cluster]\ngpus = 1\n";
    let one = files.add("one.toml", one);
    for args in [vec![one.as_str()], vec![one.as_str(), "helix"]] {
        let text = evaluate(&[args, vec!["--roofline", "h200-sxm"]].concat()).answer();
        assert!(!text.contains("-0"), "{text}");
    }
    let both = evaluate(&[&one, "helix", "--roofline", "h200-sxm"]).answer();
    assert!(both.starts_with("1 or 16 × H200"), "{both}");
}

#[test]
fn every_basis_of_the_path_has_its_share() {
    let files = Files::new();
    // products measured, everything else from a sheet
    let table =
        "# [cluster]\n# gpus_per_node = 8\nop,dtype,m,k,n,batch,seconds\ngemm,bf16,4096,4096,4096,1,2e-4\n";
    let table = files.add("gemm.csv", table);
    let text = evaluate(&["tp8-pp2", "--table", &table, "--fallback", "h200-sxm"]).answer();
    let basis = text.lines().find(|line| line.starts_with("basis")).unwrap();
    assert!(basis.contains("% modelled, ") && basis.contains("% extrapolated"), "{basis}");
}

#[test]
fn a_single_product_has_a_rate_that_can_be_read() {
    // 2·8³ = 1024 FLOP in max(1024/989e12, 3·64·2/4.8e12) = 80 ps
    let text = evaluate(&["time", "8", "8", "8", "--roofline", "h200-sxm"]).answer();
    assert!(text.contains("12.8 TFLOP/s"), "{text}");
    let files = Files::new();
    let table = files.add("one.csv", "op,dtype,m,k,n,batch,seconds\ngemm,f32,4,4,4,1,1e-5\n");
    let text = evaluate(&["time", "4", "4", "4", "--table", &table]).answer();
    assert!(text.starts_with("10.0 µs") && text.contains("measured"), "{text}");
    assert!(text.contains("12.8 MFLOP/s") && text.contains("gemm f32 4×4×4"), "{text}");
    let json = evaluate(&["time", "4", "4", "4", "--table", &table, "--format", "json"]).json();
    assert_eq!((json["seconds"].as_f64(), json["basis"].as_str()), (Some(1e-5), Some("measured")));
    let batch = ["time", "8", "8", "8", "--batch", "3", "--roofline", "h200-sxm", "--format", "json"];
    let json = evaluate(&batch).json();
    crate::close(json["seconds"].as_f64().unwrap(), 3.0 * 384.0 / 4.8e12, "a batch of 3");
}

#[test]
fn a_reader_that_has_gone_away_has_had_enough() {
    // far more than a pipe holds, so that the program is still writing
    let mut child = program(&["--roofline", "h200-sxm", "--format", "json", "--microbatches", "64"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}
