//! Tables over time and over nodes: verdicts by hand, ranks of nodes, and what may be joined.

use std::path::Path;
use std::process::{Command, Output};

use gettime::comparison::{Change, Standing, Verdict, compare, nodes};
use gettime::device::Device;
use gettime::dtype::Dtype;
use gettime::op::{Collective, CollectiveKind, Family, Gemm, Op};
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;

fn row(op: Op, seconds: f64, half: Option<f64>, flags: &str) -> Record {
    let time = |factor: f64| Seconds::new(seconds * factor).unwrap();
    let interval = half.map(|half| (time(1.0 - half), time(1.0 + half)));
    let summary = Summary { seconds: time(1.0), interval, samples: None };
    Record { op, summary, route: Route::default(), flags: flags.into(), source: "test".into() }
}

fn gemm(m: u64) -> Op {
    Op::Gemm(Gemm { m, k: 64, n: 64, batch: 1, dtype: Dtype::Bf16 })
}

fn reduce(bytes: u64) -> Op {
    let kind = CollectiveKind::AllReduce;
    Op::Collective(Collective { kind, bytes, ranks: 8, nodes: 1, dtype: Dtype::Bf16 })
}

/// Old time 1 s: verdicts by the threshold max(1 %, 2 × spread), and by intervals of the half-widths given.
#[test]
fn verdicts_by_hand() {
    use Verdict::{Faster, Same, Slower, Unsure};
    let cases = [
        // new time, half-width of both intervals, flags of the new row, verdict
        (1.0, Some(0.001), "", Same),
        (1.009, Some(0.0001), "", Same), // apart, and less than 1 %
        (1.05, Some(0.001), "", Slower), // beyond 1 %, apart
        (0.95, Some(0.001), "", Faster),
        (1.05, Some(0.03), "spread=1.00%", Unsure), // beyond 2 %, and the intervals overlap
        (1.05, Some(0.01), "spread=3.00%", Unsure), // within 6 %, and 1.05 × 1.01 / 0.99 is beyond it
        (1.02, Some(0.01), "spread=3.00%", Same),   // 1.02 × 1.01 / 0.99 = 1.0406 is within 6 %
        (1.05, Some(0.01), "spread=2.00% noisy", Slower), // beyond 4 %, and 0.99 × 1.05 > 1.01
        (1.5, None, "", Unsure),                    // no interval, no certainty
        (1.005, None, "", Same),
    ];
    for (new, half, flags, verdict) in cases {
        // the old row's spread is below what would raise the threshold
        let change = Change::of(&row(gemm(1), 1.0, half, "spread=0.10%"), &row(gemm(1), new, half, flags));
        assert_eq!(change.verdict, verdict, "{new} {half:?} {flags}");
    }
    // without a word on the spread, the interval's width stands for it: 2 × 2 × 1 % = 4 %
    let change = Change::of(&row(gemm(1), 1.0, Some(0.01), ""), &row(gemm(1), 1.1, Some(0.001), ""));
    assert!((change.threshold - 0.04).abs() < 1e-12 && change.verdict == Slower, "{change:?}");
}

#[test]
fn ops_of_one_table_only_are_counted_apart() {
    let old =
        Table { records: vec![row(gemm(1), 1.0, None, ""), row(gemm(2), 1.0, None, "")], ..Table::default() };
    let new =
        Table { records: vec![row(gemm(2), 1.0, None, ""), row(gemm(3), 1.0, None, "")], ..Table::default() };
    let found = compare(&old, &new);
    assert_eq!((found.gone, found.added, found.changes.len()), (vec![gemm(1)], vec![gemm(3)], 1));
}

/// 16 nodes: one slow in everything, one in collectives only, one fast in products.
fn cluster() -> Vec<Table> {
    let factor = |node: usize, op: &Op| match (node, op.family()) {
        (5, _) => 1.06,
        (9, Family::Collective) => 1.5,
        (11, Family::Gemm) => 0.9,
        _ => 1.0 + 0.0002 * node as f64,
    };
    let ops: Vec<Op> = (1..=6).flat_map(|i| [gemm(i), reduce(1 << i)]).collect();
    let table = |node| Table {
        records: ops
            .iter()
            .map(|op| row(*op, 1e-3 * factor(node, op), Some(0.002), "spread=0.20%"))
            .collect(),
        ..Table::default()
    };
    (0..16).map(table).collect()
}

#[test]
fn nodes_that_are_not_like_the_others_are_named() {
    let found = nodes(&cluster());
    assert_eq!(found[0].index, 9); // half of its ops are 50 % slower, so the median is between
    assert_eq!(found[1].index, 5);
    assert_eq!(found[15].index, 11);
    for node in &found {
        let expected = match node.index {
            5 => Standing::Slow(vec![Family::Gemm, Family::Collective]),
            9 => Standing::Slow(vec![Family::Collective]),
            11 => Standing::Fast(vec![Family::Gemm]),
            _ => Standing::Usual,
        };
        assert_eq!(node.standing, expected, "node {}", node.index);
    }
}

fn calibrate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calibrate")).args(args).output().unwrap()
}

fn written(folder: &Path, name: &str, table: &Table) -> String {
    let path = folder.join(name);
    table.write(&path).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_exit_status_tells_of_slower_ops() {
    let folder = tempfile::tempdir().unwrap();
    let table = |factor: f64| Table {
        records: (1..=3).map(|m| row(gemm(m), 1e-3 * factor, Some(0.001), "")).collect(),
        ..Table::default()
    };
    let old = written(folder.path(), "old.csv", &table(1.0));
    let slow = written(folder.path(), "slow.csv", &table(1.2));
    for (tables, code) in [([&old, &slow], 3), ([&slow, &old], 0), ([&old, &old], 0)] {
        let run = calibrate(&["compare", tables[0], tables[1], "--fail-on", "slower"]);
        assert_eq!(run.status.code(), Some(code), "{tables:?}");
        assert_eq!(calibrate(&["compare", tables[0], tables[1]]).status.code(), Some(0));
    }
    let run = calibrate(&["compare", &old, &slow, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
    assert_eq!(json["all"]["slower"], 3);
    assert!((json["ops"][0]["change"].as_f64().unwrap() - 0.2).abs() < 1e-9);

    let names: Vec<String> = cluster()
        .iter()
        .enumerate()
        .map(|(i, table)| written(folder.path(), &format!("n{i}.csv"), table))
        .collect();
    let args: Vec<&str> = names.iter().map(String::as_str).collect();
    let run = calibrate(&[&["compare", "--fail-on", "slower"], args.as_slice()].concat());
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(3), "{text}");
    // against node 8, the eighth of sixteen: 1.5 / 1.0016
    assert!(text.contains("n9.csv is 49.8 % slower in 6 of 6 ops (collective)"), "{text}");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
}

#[test]
fn what_contradicts_is_not_joined() {
    let folder = tempfile::tempdir().unwrap();
    let device = |driver: &str, uuid: &str| {
        let entry = |key: &str, value: &str| (key.to_owned(), toml::Value::from(value));
        Device {
            name: "H200".into(),
            memory_bytes: Some(1 << 37),
            details: [entry("driver", driver), entry("uuid", uuid)].into_iter().collect(),
        }
    };
    let table = |driver: &str, uuid: &str, records| Table {
        device: Some(device(driver, uuid)),
        records,
        ..Table::default()
    };
    let first =
        table("580", "a", vec![row(gemm(1), 1.0, Some(0.02), "cache=cold"), row(gemm(2), 1.0, None, "")]);
    // another specimen of the same device; an op of both, measured more closely
    let second =
        table("580", "b", vec![row(gemm(1), 1.01, Some(0.001), "cache=cold"), row(reduce(8), 1.0, None, "")]);
    let a = written(folder.path(), "a.csv", &first);
    let b = written(folder.path(), "b.csv", &second);
    let out = folder.path().join("out.csv");
    let to = ["--out", out.to_str().unwrap()];
    let run = calibrate(&[&["merge", &a, &b], &to[..]].concat());
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let joined = Table::read(&out).unwrap();
    assert_eq!(
        joined.records,
        [second.records[0].clone(), first.records[1].clone(), second.records[1].clone()]
    );

    let refused = [
        (table("570", "a", vec![row(reduce(8), 1.0, None, "")]), "driver \"580\", the other with \"570\""),
        (
            table("580", "a", vec![row(reduce(8), 1.0, None, "cache=hot")]),
            "cache \"cold\", the other with \"hot\"",
        ),
        (table("580", "a", vec![row(gemm(1), 1.1, Some(0.02), "")]), "\"gemm bf16 1×64×64\" took 1e0 s"),
    ];
    for (other, message) in refused {
        let c = written(folder.path(), "c.csv", &other);
        let run = calibrate(&[&["merge", &a, &c], &to[..]].concat());
        let error = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.code(), Some(1));
        assert!(error.contains("cannot be joined") && error.contains(message), "{message}: {error}");
        assert_eq!(Table::read(&out).unwrap(), joined, "the old table stands");
    }
}
