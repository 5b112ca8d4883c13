//! Everything that can be asked for, thinned out to a lattice: what a campaign draws from beside the ops of plans.

use super::Bounds;
use crate::op::{
    Attention, Collective, CollectiveKind, Family, Gemm, Kernel, KernelKind, Link, Op, Overlap, P2p, Timed,
};

/// A lattice over everything that can be asked for, in the element type of `bounds` and on its devices.
pub fn lattice(bounds: &Bounds) -> Vec<Op> {
    Family::ALL.into_iter().flat_map(|family| of_family(family, bounds)).collect()
}

fn of_family(family: Family, bounds: &Bounds) -> Vec<Op> {
    let dtype = bounds.dtype;
    let mut ops = Vec::new();
    match family {
        Family::Gemm => {
            let widths = [16, 64, 256, 512, 1000, 1024, 2048, 3000, 4096, 8192, 16_384, 32_768];
            for m in (0..=15).flat_map(|e| [1 << e, 3 << e]) {
                for (k, n) in pairs(&widths) {
                    for batch in [1, 2, 8, 32] {
                        ops.push(Op::Gemm(Gemm { m, k, n, batch, dtype }));
                    }
                }
            }
        }
        Family::Kernel => {
            for kind in KernelKind::ALL {
                let (widths, top_ks): (&[u64], &[u64]) = match kind {
                    KernelKind::GateTopk => (&[8, 16, 64, 256], &[1, 2, 8]),
                    KernelKind::Unpermute => (&[512, 2048, 8192], &[1, 2, 8]),
                    _ => (&[128, 512, 2048, 8192, 32_768], &[1]),
                };
                for (rows, cols) in (0..=24).step_by(2).flat_map(|e| widths.iter().map(move |w| (1 << e, *w)))
                {
                    for top_k in top_ks {
                        ops.push(Op::Kernel(Kernel { kind, rows, cols, top_k: *top_k, dtype }));
                    }
                }
            }
        }
        Family::Attention => {
            for (seq_q, seq_kv) in pairs(&[1, 64, 256, 1024, 4096]) {
                for (batch, heads) in [(1, 1), (1, 8), (4, 2), (8, 8)] {
                    for head_dim in [64, 128] {
                        ops.push(Op::Attention(Attention { batch, heads, seq_q, seq_kv, head_dim, dtype }));
                    }
                }
            }
        }
        Family::Collective => ops = collectives(bounds),
        Family::Overlap => {
            // the largest group on one node, and the largest of all
            let groups = groups(bounds);
            let largest = |is_meant: fn(&u64) -> bool| {
                groups.iter().copied().filter(|(_, nodes)| is_meant(nodes)).max()
            };
            let groups = [largest(|nodes| *nodes == 1), largest(|nodes| *nodes > 1)];
            let few = |(ranks, nodes)| Some((u32::try_from(ranks).ok()?, u32::try_from(nodes).ok()?));
            for (ranks, nodes) in groups.into_iter().flatten().filter_map(few) {
                for (size, bytes) in PAIRS {
                    let of = |timed| Overlap { timed, m: size, k: size, n: size, bytes, ranks, nodes, dtype };
                    ops.extend(Timed::ALL.map(|timed| Op::Overlap(of(timed))));
                }
            }
        }
        Family::P2p => {
            let inside = (bounds.gpus.min(bounds.gpus_per_node) > 1).then_some(Link::IntraNode);
            let between = (bounds.gpus > bounds.gpus_per_node).then_some(Link::InterNode);
            let beside = inside.and(Some(Link::DeviceToDevice));
            let host = [Some(Link::HostToDevice), Some(Link::DeviceToHost)];
            let classes = (0..Link::CLASSES as u8).map(|class| inside.and(Some(Link::Class(class))));
            for link in [inside, between, beside].into_iter().chain(host).chain(classes).flatten() {
                ops.extend(message_sizes().map(|bytes| Op::P2p(P2p { bytes, link })));
            }
        }
        Family::Chain => {} // of layers that are run whole
    }
    ops
}

/// Sizes of square products, and bytes of all-reduces that take about as long on eight GPUs of today.
const PAIRS: [(u32, u64); 3] = [(2048, 4 << 20), (4096, 32 << 20), (8192, 256 << 20)];

/// Collectives of every kind, group and size, in the element type of `bounds`.
pub fn collectives(bounds: &Bounds) -> Vec<Op> {
    let mut ops = Vec::new();
    for kind in CollectiveKind::ALL {
        for (ranks, nodes) in groups(bounds) {
            let sized = |bytes| Collective { kind, bytes, ranks, nodes, dtype: bounds.dtype };
            ops.extend(message_sizes().map(|bytes| Op::Collective(sized(bytes))));
        }
    }
    ops
}

/// Ranks and nodes of groups: powers of two, up to 16 ranks on one node, and all there are over several.
fn groups(bounds: &Bounds) -> Vec<(u64, u64)> {
    let per_node = bounds.gpus_per_node.max(1);
    let powers = |most: u64| (0..=10).map(|e| 1 << e).take_while(move |power| *power <= most);
    let most = |nodes| if nodes == 1 { per_node.min(16) } else { per_node };
    let on = |nodes| powers(most(nodes)).map(move |each| (nodes * each, nodes));
    let all = powers(bounds.gpus.div_ceil(per_node)).flat_map(on);
    all.filter(|(ranks, _)| (2..=bounds.gpus).contains(ranks)).collect()
}

/// 256 B to 1 GiB.
fn message_sizes() -> impl Iterator<Item = u64> {
    (8..=30).map(|e| 1 << e)
}

fn pairs(sizes: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    sizes.iter().flat_map(move |a| sizes.iter().map(move |b| (*a, *b)))
}
