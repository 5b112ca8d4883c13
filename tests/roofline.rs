//! The roofline of a data sheet against its formulas, worked out by hand.

use gettime::cost::{Basis, Cost, CostError};
use gettime::dtype::Dtype;
use gettime::op::{Attention, Collective, CollectiveKind, Gemm, Kernel, KernelKind, Link, Op, P2p};
use gettime::roofline::{BUILT_IN, Roofline};

const SHEET: &str = "
name = \"toy\"
memory_bytes = 1e9
memory_bandwidth_bytes_per_s = 1e9
gpus_per_node = 8
launch_latency_seconds = 1e-6
[flops_per_s]
bf16 = 1e12
[intra_node]
bandwidth_bytes_per_s = 1e10
latency_seconds = 1e-5
[inter_node]
bandwidth_bytes_per_s = 1e9
latency_seconds = 1e-4
";

fn toy() -> Roofline {
    Roofline::parse("toy.toml", SHEET).unwrap()
}

fn seconds(op: Op) -> f64 {
    let estimate = toy().cost(&op).unwrap();
    assert_eq!(estimate.basis, Basis::Modelled);
    assert!(estimate.low == estimate.seconds && estimate.high == estimate.seconds);
    estimate.seconds.get()
}

fn close(found: f64, expected: f64) {
    assert!((found / expected - 1.0).abs() < 1e-12, "{found} instead of {expected}");
}

fn gemm(m: u64, k: u64, n: u64, batch: u64) -> Op {
    Op::Gemm(Gemm { m, k, n, batch, dtype: Dtype::Bf16 })
}

fn collective(kind: CollectiveKind, bytes: u64, ranks: u64, nodes: u64) -> Op {
    Op::Collective(Collective { kind, bytes, ranks, nodes, dtype: Dtype::Bf16 })
}

#[test]
fn a_product_is_bound_by_flops_or_by_bytes() {
    // 2·1000³ = 2e9 FLOP in 2 ms; 3·1000²·2 B = 6e6 B in 6 ms: bytes decide
    close(seconds(gemm(1000, 1000, 1000, 1)), 6e-3 + 1e-6);
    // 2·10000³ = 2e12 FLOP in 2 s; 6e8 B in 0.6 s: FLOPs decide
    close(seconds(gemm(10_000, 10_000, 10_000, 1)), 2.0 + 1e-6);
    // one launch for the whole batch
    close(seconds(gemm(1000, 1000, 1000, 3)), 18e-3 + 1e-6);
}

#[test]
fn kernels_move_what_they_read_and_write() {
    let kernel = |kind, top_k| Op::Kernel(Kernel { kind, rows: 1000, cols: 500, top_k, dtype: Dtype::Bf16 });
    close(seconds(kernel(KernelKind::Layernorm, 1)), 2e6 / 1e9 + 1e-6);
    close(seconds(kernel(KernelKind::Residual, 1)), 3e6 / 1e9 + 1e-6);
    // 1000 rows of 500 probabilities read, 2 routes of 4 B written
    close(seconds(kernel(KernelKind::GateTopk, 2)), (1e6 + 8e3) / 1e9 + 1e-6);
}

#[test]
fn fused_attention_never_stores_the_scores() {
    let op = Attention { batch: 2, heads: 3, seq_q: 1000, seq_kv: 1000, head_dim: 100, dtype: Dtype::Bf16 };
    // 4·6·1000²·100 = 2.4e9 FLOP in 2.4 ms; 4·6·1000·100·2 B = 4.8e6 B in 4.8 ms
    close(seconds(Op::Attention(op)), 4.8e-3 + 1e-6);
}

#[test]
fn rings_within_a_node() {
    // 8 ranks: 2·7/8 of 8e8 B at 1e10 B/s, 14 steps of 10 µs
    close(seconds(collective(CollectiveKind::AllReduce, 800_000_000, 8, 1)), 0.14 + 14e-5);
    close(seconds(collective(CollectiveKind::AllGather, 800_000_000, 8, 1)), 0.07 + 7e-5);
    close(seconds(collective(CollectiveKind::ReduceScatter, 800_000_000, 8, 1)), 0.07 + 7e-5);
    close(seconds(collective(CollectiveKind::AllToAll, 800_000_000, 8, 1)), 0.07 + 7e-5);
    close(seconds(collective(CollectiveKind::Broadcast, 800_000_000, 8, 1)), 0.08 + 7e-5);
}

#[test]
fn rings_over_nodes_share_the_network_cards() {
    // 16 ranks on 2 nodes: 2·15/16·1.6e9 = 3e9 B for each rank; inside 0.3 s, over 8 cards 0.375 s; 30 steps
    close(seconds(collective(CollectiveKind::AllReduce, 1_600_000_000, 16, 2)), 0.375 + 30e-4);
    // all_to_all: 8 of 16 parts of 1e8 B leave the node by the own card
    close(seconds(collective(CollectiveKind::AllToAll, 1_600_000_000, 16, 2)), 0.8 + 15e-4);
}

#[test]
fn sends_take_their_link() {
    let send = |link| Op::P2p(P2p { bytes: 1_000_000_000, link });
    close(seconds(send(Link::IntraNode)), 0.1 + 1e-5);
    close(seconds(send(Link::InterNode)), 1.0 + 1e-4);
}

#[test]
fn a_type_without_a_peak_is_a_miss() {
    let op = Op::Gemm(Gemm { m: 1, k: 1, n: 1, batch: 1, dtype: Dtype::F32 });
    let miss = toy().cost(&op).unwrap_err();
    assert!(matches!(miss, CostError::Missing { .. }));
    assert!(miss.to_string().contains("the data sheet toy has no peak for f32"), "{miss}");
}

#[test]
fn infinite_rates_take_no_time() {
    let sheet = SHEET.replace("bf16 = 1e12", "bf16 = inf").replace("= 1e9\ngpus", "= inf\ngpus");
    let law = Roofline::parse("law.toml", &sheet).unwrap();
    close(law.cost(&gemm(10_240_000, 8192, 8192, 1)).unwrap().seconds.get(), 1e-6);
}

#[test]
fn figures_that_make_no_sense_are_refused_with_their_line() {
    let cases = [
        ("memory_bandwidth_bytes_per_s = 1e9", "memory_bandwidth_bytes_per_s = 0", 4, "must be above 0"),
        ("bf16 = 1e12", "bf16 = nan", 8, "must be above 0"),
        ("bf16 = 1e12", "bf17 = 1e12", 8, "unknown variant"),
        ("launch_latency_seconds = 1e-6", "launch_latency_seconds = inf", 6, "finite"),
        ("launch_latency_seconds = 1e-6", "launch_latency = 1e-6", 6, "unknown field"),
        ("gpus_per_node = 8", "gpus_per_node = 0", 5, "must be above 0"),
        ("name = \"toy\"", "", 1, "missing field `name`"),
    ];
    for (from, to, line, message) in cases {
        let error = Roofline::parse("toy.toml", &SHEET.replacen(from, to, 1)).unwrap_err();
        assert!(error.to_string().contains(message), "{to}: {error}");
        assert_eq!(error.line, line, "{to}: {error}");
    }
}

#[test]
fn built_in_sheets_are_readable() {
    for (name, text) in BUILT_IN {
        Roofline::parse(name, text).unwrap();
    }
}
