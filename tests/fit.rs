//! Fits of tables whose true law is known, because the test made it up.

use gettime::cost::{Basis, Cost, CostError, Estimate};
use gettime::device::Device;
use gettime::dtype::Dtype;
use gettime::fit::{Fit, Key};
use gettime::op::{Attention, Collective, CollectiveKind, Family, Gemm, Kernel, KernelKind, Link, Op, P2p};
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

fn gemm(m: u64, k: u64, n: u64) -> Op {
    batched(1, m, k, n)
}

fn batched(batch: u64, m: u64, k: u64, n: u64) -> Op {
    Op::Gemm(Gemm { m, k, n, batch, dtype: Dtype::Bf16 })
}

fn all_reduce(bytes: u64, ranks: u64) -> Op {
    Op::Collective(Collective { kind: CollectiveKind::AllReduce, bytes, ranks, nodes: 1, dtype: Dtype::F16 })
}

fn record(op: Op, seconds: f64) -> Record {
    let summary = Summary { seconds: Seconds::new(seconds).unwrap(), interval: None, samples: None };
    Record { op, summary, route: Route::default(), flags: String::new(), source: String::new() }
}

fn table(rows: impl IntoIterator<Item = (Op, f64)>) -> Table {
    let records = rows.into_iter().map(|(op, seconds)| record(op, seconds)).collect();
    Table { records, ..Table::default() }
}

fn fit(rows: impl IntoIterator<Item = (Op, f64)>) -> Fit {
    Fit::new(&table(rows), "the table")
}

fn percentile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

#[track_caller]
fn assert_sound(estimate: &Estimate) {
    let Estimate { seconds, low, high, .. } = estimate;
    assert!(Seconds::ZERO < *low && low <= seconds && seconds <= high, "{estimate:?}");
    assert!(high.get().is_finite(), "{estimate:?}");
}

/// A made-up GPU: 2 µs to launch, then the slower of 800 TFLOP/s and 4 TB/s, with the ripple of 132
/// processors that each take tiles of 128 × 128. Seconds.
fn gpu(op: &Op) -> f64 {
    let Op::Gemm(Gemm { m, n, batch, .. }) = *op else { panic!("{op} is no product") };
    let waves = (m.div_ceil(128) * n.div_ceil(128) * batch) as f64 / 132.0;
    let ripple = 1.0 + 0.15 * (waves.ceil() / waves - 1.0).min(1.0);
    2e-6 + (op.flops() as f64 / 800e12).max(op.bytes() as f64 / 4e12) * ripple
}

/// Sizes from 32 to 16384, evenly in their logarithm, multiples of 8.
fn random_gemm(random: &mut StdRng) -> Op {
    let mut size = || (random.random_range(5.0..14.0f64).exp2() / 8.0).round() as u64 * 8;
    gemm(size(), size(), size())
}

/// Measurements of the made-up GPU with 1 % of noise.
fn measured_gpu(rows: usize, seed: u64) -> Vec<(Op, f64)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut measured = Vec::new();
    for _ in 0..rows {
        let op = random_gemm(&mut random);
        // The sum of 12 evenly distributed numbers is as good as normal.
        let noise = (0..12).map(|_| random.random_range(-0.5..0.5)).sum::<f64>() * 0.01;
        measured.push((op, gpu(&op) * noise.exp()));
    }
    measured.sort_unstable_by_key(|(op, _)| *op);
    measured.dedup_by_key(|(op, _)| *op);
    measured
}

#[test]
fn a_measured_op_comes_back_bit_for_bit() {
    let sizes = [1, 2, 3, 5, 8, 13, 100, 1000, 4096];
    let law = |m: u64, k: u64, n: u64| (3 * m + 5 * k + 7 * n) as f64 * 1.1e-7;
    let shapes = || {
        let pairs = sizes.into_iter().flat_map(move |m| sizes.map(|k| (m, k)));
        pairs.flat_map(move |(m, k)| sizes.map(|n| (m, k, n)))
    };
    let fit = fit(shapes().map(|(m, k, n)| (gemm(m, k, n), law(m, k, n))));
    for (m, k, n) in shapes() {
        let estimate = fit.cost(&gemm(m, k, n)).unwrap();
        assert_eq!(estimate.seconds.get().to_bits(), law(m, k, n).to_bits());
        assert_eq!(estimate.basis, Basis::Measured);
        assert_sound(&estimate);
    }
}

#[test]
fn a_measured_interval_comes_back_and_a_missing_one_is_that_of_the_noise() {
    let mut table = table(measured_gpu(200, 5));
    let seconds = table.records[7].summary.seconds;
    let (low, high) =
        (Seconds::new(seconds.get() * 0.9).unwrap(), Seconds::new(seconds.get() * 1.2).unwrap());
    table.records[7].summary.interval = Some((low, high));
    let fit = Fit::new(&table, "the table");
    let said = Estimate { seconds, low, high, basis: Basis::Measured };
    assert_eq!(fit.cost(&table.records[7].op), Ok(said));
    let unsaid = fit.cost(&table.records[8].op).unwrap().relative_half_width();
    assert!((0.005..0.06).contains(&unsaid), "95 % of 1 % noise is ± 2 %, not ± {unsaid}");
}

#[test]
fn held_out_shapes_are_met_within_3_percent_and_intervals_keep_their_promise() {
    for seed in [1, 2, 3] {
        let fit = fit(measured_gpu(300, seed));
        let (mut errors, mut covered) = (Vec::new(), 0);
        for (op, seconds) in measured_gpu(1000, seed + 1000) {
            let estimate = fit.cost(&op).unwrap();
            assert_sound(&estimate);
            errors.push((estimate.seconds.get() / seconds - 1.0).abs());
            covered += usize::from(estimate.low.get() <= seconds && seconds <= estimate.high.get());
        }
        let coverage = covered as f64 / errors.len() as f64;
        let (median, p95) = (percentile(errors.clone(), 0.5), percentile(errors, 0.95));
        assert!(median < 0.03 && p95 < 0.12, "seed {seed}: {median} {p95}");
        assert!((0.85..=0.98).contains(&coverage), "seed {seed}: {coverage}");
    }
}

#[test]
fn the_number_of_multiprocessors_is_a_hint_that_may_be_nonsense() {
    let mut table = table(measured_gpu(300, 18));
    for sms in [toml::Value::Integer(132), toml::Value::Integer(-4), "many".into()] {
        let mut device = Device { name: "made up".into(), ..Device::default() };
        device.details.insert("sms".into(), sms);
        table.device = Some(device);
        let fit = Fit::new(&table, "the table");
        let errors = measured_gpu(500, 19)
            .into_iter()
            .map(|(op, seconds)| (fit.cost(&op).unwrap().seconds.get() / seconds - 1.0).abs())
            .collect();
        let median = percentile(errors, 0.5);
        assert!(median < 0.03, "{median}");
    }
}

#[test]
fn holdout_tells_the_error_that_fresh_shapes_have() {
    let fit = fit(measured_gpu(600, 4));
    let errors = fit.holdout(5, 1);
    let [error] = &errors[..] else { panic!("one family was measured: {errors:?}") };
    assert_eq!((error.family, error.dtype, error.rows), (Family::Gemm, Some(Dtype::Bf16), 600));
    let fresh = measured_gpu(1000, 2004);
    let fresh = fresh.iter().map(|(op, t)| 100.0 * (fit.cost(op).unwrap().seconds.get() / t - 1.0).abs());
    let median = percentile(fresh.collect(), 0.5);
    assert!((error.median / median - 1.0).abs() < 0.35, "told {} and is {median}", error.median);
    assert!(error.median <= error.mean && error.mean <= error.p95 && error.p95 <= error.max);
    assert!(error.bias.abs() <= error.mean && (85.0..=98.0).contains(&error.coverage), "{error:?}");
    let line = error.to_string();
    assert!(line.starts_with("gemm bf16: ") && line.contains(" % p95 on 600 held-out shapes"), "{line}");
    assert_eq!(fit.holdout(5, 1), errors, "the same seed deals the same folds");
}

#[test]
fn a_product_of_ten_million_rows_follows_the_law() {
    let mut rows = measured_gpu(1500, 6);
    rows.retain(|(op, _)| matches!(op, Op::Gemm(gemm) if gemm.m <= 4096));
    let fit = fit(rows);
    for (k, n) in [(1024, 1024), (8192, 8192), (512, 10_000), (4096, 256)] {
        for m in [65_536, 1_048_576, 10_240_000] {
            let estimate = fit.cost(&gemm(m, k, n)).unwrap();
            let off = estimate.seconds.get() / gpu(&gemm(m, k, n)) - 1.0;
            assert!(off.abs() < 0.05, "{m}×{k}×{n} is off by {off}");
            assert_eq!(estimate.basis, Basis::Extrapolated);
            assert_sound(&estimate);
        }
    }
}

#[test]
fn the_interval_widens_with_the_distance_from_what_was_measured() {
    let mut rows = measured_gpu(800, 7);
    rows.retain(|(op, _)| matches!(op, Op::Gemm(gemm) if gemm.m <= 1024));
    let fit = fit(rows);
    let widths = [1000, 2000, 4000, 16_000, 64_000]
        .map(|m| fit.cost(&gemm(m, 1000, 1000)).unwrap().relative_half_width());
    assert!(widths.is_sorted(), "{widths:?}");
}

#[test]
fn batches_follow_the_law_where_only_single_products_were_measured() {
    let fit = fit(measured_gpu(800, 8));
    for (batch, m, k, n) in [(64, 1024, 128, 1024), (2048, 512, 512, 512), (16, 10_000, 512, 10_000)] {
        let op = batched(batch, m, k, n);
        let estimate = fit.cost(&op).unwrap();
        let off = estimate.seconds.get() / gpu(&op) - 1.0;
        assert!(off.abs() < 0.08, "{op} is off by {off}");
        assert_eq!(estimate.basis, Basis::Extrapolated);
    }
}

#[test]
fn nothing_jumps_at_the_edge_of_what_was_measured() {
    let mut rows = measured_gpu(600, 9);
    rows.push((gemm(20_000, 4096, 4096), gpu(&gemm(20_000, 4096, 4096))));
    let fit = fit(rows);
    let at = |m| fit.cost(&gemm(m, 4096, 4096)).unwrap();
    let [below, edge, above] = [at(19_999), at(20_000), at(20_001)];
    let bases = [below.basis, edge.basis, above.basis];
    assert_eq!(bases, [Basis::Interpolated, Basis::Measured, Basis::Extrapolated]);
    for (a, b) in [(below, edge), (edge, above)] {
        assert!((a.seconds.get() / b.seconds.get() - 1.0).abs() < 0.02, "{a:?} {b:?}");
    }
}

#[test]
fn more_rows_never_take_much_less_time() {
    let fit = fit(measured_gpu(400, 10));
    for (k, n) in [(64, 64), (1000, 3000), (16_000, 16_000)] {
        let mut slowest = 0.0f64;
        for step in 0..120 {
            let m = 2f64.powf(f64::from(step) * 0.2) as u64;
            let seconds = fit.cost(&gemm(m, k, n)).unwrap().seconds.get();
            assert!(seconds > 0.8 * slowest, "{m}×{k}×{n}: {seconds} after {slowest}");
            slowest = slowest.max(seconds);
        }
    }
}

#[test]
fn the_order_of_the_rows_changes_no_bit() {
    let rows = measured_gpu(300, 11);
    let mut shuffled = rows.clone();
    let mut random = StdRng::seed_from_u64(3);
    for i in (1..shuffled.len()).rev() {
        shuffled.swap(i, random.random_range(0..=i));
    }
    assert_ne!(rows, shuffled);
    let (one, other) = (fit(rows), fit(shuffled));
    for (op, _) in measured_gpu(100, 12).into_iter().chain([(gemm(10_240_000, 8192, 8192), 0.0)]) {
        let (a, b) = (one.cost(&op).unwrap(), other.cost(&op).unwrap());
        let bits = |e: Estimate| [e.seconds, e.low, e.high].map(|s| s.get().to_bits());
        assert_eq!(bits(a), bits(b), "{op}");
    }
    assert_eq!(one.holdout(4, 2), other.holdout(4, 2));
}

/// α and β of a ring: 3 µs, 1.5 µs a step, 150 GB/s.
fn ring(bytes: u64, ranks: u64) -> f64 {
    let p = ranks as f64;
    3e-6 + 1.5e-6 * 2.0 * (p - 1.0) + 2.0 * (p - 1.0) / p * bytes as f64 / 150e9
}

fn ring_rows(ranks: &[u64]) -> Vec<(Op, f64)> {
    let sizes = || (9..30).map(|log| 1u64 << log);
    ranks.iter().flat_map(|p| sizes().map(|bytes| (all_reduce(bytes, *p), ring(bytes, *p)))).collect()
}

#[test]
fn a_ring_is_known_at_ranks_that_were_not_measured() {
    let fit = fit(ring_rows(&[2, 4, 8, 16]));
    for ranks in [3, 6, 12, 13] {
        for bytes in [512, 3_000, 100_000, 5_000_000, 300_000_000] {
            let estimate = fit.cost(&all_reduce(bytes, ranks)).unwrap();
            let off = estimate.seconds.get() / ring(bytes, ranks) - 1.0;
            assert!(off.abs() < 0.03, "{bytes} bytes on {ranks} ranks is off by {off}");
            assert_eq!(estimate.basis, Basis::Interpolated);
        }
    }
    for (bytes, ranks) in [(1 << 20, 64), (1 << 34, 16), (1 << 32, 256)] {
        let estimate = fit.cost(&all_reduce(bytes, ranks)).unwrap();
        let off = estimate.seconds.get() / ring(bytes, ranks) - 1.0;
        assert!(off.abs() < 0.05, "{bytes} bytes on {ranks} ranks is off by {off}");
        assert_eq!(estimate.basis, Basis::Extrapolated);
    }
}

#[test]
fn latency_stays_below_the_smallest_message() {
    let fit = fit(ring_rows(&[2, 4, 8]));
    for bytes in [1, 8, 100, 511] {
        let estimate = fit.cost(&all_reduce(bytes, 8)).unwrap();
        assert_eq!(estimate.basis, Basis::Extrapolated);
        assert!((estimate.seconds.get() / ring(512, 8) - 1.0).abs() < 0.05, "{bytes} bytes: {estimate:?}");
    }
}

#[test]
fn the_dtype_of_a_message_does_not_matter_but_its_bytes_do() {
    let fit = fit(ring_rows(&[2, 4, 8]));
    let Op::Collective(half) = all_reduce(1 << 20, 4) else { unreachable!() };
    let estimate = fit.cost(&Op::Collective(Collective { dtype: Dtype::F32, ..half })).unwrap();
    assert_eq!(estimate.basis, Basis::Interpolated);
    assert!((estimate.seconds.get() / ring(1 << 20, 4) - 1.0).abs() < 1e-12);
}

#[test]
fn what_was_not_measured_is_a_miss_that_says_what_to_measure() {
    let fit = fit(ring_rows(&[2, 4]));
    let far = Op::Collective(Collective {
        kind: CollectiveKind::AllToAll,
        bytes: 671_088_640,
        ranks: 16,
        nodes: 2,
        dtype: Dtype::Bf16,
    });
    let miss = fit.cost(&far).unwrap_err();
    assert_eq!(
        miss.to_string(),
        "the table has no all_to_all on 2 nodes, which all_to_all bf16 671 MB, 16 ranks on 2 nodes needs"
    );
    assert_eq!(miss.op(), &far);
    let wants = [
        (gemm(1, 1, 1), "gemm in bf16"),
        (Op::P2p(P2p { bytes: 1, link: Link::InterNode }), "send between nodes"),
        (kernel(KernelKind::Softmax, 8, 8), "softmax in bf16"),
    ];
    for (op, want) in wants {
        let missing = match fit.cost(&op) {
            Err(CostError::Missing { missing, .. }) => missing,
            other => panic!("{op}: {other:?}"),
        };
        assert_eq!(missing, want);
    }
    assert!(Fit::new(&Table::default(), "nothing").cost(&far).is_err());
}

fn kernel(kind: KernelKind, rows: u64, cols: u64) -> Op {
    Op::Kernel(Kernel { kind, rows, cols, top_k: 1, dtype: Dtype::Bf16 })
}

fn attention(batch: u64, heads: u64, seq: u64) -> Op {
    Op::Attention(Attention { batch, heads, seq_q: seq, seq_kv: seq, head_dim: 128, dtype: Dtype::Bf16 })
}

#[test]
fn one_row_of_a_family_answers_for_the_family() {
    let send = |bytes| Op::P2p(P2p { bytes, link: Link::InterNode });
    let cases = [
        (
            gemm(4096, 4096, 4096),
            vec![gemm(1, 1, 1), gemm(10_240_000, 8192, 8192), batched(2048, 64, 64, 64)],
        ),
        (
            kernel(KernelKind::Copy, 4096, 4096),
            vec![kernel(KernelKind::Copy, 1, 1), kernel(KernelKind::Copy, 1 << 24, 8192)],
        ),
        (attention(1, 32, 4096), vec![attention(1, 1, 1), attention(64, 64, 131_072)]),
        (all_reduce(1 << 20, 2), vec![all_reduce(1, 2), all_reduce(1 << 30, 1024)]),
        (send(1 << 20), vec![send(1), send(1 << 40)]),
    ];
    for (measured, others) in cases {
        let fit = fit([(measured, 200e-6)]);
        assert_eq!(fit.cost(&measured).unwrap().seconds.get(), 200e-6);
        for op in others {
            let estimate = fit.cost(&op).unwrap();
            assert_eq!(estimate.basis, Basis::Extrapolated, "{op}");
            assert!(estimate.relative_half_width() >= 0.1, "{op}: {estimate:?}");
            assert_sound(&estimate);
        }
        assert!(fit.holdout(5, 1).is_empty(), "one row leaves nothing to predict it from");
    }
    // Twice the work of one long row is twice the time: no overhead of a second is made up.
    let fit = fit([(gemm(65_536, 8192, 8192), 1.0)]);
    let double = fit.cost(&gemm(131_072, 8192, 8192)).unwrap().seconds.get();
    assert!((double - 2.0).abs() < 0.05, "{double}");
}

#[test]
fn thirty_rows_are_enough_to_be_useful() {
    let fit = fit(measured_gpu(30, 13));
    let errors = measured_gpu(500, 14)
        .into_iter()
        .map(|(op, seconds)| {
            let estimate = fit.cost(&op).unwrap();
            assert_sound(&estimate);
            (estimate.seconds.get() / seconds - 1.0).abs()
        })
        .collect();
    let median = percentile(errors, 0.5);
    assert!(median < 0.08, "{median}");
}

#[test]
fn kernels_and_attention_are_fitted_like_products() {
    // 2 µs, 3 TB/s; 3 µs, 400 TFLOP/s.
    let copy = |rows, cols| (kernel(KernelKind::Copy, rows, cols), 2e-6 + (4 * rows * cols) as f64 / 3e12);
    let flash = |heads, seq| {
        let op = attention(1, heads, seq);
        (op, 3e-6 + op.flops() as f64 / 400e12)
    };
    let sizes = || (3..13).map(|log| 1u64 << log);
    // up to 268 MB: no prediction is faster than the fastest row, which the launch must not hold back
    let large = (3..14).map(|log| 1u64 << log);
    let copies = large.clone().flat_map(|rows| large.clone().map(move |cols| copy(rows, cols)));
    let attentions = sizes().flat_map(|heads| sizes().map(move |seq| flash(heads, seq)));
    let fit = fit(copies.chain(attentions));
    for (op, seconds) in
        [copy(100, 1000), copy(3000, 3000), copy(1 << 20, 4096), flash(12, 3000), flash(40, 32_768)]
    {
        let off = fit.cost(&op).unwrap().seconds.get() / seconds - 1.0;
        assert!(off.abs() < 0.05, "{op} is off by {off}");
    }
    let families: Vec<Family> = fit.keys().map(|key| key.family()).collect();
    assert_eq!(families, [Family::Kernel, Family::Attention]);
}

#[test]
fn a_table_says_what_it_covers() {
    let product = |dtype| Op::Gemm(Gemm { m: 8, k: 8, n: 8, batch: 1, dtype });
    let fit = fit([(product(Dtype::F8E4m3), 1e-6), (product(Dtype::F32), 1e-6), (all_reduce(8, 2), 1e-6)]);
    assert_eq!(fit.gemm_dtypes(), [Dtype::F32, Dtype::F8E4m3]);
    let keys: Vec<Key> = fit.keys().collect();
    let reduce = Key::Collective(CollectiveKind::AllReduce, 1);
    assert_eq!(keys, [Key::Gemm(Dtype::F32), Key::Gemm(Dtype::F8E4m3), reduce]);
}

#[test]
fn outliers_do_not_bend_their_surroundings() {
    let mut rows = measured_gpu(400, 15);
    for row in rows.iter_mut().step_by(25) {
        row.1 *= 3.0;
    }
    let fit = fit(rows);
    let errors = measured_gpu(500, 16)
        .into_iter()
        .map(|(op, seconds)| (fit.cost(&op).unwrap().seconds.get() / seconds - 1.0).abs())
        .collect();
    let median = percentile(errors, 0.5);
    assert!(median < 0.03, "{median}");
}

#[test]
fn rows_of_no_time_and_sizes_beyond_counting_are_not_fatal() {
    let nothing = fit([(gemm(8, 8, 8), 0.0)]);
    assert_eq!(nothing.cost(&gemm(8, 8, 8)), Ok(Estimate::exactly(Seconds::ZERO, Basis::Measured)));
    assert!(matches!(nothing.cost(&gemm(8, 8, 9)), Err(CostError::Missing { .. })));
    let fit = fit(measured_gpu(50, 17));
    let most = u64::MAX;
    assert!(matches!(fit.cost(&batched(most, most, most, most)), Err(CostError::NotFinite { .. })));
}

#[test]
fn absurd_tables_give_finite_answers_or_none() {
    let mut random = StdRng::seed_from_u64(20);
    for rows in [1, 2, 7, 8, 9, 30, 100] {
        for spread in [0.0f64, 5.0, 300.0, 690.0] {
            let measured: Vec<(Op, f64)> = (0..rows)
                .map(|_| (random_gemm(&mut random), random.random_range(-spread..=spread).exp()))
                .collect();
            let fit = fit(measured);
            for op in [gemm(1, 1, 1), random_gemm(&mut random), gemm(1 << 59, 1 << 20, 1 << 20)] {
                match fit.cost(&op) {
                    Ok(Estimate { seconds, low, high, .. }) => assert!(low <= seconds && seconds <= high),
                    Err(miss) => assert!(matches!(miss, CostError::NotFinite { .. }), "{miss}"),
                }
            }
        }
    }
}

#[test]
fn asking_twice_gives_the_same_bits() {
    let fit = fit(measured_gpu(100, 21));
    for (op, _) in measured_gpu(50, 22) {
        assert_eq!(fit.cost(&op), fit.cost(&op));
    }
}
