//! What the leading rank tells the others to do, in a few numbers that fit one small broadcast.

use super::group::Ends;
use crate::dtype::Dtype;
use crate::op::{Collective, CollectiveKind, Link, Op, Overlap, P2p, Timed};

/// Numbers in an order.
pub(in crate::measure) const WORDS: usize = 8;

/// How an op is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::measure) enum Mode {
    /// Once, after a barrier: what a rank that waits for the result sees.
    Isolated,
    /// Back to back, as nccl-tests does.
    Pipelined,
    /// Back to back in a graph.
    Graph,
}

/// What all ranks do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::measure) enum Order {
    /// Makes buffers and a group for the op, runs it once, and checks the result.
    /// A send is between these two, where they are named.
    Prepare(Op, Option<Ends>),
    /// Runs the prepared op so often, and tells how long one run took.
    Time(Mode, u64),
    /// Runs both ops of the prepared pair so often at the same time, and tells how long each took.
    Both {
        /// Runs of the product.
        products: u64,
        /// Runs of the all-reduce.
        exchanges: u64,
    },
    /// Nothing: the leader lives, and measures something of its own.
    Wait,
    /// Leaves.
    End,
}

const SEND: u64 = 100;

/// Both of [`Timed`] go into the number of an element type.
const TIMED: u64 = Timed::ALL.len() as u64;

impl Order {
    pub fn encode(&self) -> [u64; WORDS] {
        let mut words = [0; WORDS];
        match self {
            Order::End => {}
            Order::Wait => words[0] = 1,
            Order::Time(mode, runs) => {
                let mode = match mode {
                    Mode::Isolated => 0,
                    Mode::Pipelined => 1,
                    Mode::Graph => 2,
                };
                words[..3].copy_from_slice(&[2, mode, *runs]);
            }
            Order::Both { products, exchanges } => words[..3].copy_from_slice(&[4, *products, *exchanges]),
            Order::Prepare(Op::Overlap(op), _) => {
                let Overlap { timed, m, k, n, bytes, ranks, nodes, dtype } = *op;
                let dtype = Dtype::ALL.iter().position(|known| *known == dtype).unwrap_or(0) as u64;
                words = [
                    5,
                    timed as u64 + TIMED * dtype,
                    m.into(),
                    k.into(),
                    n.into(),
                    bytes,
                    ranks.into(),
                    nodes.into(),
                ];
            }
            Order::Prepare(op, ends) => {
                let cells = op.cells();
                let kind = CollectiveKind::ALL.iter().position(|kind| kind.name() == cells.kind);
                let dtype = op.dtype().and_then(|dtype| Dtype::ALL.iter().position(|known| *known == dtype));
                let count = |count: Option<u64>| count.unwrap_or(0);
                words = [
                    3,
                    kind.map_or(SEND, |kind| kind as u64),
                    dtype.unwrap_or(0) as u64,
                    count(cells.bytes),
                    count(cells.ranks),
                    count(cells.nodes),
                    ends.map_or(0, |(from, _)| from + 1),
                    ends.map_or(0, |(_, to)| to + 1),
                ];
            }
        }
        words
    }

    /// The order that the words stand for; what stands for none is the end.
    pub fn decode(words: &[u64; WORDS]) -> Self {
        match *words {
            [1, ..] => Order::Wait,
            [2, mode, runs, ..] => {
                let mode = match mode {
                    0 => Mode::Isolated,
                    1 => Mode::Pipelined,
                    _ => Mode::Graph,
                };
                Order::Time(mode, runs)
            }
            [4, products, exchanges, ..] => Order::Both { products, exchanges },
            [5, types, m, k, n, bytes, ranks, nodes] => {
                let timed = Timed::ALL.get((types % TIMED) as usize);
                let [m, k, n, ranks, nodes] = [m, k, n, ranks, nodes].map(|count| count as u32);
                match (timed, Dtype::ALL.get((types / TIMED) as usize)) {
                    (Some(&timed), Some(&dtype)) => {
                        let op = Overlap { timed, m, k, n, bytes, ranks, nodes, dtype };
                        Order::Prepare(Op::Overlap(op), None)
                    }
                    _ => Order::End,
                }
            }
            [3, SEND, _, bytes, _, nodes, from, to] => {
                let link = if nodes > 1 { Link::InterNode } else { Link::IntraNode };
                let ends = from.checked_sub(1).zip(to.checked_sub(1));
                Order::Prepare(Op::P2p(P2p { bytes, link }), ends)
            }
            [3, kind, dtype, bytes, ranks, nodes, ..] => {
                match (CollectiveKind::ALL.get(kind as usize), Dtype::ALL.get(dtype as usize)) {
                    (Some(&kind), Some(&dtype)) => {
                        let op = Op::Collective(Collective { kind, bytes, ranks, nodes, dtype });
                        Order::Prepare(op, None)
                    }
                    _ => Order::End,
                }
            }
            _ => Order::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Collective, CollectiveKind, Dtype, Link, Mode, Op, Order, Overlap, P2p, Timed};

    #[test]
    fn orders_arrive_as_they_were_sent() {
        let mut orders = vec![Order::End, Order::Wait, Order::Both { products: 7, exchanges: 400 }];
        for (timed, dtype) in Timed::ALL.into_iter().flat_map(|timed| Dtype::ALL.map(|dtype| (timed, dtype)))
        {
            let op = Overlap { timed, m: 1, k: 2, n: 3, bytes: 1 << 30, ranks: 16, nodes: 2, dtype };
            orders.push(Order::Prepare(Op::Overlap(op), None));
        }
        orders.extend([Mode::Isolated, Mode::Pipelined, Mode::Graph].map(|mode| Order::Time(mode, 77)));
        for link in [Link::IntraNode, Link::InterNode] {
            let op = Op::P2p(P2p { bytes: 1 << 30, link });
            orders.extend([None, Some((0, 9))].map(|ends| Order::Prepare(op, ends)));
        }
        for kind in CollectiveKind::ALL {
            let op = Collective { kind, bytes: 12_345, ranks: 16, nodes: 2, dtype: Dtype::Bf16 };
            orders.push(Order::Prepare(Op::Collective(op), None));
        }
        for order in orders {
            assert_eq!(Order::decode(&order.encode()), order);
        }
    }
}
