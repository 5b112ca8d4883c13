//! A table as the device: what a campaign over it brings, what it costs, and what it says of ops without a row.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use gettime::measure::campaign::{Limits, SkipReason, run};
use gettime::measure::replay::Replay;
use gettime::measure::{Backend, MeasureError};
use gettime::op::Op;
use gettime::table::Table;

const TABLE: &str = "# format = \"gettime-table-1\"\n\
                     # [device]\n\
                     # name = \"A100\"\n\
                     # sms = 108\n\
                     # [cluster]\n\
                     # gpus_per_node = 4\n\
                     op,kind,dtype,m,k,n,batch,bytes,ranks,nodes,seconds,seconds_low,seconds_high,samples,flags\n\
                     gemm,,bf16,64,64,64,1,,,,1.1e-5,1e-5,1.2e-5,70,algo=24 noisy\n\
                     gemm,,bf16,512,512,512,1,,,,2.3e-5,,,,\n\
                     gemm,,bf16,4096,512,512,1,,,,7.77e-5,,,,\n\
                     gemm,,f16,64,64,64,1,,,,1.2e-5,,,,\n\
                     collective,all_reduce,f16,,,,,1024,2,1,9e-6,,,,\n\
                     # [end]\n";

fn table(text: &str) -> Table {
    Table::parse(text.as_bytes(), "a table").unwrap()
}

fn calibrate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calibrate")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn rows_come_back_with_their_own_intervals_and_flags() {
    let recorded = table(TABLE);
    let ops: Vec<Op> = recorded.records.iter().map(|record| record.op).collect();
    let outcome = run(&mut Replay::new(recorded.clone()), &ops, &Limits::default(), &mut |_| ()).unwrap();
    assert!(outcome.skipped.is_empty() && outcome.failure.is_none());
    for (row, recorded) in outcome.records.iter().zip(&recorded.records) {
        assert_eq!((row.op, row.summary), (recorded.op, recorded.summary));
        assert_eq!((row.flags.as_str(), row.source.as_str()), (recorded.flags.as_str(), "replay"));
    }
    let replay = Replay::new(recorded);
    assert_eq!(replay.device().details["sms"].as_integer(), Some(108));
    assert_eq!(replay.cluster(16).gpus_per_node, Some(4));
    assert_eq!(replay.dtypes().iter().map(|dtype| dtype.name()).collect::<Vec<_>>(), ["bf16", "f16"]);
}

/// A run of 1 s takes all that one op may take in one pass: it runs once to be checked and once to be timed. Of
/// 7 s three ops take 6, and the fourth begins in time.
#[test]
fn a_budget_ends_when_the_device_would_have_spent_it() {
    let rows = (1..=6).map(|m| format!("gemm,f32,{m},1,1,1,1\n")).collect::<String>();
    let recorded = table(&format!("op,dtype,m,k,n,batch,seconds\n{rows}"));
    let ops: Vec<Op> = recorded.records.iter().map(|record| record.op).collect();
    let mut replay = Replay::new(recorded);
    let limits = Limits { budget: Duration::from_secs(7), passes: 1, ..Limits::default() };
    let outcome = run(&mut replay, &ops, &limits, &mut |_| ()).unwrap();
    assert_eq!(replay.clock().now(), Duration::from_secs(8));
    assert_eq!(outcome.records.len(), 4);
    assert!(outcome.skipped.iter().all(|skipped| skipped.reason == SkipReason::Budget));
}

#[test]
fn an_op_without_a_row_is_a_typed_error() {
    let recorded = table(TABLE);
    let Op::Gemm(known) = recorded.records[0].op else { panic!() };
    let mut replay = Replay::new(recorded);
    let other = Op::Gemm(gettime::op::Gemm { m: 65, ..known });
    match replay.prepare(&other).map(|_| ()) {
        Err(MeasureError::Unsupported { op, reason }) => {
            assert_eq!((op, reason.contains("no row")), (other, true))
        }
        result => panic!("{result:?}"),
    }
    let outcome = run(&mut replay, &[other], &Limits::default(), &mut |_| ()).unwrap();
    assert!(matches!(outcome.skipped[0].reason, SkipReason::Unsupported(_)));
}

#[test]
fn the_program_measures_a_table_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (from, to) = (at("from.csv"), at("to.csv"));
    std::fs::write(&from, TABLE).unwrap();
    let args = ["--backend", "replay", "--replay", &from, "--out", &to, "--dtype", "bf16,f16"];
    let run = calibrate(&args);
    assert!(run.status.success(), "{}", text(&run.stderr));
    assert!(text(&run.stderr).contains("A100"), "{}", text(&run.stderr));
    let (old, new) = (table(TABLE), Table::read(Path::new(&to)).unwrap());
    assert_eq!(new.device, old.device);
    assert_eq!(new.cluster, old.cluster);
    let sorted = |table: Table| {
        let mut rows: Vec<_> = table.records.into_iter().map(|r| (r.op, r.summary.seconds)).collect();
        rows.sort_unstable_by_key(|row| row.0);
        rows
    };
    assert_eq!(sorted(new), sorted(old));
    let command = Table::read(Path::new(&to)).unwrap().run["command"].as_str().unwrap().to_owned();
    assert!(command.starts_with("calibrate --backend replay ") && command.contains(&from), "{command}");
    let first = std::fs::read(&to).unwrap();
    assert!(calibrate(&args).status.success());
    assert_eq!(std::fs::read(&to).unwrap(), first);
}

#[test]
fn a_table_and_the_backend_that_replays_it_belong_together() {
    for args in [
        ["--backend", "replay", "--out", "t.csv"].as_slice(),
        ["--backend", "cpu", "--replay", "t.csv", "--out", "u.csv"].as_slice(),
    ] {
        let run = calibrate(args);
        assert_eq!(run.status.code(), Some(2), "{}", text(&run.stderr));
        assert!(text(&run.stderr).contains("--replay"), "{}", text(&run.stderr));
    }
    let run = calibrate(&["--backend", "replay", "--replay", "not-there.csv", "--out", "t.csv"]);
    assert_eq!((run.status.code(), text(&run.stdout)), (Some(1), ""));
    assert!(text(&run.stderr).contains("not-there.csv"), "{}", text(&run.stderr));
}
