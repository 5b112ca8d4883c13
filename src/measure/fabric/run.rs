//! The ranks of this process, and what they run on.

use std::time::Duration;

use super::Fabric;
use super::crew::{Abort, Crew, Lead, Make};
use super::group::Ends;
use crate::dtype::Dtype;
use crate::measure::Backend;
use crate::world::meeting::{Met, Peer};
use crate::world::watch::Trouble;

/// What an engine is, apart from what it does.
pub(in crate::measure) struct Kind {
    /// In a table's column `source`.
    pub source: &'static str,
    /// Element types that it moves.
    pub dtypes: Vec<Dtype>,
    /// Whether something else runs beside its exchanges.
    pub has_streams: bool,
    /// Whether it runs in graphs.
    pub has_graphs: bool,
    /// Ranks that share the memory of the leader's device.
    pub sharing: u64,
    /// Of each class of links within a node, best first, two ranks that have one; none where all are alike.
    pub link_classes: Vec<Ends>,
    /// What a table's header says of the cluster.
    pub details: toml::Table,
}

/// The ranks of this process, started.
pub struct Run {
    pub(super) kind: Kind,
    pub(super) roster: Vec<Peer>,
    pub(super) crew: Crew,
    pub(super) lead: Lead,
}

impl Run {
    pub(in crate::measure) fn start(
        kind: Kind,
        met: Met,
        ranks: Vec<(u64, Make)>,
        abort: Abort,
        deadline: Duration,
    ) -> Self {
        let roster = met.roster.clone();
        let (crew, lead) = Crew::start(met, ranks, abort, deadline);
        Run { kind, roster, crew, lead }
    }

    /// Does what the leader orders until the end.
    ///
    /// # Errors
    /// What ended the run before its time, with the rank that did.
    pub fn follow(mut self) -> Result<(), String> {
        self.crew.wait()
    }

    /// The leader's backend; `local` measures what needs no other rank.
    pub fn lead(self, local: &mut dyn Backend) -> Fabric<'_> {
        let (stragglers, known, pairs) = Default::default();
        Fabric { run: self, local, stragglers, known, pairs }
    }

    /// Ends the run on all ranks, and tells them why.
    pub fn fail(&self, reason: &str) {
        if self.crew.watch.verdict().is_none() {
            self.crew.watch.fail(0, Trouble { text: reason.to_owned(), is_echo: false });
        }
    }
}
