//! What a row says of the samples that it rests on.

use gettime::dtype::Dtype;
use gettime::op::{Family, Op};
use gettime::table::{Record, Table};

use crate::run::{Run, all_have, follows_the_law, law, whole};

fn has(record: &Record, word: &str) -> bool {
    record.flags.split(' ').any(|known| known == word)
}

fn discarded(record: &Record) -> Option<u64> {
    record.flags.split(' ').find_map(|word| word.strip_prefix("discarded=")?.parse().ok())
}

fn count(table: &Table, word: &str) -> usize {
    table.records.iter().filter(|record| has(record, word)).count()
}

#[test]
fn clocks_held_down_are_flagged() {
    let always = Run::new(whole(), "always", "throttled=1", &[]).records();
    assert!(all_have(&always, "throttled"));
    // some are taken again, the others are all there is
    assert!(always.records.iter().all(|record| discarded(record).is_some()));
    for (name, faults) in [("late", "throttled=25"), ("while", "throttled=1 cooled=25")] {
        let table = Run::new(whole(), name, faults, &["--budget=10s", "--passes=1"]).records();
        let throttled = count(&table, "throttled");
        assert!(throttled > 0 && throttled < table.records.len(), "{faults}: {throttled}");
    }
}

/// One replay in seven is half as fast: those that are seen are taken again, and the rest is what the law says.
#[test]
fn samples_of_a_clock_held_down_for_a_moment_are_taken_again() {
    let table = Run::new(whole(), "flash", "flash=7", &["--budget=10s"]).records();
    follows_the_law(&table);
    let told = table.records.iter().filter(|record| discarded(record).is_some()).count();
    assert!(told > 0 && count(&table, "throttled") < told, "{told}");
}

#[test]
fn noise_and_two_clocks_are_flagged() {
    let table = Run::new(whole(), "noise", "noise=60", &["--budget=10s"]).records();
    assert!(count(&table, "noisy") > 0);
    let table = Run::new(whole(), "clocks", "second_clock=5", &[]).records();
    assert!(2 * count(&table, "bimodal") > table.records.len(), "{}", count(&table, "bimodal"));
    let steady = Run::new(whole(), "steady", "", &[]).records();
    assert_eq!(
        (count(&steady, "bimodal"), count(&steady, "noisy"), count(&steady, "overhead_bound")),
        (0, 0, 0)
    );
}

/// 100 µs between the first event and the first launch are 10 % of a sample, and 5 % of one twice as long.
#[test]
fn time_around_the_launches_is_flagged() {
    let table = Run::new(whole(), "gap", "gap=100", &["--budget=10s"]).records();
    assert!(count(&table, "overhead_bound") > 0);
}

/// The double launches in 2 µs, and multiplies binary32 faster than the device whose attributes it shows can.
#[test]
fn what_is_no_time_of_the_op_is_flagged() {
    let table = Run::new(whole(), "ends", "", &["--dtype", "bf16,f32", "--budget=15s"]).records();
    for record in &table.records {
        // ops of a size in between could be either
        let times = law(&record.op) / 2e-6;
        if !(1.09..1.11).contains(&times) {
            assert_eq!(has(record, "launch_bound"), times < 1.1, "{}", record.op);
        }
        let large = record.op.flops() > 1 << 34;
        if record.op.family() != Family::Gemm || record.op.dtype() == Some(Dtype::Bf16) {
            assert!(!has(record, "beyond_peak"), "{}", record.op);
        } else if large {
            assert!(has(record, "beyond_peak"), "{}", record.op);
        }
    }
    let is_f32 = |record: &&Record| matches!(record.op, Op::Gemm(gemm) if gemm.dtype == Dtype::F32);
    assert!(table.records.iter().filter(is_f32).any(|record| has(record, "beyond_peak")));
}

#[test]
fn a_lowered_power_limit_is_remarked_on() {
    let run = Run::new(whole(), "power", "watts=500", &[]);
    let remark = "remark: the power limit is 500 W, and 700 W by default";
    assert!(run.errors().contains(remark), "{}", run.errors());
    let device = run.records().device.unwrap();
    assert_eq!(device.details["power_limit_default_watts"].as_float(), Some(700.0));
    assert_eq!(device.details["vbios"].as_str(), Some("96.00.0D"));
}
