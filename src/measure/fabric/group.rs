//! Which ranks make up a group of so many on so many nodes.

use crate::op::Op;
use crate::world::meeting::Peer;

/// Two ranks of the run: who sends, and who receives.
pub(in crate::measure) type Ends = (u64, u64);

/// A group of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::measure) struct Group {
    /// How many they are.
    pub ranks: u64,
    /// Nodes that they stand on, each with as many.
    pub nodes: u64,
    /// Which two they are, where not any will do.
    pub ends: Option<Ends>,
}

/// The op's group, of these two where it has two; none where it needs no other rank.
pub(in crate::measure) fn wanted(op: &Op, ends: Option<Ends>) -> Option<Group> {
    let (ranks, nodes) = match op {
        Op::Collective(op) => (op.ranks, op.nodes),
        Op::P2p(op) if !op.link.is_copy() => return Some(Group { ranks: 2, nodes: op.link.nodes(), ends }),
        Op::Overlap(op) => (op.ranks.into(), op.nodes.into()),
        Op::P2p(_) | Op::Gemm(_) | Op::Kernel(_) | Op::Attention(_) | Op::Chain(_) => return None,
    };
    Some(Group { ranks, nodes, ends: None })
}

/// The first so many ranks of each of the first so many nodes, in order, or those that are named; none where there are
/// not as many.
pub(in crate::measure) fn members(roster: &[Peer], group: Group) -> Option<Vec<u64>> {
    let Group { ranks, nodes, ends } = group;
    if let Some((from, to)) = ends {
        return Some(vec![from, to]);
    }
    if nodes == 0 || ranks < 2 || !ranks.is_multiple_of(nodes) {
        return None;
    }
    let each = (ranks / nodes) as usize;
    let count = roster.iter().map(|peer| peer.node + 1).max().unwrap_or(0);
    let on = |node: u64| roster.iter().filter(move |peer| peer.node == node).map(|peer| peer.rank);
    let chosen: Vec<u64> = (0..count).filter(|node| on(*node).count() >= each).take(nodes as usize).collect();
    let mut members: Vec<u64> = chosen.iter().flat_map(|node| on(*node).take(each)).collect();
    members.sort_unstable();
    (chosen.len() as u64 == nodes).then_some(members)
}

/// Devices on each node; none where the nodes differ.
pub(in crate::measure) fn per_node(roster: &[Peer]) -> Option<u64> {
    let nodes = roster.iter().map(|peer| peer.node + 1).max().unwrap_or(1);
    let each = roster.len() as u64 / nodes;
    let on = |node| roster.iter().filter(|peer| peer.node == node).count() as u64;
    (0..nodes).all(|node| on(node) == each).then_some(each)
}

#[cfg(test)]
mod tests {
    use super::{Group, Peer, members, per_node};

    fn roster(nodes: &[u64]) -> Vec<Peer> {
        let peer = |(rank, node): (usize, &u64)| Peer {
            rank: rank as u64,
            host: String::new(),
            node: *node,
            local_rank: 0,
        };
        nodes.iter().enumerate().map(peer).collect()
    }

    #[test]
    fn groups_take_the_first_of_each_node() {
        let members = |roster: &[Peer], (ranks, nodes)| members(roster, Group { ranks, nodes, ends: None });
        let block = roster(&[0, 0, 0, 0, 1, 1, 1, 1]);
        assert_eq!(members(&block, (2, 1)), Some(vec![0, 1]));
        assert_eq!(members(&block, (4, 2)), Some(vec![0, 1, 4, 5]));
        assert_eq!(members(&block, (2, 2)), Some(vec![0, 4]));
        assert_eq!(members(&block, (8, 2)), Some((0..8).collect()));
        assert_eq!((members(&block, (8, 1)), members(&block, (3, 2))), (None, None));
        // ranks dealt round, as srun's cyclic distribution does
        assert_eq!(members(&roster(&[0, 1, 0, 1]), (2, 1)), Some(vec![0, 2]));
    }

    #[test]
    fn nodes_that_differ_have_no_common_number() {
        assert_eq!(per_node(&roster(&[0, 0, 1, 1])), Some(2));
        assert_eq!(per_node(&roster(&[0, 0, 0, 1])), None);
    }
}
