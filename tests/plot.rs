//! Pictures of a table, and the data sheet that is made of one, from outside.

use std::path::Path;
use std::process::{Command, Output};

use gettime::dtype::Dtype;
use gettime::op::{Collective, CollectiveKind, Gemm};

fn calibrate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calibrate")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// 100 TFLOP/s, 1 TB/s and 2 µs; links of 200 GB/s, 1 µs a step and 4 µs before the first.
fn machine() -> String {
    let mut text = String::from("op,kind,dtype,m,k,n,batch,bytes,ranks,nodes,seconds\n");
    for m in (0..15).map(|e| 1u64 << e) {
        for (k, n) in [(512, 512), (1024, 4096), (4096, 1024), (8192, 8192)] {
            let op = Gemm { m, k, n, batch: 1, dtype: Dtype::Bf16 };
            let seconds = (op.flops() as f64 / 1e14).max(op.bytes() as f64 / 1e12) + 2e-6;
            text += &format!("gemm,,bf16,{m},{k},{n},1,,,,{seconds:e}\n");
        }
    }
    for ranks in [2, 4, 8] {
        for bytes in (8..30).map(|e| 1u64 << e) {
            let kind = CollectiveKind::AllReduce;
            let op = Collective { kind, bytes, ranks, nodes: 1, dtype: Dtype::F16 };
            let seconds = op.traffic_factor() * bytes as f64 / 2e11 + op.steps() as f64 * 1e-6 + 4e-6;
            text += &format!("collective,all_reduce,f16,,,,,{bytes},{ranks},1,{seconds:e}\n");
        }
    }
    text
}

fn at(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[test]
fn a_picture_has_every_point_and_a_band_for_each_curve() {
    let folder = tempfile::tempdir().unwrap();
    let (table, svg, html) =
        (at(folder.path(), "t.csv"), at(folder.path(), "t.svg"), at(folder.path(), "t.html"));
    std::fs::write(&table, machine()).unwrap();
    let run = calibrate(&["plot", &table, "--kn", "8192x8192", "--kn", "512x512", "--out", &svg]);
    assert!(run.status.success(), "{}", said(&run));
    let text = std::fs::read_to_string(&svg).unwrap();
    assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
    for title in
        ["k = 8192, n = 8192", "k = 512, n = 512", "all_reduce", "8 ranks", "errors on rows left out"]
    {
        assert!(text.contains(title), "no {title}");
    }
    // of two pairs and of three groups of ranks
    assert_eq!(text.matches("<polygon").count(), 5);
    // 15 values of m of each pair, 22 sizes of each group; the errors have no more points than rows
    let points = text.matches("<circle").count();
    assert!((2 * 15 + 3 * 22..=2 * 15 + 3 * 22 + 126).contains(&points), "{points} points");
    assert!(!text.contains("NaN") && !text.contains("inf"));
    assert!(calibrate(&["plot", &table, "--out", &html]).status.success());
    let page = std::fs::read_to_string(&html).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.contains("<svg") && !page.contains("http-equiv"));
    // the same table, the same picture
    calibrate(&["plot", &table, "--kn", "8192x8192", "--kn", "512x512", "--out", &svg]);
    assert_eq!(std::fs::read_to_string(&svg).unwrap(), text);
}

#[test]
fn what_cannot_be_drawn_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let table = at(folder.path(), "t.csv");
    std::fs::write(&table, "op,dtype,m,k,n,batch,seconds\n").unwrap();
    let png = calibrate(&["plot", &table, "--out", "t.png"]);
    assert_eq!(png.status.code(), Some(1));
    assert!(said(&png).contains(".svg") && said(&png).contains("t.png"), "{}", said(&png));
    let empty = calibrate(&["plot", &table, "--out", &at(folder.path(), "t.svg")]);
    assert_eq!(empty.status.code(), Some(1));
    assert!(said(&empty).contains("no rows"), "{}", said(&empty));
    for kn in ["8192", "0x5", "axb", "1x2x3"] {
        let run = calibrate(&["plot", &table, "--kn", kn, "--out", "t.svg"]);
        assert_eq!(run.status.code(), Some(2), "{kn}");
    }
}

/// One row, equal times, or times at the ends of what a number holds: axes have two different ends all the same.
#[test]
fn tables_that_span_nothing_or_everything_are_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let (table, svg) = (at(folder.path(), "t.csv"), at(folder.path(), "t.svg"));
    let most = u64::MAX;
    let row = |m: u64, seconds: &str| format!("gemm,,bf16,{m},{most},{most},1,,,,{seconds}\n");
    let sizes = || most - 20..most;
    let times = ["5e-324", "1.7e308"];
    let tables = [
        "gemm,,bf16,64,64,64,1,,,,1e-5\n".to_owned(),
        "collective,all_reduce,f16,,,,,1024,2,1,1e-5\n".to_owned(),
        sizes().map(|m| row(m, "1e-5")).collect(),
        sizes().map(|m| row(m, times[0])).collect(),
        (1..40).map(|m| row(m, times[m as usize % 2])).collect(),
        (1..60).map(|m| format!("gemm,,bf16,{m},8,8,1,,,,{}\n", times[0])).collect(),
        (1..60).map(|m| format!("gemm,,bf16,{m},8,8,1,,,,{}\n", times[1])).collect(),
    ];
    for rows in tables {
        let text = format!("op,kind,dtype,m,k,n,batch,bytes,ranks,nodes,seconds\n{rows}");
        std::fs::write(&table, text).unwrap();
        let run = calibrate(&["plot", &table, "--out", &svg]);
        assert!(run.status.success(), "{}: {rows}", said(&run));
        let drawn = std::fs::read_to_string(&svg).unwrap();
        assert!(drawn.trim_end().ends_with("</svg>") && !drawn.contains("NaN"), "{rows}");
    }
}

/// The value of a key in a sheet.
fn number(sheet: &toml::Table, path: &[&str]) -> f64 {
    let (last, sections) = path.split_last().unwrap();
    let section = sections.iter().fold(sheet, |table, name| table[*name].as_table().unwrap());
    let value = &section[*last];
    value.as_float().or(value.as_integer().map(|whole| whole as f64)).unwrap()
}

#[test]
fn the_rates_of_a_table_are_those_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let (table, out) = (at(folder.path(), "t.csv"), at(folder.path(), "sheet.toml"));
    std::fs::write(&table, machine()).unwrap();
    let run = calibrate(&["model", &table, "--out", &out]);
    assert!(run.status.success(), "{}", said(&run));
    let sheet: toml::Table = std::fs::read_to_string(&out).unwrap().parse().unwrap();
    let known: [(&[&str], f64); 6] = [
        (&["flops_per_s", "bf16"], 1e14),
        (&["memory_bandwidth_bytes_per_s"], 1e12),
        (&["launch_latency_seconds"], 2e-6),
        (&["intra_node", "bandwidth_bytes_per_s"], 2e11),
        (&["intra_node", "latency_seconds"], 1e-6),
        (&["intra_node", "start_seconds"], 4e-6),
    ];
    for (path, expected) in known {
        let found = number(&sheet, path);
        assert!((found / expected - 1.0).abs() < 0.02, "{path:?}: {found}, not {expected}");
    }
    // f8 is not in the table: the sheet's 1,979 TFLOP/s by the share of 989 that bf16 reaches
    assert!((number(&sheet, &["flops_per_s", "f8e4m3"]) / (1979e12 * 1e14 / 989e12) - 1.0).abs() < 0.02);
    // and it is a sheet that plans can be priced with
    let priced = Command::new(env!("CARGO_BIN_EXE_evaluate"))
        .args(["time", "1000000", "1000", "1000", "--roofline", &out])
        .output()
        .unwrap();
    assert!(priced.status.success(), "{}", said(&priced));
}

/// Where the public tables are at hand, the sheet that is built in is the one that they give.
#[test]
fn the_built_in_model_is_that_of_the_public_tables() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = root.join("../shared/data");
    let (gemm, nccl) = (data.join("h200-bf16-gemm.csv"), data.join("h200-nccl-1node.csv"));
    if !gemm.exists() || !nccl.exists() {
        eprintln!("{} is not there: not tried", gemm.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = at(folder.path(), "sheet.toml");
    let run = calibrate(&["model", gemm.to_str().unwrap(), nccl.to_str().unwrap(), "--out", &out]);
    assert!(run.status.success(), "{}", said(&run));
    let read = |path: &Path| -> toml::Table { std::fs::read_to_string(path).unwrap().parse().unwrap() };
    assert_eq!(read(Path::new(&out)), read(&root.join("calibration/h200-model.toml")));
}
