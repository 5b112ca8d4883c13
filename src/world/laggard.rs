//! Which rank holds the others up.

use std::time::Duration;

use super::error::ranks;
use super::meeting::Peer;

/// A rank with its host and device.
pub(super) fn named(roster: &[Peer], rank: u64) -> String {
    match roster.get(rank as usize) {
        Some(peer) => format!("rank {rank} ({}, device {})", peer.host, peer.local_rank),
        None => format!("rank {rank}"),
    }
}

/// Of ranks and how far they have come: who does not tell, or has come least far.
pub(super) fn laggard(roster: &[Peer], at: &[(u64, u64)], waited: Duration) -> String {
    let names = |ranks: &[u64]| ranks.iter().map(|rank| named(roster, *rank)).collect::<Vec<_>>().join(", ");
    let all: Vec<u64> = roster.iter().map(|peer| peer.rank).collect();
    let tells = |rank: &u64| at.iter().any(|(known, _)| known == rank);
    let silent: Vec<u64> = all.iter().copied().filter(|rank| !tells(rank)).collect();
    if !silent.is_empty() {
        return format!("{} does not answer, {waited:.1?} after the others began to wait", names(&silent));
    }
    // those outside of a group wait further on: who has come least far is the one waited for
    let steps = || at.iter().map(|(_, steps)| *steps);
    let (least, most) = (steps().min().unwrap_or(0), steps().max().unwrap_or(0));
    if least == most {
        return format!(
            "no exchange ended for {waited:.1?}, and no rank is behind: {} wait for the network or a device",
            ranks(&all)
        );
    }
    let mut behind: Vec<u64> =
        at.iter().filter(|(_, steps)| *steps == least).map(|(rank, _)| *rank).collect();
    behind.sort_unstable();
    format!("{} hangs: the others have waited for it for {waited:.1?}", names(&behind))
}
