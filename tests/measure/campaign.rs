//! What a campaign promises: exact times, a budget that holds, orders, and names for what is left out.

use std::collections::HashMap;
use std::time::Duration;

use gettime::measure::MeasureError;
use gettime::measure::campaign::{Limits, Outcome, SkipReason, run};
use gettime::op::Op;

use crate::fake::{Fake, gemm, law};

fn limits(seconds: f64) -> Limits {
    Limits { budget: Duration::from_secs_f64(seconds), ..Limits::default() }
}

/// The words of a row's flags that are no pairs of a name and a value.
fn words(flags: &str) -> String {
    flags.split(' ').filter(|word| !word.contains('=')).collect::<Vec<_>>().join(" ")
}

fn measure(fake: &mut Fake, ops: &[Op], limits: &Limits) -> Outcome {
    run(fake, ops, limits, &mut |_| ()).unwrap()
}

#[test]
fn the_law_comes_back_exactly_in_the_order_given() {
    let ops: Vec<Op> = [5, 700, 1, 33, 20_000].map(gemm).to_vec();
    let outcome = measure(&mut Fake::new(), &ops, &limits(600.0));
    assert!(outcome.skipped.is_empty());
    assert_eq!(outcome.records.iter().map(|row| row.op).collect::<Vec<_>>(), ops);
    for row in outcome.records {
        assert_eq!(row.summary.seconds.get(), law(&row.op));
        assert_eq!(row.summary.interval, Some((row.summary.seconds, row.summary.seconds)));
        assert_eq!((words(&row.flags).as_str(), row.source.as_str()), ("", "fake"));
    }
}

#[test]
fn an_op_given_twice_has_one_row() {
    let outcome = measure(&mut Fake::new(), &[gemm(5), gemm(6), gemm(5)], &limits(60.0));
    assert_eq!(outcome.records.len(), 2);
}

#[test]
fn each_pass_has_an_order_of_its_own_and_every_run_the_same() {
    let ops: Vec<Op> = (1..=20).map(gemm).collect();
    let orders = || {
        let mut fake = Fake::new();
        measure(&mut fake, &ops, &limits(600.0));
        fake.prepared.take()
    };
    let order = orders();
    assert_eq!(order, orders());
    assert_eq!(order.len(), 60);
    let passes: Vec<&[Op]> = order.chunks(20).collect();
    assert!(passes[0] != passes[1] && passes[1] != passes[2] && passes[0] != passes[2]);
    for pass in passes {
        let mut sorted = pass.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, ops);
    }
}

/// Ops from 2 µs to 200 ms, noisy, so that nothing stops before its time.
#[test]
fn the_budget_holds_and_every_op_is_measured() {
    let ops: Vec<Op> = (0..60).map(|i| gemm(1 + (10_f64.powf(f64::from(i) / 12.0)) as u64)).collect();
    for budget in [8.0, 20.0, 60.0] {
        let mut fake = Fake { noise: 0.3, ..Fake::new() };
        let outcome = measure(&mut fake, &ops, &limits(budget));
        assert_eq!(outcome.skipped, [], "{budget} s");
        let spent = fake.clock_seconds();
        assert!(spent <= 1.1 * budget, "{spent} s of {budget} s");
    }
}

#[test]
fn a_budget_that_is_too_short_is_kept_and_what_it_left_out_is_named() {
    // One run of each op already takes 0.2 s.
    let ops: Vec<Op> = (1..=50).map(|i| gemm(100_000 + i)).collect();
    let mut fake = Fake::new();
    let outcome = measure(&mut fake, &ops, &limits(5.0));
    assert!(fake.clock_seconds() <= 5.5, "{}", fake.clock_seconds());
    assert!(outcome.records.len() >= 11, "{}", outcome.records.len());
    assert_eq!(outcome.records.len() + outcome.skipped.len(), 50);
    assert!(outcome.skipped.iter().all(|skipped| skipped.reason == SkipReason::Budget));
    assert_eq!(measure(&mut Fake::new(), &ops, &limits(0.0)).skipped.len(), 50);
}

/// An op of 6 s in a budget of 10 s would take it all if it came first.
#[test]
fn light_ops_come_before_one_that_takes_all_the_time() {
    let mut ops = vec![gemm(3_000_000)];
    ops.extend((0..20).map(|i| gemm(500 + i)));
    let outcome = measure(&mut Fake::new(), &ops, &limits(10.0));
    assert!(outcome.records.iter().filter(|row| row.op != ops[0]).count() == 20);
}

#[test]
fn what_cannot_be_measured_is_skipped_by_name() {
    let (big, odd) = (gemm(1000), gemm(7));
    let mut fake = Fake { memory: 1000, unsupported: Some(odd), ..Fake::new() };
    let outcome = measure(&mut fake, &[gemm(1), big, odd], &limits(60.0));
    assert_eq!(outcome.records.len(), 1);
    let reasons: Vec<_> = outcome.skipped.iter().map(|s| (s.op, s.reason.clone())).collect();
    let memory = SkipReason::Memory { asked: 8004, available: 1000 };
    assert_eq!(reasons, [(big, memory), (odd, SkipReason::Unsupported("odd".into()))]);
    assert!(!fake.prepared.borrow().contains(&big), "asked before anything is allocated");
}

#[test]
fn a_wrong_result_ends_the_campaign() {
    let mut fake = Fake { wrong: Some(gemm(3)), ..Fake::new() };
    let error = run(&mut fake, &[gemm(1), gemm(3)], &limits(60.0), &mut |_| ()).unwrap_err();
    assert!(matches!(error, MeasureError::WrongResult { op, .. } if op == gemm(3)));
    let text = "gemm f32 3×1×1 gave a wrong result at C[0,0]: expected 1, got 2";
    assert_eq!(error.to_string(), text);
}

#[test]
fn noise_and_drift_are_flagged_and_outliers_are_not() {
    let row = |mut fake: Fake| measure(&mut fake, &[gemm(500)], &limits(3.0)).records.swap_remove(0);
    let flags = |fake| words(&row(fake).flags);
    assert_eq!(flags(Fake { noise: 0.01, ..Fake::new() }), "");
    // Bounded by the count of samples, ±80 % of noise leaves more than ±2 % of doubt.
    assert_eq!(flags(Fake { noise: 0.8, ..Fake::new() }), "noisy");
    assert_eq!(flags(Fake { drift: 0.1, ..Fake::new() }), "noisy drift");
    let row = row(Fake { outlier_every: 7, ..Fake::new() });
    assert_eq!((words(&row.flags).as_str(), row.summary.seconds.get()), ("", law(&row.op)));
}

#[test]
fn progress_counts_to_the_end_with_what_is_known_so_far() {
    let ops = [gemm(1), gemm(2)];
    let mut seen = Vec::new();
    let mut summaries = HashMap::new();
    run(&mut Fake::new(), &ops, &limits(60.0), &mut |progress| {
        seen.push((progress.done, progress.total, progress.pass));
        let samples = progress.record.and_then(|record| record.summary.samples);
        summaries.entry(*progress.op).or_insert_with(Vec::new).push(samples);
        assert!(progress.elapsed + progress.left <= Duration::from_secs(60));
    })
    .unwrap();
    assert_eq!(seen, [(1, 6, 1), (2, 6, 1), (3, 6, 2), (4, 6, 2), (5, 6, 3), (6, 6, 3)]);
    assert_eq!(summaries[&ops[0]], [Some(10), Some(20), Some(30)]);
}
