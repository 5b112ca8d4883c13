//! Which ops a campaign takes on: within its bounds, of every family, the same ones each time.

use std::collections::HashSet;

use gettime::dtype::Dtype;
use gettime::grid::{self, Bounds, Chosen, Speed};
use gettime::op::{Collective, CollectiveKind, Family, Gemm, Kernel, KernelKind, Link, Op, Timed};

/// A machine with 1e11 FLOP/s and 1e10 B/s.
const SPEED: Speed = Speed {
    flops_per_s: 1e11,
    bytes_per_s: 1e10,
    exchange_bytes_per_s: 1e10,
    rank_latency_seconds: 2e-6,
    case_seconds: 1e-4,
    attention_seconds: 0.0,
};

fn bounds() -> Bounds {
    Bounds {
        speed: SPEED,
        budget_seconds: 60.0,
        passes: 3,
        memory_bytes: 1 << 32,
        gpus: 16,
        gpus_per_node: 1024,
        dtype: Dtype::F32,
    }
}

/// What plans need, all of it too large to be run whole.
fn wanted() -> Vec<Op> {
    let dtype = Dtype::F32;
    let all_reduce = CollectiveKind::AllReduce;
    vec![
        Op::Gemm(Gemm { m: 10_240_000, k: 8192, n: 3072, batch: 1, dtype }),
        Op::Gemm(Gemm { m: 10_000, k: 512, n: 10_000, batch: 2048, dtype }),
        Op::Kernel(Kernel { kind: KernelKind::Softmax, rows: 20_480_000, cols: 10_000, top_k: 1, dtype }),
        Op::Collective(Collective { kind: all_reduce, bytes: 335_544_320_000, ranks: 8, nodes: 1, dtype }),
    ]
}

/// Whatever an op reads and writes must be held.
fn need(op: &Op) -> u128 {
    op.bytes()
}

fn choose(wanted: &[Op], bounds: &Bounds, need: impl Fn(&Op) -> u128) -> Chosen {
    grid::choose(wanted, &grid::lattice(bounds), bounds, need)
}

#[test]
fn no_op_is_chosen_twice_and_every_one_fits() {
    for gpus in [1, 2, 16, 1024] {
        for budget_seconds in [1.0, 8.0, 60.0, 3600.0] {
            for memory_bytes in [1 << 20, 1 << 32] {
                let bounds = Bounds { gpus, budget_seconds, memory_bytes, ..bounds() };
                let chosen = choose(&wanted(), &bounds, need).ops;
                let distinct: HashSet<&Op> = chosen.iter().collect();
                assert_eq!(distinct.len(), chosen.len());
                for op in &chosen {
                    assert!(need(op) <= u128::from(memory_bytes), "{op} in {memory_bytes} B");
                    assert!(op.dtype().is_none_or(|dtype| dtype == Dtype::F32), "{op}");
                    if let Op::Collective(op) = op {
                        assert!(op.ranks <= gpus || op.ranks == 8, "{op}");
                    }
                }
                // what is foreseen for one run of each, in every pass, is within the time there is
                let seconds: f64 = chosen.iter().map(|op| bounds.speed.seconds(op)).sum();
                assert!(3.0 * seconds <= budget_seconds, "{seconds} s of {budget_seconds} s");
            }
        }
    }
}

#[test]
fn every_family_and_kind_is_there() {
    let chosen = choose(&wanted(), &bounds(), need).ops;
    // layers are run whole, and nothing of them is chosen
    for family in Family::ALL.into_iter().filter(|family| *family != Family::Chain) {
        let count = chosen.iter().filter(|op| op.family() == family).count();
        // two ops at a time are too long for this machine
        assert!(count >= 10 || family == Family::Overlap, "{count} of {family}");
    }
    for kind in KernelKind::ALL {
        assert!(chosen.iter().any(|op| matches!(op, Op::Kernel(op) if op.kind == kind)), "{}", kind.name());
    }
    for kind in CollectiveKind::ALL {
        for ranks in [2, 4, 8, 16] {
            let is = |op: &Op| matches!(op, Op::Collective(op) if op.kind == kind && op.ranks == ranks);
            assert!(chosen.iter().any(is), "{} among {ranks}", kind.name());
        }
    }
}

#[test]
fn one_device_has_nobody_to_talk_to_but_its_host() {
    let chosen = choose(&[], &Bounds { gpus: 1, ..bounds() }, need).ops;
    assert!(!chosen.is_empty());
    let copied = [Link::HostToDevice, Link::DeviceToHost];
    let with_host = |op: &&Op| matches!(op, Op::P2p(copy) if copied.contains(&copy.link));
    let others: Vec<_> = chosen.iter().filter(|op| !with_host(op)).collect();
    assert!(others.iter().all(|op| !op.family().is_communication()), "{others:?}");
    assert!(others.len() < chosen.len());
}

#[test]
fn the_same_bounds_choose_the_same_ops() {
    assert_eq!(choose(&wanted(), &bounds(), need), choose(&wanted(), &bounds(), need));
}

#[test]
fn what_plans_need_is_cut_to_what_can_be_run() {
    let chosen = choose(&wanted(), &bounds(), need).ops;
    let qkv: Vec<u64> = chosen
        .iter()
        .filter_map(|op| match op {
            Op::Gemm(gemm) if (gemm.k, gemm.n) == (8192, 3072) => Some(gemm.m),
            _ => None,
        })
        .collect();
    assert!(qkv.len() >= 2, "the way from a small product to the true one is not measured: {qkv:?}");
    assert!(qkv.iter().all(|m| m.is_power_of_two() && *m < 10_240_000), "{qkv:?}");
}

#[test]
fn a_machine_without_memory_or_time_is_asked_for_nothing() {
    assert!(choose(&wanted(), &Bounds { memory_bytes: 0, ..bounds() }, need).ops.is_empty());
    assert!(choose(&wanted(), &Bounds { budget_seconds: 0.0, ..bounds() }, need).ops.is_empty());
}

#[test]
fn collectives_of_further_types_are_there_over_the_whole_range_of_sizes() {
    let bounds = Bounds { gpus_per_node: 8, budget_seconds: 300.0, ..bounds() };
    let mut candidates = grid::lattice(&bounds);
    candidates.extend(grid::collectives(&Bounds { dtype: Dtype::Bf16, ..bounds }));
    for (budget_seconds, least_sizes) in [(1e-6, 1), (300.0, 3)] {
        let bounds = Bounds { budget_seconds, ..bounds };
        let chosen = grid::choose(&[], &candidates, &bounds, need).ops;
        for (kind, dtype) in
            CollectiveKind::ALL.into_iter().flat_map(|kind| [(kind, Dtype::F32), (kind, Dtype::Bf16)])
        {
            let of = chosen.iter().filter_map(|op| match op {
                Op::Collective(op) if (op.kind, op.dtype, op.ranks) == (kind, dtype, 16) => Some(op.bytes),
                _ => None,
            });
            let sizes: Vec<u64> = of.collect();
            assert!(sizes.len() >= least_sizes, "{} {dtype} at {sizes:?}", kind.name());
            assert!(sizes.contains(&256) && (least_sizes == 1 || sizes.contains(&(1 << 24))), "{sizes:?}");
        }
    }
}

#[test]
fn of_two_ops_at_a_time_there_are_three_sizes_on_one_node_and_over_all() {
    let speed = Speed { flops_per_s: 5e14, bytes_per_s: 3e12, exchange_bytes_per_s: 3e12, ..SPEED };
    let bounds = Bounds { speed, gpus_per_node: 8, budget_seconds: 300.0, ..bounds() };
    let chosen = choose(&[], &bounds, need).ops;
    let overlaps = chosen.iter().filter_map(|op| if let Op::Overlap(op) = op { Some(op) } else { None });
    let found: HashSet<_> = overlaps.map(|op| (op.timed, op.bytes, op.ranks, op.nodes)).collect();
    let groups = [(8, 1), (16, 2)];
    let sizes = [4 << 20, 32 << 20, 256 << 20];
    let each = |(ranks, nodes)| sizes.map(|bytes| Timed::ALL.map(|timed| (timed, bytes, ranks, nodes)));
    assert_eq!(found, groups.into_iter().flat_map(each).flatten().collect());
}
