//! What the GPUs' time goes to, against closed forms.

use gettime::evaluate::{Overrides, evaluate};
use gettime::occupancy::{Occupancy, occupancy};
use gettime::plan::{self, Plan};
use gettime::roofline::{BUILT_IN, Roofline};
use gettime::source::Source;
use gettime::spec::Microbatches;

/// With links, or with links and memory, that take no time.
fn occupied(name: &str, microbatches: u64, free_memory: bool) -> Occupancy {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let sheet = BUILT_IN[0].1.replace("= 450e9", "= inf").replace("= 50e9", "= inf");
    let sheet = if free_memory { sheet.replace("= 4.8e12", "= inf") } else { sheet };
    let source = Source::from_sheet("free links", Roofline::parse("free links", &sheet).unwrap());
    let microbatches = Some(Microbatches::Exactly(microbatches));
    let overrides = Overrides { microbatches, ..Overrides::default() };
    occupancy(&evaluate(Plan::parse(name, text).unwrap(), &source, &overrides).unwrap())
}

#[track_caller]
fn near(found: f64, expected: f64, within: f64) {
    assert!((found - expected).abs() <= within, "{found}, not {expected}");
}

#[test]
fn the_bubble_of_equal_stages_is_that_of_gpipe() {
    // (p − 1) / (M + p − 1), Huang et al. 2019; of two stages and of sixteen
    for (name, stages) in [("tp8-pp2", 2.0), ("layerwise", 16.0)] {
        for microbatches in [1, 2, 8, 64] {
            let found = occupied(name, microbatches, false);
            near(found.bubble, (stages - 1.0) / (microbatches as f64 + stages - 1.0), 1e-9);
            near(found.idle, 0.0, 1e-9);
            near(found.communication, 0.0, 0.0);
            near(found.products + found.memory, 1.0 - found.bubble, 1e-9);
        }
    }
    let alike = occupied("ep16", 1, false);
    near(alike.products + alike.memory, 1.0, 1e-9);
}

#[test]
fn gpus_with_less_to_do_are_idle() {
    // products alone: FLOPs of one layer on an attention GPU of three heads, of two, and on one with experts
    // (audit of document 001, section 6); the two groups take turns, and the experts' GPUs are the busiest
    let [three, two, experts] = [3.299e13, 2.199e13, 1.408e14];
    let found = occupied("ma-separation", 1, true);
    let turn = three + experts;
    near(found.bubble, three / turn, 2e-4);
    near(found.products, (8.0 * three + 4.0 * two + 4.0 * experts) / (16.0 * turn), 2e-4);
    near(found.idle, (8.0 * (experts - three) + 4.0 * (experts - two)) / (16.0 * turn), 2e-4);
}
