//! All layouts of a model over so many GPUs, ranked.
//!
//! A layout is tensor × pipeline × expert × data × micro-batches × schedule. Each becomes a plan like any other;
//! what makes thousands of them quick is what they have in common: GPUs that do the same at the same time are
//! looked at once, so are layers that are alike, and an op is priced once for all layouts.

mod degrees;
mod template;

use crate::cost::Estimate;
use crate::evaluate::{self, EvaluateError, Overrides};
use crate::plan::{self, Choice, Plan};
use crate::schedule::{Scenarios, Unpriced, interval, paired, price, timeline_in};
use crate::source::Source;

pub use degrees::{Degrees, degrees};
pub use template::Template;

/// A layout that fits in memory, and its runtime.
#[derive(Clone, Debug)]
pub struct Found {
    /// The layout.
    pub degrees: Degrees,
    /// Its runtime.
    pub makespan: Estimate,
    /// The runtime in every scenario of the table's errors; none where nothing was measured.
    pub scenarios: Vec<f64>,
    /// What the fullest GPU holds.
    pub peak_bytes: u64,
    /// Whether no other layout is as fast with as little memory.
    pub pareto: bool,
    /// Whether it cannot be told apart from the fastest.
    pub tied: bool,
}

/// What a search came to.
#[derive(Debug, Default)]
pub struct Search {
    /// Fastest first; of equally fast ones the one that needs least memory.
    pub found: Vec<Found>,
    /// Layouts that go up.
    pub layouts: usize,
    /// Of these, those that do not fit in memory.
    pub too_large: usize,
    /// The least that a GPU would need, over the layouts that do not fit.
    pub least_bytes: Option<u64>,
    /// Of these, those that need an op that the source does not cover.
    pub unpriced: usize,
    /// Why the first of them has no runtime.
    pub first_unpriced: Option<Unpriced>,
}

/// Two runtimes this near are one: rounding.
const SAME: f64 = 1e-9;

/// Looks at all layouts of the model over `gpus` GPUs.
///
/// # Errors
/// When the element type has to be chosen, or nobody says how many GPUs a node has.
pub fn search(model: &Template, gpus: u64, source: &Source) -> Result<Search, EvaluateError> {
    let mut looking = Looking {
        source,
        choice: evaluate::choice(model.plan(), source, &Overrides::default())?,
        scenarios: Scenarios::default(),
        search: Search::default(),
    };
    for layout in degrees(gpus, model.has_experts()) {
        // what does not go up is no layout
        let Ok(plan) = Plan::parse(&model.name, &model.text(gpus, &layout)) else { continue };
        for schedule in degrees::schedules(&plan) {
            let Ok(plan) = plan.clone().with_schedule(schedule) else { continue };
            for microbatches in degrees::divisors(plan.most_microbatches()) {
                if plan.unfit(microbatches).is_none() {
                    looking.at(&plan, Degrees { microbatches, schedule, ..layout });
                }
            }
        }
    }
    let mut search = looking.search;
    rank(&mut search.found);
    Ok(search)
}

/// A search on its way.
struct Looking<'a> {
    source: &'a Source,
    choice: Choice,
    /// Errors of ops, drawn once for all layouts.
    scenarios: Scenarios,
    search: Search,
}

impl Looking<'_> {
    fn at(&mut self, plan: &Plan, degrees: Degrees) {
        let choice = Choice { microbatches: degrees.microbatches, ..self.choice };
        self.search.layouts += 1;
        let peak_bytes = plan::fullest(plan, &choice).peak_bytes;
        if self.source.memory_bytes.is_some_and(|capacity| peak_bytes > capacity) {
            self.search.too_large += 1;
            let least = self.search.least_bytes.unwrap_or(u64::MAX);
            self.search.least_bytes = Some(least.min(peak_bytes));
            return;
        }
        let Ok(dag) = plan::lower_folded(plan, &choice) else {
            self.search.unpriced += 1;
            return;
        };
        let prices = match price(&dag, self.source) {
            Ok(prices) => prices,
            Err(unpriced) => {
                self.search.unpriced += 1;
                self.search.first_unpriced.get_or_insert(unpriced);
                return;
            }
        };
        let Ok(done) = timeline_in(&dag, &prices, &mut self.scenarios) else {
            self.search.unpriced += 1;
            return;
        };
        self.search.found.push(Found {
            degrees,
            makespan: done.makespan,
            scenarios: done.scenarios,
            peak_bytes,
            pareto: false,
            tied: false,
        });
    }
}

/// Sorts layouts, and marks ties with the fastest and those that nothing beats in both time and memory.
fn rank(found: &mut [Found]) {
    // times that differ by rounding only are in the order of memory
    found.sort_by_key(|f| f.makespan.seconds);
    let mut first = 0;
    for i in 1..=found.len() {
        let seconds = |f: &Found| f.makespan.seconds.get();
        if i == found.len() || seconds(&found[i]) > seconds(&found[first]) * (1.0 + SAME) {
            found[first..i].sort_by_key(|f| f.peak_bytes);
            first = i;
        }
    }
    let Some(best) = found.first().cloned() else { return };
    let mut least = u64::MAX;
    for f in found {
        f.pareto = f.peak_bytes < least;
        least = least.min(f.peak_bytes);
        f.tied = cannot_be_told_apart(&best, f);
    }
}

/// In the same scenarios of errors sometimes the one is faster and sometimes the other.
fn cannot_be_told_apart(best: &Found, other: &Found) -> bool {
    let [a, b] = [best, other].map(|f| f.makespan.seconds.get());
    if b <= a * (1.0 + SAME) {
        return true;
    }
    let differences = paired((a, &best.scenarios), (b, &other.scenarios));
    let (low, _) = interval(&differences, b - a);
    low <= 0.0
}
