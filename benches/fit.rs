//! A table of 35,000 products: read, fitted, and asked for sizes that it was and was not asked for before.

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use gettime::cost::Cost;
use gettime::dtype::Dtype;
use gettime::fit::Fit;
use gettime::op::{Gemm, Op};
use gettime::table::Table;

/// The lattice of the published tables, 74 × 22 × 22 sizes, on a made-up GPU of 132 multiprocessors with 3 % of
/// noise.
fn text() -> String {
    let wide = [
        32u64, 64, 128, 256, 512, 768, 1024, 1536, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192,
        10_240, 12_288, 16_384, 51_200, 65_536,
    ];
    let long = (1..=16u64).chain((1..=28).flat_map(|i| [i * 160, i * 160 + 1])).chain([8192, 32_768]);
    let mut text = String::from("op,dtype,m,k,n,batch,seconds\n");
    for (i, m) in long.enumerate() {
        for k in wide {
            for n in wide {
                let waves = (m.div_ceil(128) * n.div_ceil(128)) as f64 / 132.0;
                let work = (2 * m * k * n) as f64 / 800e12 * (waves.ceil() / waves).min(1.5);
                let bytes = 2.0 * (m * k + k * n + m * n) as f64 / 4e12;
                let noise = ((i as u64 * 31 + k * 17 + n * 7) % 61) as f64 / 1000.0 - 0.03;
                let seconds = (2e-6 + work.max(bytes)) * noise.exp();
                let _ = writeln!(text, "gemm,bf16,{m},{k},{n},1,{seconds:e}");
            }
        }
    }
    text
}

fn gemm(m: u64, k: u64, n: u64) -> Op {
    Op::Gemm(Gemm { m, k, n, batch: 1, dtype: Dtype::Bf16 })
}

fn bench(c: &mut Criterion) {
    let text = text();
    let table = Table::parse(text.as_bytes(), "made up").expect("a table");
    let mut group = c.benchmark_group(format!("fit of {} rows", table.records.len()));
    group.sample_size(10);
    group.bench_function("read", |b| b.iter(|| Table::parse(black_box(text.as_bytes()), "made up")));
    group.bench_function("fit", |b| b.iter(|| Fit::new(black_box(&table), "made up")));
    group.finish();

    let fit = Fit::new(&table, "made up");
    let mut group = c.benchmark_group("query");
    let seen = gemm(1000, 3000, 5000);
    group.bench_function("measured", |b| b.iter(|| fit.cost(black_box(&gemm(160, 4096, 4096)))));
    group.bench_function("asked before", |b| b.iter(|| fit.cost(black_box(&seen))));
    let mut next = 0;
    group.bench_function("new", |b| {
        b.iter(|| {
            next += 1; // another size each time, so that none was asked before
            fit.cost(&gemm(100 + next % 4000, 1000 + next / 4000 % 5000, 3001))
        })
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
