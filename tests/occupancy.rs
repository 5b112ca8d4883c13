//! What the GPUs' time goes to, against closed forms.

use gettime::dag::{NodeId, Part};
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

/// Two stages of tensor groups whose communication has a stream of its own; each GPU's time is looked at piece by
/// piece, between any two moments at which something begins or ends.
#[test]
fn communication_beside_counts_where_nothing_hides_it() {
    let text = "name = 'beside'\nphase = 'train'\nmicrobatches = 4\noverlap = true\n\
                model = { layers = 4, hidden = 1024, heads = 8, ffn = 4096, batch = 8, sequence = 256 }\n\
                cluster = { gpus = 8, gpus_per_node = 8 }\n\
                parallel = { tensor = 2, pipeline = 2, data = 2 }\n";
    let source = Source::from_sheet("h200", Roofline::parse("h200", BUILT_IN[0].1).unwrap());
    let e = evaluate(Plan::parse("beside", text).unwrap(), &source, &Overrides::default()).unwrap();
    let (dag, schedule) = (&e.dag, &e.timeline.schedule);
    let (mut communication, mut most) = (0.0, 0.0_f64);
    for gpu in 0..dag.gpus() {
        let on_it = |node: &NodeId| dag.lanes()[dag.lane_column()[node.index()].index()].contains(&gpu);
        let nodes: Vec<NodeId> = dag.nodes().filter(on_it).collect();
        let ends = nodes.iter().flat_map(|node| [schedule.start(dag, *node), schedule.end(*node)]);
        let mut moments: Vec<f64> = ends.collect();
        moments.sort_unstable_by(f64::total_cmp);
        let mut occupied = 0.0;
        for pair in moments.windows(2) {
            let middle = 0.5 * (pair[0] + pair[1]);
            let runs = |node: &&NodeId| (schedule.start(dag, **node)..schedule.end(**node)).contains(&middle);
            let running: Vec<Part> =
                nodes.iter().filter(runs).filter_map(|n| dag.work_of(*n).kind.part()).collect();
            let hidden = running.iter().any(|part| *part != Part::Communication);
            occupied += if running.is_empty() { 0.0 } else { pair[1] - pair[0] };
            communication += if running.is_empty() || hidden { 0.0 } else { pair[1] - pair[0] };
        }
        most = most.max(occupied);
    }
    let found = occupancy(&e);
    assert!(found.communication > 0.01, "{found:?}");
    near(found.communication, communication / (8.0 * schedule.makespan), 1e-9);
    near(found.bubble, 1.0 - most / schedule.makespan, 1e-9);
    near(found.products + found.memory + found.communication + found.bubble + found.idle, 1.0, 1e-9);
}
