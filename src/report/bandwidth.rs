//! What collectives reach, as nccl-tests counts it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::clip;
use crate::op::{Collective, CollectiveKind, Op};
use crate::table::{Record, Table};
use crate::units::{human_bytes, three_digits};

/// Collectives with their rows.
type Rows<'a> = Vec<(Collective, &'a Record)>;

/// A line for each kind of collective in the largest group on so many nodes: the time of its smallest message, and
/// of its largest one time, algorithm bandwidth and bus bandwidth. Nothing of a table without collectives.
pub fn bandwidths(table: &Table) -> String {
    // by nodes, the most ranks first; messages of any element type: bytes decide
    let mut groups: BTreeMap<(u64, Reverse<u64>), Rows<'_>> = BTreeMap::new();
    for record in &table.records {
        if let Op::Collective(op) = record.op {
            groups.entry((op.nodes, Reverse(op.ranks))).or_default().push((op, record));
        }
    }
    let mut out = String::new();
    let mut shown = 0;
    for ((nodes, ranks), rows) in groups {
        if nodes == shown {
            continue; // a smaller group on as many nodes
        }
        shown = nodes;
        let place = if nodes > 1 { format!(" on {nodes} nodes") } else { String::new() };
        let title = format!("{} ranks{place}", ranks.0);
        let head = ["size", "time", "size", "time", "algbw", "busbw"].map(|name| format!("{name:>8}"));
        let _ = writeln!(out, "{title:<19} {}  GB/s", head.join(" "));
        for kind in CollectiveKind::ALL {
            let of_kind = || rows.iter().filter(|(op, _)| op.kind == kind);
            let by_size = |(op, record): &&(Collective, &Record)| (op.bytes, record.summary.seconds);
            let (Some((least, fast)), Some((most, record))) =
                (of_kind().min_by_key(by_size), of_kind().max_by_key(by_size))
            else {
                continue;
            };
            let seconds = record.summary.seconds;
            let rate = |bytes_per_s: f64| three_digits(bytes_per_s / 1e9);
            let line = format!(
                "  {:<17} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}  {}",
                kind.name(),
                human_bytes(least.bytes),
                fast.summary.seconds,
                human_bytes(most.bytes),
                seconds,
                rate(most.algorithm_bandwidth(seconds)),
                rate(most.bus_bandwidth(seconds)),
                clip(&by(record), 24),
            );
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// `ring simple p2p`.
fn by(record: &Record) -> String {
    let route = &record.route;
    let words = [&route.algorithm, &route.protocol, &route.transport];
    words.into_iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join(" ")
}
