//! How well the devices of a node are linked to each other, as the driver ranks it.

use cudarc::driver::sys::{self, CUdevice_P2PAttribute as Attribute};

use crate::measure::cuda::library::driver_has;
use crate::measure::fabric::Ends;
use crate::op::Link;
use crate::world::meeting::Peer;

/// A rank that is worse than any of the driver's: of devices that do not reach each other's memory.
const APART: i32 = i32::MAX;

/// Of each class of links among the leader's node, best first, the first two ranks that have one; none where all links
/// are alike, or where this process does not see the devices of all ranks on its node.
pub(super) fn classes(roster: &[Peer], devices: u64) -> Vec<Ends> {
    let node = roster.first().map_or(0, |peer| peer.node);
    let on_node: Vec<&Peer> = roster.iter().filter(|peer| peer.node == node).collect();
    if !driver_has("cuDeviceGetP2PAttribute") || on_node.iter().any(|peer| peer.local_rank >= devices) {
        return Vec::new();
    }
    let mut found: Vec<(i32, Ends)> = Vec::new();
    for (place, from) in on_node.iter().enumerate() {
        for to in &on_node[place + 1..] {
            let Some(class) = class(from.local_rank as i32, to.local_rank as i32) else { return Vec::new() };
            if found.iter().all(|(known, _)| *known != class) {
                found.push((class, (from.rank, to.rank)));
            }
        }
    }
    found.sort_unstable();
    let mut pairs: Vec<_> = found.into_iter().map(|(_, pair)| pair).collect();
    while pairs.len() > Link::CLASSES {
        pairs.remove(pairs.len() - 2); // the worst is what a send is priced by, and stays
    }
    if pairs.len() > 1 { pairs } else { Vec::new() }
}

/// The class of the link between two devices of this process: the lower, the better.
fn class(from: i32, to: i32) -> Option<i32> {
    let ask = |attribute| {
        let mut value = 0;
        // SAFETY: the pointer is to a variable of ours of the type that is written; the driver is initialised, as
        // its devices have been counted.
        #[allow(unsafe_code)]
        let code = unsafe { sys::cuDeviceGetP2PAttribute(&raw mut value, attribute, from, to) };
        (code == sys::CUresult::CUDA_SUCCESS).then_some(value)
    };
    match ask(Attribute::CU_DEVICE_P2P_ATTRIBUTE_ACCESS_SUPPORTED)? {
        0 => Some(APART),
        _ => ask(Attribute::CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK),
    }
}
