//! Products, kernels, a copy and fused attention on the first GPU; on a machine without one each group is named and skipped.
//!
//! A sample is a graph of launches, timed by events inside it, so the times are the device's and not the host's.

#[cfg(feature = "cuda")]
use std::time::Duration;

#[cfg(feature = "cuda")]
use criterion::Throughput;
use criterion::{Criterion, criterion_group, criterion_main};

#[cfg(feature = "cuda")]
use gettime::{
    dtype::Dtype,
    measure::Backend,
    measure::cuda::{Cuda, Settings},
    op::{Attention, Gemm, Kernel, KernelKind, Op},
};

/// The groups, by the names that a machine without a GPU skips them under.
const GROUPS: [&str; 3] = ["gpu products", "gpu kernels", "gpu attention"];

fn skip(reason: &str) {
    for group in GROUPS {
        eprintln!("{group}: skipped, {reason}");
    }
}

#[cfg(feature = "cuda")]
fn group(c: &mut Criterion, cuda: &mut Cuda, name: &str, ops: &[Op], throughput: fn(&Op) -> Throughput) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    for op in ops {
        group.throughput(throughput(op));
        group.bench_function(op.to_string(), |b| {
            let mut case = cuda.prepare(op).unwrap_or_else(|error| panic!("{error}"));
            b.iter_custom(|runs| {
                let run = case.sample(runs).unwrap_or_else(|error| panic!("{error}"));
                Duration::from_secs_f64(run.get() * runs as f64)
            });
        });
    }
    group.finish();
}

#[cfg(feature = "cuda")]
fn bench(c: &mut Criterion) {
    let mut cuda = match Cuda::open(Settings::default()) {
        Ok(cuda) => cuda,
        Err(error) => return skip(&error.to_string()),
    };
    let dtype = Dtype::Bf16;
    let product = |(m, k, n)| Op::Gemm(Gemm { m, k, n, batch: 1, dtype });
    let sizes = [(1, 8192, 8192), (512, 512, 512), (4096, 4096, 4096), (8192, 8192, 8192)];
    let elements = |op: &Op| Throughput::Elements(u64::try_from(op.flops()).unwrap_or(u64::MAX));
    group(c, &mut cuda, GROUPS[0], &sizes.map(product), elements);
    let kernel = |kind: KernelKind| {
        let (cols, top_k) = if kind == KernelKind::GateTopk { (64, 2) } else { (8192, 1) };
        Op::Kernel(Kernel { kind, rows: 1 << 16, cols, top_k, dtype })
    };
    let bytes = |op: &Op| Throughput::Bytes(u64::try_from(op.bytes()).unwrap_or(u64::MAX));
    group(c, &mut cuda, GROUPS[1], &KernelKind::ALL.map(kernel), bytes);
    let attention = |(batch, heads, seq_q, seq_kv, head_dim)| {
        Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, dtype })
    };
    let shapes = [(1, 16, 4096, 4096, 128), (4, 16, 1024, 1024, 64), (8, 16, 1, 8192, 128)].map(attention);
    match cuda.supports(&shapes[0]) {
        Ok(()) => group(c, &mut cuda, GROUPS[2], &shapes, elements),
        Err(reason) => eprintln!("{}: skipped, {reason}", GROUPS[2]),
    }
}

#[cfg(not(feature = "cuda"))]
fn bench(_: &mut Criterion) {
    skip("this build has no backend for GPUs");
}

criterion_group!(benches, bench);
criterion_main!(benches);
