//! Refinement against a table as the device: where it measures, when it ends, and how good it gets.

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use gettime::fit::check::{Accuracy, against};
use gettime::measure::campaign::Limits;
use gettime::measure::replay::Replay;
use gettime::op::Op;
use gettime::refine::{self, Goal, Pool, is_of_domain};
use gettime::table::{Record, Table};

/// A GPU that is easy to tell, but for one corner: 100 TFLOP/s, 1 µs, and everything with n >= 4096 and k >= 4096 by
/// steps of its own, which no smooth law knows.
fn machine() -> String {
    let mut text = String::from("op,dtype,m,k,n,batch,seconds\n");
    for m in [64u64, 256, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288, 16_384] {
        for k in [128u64, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288] {
            for n in [128u64, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12_288] {
                let law = 1e-6 + (2 * m * k * n) as f64 / 1e14;
                let odd = (m / 512 + k / 512 * 3 + n / 512 * 5) % 7;
                let step = if k >= 4096 && n >= 4096 { 0.1 * odd as f64 } else { 0.0 };
                text += &format!("gemm,bf16,{m},{k},{n},1,{:e}\n", law * step.exp());
            }
        }
    }
    text
}

fn replay(folder: &Path, from: &Path, args: &[&str]) -> (Table, String) {
    let out = folder.join("out.csv");
    let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
    command.args(["--backend", "replay", "--passes", "1", "--replay"]).arg(from).arg("--out").arg(&out);
    let output = command.args(args).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    (Table::read(&out).unwrap(), said)
}

/// Rounds as printed: products, seconds, median.
fn rounds(said: &str) -> Vec<[f64; 3]> {
    let number = |word: &str| word.parse::<f64>().ok();
    let round = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = |i: usize| words.get(i).copied().and_then(number);
        (words.get(1) == Some(&"products")).then(|| Some([at(0)?, at(2)?, at(4)?])).flatten()
    };
    said.lines().filter_map(round).collect()
}

#[test]
fn it_measures_most_where_the_law_fails_and_ends_at_the_shapes_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("machine.csv");
    std::fs::write(&from, machine()).unwrap();
    let (table, said) = replay(folder.path(), &from, &["--shapes", "260", "--target", "0.01%"]);
    assert_eq!(table.records.len(), 260, "{said}");
    let is_odd = |op: &Op| matches!(op, Op::Gemm(op) if op.k >= 4096 && op.n >= 4096);
    let share = |records: &[Record], of: &dyn Fn(&Op) -> bool| {
        let domain: Vec<&Record> = records.iter().filter(|record| is_of_domain(&record.op)).collect();
        domain.iter().filter(|record| of(&record.op)).count() as f64 / domain.len() as f64
    };
    let all = Table::read(&from).unwrap().records;
    let (there, chosen) = (share(&all, &is_odd), share(&table.records[116..], &is_odd));
    assert!(chosen > 2.0 * there, "{chosen} of those chosen, {there} of all");
    let rounds = rounds(&said);
    assert!(rounds.len() >= 3, "{said}");
    assert!(rounds.windows(2).all(|pair| pair[0][0] < pair[1][0] && pair[0][1] < pair[1][1]), "{said}");
    // the same table, the same choice
    assert_eq!(
        replay(folder.path(), &from, &["--shapes", "260", "--target", "0.01%"]).0.records,
        table.records
    );
}

#[test]
fn it_ends_when_the_target_is_met() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("machine.csv");
    std::fs::write(&from, machine()).unwrap();
    let (table, said) = replay(folder.path(), &from, &["--shapes", "1000", "--target", "20"]);
    assert!(table.records.len() < 200, "{}: {said}", table.records.len());
    assert!(rounds(&said).last().unwrap()[2] <= 20.0, "{said}");
}

/// The lattice and the plans may name the same product.
#[test]
fn a_product_that_is_offered_twice_is_measured_once() {
    let all = Table::parse(machine().as_bytes(), "machine").unwrap();
    let ops: Vec<Op> = all.records.iter().map(|record| record.op).collect();
    let (start, offered) = (&all.records[..200], [&ops[..600], &ops[..600]].concat());
    let table = Table { records: start.to_vec(), ..Table::default() };
    let pool = Pool { candidates: &offered, wanted: &[], drawn: &[] };
    let (limits, goal) = (Limits { passes: 1, ..Limits::default() }, Goal { target: 0.0, most_shapes: 1000 });
    let outcome =
        refine::run(&mut Replay::new(all), &table, &pool, (&limits, Duration::ZERO), &goal, &mut |_| {});
    let measured: Vec<Op> = outcome.unwrap().records.into_iter().map(|record| record.op).collect();
    let offered_once = ops[200..600].iter().filter(|op| is_of_domain(op)).count();
    assert_eq!(measured.len(), offered_once);
    assert_eq!(measured.into_iter().collect::<HashSet<Op>>().len(), offered_once);
}

#[test]
fn a_target_that_is_no_percentage_is_a_usage_error() {
    for target in ["-1", "101", "x", "nan", ""] {
        let target = format!("--target={target}");
        let run =
            Command::new(env!("CARGO_BIN_EXE_calibrate")).args(["--out", "t.csv", &target]).output().unwrap();
        assert_eq!(run.status.code(), Some(2), "{target}");
        assert!(String::from_utf8(run.stderr).unwrap().contains("--target"));
    }
}

/// On the public table of an H200, where it is at hand: 400 products, tried on all others of plans' sizes.
#[test]
fn four_hundred_products_of_a_public_table() {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/h200-bf16-gemm.csv");
    if cfg!(debug_assertions) || !from.exists() {
        eprintln!("not tried: a debug build, or {} is not there", from.display());
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (table, said) = replay(folder.path(), &from, &["--shapes", "400", "--target", "0"]);
    assert_eq!(table.records.len(), 400, "{said}");
    let known: Vec<Op> = table.records.iter().map(|record| record.op).collect();
    let mut rest = Table::read(&from).unwrap();
    rest.records.retain(|record| is_of_domain(&record.op) && !known.contains(&record.op));
    let Accuracy { n, failed, median, p95, coverage, .. } = Accuracy::of(&against(&table, &rest));
    println!("400 products: {median:.2} / {p95:.1} on {n} others of plans' sizes, {coverage:.1} % covered");
    assert!(
        failed == 0 && median <= 3.2 && p95 <= 11.2 && coverage >= 85.0,
        "{median} / {p95}, {coverage} %"
    );
}
