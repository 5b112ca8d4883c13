//! The real processor: every op passes its own check at awkward sizes. No test here judges a time.

use std::time::Duration;

use gettime::dtype::Dtype;
use gettime::measure::campaign::{Limits, run};
use gettime::measure::cpu::Cpu;
use gettime::measure::{Backend, MeasureError};
use gettime::op::{Attention, Collective, CollectiveKind, Gemm, Kernel, KernelKind, Link, Op, P2p};

const DTYPE: Dtype = Dtype::F32;

/// Prepares each op, which checks its result, and samples it.
fn prepare_all(ops: impl IntoIterator<Item = Op>) {
    let mut cpu = Cpu::new(1);
    for op in ops {
        assert!(cpu.need(&op) >= op.bytes());
        let mut case = cpu.prepare(&op).unwrap_or_else(|error| panic!("{error}"));
        for runs in [0, 1, 3] {
            assert!(case.sample(runs).unwrap().get() > 0.0, "{op}");
        }
    }
}

fn triples(sizes: &[u64]) -> Vec<(u64, u64, u64)> {
    let pairs = sizes.iter().flat_map(|&m| sizes.iter().map(move |&k| (m, k)));
    pairs.flat_map(|(m, k)| sizes.iter().map(move |&n| (m, k, n))).collect()
}

#[test]
fn products() {
    let gemm = |(m, k, n), batch| Op::Gemm(Gemm { m, k, n, batch, dtype: DTYPE });
    prepare_all(triples(&[1, 2, 3, 17, 129]).into_iter().flat_map(|s| [gemm(s, 1), gemm(s, 3), gemm(s, 40)]));
    // The ways that only larger ones take: vectors shared by hand, large batches, threads.
    let large =
        [(1, 700, 1001), (1003, 700, 1), (1003, 1, 501), (1003, 2, 501), (255, 257, 511), (1, 100_003, 1)];
    prepare_all(large.into_iter().flat_map(|s| [gemm(s, 1), gemm(s, 2)]));
}

#[test]
fn kernels() {
    let shapes = [(1, 1), (3, 17), (17, 3), (1, 100_003), (100_003, 1), (257, 1025), (64, 64), (1000, 8)];
    prepare_all(KernelKind::ALL.into_iter().flat_map(|kind| {
        shapes.into_iter().flat_map(move |(rows, cols)| {
            let most = if kind.has_top_k() { 8 } else { 1 };
            let fits = move |&top_k: &u64| kind != KernelKind::GateTopk || top_k <= cols;
            [1, 2, 8]
                .into_iter()
                .filter(move |&top_k| top_k <= most)
                .filter(fits)
                .map(move |top_k| Op::Kernel(Kernel { kind, rows, cols, top_k, dtype: DTYPE }))
        })
    }));
}

#[test]
fn attention() {
    let sizes = [(1, 1, 1), (1, 3, 17), (17, 17, 3), (65, 513, 64), (1, 2000, 128), (130, 1025, 31)];
    prepare_all(sizes.into_iter().flat_map(|(seq_q, seq_kv, head_dim)| {
        [(1, 1), (2, 3)].map(|(batch, heads)| {
            Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, dtype: DTYPE })
        })
    }));
}

#[test]
fn collectives_and_sends() {
    for ranks in [2, 3, 8, 16] {
        prepare_all(CollectiveKind::ALL.into_iter().flat_map(|kind| {
            [1, 4, 100, 4096, 1_000_003]
                .map(|bytes| Op::Collective(Collective { kind, bytes, ranks, nodes: 1, dtype: DTYPE }))
        }));
    }
    prepare_all([1, 5, 1_000_003].map(|bytes| Op::P2p(P2p { bytes, link: Link::IntraNode })));
}

#[test]
fn what_does_not_fit_or_is_not_supported_says_so() {
    let mut cpu = Cpu::new(1);
    let mut error = |op| cpu.prepare(&op).err().expect("must be refused");
    let huge = Op::Gemm(Gemm { m: 1 << 30, k: 1 << 30, n: 1 << 30, batch: 1, dtype: DTYPE });
    assert!(matches!(error(huge), MeasureError::OutOfMemory { asked, .. } if asked >= 3 << 62));
    let collective =
        Collective { kind: CollectiveKind::AllReduce, bytes: 64, ranks: 2, nodes: 1, dtype: DTYPE };
    let gate = Kernel { kind: KernelKind::GateTopk, rows: 1, cols: 4, top_k: 5, dtype: DTYPE };
    for op in [
        Op::Gemm(Gemm { m: 1, k: 1, n: 1, batch: 1, dtype: Dtype::Bf16 }),
        Op::Collective(Collective { nodes: 2, ..collective }),
        Op::Collective(Collective { ranks: 100_000, ..collective }),
        Op::P2p(P2p { bytes: 64, link: Link::InterNode }),
        Op::Kernel(gate),
    ] {
        assert!(matches!(error(op), MeasureError::Unsupported { .. }), "{op}");
    }
}

#[test]
fn a_campaign_over_every_family() {
    let ops = [
        Op::Gemm(Gemm { m: 64, k: 64, n: 64, batch: 1, dtype: DTYPE }),
        Op::Kernel(Kernel { kind: KernelKind::Softmax, rows: 64, cols: 64, top_k: 1, dtype: DTYPE }),
        Op::Attention(Attention { batch: 1, heads: 2, seq_q: 64, seq_kv: 64, head_dim: 32, dtype: DTYPE }),
        Op::Collective(Collective {
            kind: CollectiveKind::AllReduce,
            bytes: 4096,
            ranks: 4,
            nodes: 1,
            dtype: DTYPE,
        }),
        Op::P2p(P2p { bytes: 4096, link: Link::IntraNode }),
    ];
    let limits = Limits { case: Duration::from_millis(50), ..Limits::default() };
    let outcome = run(&mut Cpu::new(1), &ops, &limits, &mut |_| ()).unwrap();
    assert_eq!(outcome.skipped, []);
    assert_eq!(outcome.records.iter().map(|row| row.op).collect::<Vec<_>>(), ops);
    for row in outcome.records {
        let (low, high) = row.summary.interval.unwrap();
        assert!(low <= row.summary.seconds && row.summary.seconds <= high && low.get() > 0.0, "{row:?}");
        assert_eq!(row.source, "gettime-cpu");
    }
}

#[test]
fn the_machine_describes_itself() {
    let cpu = Cpu::new(1);
    let device = cpu.device();
    assert!(!device.name.is_empty());
    assert!(device.details["cores"].as_integer().unwrap() >= 1);
    assert!(device.details["cache_bytes"].as_integer().unwrap() > 0);
    let cluster = cpu.cluster(8);
    assert_eq!((cluster.gpus, cluster.gpus_per_node), (Some(8), Some(8)));
}
