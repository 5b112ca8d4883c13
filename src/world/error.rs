//! Why the processes of a run could not become one.

use std::time::Duration;

/// What is wrong with how a run was started, or with who came to it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// One of a launcher's variables is there and another is not.
    #[error(
        "{set} is set and {missing} is not\n  a launcher sets both: set {missing}, or unset {set} to run alone"
    )]
    HalfSet {
        /// The variable that is there.
        set: &'static str,
        /// The one that is not.
        missing: &'static str,
    },
    /// A variable that is no count.
    #[error("{name} is \"{value}\", which is not a number of ranks\n  set it to a whole number, or unset it")]
    NotANumber {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// A rank beyond the number of ranks.
    #[error(
        "{name} = {value} contradicts {other} = {limit}\n  ranks are counted from 0: it must be below that"
    )]
    TooLarge {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: u64,
        /// The variable that bounds it.
        other: &'static str,
        /// What that holds.
        limit: u64,
    },
    /// Nothing says where rank 0 is.
    #[error("nothing says where rank 0 is: MASTER_ADDR is not set\n  {remedy}")]
    NoAddress {
        /// How to set it under this launcher.
        remedy: &'static str,
    },
    /// A variable that is no address.
    #[error("{name} = \"{value}\" leads nowhere: {reason}\n  set it to an address of the host of rank 0")]
    BadAddress {
        /// The variable, or what stands for it.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What the system says.
        reason: String,
    },
    /// Rank 0 cannot listen.
    #[error("rank 0 on {host} cannot listen at {address}: {reason}\n  {remedy}")]
    CannotListen {
        /// Name of this host.
        host: String,
        /// Where.
        address: String,
        /// What the system says.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Some ranks never came.
    #[error(
        "{} of {size} did not come to {address} within {waited:.0?}\n  look for their messages; are they started, \
         and does their network reach that address?", ranks(.missing)
    )]
    Missing {
        /// The ranks that did not come, in order.
        missing: Vec<u64>,
        /// How many there should be.
        size: u64,
        /// Where they were waited for.
        address: String,
        /// How long.
        waited: Duration,
    },
    /// Rank 0 was not there.
    #[error(
        "rank 0 did not answer at {address} within {waited:.0?} ({reason})\n  is it started, does MASTER_ADDR \
         name its host, and is that port open?"
    )]
    NoRankZero {
        /// Where it was looked for.
        address: String,
        /// How long.
        waited: Duration,
        /// What the last attempt gave.
        reason: String,
    },
    /// Rank 0 will not have this process, or the run ended before it began.
    #[error("{reason}")]
    Refused {
        /// What rank 0 says.
        reason: String,
    },
}

/// `rank 3` and `ranks 1, 4–6`.
pub(crate) fn ranks(ranks: &[u64]) -> String {
    let mut parts: Vec<(u64, u64)> = Vec::new();
    for &rank in ranks {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == rank => *last = rank,
            _ => parts.push((rank, rank)),
        }
    }
    let text: Vec<String> = parts
        .iter()
        .map(|&(first, last)| match last - first {
            0 => first.to_string(),
            1 => format!("{first}, {last}"),
            _ => format!("{first}–{last}"),
        })
        .collect();
    format!("{} {}", if ranks.len() == 1 { "rank" } else { "ranks" }, text.join(", "))
}

#[cfg(test)]
mod tests {
    use super::ranks;

    #[test]
    fn runs_of_ranks_are_written_short() {
        assert_eq!(ranks(&[3]), "rank 3");
        assert_eq!(ranks(&[1, 2, 4, 5, 6, 9]), "ranks 1, 2, 4–6, 9");
    }
}
