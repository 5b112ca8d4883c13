//! NCCL's log, in a file without a name: read for what it tells of algorithms and transports.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use crate::measure::exchange::Pattern;
use crate::measure::fabric::Group;
use crate::nccl_log::{Line, Told};
use crate::op::CollectiveKind;
use crate::world::environment;

/// Where NCCL writes, in this process.
static FILE: OnceLock<File> = OnceLock::new();

/// Asks NCCL to write a log that nobody sees but us; not where somebody wants one of his own.
///
/// To be called before anything else of this process runs: it sets variables of the environment.
pub fn listen() {
    let is_set = |name: &str| environment(name).is_some();
    if ["NCCL_DEBUG", "NCCL_DEBUG_FILE", "NCCL_DEBUG_SUBSYS"].into_iter().any(is_set) {
        return;
    }
    // without one nothing is told, and nothing else is different
    let Ok(file) = tempfile::tempfile() else { return };
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    if FILE.set(file).is_ok() {
        for (name, value) in
            [("NCCL_DEBUG", "INFO"), ("NCCL_DEBUG_SUBSYS", "INIT,TUNING"), ("NCCL_DEBUG_FILE", path.as_str())]
        {
            // SAFETY: the caller has started no thread that could read the environment meanwhile.
            #[allow(unsafe_code)]
            unsafe {
                std::env::set_var(name, value);
            }
        }
    }
}

/// What NCCL calls the function of a pattern, where it chooses an algorithm for it.
pub(super) const fn function(pattern: Pattern) -> Option<&'static str> {
    match pattern {
        Pattern::Collective(CollectiveKind::AllReduce) => Some("AllReduce"),
        Pattern::Collective(CollectiveKind::AllGather) => Some("AllGather"),
        Pattern::Collective(CollectiveKind::ReduceScatter) => Some("ReduceScatter"),
        Pattern::Collective(CollectiveKind::Broadcast) => Some("Broadcast"),
        Pattern::Collective(CollectiveKind::AllToAll) | Pattern::Send => None,
    }
}

/// The log as it is read, by one rank of the process.
#[derive(Debug, Default)]
pub(super) struct Log {
    offset: u64,
    /// Transports of each group's connections; those of all ranks have none for a key.
    transports: HashMap<Option<Group>, u32>,
}

impl Log {
    /// What was told since the last time, when this group ran a collective of this name. Connections are made once
    /// and are told of once, so those of before count, too.
    pub fn told(&mut self, group: Option<Group>, function: Option<&str>) -> Told {
        let mut told = Told::default();
        for line in self.text().lines().filter_map(Line::read) {
            told.hear(&line, function);
        }
        let transports = self.transports.entry(group).or_default();
        *transports |= told.transports;
        Told { transports: *transports, ..told }
    }

    /// What has been written since the last time.
    fn text(&mut self) -> String {
        let Some(file) = FILE.get() else { return String::new() };
        let (mut bytes, mut block) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = file.read_at(&mut block, self.offset) {
            bytes.extend_from_slice(&block[..count]);
            self.offset += count as u64;
        }
        // a line for every exchange of an hour would be gigabytes; NCCL goes on behind what is gone
        let _ = file.set_len(0);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
