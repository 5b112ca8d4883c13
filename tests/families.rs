//! Fits of kernels and of attention whose true law is known, because the test made it up.

use gettime::cost::{Basis, Cost};
use gettime::dtype::Dtype;
use gettime::fit::Fit;
use gettime::op::{Attention, Kernel, KernelKind, Op};
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn fit(rows: impl IntoIterator<Item = (Op, f64)>) -> Fit {
    let record = |(op, seconds)| Record {
        op,
        summary: Summary { seconds: Seconds::new(seconds).unwrap(), interval: None, samples: None },
        route: Route::default(),
        flags: String::new(),
        source: String::new(),
    };
    let mut records: Vec<Record> = rows.into_iter().map(record).collect();
    records.sort_unstable_by_key(|record| record.op);
    records.dedup_by_key(|record| record.op);
    Fit::new(&Table { records, ..Table::default() }, "the table")
}

fn copy(rows: u64, cols: u64) -> Op {
    Op::Kernel(Kernel { kind: KernelKind::Copy, rows, cols, top_k: 1, dtype: Dtype::Bf16 })
}

/// 2 µs; what fits into a cache of 50 MB at 10 TB/s, the rest at 3.3 TB/s.
fn with_cache(op: &Op) -> f64 {
    let bytes = op.bytes() as f64;
    2e-6 + bytes.min(50e6) / 10e12 + (bytes - 50e6).max(0.0) / 3.3e12
}

/// 2 µs and 3.3 TB/s.
fn without(op: &Op) -> f64 {
    2e-6 + op.bytes() as f64 / 3.3e12
}

/// Even numbers as noise, up to ± 1 %, and each 25th row in a bad moment.
fn noisy(row: usize, seconds: f64, random: &mut StdRng) -> f64 {
    seconds * random.random_range(-0.01..0.01f64).exp() * if row % 25 == 7 { 2.0 } else { 1.0 }
}

fn size(random: &mut StdRng, low: f64, high: f64) -> u64 {
    random.random_range(low..high).exp2() as u64
}

/// Copies of up to half a gigabyte.
fn copies(rows: usize, seed: u64, law: fn(&Op) -> f64) -> Vec<(Op, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..rows)
        .map(|row| {
            let op = copy(size(&mut random, 4.0, 14.0), size(&mut random, 8.0, 13.0));
            (op, noisy(row, law(&op), &mut random))
        })
        .collect()
}

/// Errors of some ops, the smallest first.
fn off(fit: &Fit, ops: impl IntoIterator<Item = Op>, law: impl Fn(&Op) -> f64) -> Vec<f64> {
    let error = |op: Op| {
        let estimate = fit.cost(&op).unwrap();
        assert!(estimate.low <= estimate.seconds && estimate.seconds <= estimate.high, "{op}: {estimate:?}");
        (estimate.seconds.get() / law(&op) - 1.0).abs()
    };
    let mut errors: Vec<f64> = ops.into_iter().map(error).collect();
    errors.sort_unstable_by(f64::total_cmp);
    errors
}

#[test]
fn a_kernel_knows_the_cache_and_the_memory_behind_it() {
    for (rows, most) in [(40, (0.02, 0.12)), (100, (0.015, 0.08)), (400, (0.01, 0.06))] {
        let fit = fit(copies(rows, rows as u64, with_cache));
        let fresh: Vec<Op> = copies(300, 1000, with_cache).into_iter().map(|(op, _)| op).collect();
        let errors = off(&fit, fresh, with_cache);
        let (median, p95) = (errors[150], errors[285]);
        assert!(median < most.0 && p95 < most.1, "{rows} rows: {median} {p95}");
        // 4 to 64 GB, by the memory's bandwidth, not by the mean of both
        let beyond = (0..5).map(|log| copy(1 << (18 + log), 8192));
        let worst = off(&fit, beyond.clone(), with_cache)[4];
        assert!(worst < 0.1, "{rows} rows: beyond, {worst}");
        assert!(beyond.into_iter().all(|op| fit.cost(&op).unwrap().basis == Basis::Extrapolated));
    }
}

#[test]
fn no_knee_is_seen_where_there_is_none() {
    for rows in [12, 40, 200] {
        let fit = fit(copies(rows, 7 + rows as u64, without));
        let beyond = (0..5).map(|log| copy(1 << (18 + log), 8192));
        let worst = off(&fit, beyond, without)[4];
        assert!(worst < 0.1, "{rows} rows: {worst}");
    }
}

/// Blocks of 128 queries on 132 multiprocessors, 5 TFLOP/s each, 4 TB/s of memory, 4 µs.
fn flash(op: &Op) -> f64 {
    let Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, .. }) = *op else { unreachable!() };
    let blocks = (batch * heads * seq_q.div_ceil(128)) as f64;
    let of_block = (4 * 128 * seq_kv * head_dim) as f64 / 5e12;
    4e-6 + ((blocks / 132.0).ceil() * of_block).max(op.bytes() as f64 / 4e12)
}

fn attention(batch: u64, heads: u64, seq_q: u64, seq_kv: u64, head_dim: u64) -> Op {
    Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, dtype: Dtype::Bf16 })
}

fn attentions(rows: usize, seed: u64) -> Vec<(Op, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..rows)
        .map(|row| {
            let positions = size(&mut random, 7.0, 14.0);
            let (batch, heads) = (1 << random.random_range(0..5), 1 << random.random_range(1..6));
            let op = attention(batch, heads, positions, positions, [64, 128][random.random_range(0..2)]);
            (op, noisy(row, flash(&op), &mut random))
        })
        .collect()
}

#[test]
fn attention_goes_by_waves_of_blocks() {
    for (rows, most) in [(40, 0.04), (300, 0.02)] {
        let fit = fit(attentions(rows, rows as u64));
        let fresh: Vec<Op> = attentions(300, 2000).into_iter().map(|(op, _)| op).collect();
        let median = off(&fit, fresh, flash)[150];
        assert!(median < most, "{rows} rows: {median}");
        // longer sequences, more of them, more heads
        let beyond = [
            attention(1, 16, 65_536, 65_536, 128),
            attention(4, 8, 131_072, 131_072, 128),
            attention(256, 32, 4096, 4096, 128),
            attention(16, 128, 8192, 8192, 64),
        ];
        let worst = off(&fit, beyond, flash)[3];
        assert!(worst < 0.1, "{rows} rows: beyond, {worst}");
        for op in beyond {
            assert_eq!(fit.cost(&op).unwrap().basis, Basis::Extrapolated);
        }
    }
}
