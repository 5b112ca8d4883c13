//! `evaluate check`, `explain` and `--artifacts` as a person runs them.

use std::path::Path;
use std::process::{Command, Output};

fn evaluate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_evaluate")).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn a_sound_plan_passes_and_an_undivided_batch_does_not() {
    let sound = evaluate(&["check", "ep16", "--microbatches", "auto"]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound));
    let undivided = evaluate(&["check", "tp8-pp2"]);
    assert_eq!(undivided.status.code(), Some(1));
    assert!(text(&undivided).contains("D6  FAIL"), "{}", text(&undivided));
    let json = evaluate(&["check", "tp8-pp2", "--format", "json"]);
    let checks: serde_json::Value = serde_json::from_str(&text(&json)).unwrap();
    assert_eq!(checks["checks"].as_array().unwrap().len(), 6);
    assert_eq!(checks["checks"][5]["verdict"], "fail");
}

#[test]
fn a_tolerance_is_a_percentage() {
    for wrong in ["nan", "inf", "101", "x"] {
        let run = evaluate(&["check", "ep16", "--tolerance", wrong]);
        assert_eq!(run.status.code(), Some(2), "{wrong}");
    }
}

#[test]
fn an_edited_file_is_caught_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let written = evaluate(&["layerwise", "--artifacts", &path("a")]);
    assert_eq!(written.status.code(), Some(0));
    evaluate(&["layerwise", "--artifacts", &path("b")]);
    let files = |name: &str| -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<_> = std::fs::read_dir(folder.path().join(name))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.file_name().unwrap().to_string_lossy().into(), std::fs::read(path).unwrap()))
            .collect();
        files.sort();
        files
    };
    assert!(files("a") == files("b") && files("a").len() == 6);

    let dot = folder.path().join("a/layerwise_dag.dot");
    let dot_name = dot.display().to_string();
    let fused_limits = ["check", &dot_name, "--tolerance", "1"];
    assert!(text(&evaluate(&fused_limits)).contains("D5  pass"));
    let edited = std::fs::read_to_string(&dot).unwrap().replace("\"ln1_l3_gpu3\" -> \"qkv_l3_gpu3\"", "// ");
    let place =
        edited.lines().position(|line| line.trim_start().starts_with("\"qkv_l3_gpu3\" [")).unwrap() + 1;
    std::fs::write(&dot, edited).unwrap();
    let caught = evaluate(&fused_limits);
    assert_eq!(caught.status.code(), Some(1));
    assert!(text(&caught).contains(&format!("line {place}: qkv_l3_gpu3: it reads ln1")), "{}", text(&caught));
    assert!(!Path::new(&path("c")).exists());
}

#[test]
fn screens_are_at_most_100_columns_wide() {
    for arguments in [&["check", "tp8-pp2"][..], &["explain", "tp8-pp2"], &["explain", "moe-tp8-pp2"]] {
        for line in text(&evaluate(arguments)).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn a_formula_of_ones_own_is_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.txt");
    std::fs::write(&file, "T = 2 × Get_Time(10240000, 8192, 4096)\n").unwrap();
    let own = evaluate(&["explain", "helix", "--formula", &file.display().to_string()]);
    assert_eq!(own.status.code(), Some(0));
    assert!(text(&own).contains("o_proj: absent"), "{}", text(&own));
}

#[test]
fn an_explanation_is_json_too() {
    let output = evaluate(&["explain", "helix", "--format", "json"]);
    assert_eq!(output.status.code(), Some(0));
    let answer: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    // section 7 of the audit: 173.9 times the FLOPs
    let flops = |side: &str| answer[side]["flops"].as_f64().unwrap();
    assert!((flops("written") / flops("corrected") - 173.9).abs() < 0.05);
    let findings = answer["findings"].as_array().unwrap();
    assert!(findings.iter().any(|f| f["about"] == "o_proj" && f["flops_ratio"] == 8.0), "{findings:?}");
    let spurious = |term: &&serde_json::Value| term["corrected"].is_null() && term["written"]["n"] == 1024;
    assert_eq!(answer["terms"].as_array().unwrap().iter().filter(spurious).count(), 1);
    assert!(answer["conclusion"].is_null());
    let output = evaluate(&["explain", "ma-separation", "--format", "json", "--roofline", "h200-sxm"]);
    let answer: serde_json::Value = serde_json::from_str(&text(&output)).unwrap();
    // 001-17: the document's own formulas say the reverse of what it concludes, and so do the plans
    assert_eq!(answer["conclusion"]["by_the_formulas"], false);
    assert_eq!(answer["conclusion"]["survives"], false);
    assert_eq!(evaluate(&["explain", "helix", "--format", "html"]).status.code(), Some(1));
}

#[test]
fn names_of_two_columns_a_character_keep_the_columns() {
    let folder = tempfile::tempdir().unwrap();
    let plan = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/plans/ep16.toml")).unwrap();
    let file = folder.path().join("plan.toml").display().to_string();
    std::fs::write(&file, plan.replacen("ep16", "\u{5f35}\u{91cf}\u{4e26}\u{884c}", 1)).unwrap();
    let screen = text(&evaluate(&["ep16", &file]));
    let row = |name: &str| screen.lines().find(|line| line.contains(name)).unwrap().to_owned();
    let (latin, han) = (row("ep16  "), row("\u{5f35}\u{91cf}"));
    // four characters of two columns each stand where eight stood
    assert_eq!(han.replace("\u{5f35}\u{91cf}\u{4e26}\u{884c}", "ep16    "), latin);
}
