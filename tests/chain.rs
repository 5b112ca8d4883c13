//! Rows of whole layers in a table: kept, joined, compared, and counted with.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use gettime::dtype::Dtype;
use gettime::op::{Chained, Family, Op};
use gettime::table::Table;
use gettime::units::Seconds;
use gettime::validate::{Link, Reasons, Reference, Validation, lessons};

const HEADER: &str = "op,kind,dtype,m,k,n,batch,seconds,seconds_low,seconds_high,samples,flags,source\n";
const PRODUCTS: &str = "gemm,,bf16,1024,1024,1024,1,1e-3,9.9e-4,1.01e-3,30,,test\n\
                        gemm,,bf16,2048,1024,1024,1,2e-3,1.98e-3,2.02e-3,30,,test\n";

fn text(factor: f64, half_width: f64) -> String {
    let (low, high) = (factor - half_width, factor + half_width);
    format!(
        "{HEADER}{PRODUCTS}chain,gemm,bf16,,,,,{factor},{low},{high},35,layers=7 spread=1.00%,gettime-cpu\n"
    )
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }
}

fn run(program: &str, args: &[&str]) -> Output {
    let program =
        if program == "calibrate" { env!("CARGO_BIN_EXE_calibrate") } else { env!("CARGO_BIN_EXE_evaluate") };
    Command::new(program).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_row_reads_back_as_it_was_written() {
    let table = Table::parse(text(1.04, 0.01).as_bytes(), "t").unwrap();
    let row = &table.records[2];
    assert_eq!(row.op, Op::Chain(Chained { family: Family::Gemm, dtype: Dtype::Bf16 }));
    assert_eq!((row.op.flops(), row.op.bytes(), row.op.family()), (0, 0, Family::Chain));
    let mut written = Vec::new();
    table.write_to(&mut written).unwrap();
    assert_eq!(Table::parse(&written, "t").unwrap(), table);
    for (wrong, cause) in [
        ("chain,,bf16,,,,,1.04,,,,,\n", "a chain row needs a value for \"kind\""),
        ("chain,p2p,bf16,,,,,1.04,,,,,\n", "\"p2p\" is not a kind of chain; known are gemm, kernel"),
        ("chain,gemm,,,,,,1.04,,,,,\n", "a chain row needs a value for \"dtype\""),
    ] {
        let error = Table::parse(format!("{HEADER}{wrong}").as_bytes(), "t").unwrap_err().to_string();
        assert!(error.contains(cause), "{error}");
    }
}

/// 1 ms alone, ×1.04 in a layer, with both ends of both intervals: 0.99 × 1.03 and 1.01 × 1.05.
#[test]
fn formulas_are_of_layers_and_a_time_is_of_one_product() {
    let folder = Folder::new();
    let table = folder.write("t.csv", &text(1.04, 0.01));
    let formula = folder.write("f.txt", "T = 2 × Get_Time(1024, 1024, 1024)");
    let screen = said(&run("evaluate", &["formula", &formula, "--table", &table]));
    assert!(screen.contains("as in layers: gemm × 1.040 (1.030–1.050, of 7 layers)"), "{screen}");
    assert!(screen.lines().all(|line| line.chars().count() <= 100), "{screen}");
    let read = |args: &[&str]| {
        let output = run("evaluate", &[args, &["--table", &table, "--format", "json"]].concat());
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let layered = &read(&["formula", &formula])["formulas"][0];
    let near = |value: &serde_json::Value, expected: f64| {
        let got = value.as_f64().unwrap();
        assert!((got / expected - 1.0).abs() < 1e-12, "{got} {expected}");
    };
    near(&layered["seconds"], 2.08e-3);
    near(&layered["low"], 2.0 * 0.99e-3 * 1.03);
    near(&layered["high"], 2.0 * 1.01e-3 * 1.05);
    // other layers were run than this one
    assert_eq!(layered["basis"], "interpolated");
    let alone = read(&["time", "1024", "1024", "1024"]);
    near(&alone["seconds"], 1e-3);
    assert_eq!(alone["basis"], "measured");
}

#[test]
fn a_sheet_is_not_corrected() {
    let folder = Folder::new();
    let table = folder.write("t.csv", &text(1.5, 0.01));
    let plan = ["tp8-pp2", "--fallback", "h200-sxm", "--format", "json", "--table"];
    let path = |name: &str| run("evaluate", &[&plan[..], &[name]].concat());
    let with = said(&path(&table));
    assert!(with.contains("times of gemm in bf16 as in layers: × 1.500"), "{with}");
    let kernels = |output: &Output| {
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let steps = answer[0]["critical_path"].as_array().unwrap().clone();
        let of = |step: &&serde_json::Value| step["basis"] == "modelled";
        steps.iter().filter(of).map(|step| step["seconds"].as_f64().unwrap()).collect::<Vec<_>>()
    };
    let without = folder.write("u.csv", &format!("{HEADER}{PRODUCTS}"));
    let (with, without) = (kernels(&path(&table)), kernels(&path(&without)));
    assert!(!with.is_empty() && with == without, "{with:?} {without:?}");
}

#[test]
fn tables_are_joined_and_compared_with_it() {
    let folder = Folder::new();
    let wide = folder.write("wide.csv", &text(1.04, 0.02));
    let narrow = folder.write("narrow.csv", &text(1.05, 0.005));
    let apart = folder.write("apart.csv", &text(1.20, 0.01));
    let out = folder.path("out.csv").display().to_string();
    let joined = run("calibrate", &["merge", &wide, &narrow, "--out", &out]);
    assert!(joined.status.success(), "{}", said(&joined));
    let table = Table::read(&folder.path("out.csv")).unwrap();
    assert_eq!((table.records.len(), table.records[2].summary.seconds.get()), (3, 1.05));
    let contradicted = run("calibrate", &["merge", &wide, &apart, "--out", &out]);
    assert!(said(&contradicted).contains("1 s of gemm bf16 in a layer"), "{}", said(&contradicted));
    let slower = run("calibrate", &["compare", &wide, &apart, "--fail-on", "slower"]);
    assert_eq!(slower.status.code(), Some(3), "{}", said(&slower));
    assert!(said(&slower).contains("in a layer"), "{}", said(&slower));
}

/// A campaign measures ops; what layers showed stays where it is added to, and is no op to measure again.
#[test]
fn campaigns_leave_it_alone() {
    let folder = Folder::new();
    let table = folder.write("t.csv", &text(1.04, 0.01));
    let out = folder.path("out.csv").display().to_string();
    let replay = ["--backend", "replay", "--replay", &table, "--out", &out];
    let first = run("calibrate", &replay);
    assert!(first.status.success(), "{}", said(&first));
    let chains = || {
        let records = Table::read(&folder.path("out.csv")).unwrap().records;
        records.iter().filter(|record| matches!(record.op, Op::Chain(_))).count()
    };
    assert_eq!(chains(), 0);
    fs::write(&out, fs::read_to_string(&out).unwrap().replace("# [end]", CHAIN_ROW)).unwrap();
    let more = run("calibrate", &[&replay[..], &["--append"]].concat());
    assert!(more.status.success(), "{}", said(&more));
    assert_eq!(chains(), 1);
    let checked = run("calibrate", &["check", &table]);
    assert!(!said(&checked).contains("chain"), "{}", said(&checked));
}

/// In the order of all columns.
const CHAIN_ROW: &str = "chain,gemm,bf16,,,,,,,,,,,1.04,1.03,1.05,35,layers=7,gettime-cpu\n# [end]";

/// A layer of products that takes `factor` as long as its ops.
fn layer(factor: f64, waited: f64) -> Validation {
    let family = Chained { family: Family::Gemm, dtype: Dtype::F32 };
    let whole = Link {
        name: "the whole".to_owned(),
        op: None,
        alone: 1.0,
        chained: factor,
        off: factor - 1.0,
        reasons: Reasons::default(),
    };
    Validation {
        of: Reference { plan: "p".to_owned(), gpu: 0, batch: (1, 1), dtype: Dtype::F32 },
        by_cores: waited > 0.0,
        waited: Some(waited),
        links: Vec::new(),
        whole,
        ratios: vec![factor; 5],
        families: BTreeMap::from([(family, vec![Seconds::new(factor).unwrap(); 5])]),
        table: None,
        left_out: Vec::new(),
    }
}

#[test]
fn nothing_is_learned_while_others_have_the_cores() {
    for calm in [0.0, 0.05] {
        let lesson = lessons(&[layer(1.2, 0.5), layer(1.05, calm)], "here").remove(0);
        assert_eq!((lesson.row.summary.seconds.get(), lesson.layers, lesson.is_systematic), (1.05, 1, true));
    }
    assert!(lessons(&[layer(1.2, 0.5)], "here").is_empty());
}
