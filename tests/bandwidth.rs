//! Bandwidths of collectives against nccl-tests' own definitions (PERFORMANCE.md): algbw = size / time, and busbw =
//! algbw × 2(n−1)/n of all_reduce, × (n−1)/n of all_gather, reduce_scatter and alltoall, × 1 of broadcast.

use gettime::dtype::Dtype;
use gettime::op::{Collective, CollectiveKind, Op};
use gettime::report;
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;

/// A gigabyte in 5 ms is 200 GB/s.
const BYTES: u64 = 1_000_000_000;

fn seconds(seconds: f64) -> Seconds {
    Seconds::new(seconds).unwrap()
}

fn op(kind: CollectiveKind, bytes: u64, ranks: u64, nodes: u64) -> Collective {
    Collective { kind, bytes, ranks, nodes, dtype: Dtype::Bf16 }
}

fn row(op: Collective, time: f64, route: [&str; 3]) -> Record {
    let summary = Summary { seconds: seconds(time), interval: None, samples: None };
    let route = Route::of(route.map(str::to_owned));
    Record { op: Op::Collective(op), summary, route, flags: String::new(), source: "nccl".into() }
}

#[test]
fn factors_are_those_of_nccl_tests() {
    use CollectiveKind::{AllGather, AllReduce, AllToAll, Broadcast, ReduceScatter};
    for (kind, ranks, busbw) in [
        (AllReduce, 2, 200e9),
        (AllReduce, 8, 350e9),
        (AllReduce, 16, 375e9),
        (AllGather, 8, 175e9),
        (ReduceScatter, 4, 150e9),
        (AllToAll, 16, 187.5e9),
        (Broadcast, 8, 200e9),
    ] {
        let op = op(kind, BYTES, ranks, 1);
        assert!((op.algorithm_bandwidth(seconds(5e-3)) / 200e9 - 1.0).abs() < 1e-12);
        assert!((op.bus_bandwidth(seconds(5e-3)) / busbw - 1.0).abs() < 1e-12, "{op}");
    }
}

#[test]
fn the_largest_groups_of_a_table_are_shown() {
    let told = ["ring", "simple", "p2p+net/ib/gdrdma"];
    let all_reduce = CollectiveKind::AllReduce;
    let records = vec![
        row(op(all_reduce, 256, 16, 2), 25e-6, ["tree", "ll", "p2p+net/ib/gdrdma"]),
        row(op(all_reduce, BYTES, 16, 2), 5e-3, told),
        row(op(all_reduce, BYTES, 2, 1), 5e-3, ["", "", ""]),
        row(op(all_reduce, BYTES, 8, 1), 4e-3, ["", "", ""]),
        row(op(CollectiveKind::AllToAll, BYTES, 8, 1), 2e-3, ["", "", ""]),
    ];
    let expected = "\
8 ranks                 size     time     size     time    algbw    busbw  GB/s
  all_reduce         1.00 GB  4.00 ms  1.00 GB  4.00 ms      250      438  
  all_to_all         1.00 GB  2.00 ms  1.00 GB  2.00 ms      500      438  
16 ranks on 2 nodes     size     time     size     time    algbw    busbw  GB/s
  all_reduce           256 B  25.0 µs  1.00 GB  5.00 ms      200      375  ring simple p2p+net/ib/…
";
    let shown = report::bandwidths(&Table { records, ..Table::default() });
    assert_eq!(shown, expected.replace("  \n", "\n"));
    assert_eq!(report::bandwidths(&Table::default()), "");
}
