//! Collectives among 16 ranks in 16 processes, each with the double of the driver and of NCCL, as the launchers
//! start them: what they measure, and how they end when one of them fails.
#![cfg(feature = "cuda")]

#[path = "../driver/mod.rs"]
mod driver;
mod faults;
mod launch;

use std::collections::BTreeSet;

use gettime::cost::Basis;
use gettime::dtype::Dtype;
use gettime::op::{Collective, CollectiveKind, Op, Timed};
use gettime::slowdown::Slowdowns;
use gettime::table::{Route, Table};

use launch::{Launcher, Ranks};

/// What the double takes for an op, in seconds.
fn law(op: &Op) -> f64 {
    match op {
        Op::Gemm(_) => 2e-6 + op.flops() as f64 / 500e12,
        Op::Kernel(kernel) if kernel.kind == gettime::op::KernelKind::Copy => {
            2e-6 + (kernel.rows * kernel.cols * kernel.dtype.bytes()) as f64 * 0.5e-12
        }
        Op::Kernel(kernel) => 2e-6 + (kernel.rows * kernel.cols) as f64 * 1e-12,
        Op::Collective(op) => {
            let factor = if op.kind == CollectiveKind::AllReduce { 2.0 } else { 1.0 };
            exchange(op.ranks, op.nodes, op.bytes as f64 * factor)
        }
        Op::P2p(op) => exchange(2, op.link.nodes(), op.bytes as f64),
        Op::Overlap(op) => match op.timed {
            Timed::Gemm => 1.25 * law(&Op::Gemm(op.gemm())),
            Timed::AllReduce => 1.5 * law(&Op::Collective(op.all_reduce())),
        },
        Op::Chain(_) => panic!("{op} is not measured"),
        Op::Attention(_) => panic!("{op} is not measured"),
    }
}

fn exchange(ranks: u64, nodes: u64, bytes: f64) -> f64 {
    3e-6 * ranks as f64 + bytes / 1e11 * if nodes > 1 { 4.0 } else { 1.0 }
}

/// What the double's log tells of an op, in the words of a table.
fn route(op: &Op) -> Route {
    let names = |[algorithm, protocol, transport]: [&str; 3]| {
        Route::of([algorithm, protocol, transport].map(str::to_owned))
    };
    match op {
        Op::Collective(op) => {
            let transport = match (op.ranks > op.nodes, op.nodes > 1) {
                (true, true) => "p2p+net/ib/gdrdma",
                (true, false) => "p2p",
                _ => "net/ib/gdrdma",
            };
            // of these two NCCL counts the bytes of a part
            let is_part = matches!(op.kind, CollectiveKind::AllGather | CollectiveKind::ReduceScatter);
            match if is_part { op.bytes / op.ranks } else { op.bytes } {
                _ if op.kind == CollectiveKind::AllToAll => names(["", "", transport]),
                ..=65_536 => names(["tree", "ll", transport]),
                _ => names(["ring", "simple", transport]),
            }
        }
        Op::P2p(op) => names(["", "", if op.link.nodes() > 1 { "net/ib/gdrdma" } else { "p2p" }]),
        _ => Route::default(),
    }
}

fn follows_the_law(table: &Table) {
    for record in &table.records {
        let is_exchange = matches!(record.op, Op::Collective(_) | Op::P2p(_) | Op::Overlap(_));
        let ratio = record.summary.seconds.get() / law(&record.op);
        assert!((ratio - 1.0).abs() < 1e-5, "{}: {ratio}", record.op);
        assert_eq!(record.source, if is_exchange { "nccl" } else { "gettime-cuda" });
        let words = if matches!(record.op, Op::Overlap(_)) { "alone=" } else { "pipelined=" };
        assert_eq!(is_exchange, record.flags.contains(words), "{}", record.flags);
        assert_eq!(record.route, route(&record.op), "{}", record.op);
    }
}

/// Groups of every kind of collective, as ranks and nodes.
fn groups(table: &Table) -> BTreeSet<(CollectiveKind, u64, u64)> {
    let group = |op: &Op| match op {
        Op::Collective(op) => Some((op.kind, op.ranks, op.nodes)),
        _ => None,
    };
    table.records.iter().filter_map(|record| group(&record.op)).collect()
}

/// Runs 16 ranks on two nodes of 8, and compares every row with the law.
fn sixteen(launcher: Launcher) {
    let ranks = Ranks { launcher, ..Ranks::default() };
    let ended = ranks.run(&format!("{launcher:?}"));
    ended.all_are_well();
    let table = ended.table();
    follows_the_law(&table);
    assert_eq!((table.cluster.gpus, table.cluster.gpus_per_node), (Some(16), Some(8)));
    assert_eq!(table.cluster.details["nccl"].as_str(), Some("2.27.3"));
    let measured = groups(&table);
    for kind in CollectiveKind::ALL {
        for (ranks, nodes) in [(2, 1), (4, 1), (8, 1), (2, 2), (8, 2), (16, 2)] {
            assert!(measured.contains(&(kind, ranks, nodes)), "{kind:?} of {ranks} on {nodes}");
        }
    }
    let links: BTreeSet<u64> = table
        .records
        .iter()
        .filter_map(|record| if let Op::P2p(op) = record.op { Some(op.link.nodes()) } else { None })
        .collect();
    assert_eq!(links, BTreeSet::from([1, 2]));
    // by the table alone one can tell how each of two slows the other
    let slowdowns = Slowdowns::of(&table);
    for (bytes, ranks, nodes) in [(1 << 20, 8, 1), (1 << 24, 8, 1), (1 << 22, 16, 2)] {
        let op = Collective { kind: CollectiveKind::AllReduce, bytes, ranks, nodes, dtype: Dtype::Bf16 };
        for (timed, expected) in [(Timed::Gemm, 1.25), (Timed::AllReduce, 1.5)] {
            let (factor, basis) = slowdowns.factor(timed, &Op::Collective(op)).unwrap();
            assert!((factor / expected - 1.0).abs() < 1e-4, "{timed:?} {bytes}: {factor}");
            assert_eq!(basis, Basis::Measured);
        }
    }
    // only rank 0 says anything
    assert!(ended.outputs[1..].iter().all(|output| output.stdout.is_empty() && output.stderr.is_empty()));
}

#[test]
fn under_torchrun() {
    sixteen(Launcher::Torchrun);
}

#[test]
fn under_slurm() {
    sixteen(Launcher::Slurm);
}

#[test]
fn under_mpirun() {
    sixteen(Launcher::OpenMpi);
}

#[test]
fn in_one_process() {
    let ranks = Ranks { launcher: Launcher::None, processes: 1, fault: (0, "gpus=8"), ..Ranks::default() };
    let ended = ranks.run("threads");
    ended.all_are_well();
    let table = ended.table();
    follows_the_law(&table);
    assert_eq!((table.cluster.gpus, table.cluster.gpus_per_node), (Some(8), Some(8)));
    let measured = groups(&table);
    assert!(CollectiveKind::ALL.iter().all(|kind| measured.contains(&(*kind, 8, 1))));
    let remark = ended.errors(0);
    assert!(remark.contains("16 GPUs are asked for, 8 GPUs are here"), "{remark}");
    assert!(remark.contains("srun -N2 --ntasks-per-node=8 calibrate --gpus 16"), "{remark}");
}
