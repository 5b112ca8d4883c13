//! A first look at a machine: how fast it is, roughly, so that what is chosen fits in its time.

use super::Order;
use crate::dtype::Dtype;
use crate::grid::Speed;
use crate::measure::campaign::{self, Limits};
use crate::measure::{Backend, MeasureError};
use crate::op::{Attention, Collective, CollectiveKind, Gemm, Kernel, KernelKind, Link, Op, P2p};
use crate::table::Record;
use crate::units::Seconds;

/// The share of the budget that the first look at the machine may take.
const FIRST_LOOK: f64 = 0.05;

/// A product of 512³ that takes less than this, in seconds, runs on more than it can fill.
const SHORT_PRODUCT: f64 = 1e-4;

/// A product, a copy and two collectives, for a moment each; a larger product where that one is too short to
/// tell anything. On a record of measurements, what it has that is most like them.
pub(super) fn first_look(
    backend: &mut dyn Backend,
    order: &Order,
    dtype: Dtype,
) -> Result<Speed, MeasureError> {
    let product = |size| Op::Gemm(Gemm { m: size, k: size, n: size, batch: 1, dtype });
    let copy = |rows, cols| Op::Kernel(Kernel { kind: KernelKind::Copy, rows, cols, top_k: 1, dtype });
    let cluster = backend.cluster(order.gpus);
    let ranks = cluster.gpus.map_or(order.gpus, |there| there.min(order.gpus)).max(2);
    let nodes = cluster.gpus_per_node.map_or(1, |each| ranks.div_ceil(each.max(1)));
    let reduce = |bytes| {
        let kind = CollectiveKind::AllReduce;
        Op::Collective(Collective { kind, bytes, ranks, nodes, dtype })
    };
    let there = |op: Op| nearest(backend.ops(), op);
    let (gemm, large_gemm) = (there(product(512)), there(product(4096)));
    let (tiny, copy) = (there(copy(1, 64)), there(copy(4096, 4096)));
    // one device has its host to exchange with
    let meets = order.gpus > 1;
    let fetch = |bytes| Op::P2p(P2p { bytes, link: Link::HostToDevice });
    let exchange = |bytes| there(if meets { reduce(bytes) } else { fetch(bytes) });
    let (small, large) = (exchange(256), exchange(1 << 20));
    let mut ops = vec![gemm, copy, tiny, small, large];
    let limits = Limits {
        budget: order.budget.mul_f64(FIRST_LOOK),
        passes: 1,
        case: order.budget.mul_f64(FIRST_LOOK / 5.0),
        ..Limits::default()
    };
    ops.retain(|op| backend.supports(op).is_ok());
    let clock = backend.clock();
    let start = clock.now();
    let mut outcome = campaign::run(backend, &ops, &limits, &mut |_| {})?;
    let case = clock.now().saturating_sub(start).as_secs_f64() / ops.len().max(1) as f64;
    let is_short = |record: &Record| record.op == gemm && record.summary.seconds.get() < SHORT_PRODUCT;
    if outcome.failure.is_none() && outcome.records.iter().any(is_short) {
        let more = campaign::run(backend, &[large_gemm], &limits, &mut |_| {})?;
        outcome.records.extend(more.records);
        outcome.failure = more.failure;
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let fused = Attention { batch: 1, heads: 1, seq_q: 64, seq_kv: 64, head_dim: 64, dtype };
    let attention = [Op::Attention(fused)];
    let mut attention_seconds = 0.0;
    if backend.ops().is_none() && backend.supports(&attention[0]).is_ok() {
        let start = clock.now();
        outcome.failure = campaign::run(backend, &attention, &limits, &mut |_| {})?.failure;
        attention_seconds = (clock.now().saturating_sub(start).as_secs_f64() - case).max(0.0);
    }
    if let Some(failure) = outcome.failure {
        return Err(failure);
    }
    let seconds = |op: &Op| {
        let record = outcome.records.iter().find(|record| record.op == *op)?;
        Some(record.summary.seconds.get()).filter(|seconds| *seconds > 0.0)
    };
    // where the look was too short to tell, a slow machine is assumed: then too little is chosen, not too much
    let rate = |op: &Op, work: u128, slow: f64| seconds(op).map_or(slow, |s| work as f64 / s);
    // without a copy, what the products have moved
    let moved = outcome.records.iter().filter(|record| !record.op.family().is_communication());
    let moved = moved.map(|record| record.op.bytes() as f64 / record.summary.seconds.get().max(1e-9));
    let moved = moved.fold(0.0, f64::max);
    let latency = seconds(&small).unwrap_or(1e-3);
    let exchange = (seconds(&large).unwrap_or(0.1) - latency).max(1e-6);
    Ok(Speed {
        flops_per_s: rate(&large_gemm, large_gemm.flops(), rate(&gemm, gemm.flops(), 1e10)),
        bytes_per_s: rate(&copy, copy.bytes(), if moved > 0.0 { moved } else { 1e9 }),
        exchange_bytes_per_s: if meets { 2.0 * ranks as f64 } else { 1.0 } * large.bytes() as f64 / exchange,
        rank_latency_seconds: latency / ranks as f64,
        case_seconds: case.min(order.most_case_seconds),
        attention_seconds,
    })
}

/// Of the ops that a record has, the one of the same family, and where it can be of the same kind, that computes
/// about as much as `op` and moves as many bytes; `op` itself on a device that runs any.
fn nearest(recorded: Option<&[Op]>, op: Op) -> Op {
    let octaves = |work: u128, other: u128| (work.max(1) as f64 / other.max(1) as f64).log2().abs();
    let away = |other: &&Op| {
        let is_other = other.cells().kind != op.cells().kind;
        let away = octaves(other.bytes(), op.bytes()) + octaves(other.flops(), op.flops());
        (is_other, Seconds::new(away).unwrap_or_default())
    };
    let family = recorded.unwrap_or_default().iter().filter(|other| other.family() == op.family());
    family.min_by_key(away).copied().unwrap_or(op)
}
