//! What the rounds say: by how much a layer is off the sum of its ops, and which causes can be told apart.

use std::collections::BTreeMap;

use super::share::Share;
use super::turns::Round;
use crate::cost::{Cost, CostError, Estimate};
use crate::dtype::Dtype;
use crate::measure::chain::{ChainRun, Lap};
use crate::op::{Chained, Op};
use crate::stats;
use crate::units::Seconds;

/// The share of waiting in a round below which the time that went by is the time that ops took.
const QUIET: f64 = 0.02;

/// The share of waiting below which others change nothing of how long a layer takes beside its ops, when the time that
/// cores worked is compared: beside others who had them for 70 % of the time that was off by 4 %.
const CALM: f64 = 0.1;

/// Rounds that are enough: those of fewer do not hold the median with 90 % even between their ends.
const ENOUGH: usize = 5;

/// What was run.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The plan.
    pub plan: String,
    /// The GPU whose share it is.
    pub gpu: u32,
    /// Sequences, and tokens of each.
    pub batch: (u64, u64),
    /// Element type.
    pub dtype: Dtype,
}

/// What a table says of the ops, in the order of the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct Tabled {
    /// Op by op.
    pub ops: Vec<Estimate>,
    /// Their sum.
    pub sum: Estimate,
}

/// Parts of a difference that were measured, each as a share of the time alone.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reasons {
    /// What the op before left in the caches: as it runs, less as it runs after a sweep of the caches.
    pub cache: Option<f64>,
    /// Cores that had nothing to do, in the chain less alone; not known where others took the cores.
    pub idle: Option<f64>,
    /// What launching op by op adds to the chain.
    pub launches: Option<f64>,
    /// By how much the clock after the chain is off the clock after the ops alone.
    pub clock: Option<f64>,
}

/// One op of the chain, or all of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The node, such as `mlp_up`.
    pub name: String,
    /// What runs; none of the whole.
    pub op: Option<Op>,
    /// The median of its time alone, in seconds.
    pub alone: f64,
    /// The median of its time in the chain.
    pub chained: f64,
    /// The median of the rounds' ratios of the two, less 1.
    pub off: f64,
    /// What can be told of that.
    pub reasons: Reasons,
}

/// One share of a plan, predicted and executed.
#[derive(Clone, Debug, PartialEq)]
pub struct Validation {
    /// What was run.
    pub of: Reference,
    /// Whether times are those that cores worked, over their number: others took the cores meanwhile.
    pub by_cores: bool,
    /// The share of the time for which others had the cores, in the median; none where nobody says.
    pub waited: Option<f64>,
    /// In the order of the chain.
    pub links: Vec<Link>,
    /// The whole.
    pub whole: Link,
    /// Of each round that counts, the chain over the sum of its ops.
    pub ratios: Vec<f64>,
    /// The same of the ops of one family.
    pub families: BTreeMap<Chained, Vec<Seconds>>,
    /// What a table says.
    pub table: Option<Tabled>,
    /// Nodes that were not run.
    pub left_out: Vec<String>,
}

/// What `cost` says of a chain.
pub(super) fn priced(share: &Share, cost: &dyn Cost) -> Result<Tabled, CostError> {
    let ops = share.links.iter().map(|link| cost.cost(&link.op)).collect::<Result<Vec<_>, _>>()?;
    Ok(Tabled { sum: ops.iter().copied().sum(), ops })
}

/// The median; 0 of nothing.
fn middle(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}

fn middle_of_some(values: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let known: Vec<f64> = values.flatten().filter(|value| value.is_finite()).collect();
    (!known.is_empty()).then(|| middle(known.into_iter()))
}

/// A lap by the clock that counts.
#[derive(Clone, Copy)]
struct Watch {
    by_cores: bool,
}

impl Watch {
    fn read(self, lap: &Lap) -> f64 {
        let seconds = if self.by_cores { lap.busy.unwrap_or(lap.seconds) } else { lap.seconds };
        seconds.get()
    }

    /// Of some laps together.
    fn sum(self, laps: &[Lap], which: &[usize]) -> f64 {
        which.iter().filter_map(|i| laps.get(*i)).map(|lap| self.read(lap)).sum()
    }

    /// Time for which cores had nothing to do.
    fn idle(self, laps: &[Lap], which: &[usize]) -> Option<f64> {
        let idle = |i: &usize| laps.get(*i).and_then(|lap| Some(lap.seconds.get() - lap.busy?.get()));
        if self.by_cores { None } else { which.iter().map(idle).sum() }
    }

    /// The ops `which` of the chain, together.
    fn link(self, name: &str, op: Option<Op>, which: &[usize], rounds: &[&Round]) -> Link {
        let alone = |round: &Round| self.sum(&round.alone, which);
        let chained = |round: &Round| self.sum(&round.linked.laps, which);
        let cache = |round: &&Round| {
            let swept = self.sum(&round.swept.as_ref()?.laps, which);
            Some((chained(round) - swept) / alone(round))
        };
        let idle = |round: &&Round| {
            let more = self.idle(&round.linked.laps, which)? - self.idle(&round.alone, which)?;
            Some(more / alone(round))
        };
        Link {
            name: name.to_owned(),
            op,
            alone: middle(rounds.iter().map(|round| alone(round))),
            chained: middle(rounds.iter().map(|round| chained(round))),
            off: middle(rounds.iter().map(|round| chained(round) / alone(round) - 1.0)),
            reasons: Reasons {
                cache: middle_of_some(rounds.iter().map(cache)),
                idle: middle_of_some(rounds.iter().map(idle)),
                ..Reasons::default()
            },
        }
    }
}

impl Validation {
    pub(super) fn of(of: Reference, share: Share, table: Option<Tabled>, rounds: &[Round]) -> Self {
        let is_quiet = |round: &&Round| round.waited.is_none_or(|waited| waited < QUIET);
        let quiet: Vec<&Round> = rounds.iter().filter(is_quiet).collect();
        let by_cores = quiet.len() < ENOUGH.min(rounds.len());
        let rounds: Vec<&Round> = if by_cores { rounds.iter().collect() } else { quiet };
        let watch = Watch { by_cores };
        let all: Vec<usize> = (0..share.links.len()).collect();
        let links = share.links.iter().zip(&share.names).enumerate();
        let links = links.map(|(i, (link, name))| watch.link(name, Some(link.op), &[i], &rounds)).collect();
        let sum = |round: &Round| watch.sum(&round.alone, &all);
        let whole = |run: &ChainRun| watch.read(&run.whole);
        let ratios: Vec<f64> = rounds.iter().map(|round| whole(&round.linked) / sum(round)).collect();
        let mut members: BTreeMap<Chained, Vec<usize>> = BTreeMap::new();
        for (i, link) in share.links.iter().enumerate() {
            Chained::of(&link.op).into_iter().for_each(|family| members.entry(family).or_default().push(i));
        }
        let ratio = |which: &[usize], round: &Round| {
            Seconds::new(watch.sum(&round.linked.laps, which) / watch.sum(&round.alone, which)).ok()
        };
        let of_family = |(family, which): (Chained, Vec<usize>)| {
            (family, rounds.iter().filter_map(|round| ratio(&which, round)).collect())
        };
        let families = members.into_iter().map(of_family).collect();
        let launches =
            |round: &&Round| Some((whole(round.launched.as_ref()?) - whole(&round.linked)) / sum(round));
        let mut together = watch.link("the whole", None, &all, &rounds);
        together.chained = middle(rounds.iter().map(|round| whole(&round.linked)));
        together.off = middle(ratios.iter().map(|ratio| ratio - 1.0));
        together.reasons.launches = middle_of_some(rounds.iter().map(launches));
        together.reasons.clock = middle_of_some(rounds.iter().map(|round| Some(round.pace? - 1.0)));
        Validation {
            of,
            by_cores,
            waited: middle_of_some(rounds.iter().map(|round| round.waited)),
            links,
            whole: together,
            ratios,
            families,
            table,
            left_out: share.left_out,
        }
    }

    /// Whether a table can learn from it.
    pub fn is_calm(&self) -> bool {
        self.waited.is_none_or(|waited| waited < CALM)
    }

    /// The interval that holds the true ratio of chain and ops with 95 %, less 1; none of fewer rounds than can say.
    pub fn interval(&self) -> Option<(f64, f64)> {
        let ratios: Vec<Seconds> = self.ratios.iter().filter_map(|ratio| Seconds::new(*ratio).ok()).collect();
        let known = stats::interval(&ratios).filter(|_| ratios.len() >= ENOUGH);
        known.map(|(low, high)| (low.get() - 1.0, high.get() - 1.0))
    }

    /// By how much the layer takes longer than was predicted, as a share of the prediction: the table's, or that of
    /// the ops measured here and now.
    pub fn error(&self) -> f64 {
        match &self.table {
            Some(table) => self.whole.chained / table.sum.seconds.get() - 1.0,
            None => self.whole.off,
        }
    }
}
