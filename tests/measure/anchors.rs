//! What a campaign does when the device does not stay as it is, and how it says so.

use std::time::Duration;

use gettime::measure::campaign::{Limits, Outcome, run};
use gettime::op::Op;

use crate::fake::{Fake, gemm, law};

/// One pass, with anchors every second of the virtual clock.
fn measure(fake: &mut Fake, ops: &[Op]) -> Outcome {
    let limits = Limits { passes: 1, anchors: Duration::from_secs(1), ..Limits::default() };
    run(fake, ops, &limits, &mut |_| ()).unwrap()
}

/// 1 ms and a little more each: about 20 ms for a visit, 2 s for all.
fn ops() -> Vec<Op> {
    (0..100).map(|i| gemm(500 + i)).collect()
}

fn has(flags: &str, word: &str) -> bool {
    flags.split(' ').any(|known| known == word)
}

#[test]
fn three_ops_are_looked_at_every_period() {
    let mut fake = Fake::new();
    let outcome = measure(&mut fake, &ops());
    let order = fake.prepared.take();
    let repeated = order.len() - 100;
    assert!(repeated >= 6 && repeated.is_multiple_of(3), "{repeated}");
    assert!(outcome.records.iter().all(|row| row.flags.is_empty()));
    let without = Limits { passes: 1, ..Limits::default() };
    let mut fake = Fake::new();
    run(&mut fake, &ops(), &without, &mut |_| ()).unwrap();
    assert_eq!(fake.prepared.take().len(), 100);
}

/// Slower from 1.5 s on until three anchors have seen it: what was measured since the first look is measured anew.
#[test]
fn what_was_measured_while_the_device_was_slow_is_measured_anew() {
    let mut fake = Fake { slow: Some((1.5, 0.05, 3)), ..Fake::new() };
    let outcome = measure(&mut fake, &ops());
    for row in &outcome.records {
        assert_eq!((row.summary.seconds.get(), row.flags.as_str()), (law(&row.op), ""), "{}", row.op);
    }
    let repeated = fake.prepared.take().len() - 100;
    assert!(repeated > 30 && repeated < 70, "{repeated}: about a second's ops");
}

#[test]
fn a_device_that_stays_slower_is_flagged_and_measured_anew_once_only() {
    let mut fake = Fake { slow: Some((1.5, 0.05, usize::MAX)), ..Fake::new() };
    let outcome = measure(&mut fake, &ops());
    for row in &outcome.records {
        let is_slow = row.summary.seconds.get() > 1.01 * law(&row.op);
        assert_eq!(has(&row.flags, "drift"), is_slow, "{}: {}", row.op, row.flags);
    }
    let flagged = outcome.records.iter().filter(|row| has(&row.flags, "drift")).count();
    assert!(flagged > 20 && flagged < 80, "{flagged}");
    assert!(fake.prepared.take().len() < 220);
}

/// A change within what an anchor may be off is none.
#[test]
fn a_little_slower_is_no_drift() {
    let outcome = measure(&mut Fake { slow: Some((1.5, 0.01, usize::MAX)), ..Fake::new() }, &ops());
    assert!(outcome.records.iter().all(|row| row.flags.is_empty()));
}

#[test]
fn two_clocks_are_flagged() {
    let outcome = measure(&mut Fake { second_clock: 0.04, ..Fake::new() }, &[gemm(500)]);
    assert_eq!(outcome.records[0].flags, "bimodal");
    let outcome = measure(&mut Fake { second_clock: 0.01, ..Fake::new() }, &[gemm(500)]);
    assert_eq!(outcome.records[0].flags, "");
}

/// Of the first 20 ops one is asked whether twice as many runs take twice as long.
#[test]
fn what_surrounds_the_runs_of_a_sample_is_found_out() {
    let flagged = |overhead| {
        let ops: Vec<Op> = (1..=20).map(gemm).collect();
        let outcome = measure(&mut Fake { overhead, ..Fake::new() }, &ops);
        outcome.records.iter().filter(|row| has(&row.flags, "overhead_bound")).count()
    };
    assert_eq!((flagged(0.0), flagged(1e-8), flagged(5e-6)), (0, 0, 1));
}
