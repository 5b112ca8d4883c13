//! What NCCL says in its log of how it moves data: the lines of `NCCL_DEBUG=INFO` that name an algorithm and a
//! protocol (`NCCL_DEBUG_SUBSYS=TUNING`, since 2.19) or a transport (`INIT`).
//!
//! ```text
//! host:41:41 [0] NCCL INFO 8 Bytes -> Algo 0 proto 0 time 25.200924
//! host:41:41 [0] NCCL INFO AllGather: 37756928 Bytes -> Algo 1 proto 2 time 2860.208008
//! host:41:41 [0] NCCL INFO AllReduce: 4194304 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..15}
//! host:41:57 [0] NCCL INFO Channel 00/0 : 0[0] -> 2[0] [send] via NET/IB/3/GDRDMA
//! ```
//!
//! The first two forms are those of 2.19 to 2.22, the third of 2.23 and later.

/// Algorithms in the order of their numbers in `nccl_common.h`.
pub const ALGORITHMS: [&str; 7] =
    ["tree", "ring", "collnet_direct", "collnet_chain", "nvls", "nvls_tree", "pat"];

/// Protocols in the order of their numbers there.
pub const PROTOCOLS: [&str; 3] = ["ll", "ll128", "simple"];

/// Ways from one GPU to another, the most direct first: through the other's memory, through the host's, by a network
/// (`/gdrdma`: without the host's memory), by switches that reduce.
pub const TRANSPORTS: [&str; 8] =
    ["p2p", "shm", "net/ib/gdrdma", "net/ib", "net/socket", "net/gdrdma", "net", "collnet"];

/// A line that tells something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// What was chosen for a collective.
    Chosen {
        /// `AllReduce`; none before 2.21.
        function: Option<&'a str>,
        /// Bytes of the message; of all_gather and reduce_scatter those of one rank's part from 2.23 on.
        bytes: u64,
        /// In [`ALGORITHMS`].
        algorithm: usize,
        /// In [`PROTOCOLS`].
        protocol: usize,
    },
    /// A connection was made, by this of [`TRANSPORTS`].
    Via(usize),
}

impl<'a> Line<'a> {
    /// What a line of a log tells; `None` where it is another one.
    pub fn read(line: &'a str) -> Option<Self> {
        let (_, text) = line.split_once("NCCL INFO ")?;
        if let Some((message, choice)) = text.split_once(" Bytes -> Algo ") {
            let (function, bytes) = match message.split_once(':') {
                Some((function, bytes)) => (Some(function.trim()), bytes),
                None => (None, message),
            };
            let mut words = choice.split_whitespace();
            let algorithm = number(words.next()?, &ALGORITHMS)?;
            let protocol = words.next().filter(|word| *word == "proto").and_then(|_| words.next())?;
            let protocol = number(protocol, &PROTOCOLS)?;
            return Some(Line::Chosen { function, bytes: bytes.trim().parse().ok()?, algorithm, protocol });
        }
        let (_, way) = text.strip_prefix("Channel ")?.split_once(" via ")?;
        let way = way.to_lowercase();
        let is_direct = way.contains("/gdrdma");
        let name = match way.split(['/', ' ']).collect::<Vec<_>>().as_slice() {
            ["p2p", ..] => "p2p",
            ["shm", ..] => "shm",
            ["collnet", ..] => "collnet",
            // plug-ins are called IBext and IBext_v8
            ["net", by, ..] if by.starts_with("ib") && is_direct => "net/ib/gdrdma",
            ["net", by, ..] if by.starts_with("ib") => "net/ib",
            ["net", "socket", ..] => "net/socket",
            ["net", ..] if is_direct => "net/gdrdma",
            ["net", ..] => "net",
            _ => return None,
        };
        TRANSPORTS.iter().position(|known| *known == name).map(Line::Via)
    }
}

/// The place of `RING`, `NVLS_TREE`, `NVLSTree` or `1` among the names.
fn number(word: &str, names: &[&str]) -> Option<usize> {
    if let Ok(number) = word.parse::<usize>() {
        return Some(number).filter(|number| *number < names.len());
    }
    let plain = |name: &str| name.replace('_', "").to_lowercase();
    names.iter().position(|name| plain(name) == plain(word))
}

/// How the ranks of a group moved an op's data, as far as NCCL told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// In [`ALGORITHMS`].
    pub algorithm: Option<usize>,
    /// In [`PROTOCOLS`].
    pub protocol: Option<usize>,
    /// A bit for each of [`TRANSPORTS`].
    pub transports: u32,
}

impl Told {
    /// Takes a line of a log from the time of the collective `function` (`AllReduce`) on, or of sends where there is
    /// none. Of several choices the first counts: those behind it are of exchanges that followed.
    pub fn hear(&mut self, line: &Line<'_>, function: Option<&str>) {
        match line {
            Line::Via(transport) => self.transports |= 1 << transport,
            Line::Chosen { function: named, algorithm, protocol, .. } => {
                let is_meant = function.is_some_and(|meant| named.is_none_or(|named| named == meant));
                if is_meant && self.algorithm.is_none() {
                    (self.algorithm, self.protocol) = (Some(*algorithm), Some(*protocol));
                }
            }
        }
    }

    /// What two ranks of a group were told.
    pub fn and(self, other: Told) -> Told {
        Told {
            algorithm: self.algorithm.or(other.algorithm),
            protocol: self.protocol.or(other.protocol),
            transports: self.transports | other.transports,
        }
    }

    /// The names of algorithm, protocol and transports, these joined by `+`; empty where nothing was told.
    pub fn names(&self) -> [String; 3] {
        let name = |names: &[&str], number: Option<usize>| {
            number.and_then(|number| names.get(number)).map_or_else(String::new, |name| (*name).to_owned())
        };
        let ways = TRANSPORTS.iter().enumerate().filter(|(bit, _)| self.transports & (1 << bit) != 0);
        let ways: Vec<&str> = ways.map(|(_, name)| *name).collect();
        [name(&ALGORITHMS, self.algorithm), name(&PROTOCOLS, self.protocol), ways.join("+")]
    }
}

#[cfg(test)]
mod tests {
    use super::{Line, Told};

    /// Lines as they stand in issues of NVIDIA/nccl (1453, 1189, 1538, 1814) and in other logs on the web.
    const LINES: [(&str, Option<&str>, &str); 9] = [
        (
            "[0] worker-1:497888:497888 [0] NCCL INFO 8 Bytes -> Algo 0 proto 0 time 25.200924",
            None,
            "tree ll",
        ),
        (
            "node-0:309:309 [0] NCCL INFO AllGather: 37756928 Bytes -> Algo 1 proto 2 time 2860.208008",
            Some("AllGather"),
            "ring simple",
        ),
        (
            "NCCL INFO Broadcast:    65536 Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..1}",
            Some("Broadcast"),
            "ring simple",
        ),
        (
            "h:1:1 [0] NCCL INFO AllReduce: 268435456 Bytes -> Algo NVLS_TREE proto LL128 channel{Lo..Hi}={0..15} cgaClusterSize 4",
            Some("AllReduce"),
            "nvls_tree ll128",
        ),
        (
            "H20-GPU-06:4015539:4015652 [0] NCCL INFO Channel 07/0 : 0[0] -> 2[0] [receive] via NET/IB/3/GDRDMA",
            None,
            "net/ib/gdrdma",
        ),
        ("job-0:5663:5809 [0] NCCL INFO Channel 04/0 : 0[0] -> 7[7] via P2P/CUMEM", None, "p2p"),
        (
            "h:981:1267 [1] NCCL INFO Channel 01/0 : 26[2] -> 33[1] [receive] via NET/IBext_v8/4",
            None,
            "net/ib",
        ),
        ("h:1:1 [0] NCCL INFO Channel 00 : 1[1] -> 0[0] via SHM/direct/direct", None, "shm"),
        ("h:1:1 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[0] [send] via NET/Socket/0", None, "net/socket"),
    ];

    #[test]
    fn lines_of_several_versions_tell() {
        for (text, function, expected) in LINES {
            let line = Line::read(text).unwrap_or_else(|| panic!("{text}"));
            if let Line::Chosen { function: named, .. } = line {
                assert_eq!(named, function);
            }
            let mut told = Told::default();
            told.hear(&line, Some(function.unwrap_or("AllReduce")));
            assert_eq!(told.names().join(" ").trim(), expected, "{text}");
        }
    }

    #[test]
    fn other_lines_tell_nothing() {
        for text in [
            "h:1:1 [0] NCCL INFO NVLS multicast support is available on dev 0",
            "h:1:1 [0] NCCL INFO AllReduce: opCount 1606 sendbuff 0x93fd44a00 count 2359808 datatype 7",
            "h:1:1 [0] NCCL INFO 8 Bytes -> Algo 9 proto 0 time 1",
            "h:1:1 [0] NCCL INFO  Bytes -> Algo RING proto",
            "AllReduce: 4 Bytes -> Algo RING proto SIMPLE",
        ] {
            assert_eq!(Line::read(text), None, "{text}");
        }
    }

    #[test]
    fn the_first_choice_of_the_collective_counts() {
        let mut told = Told::default();
        for text in [
            "AllReduce: 4 Bytes -> Algo TREE proto LL",
            "AllGather: 32 Bytes -> Algo RING proto LL",
            "AllGather: 9 Bytes -> Algo PAT proto SIMPLE",
        ] {
            told.hear(&Line::read(&format!("NCCL INFO {text}")).unwrap(), Some("AllGather"));
        }
        let other = Told { transports: 0b101, ..Told::default() };
        assert_eq!(other.and(told).names(), ["ring", "ll", "p2p+net/ib/gdrdma"]);
        // sends have neither
        let mut sent = Told::default();
        sent.hear(&Line::read("NCCL INFO AllReduce: 4 Bytes -> Algo TREE proto LL").unwrap(), None);
        assert_eq!(sent, Told::default());
    }
}
