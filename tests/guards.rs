//! What no estimate may contradict, on random queries of tables with noise and outliers.

use gettime::cost::{Basis, Cost};
use gettime::dtype::Dtype;
use gettime::fit::Fit;
use gettime::op::{Gemm, Op};
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn gemm([m, k, n]: [u64; 3]) -> Gemm {
    Gemm { m, k, n, batch: 1, dtype: Dtype::Bf16 }
}

/// Sizes from 2^low to 2^high, evenly in their logarithm.
fn sizes(random: &mut StdRng, low: f64, high: f64) -> [u64; 3] {
    std::array::from_fn(|_| random.random_range(low..high).exp2() as u64)
}

/// 2 µs, then the slower of 800 TFLOP/s and 4 TB/s in waves of 132 tiles, with 2 % of noise and each 30th row
/// three times as long.
fn table(rows: u64, seed: u64) -> Table {
    let mut random = StdRng::seed_from_u64(seed);
    let mut records: Vec<Record> = (0..rows)
        .map(|row| {
            let op = gemm(sizes(&mut random, 5.0, 14.0));
            let waves = (op.m.div_ceil(128) * op.n.div_ceil(128)) as f64 / 132.0;
            let ripple = 1.0 + 0.15 * (waves.ceil() / waves - 1.0).min(1.0);
            let work = (op.flops() as f64 / 800e12).max(op.bytes() as f64 / 4e12);
            let noise = random.random_range(-0.02..0.02f64).exp() * if row % 30 == 0 { 3.0 } else { 1.0 };
            let seconds = Seconds::new((2e-6 + work * ripple) * noise).unwrap();
            let summary = Summary { seconds, interval: None, samples: None };
            Record {
                op: Op::Gemm(op),
                summary,
                route: Route::default(),
                flags: String::new(),
                source: String::new(),
            }
        })
        .collect();
    records.sort_unstable_by_key(|record| record.op);
    records.dedup_by_key(|record| record.op);
    Table { records, ..Table::default() }
}

#[test]
fn no_estimate_is_faster_than_the_machine_was_ever_seen_to_be() {
    for rows in [30, 150, 800] {
        let table = table(rows, rows);
        let fit = Fit::new(&table, "table");
        let fastest = |work: fn(&Op) -> u128| {
            let rates = table.records.iter().map(|r| work(&r.op) as f64 / r.summary.seconds.get());
            rates.fold(0.0, f64::max)
        };
        let (flops, bytes) = (fastest(Op::flops), fastest(Op::bytes));
        let mut random = StdRng::seed_from_u64(rows + 1);
        for _ in 0..3000 {
            let op = Op::Gemm(gemm(sizes(&mut random, 0.0, 24.0)));
            let estimate = fit.cost(&op).unwrap();
            if estimate.basis == Basis::Measured {
                continue;
            }
            let least = (op.flops() as f64 / flops).max(op.bytes() as f64 / bytes);
            assert!(estimate.seconds.get() >= least * (1.0 - 1e-9), "{op}: {estimate:?} under {least}");
            assert!(
                estimate.low <= estimate.seconds && estimate.seconds <= estimate.high,
                "{op}: {estimate:?}"
            );
        }
    }
}

#[test]
fn more_work_is_never_faster_than_a_margin_allows() {
    for rows in [30, 150, 800] {
        let fit = Fit::new(&table(rows, rows + 10), "table");
        let mut random = StdRng::seed_from_u64(rows + 11);
        for _ in 0..3000 {
            let small = sizes(&mut random, 3.0, 20.0);
            let large = small.map(|size| size + (size as f64 * random.random_range(0.0..1.0f64)) as u64);
            let [less, more] = [small, large].map(|sizes| fit.cost(&Op::Gemm(gemm(sizes))).unwrap());
            if less.basis == Basis::Measured || more.basis == Basis::Measured {
                continue; // what was measured stands as it is
            }
            let ratio = more.seconds.get() / less.seconds.get();
            assert!(ratio > 0.8, "{small:?} takes {} and {large:?} {}", less.seconds, more.seconds);
        }
    }
}

#[test]
fn twice_the_ranks_take_more_rounds_and_not_a_multiple_of_all() {
    // 3 µs and 1.5 µs a step of the ring, 150 GB/s: known at 2, 4 and 8 ranks, asked for 16 and 6
    let ring = |bytes: u64, ranks: u64| {
        let p = ranks as f64;
        3e-6 + 1.5e-6 * 2.0 * (p - 1.0) + 2.0 * (p - 1.0) / p * bytes as f64 / 150e9
    };
    let op = |bytes, ranks| {
        let kind = gettime::op::CollectiveKind::AllReduce;
        Op::Collective(gettime::op::Collective { kind, bytes, ranks, nodes: 1, dtype: Dtype::F16 })
    };
    let sizes = || (9..30).map(|log| 1u64 << log);
    let records = [2, 4, 8].into_iter().flat_map(|ranks| {
        sizes().map(move |bytes| {
            let seconds = Seconds::new(ring(bytes, ranks)).unwrap();
            let summary = Summary { seconds, interval: None, samples: None };
            Record {
                op: op(bytes, ranks),
                summary,
                route: Route::default(),
                flags: String::new(),
                source: String::new(),
            }
        })
    });
    let fit = Fit::new(&Table { records: records.collect(), ..Table::default() }, "table");
    for (ranks, basis) in [(16, Basis::Extrapolated), (64, Basis::Extrapolated), (6, Basis::Interpolated)] {
        for bytes in [600, 10_000, 1 << 20, 100 << 20] {
            let estimate = fit.cost(&op(bytes, ranks)).unwrap();
            let off = estimate.seconds.get() / ring(bytes, ranks) - 1.0;
            assert!(off.abs() < 0.03, "{bytes} bytes on {ranks} ranks is off by {off}");
            assert_eq!(estimate.basis, basis);
        }
    }
}
