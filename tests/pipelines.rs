//! Schedules of pipelines against the closed forms of their bubbles.

use gettime::cost::{Basis, Cost, CostError, Estimate};
use gettime::dag::{Dag, Kind};
use gettime::dtype::Dtype;
use gettime::op::Op;
use gettime::plan::{self, Choice, Plan};
use gettime::schedule::{price, schedule, timeline};
use gettime::spec::{AttentionMode, Schedule};
use gettime::units::Seconds;

/// A product takes its FLOPs in nanoseconds; everything else is free.
struct OnlyProducts;

impl Cost for OnlyProducts {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let seconds = match op {
            Op::Gemm(_) => op.flops() as f64 * 1e-9,
            _ => 0.0,
        };
        Ok(Estimate::exactly(Seconds::new(seconds).unwrap(), Basis::Modelled))
    }
}

fn plan(stages: u64, layers: u64, microbatches: u64, phase: &str, schedule: &str, more: &str) -> Plan {
    let text = format!(
        "name = \"pipeline\"\nphase = \"{phase}\"\nschedule = \"{schedule}\"\n{more}\n\
         [model]\nlayers = {layers}\nhidden = 64\nheads = 4\nffn = 256\nbatch = {microbatches}\nsequence = 32\n\
         [cluster]\ngpus = {stages}\n[parallel]\npipeline = {stages}\n"
    );
    Plan::parse("pipeline.toml", &text).unwrap()
}

fn choice(microbatches: u64) -> Choice {
    Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches, attention: AttentionMode::Unfused }
}

fn makespan(dag: &Dag) -> f64 {
    timeline(dag, &price(dag, &OnlyProducts).unwrap()).unwrap().makespan.seconds.get()
}

/// Seconds of products on each of `stages` GPUs that hold the same.
fn ideal(dag: &Dag, stages: u64) -> f64 {
    let flops: u128 =
        dag.nodes().flat_map(|n| &dag.work_of(n).ops).map(|(op, c)| op.flops() * u128::from(*c)).sum();
    flops as f64 * 1e-9 / stages as f64
}

fn close(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 1e-9, "{what}: {found} instead of {expected}");
}

#[test]
fn bubbles_are_those_of_the_closed_forms() {
    for (p, m, v) in [
        (1, 4, 1),
        (2, 1, 1),
        (2, 2, 1),
        (2, 8, 1),
        (3, 7, 1),
        (4, 2, 1),
        (4, 8, 1),
        (8, 32, 1),
        (5, 3, 1),
        (2, 2, 2),
        (2, 8, 2),
        (3, 6, 3),
        (4, 4, 2),
        (4, 16, 3),
        (8, 16, 4),
        (5, 20, 2),
    ] {
        let schedules: &[&str] = if v == 1 { &["gpipe", "1f1b"] } else { &["interleaved"] };
        for name in schedules {
            let name = if v == 1 { (*name).to_owned() } else { format!("{name}:{v}") };
            let plan = plan(p, p * v * 2, m, "train", &name, "");
            let dag = plan::lower(&plan, &choice(m)).unwrap();
            let (makespan, ideal) = (makespan(&dag), ideal(&dag, p));
            let what = format!("{name} p={p} M={m}");
            // arXiv 2104.04473, section 2.2: the bubble is (p−1)/M of the ideal time, divided by v
            close(makespan, ideal * (1.0 + (p - 1) as f64 / (m * v) as f64), &what);
            if v == 1 && p > 1 {
                let bubble = (makespan - ideal) / makespan;
                close(bubble, (p - 1) as f64 / (m + p - 1) as f64, &what);
            }
        }
    }
}

#[test]
fn a_forward_pass_fills_the_pipeline_once() {
    for (p, m) in [(2, 4), (4, 3), (8, 16)] {
        for (phase, name) in [("prefill", "gpipe"), ("prefill", "1f1b"), ("decode", "1f1b")] {
            let dag = plan::lower(&plan(p, 2 * p, m, phase, name, ""), &choice(m)).unwrap();
            let expected = ideal(&dag, p) * (m + p - 1) as f64 / m as f64;
            close(makespan(&dag), expected, &format!("{phase} {name} p={p} M={m}"));
        }
    }
}

#[test]
fn backward_products_are_twice_the_forward_ones() {
    let flops = |phase: &str| ideal(&plan::lower(&plan(2, 4, 4, phase, "1f1b", ""), &choice(4)).unwrap(), 1);
    close(flops("train"), 3.0 * flops("prefill"), "forward and backward");
}

#[test]
fn one_forward_one_backward_holds_no_more_than_the_stages_that_follow() {
    // in flight on stage s: p − s micro-batches under 1f1b, all of them under gpipe
    let peak = |name: &str, m: u64| {
        let plan = plan(4, 4, m, "train", name, "");
        plan::footprints(&plan, &choice(m)).iter().map(|gpu| gpu.peak_bytes).collect::<Vec<_>>()
    };
    let (few, many) = (peak("1f1b", 8), peak("1f1b", 64));
    assert_eq!(few, many);
    assert!(few.is_sorted_by(|a, b| a > b), "{few:?}");
    let step = few[0] - few[1];
    assert_eq!([few[1] - few[2], few[2] - few[3]], [step, step]);
    let all = peak("gpipe", 64);
    assert_eq!(all[3] - few[3], 63 * step);
}

#[test]
fn overlapped_sends_do_not_occupy_the_sender() {
    /// Products take a second for each of a layer, and sends of a stage's output half a second.
    struct Slow;
    impl Cost for Slow {
        fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
            let seconds = match op {
                Op::Gemm(g) if g.batch == 1 => 0.25,
                Op::P2p(_) => 0.5,
                _ => 0.0,
            };
            Ok(Estimate::exactly(Seconds::new(seconds).unwrap(), Basis::Modelled))
        }
    }
    let time = |more: &str| {
        let dag = plan::lower(&plan(2, 2, 8, "prefill", "1f1b", more), &choice(8)).unwrap();
        timeline(&dag, &price(&dag, &Slow).unwrap()).unwrap()
    };
    // a layer has four products: 1 s a stage; in line, stage 0 needs 1.5 s for each of 8 micro-batches
    let in_line = time("");
    assert_eq!(in_line.makespan.seconds.get(), 8.0 * 1.5 + 1.0);
    let beside = time("overlap = true");
    assert_eq!(beside.makespan.seconds.get(), 8.0 + 0.5 + 1.0);
    assert_eq!(beside.busy, [8.0, 8.0]);
}

#[test]
fn a_folded_pipeline_takes_as_long_as_the_whole() {
    let text = "name = \"fold\"\nphase = \"train\"\nschedule = \"interleaved:2\"\n[model]\nlayers = 8\nhidden = 256\n\
                heads = 8\nffn = 1024\nbatch = 32\nsequence = 64\nvocabulary = 1024\n[train]\nrecompute = \"selective\"\n\
                [cluster]\ngpus = 16\n[parallel]\ntensor = 2\npipeline = 4\ndata = 2\n";
    let h200 = gettime::source::sheet("h200-sxm").unwrap();
    for text in [
        text.to_owned(),
        text.replace("phase", "overlap = true\nphase"),
        text.replace("tensor = 2", "sequence_parallel = true\ntensor = 2"),
    ] {
        let plan = Plan::parse("fold.toml", &text).unwrap();
        let [whole, folded] =
            [plan::lower(&plan, &choice(8)), plan::lower_folded(&plan, &choice(8))].map(Result::unwrap);
        assert!(folded.len() * 3 < whole.len());
        let time = |dag: &Dag| {
            let prices = price(dag, &h200).unwrap();
            let durations: Vec<f64> = prices.works.iter().map(|e| e.seconds.get()).collect();
            schedule(dag, &durations).makespan
        };
        let (whole, folded) = (time(&whole), time(&folded));
        assert!((folded / whole - 1.0).abs() < 1e-12, "{folded}, not {whole}");
    }
}

#[test]
fn schedules_are_read_and_refused() {
    assert_eq!("interleaved:3".parse(), Ok(Schedule::Interleaved(3)));
    assert_eq!("interleaved".parse(), Ok(Schedule::Interleaved(2)));
    for (text, schedule) in [("gpipe", Schedule::Gpipe), ("1f1b", Schedule::OneFOneB)] {
        assert_eq!(text.parse(), Ok(schedule));
        assert_eq!(schedule.to_string(), text);
    }
    for wrong in ["interleaved:1", "interleaved:x", "zb", ""] {
        assert!(wrong.parse::<Schedule>().unwrap_err().contains("use gpipe, 1f1b"), "{wrong}");
    }
    let uneven = plan(4, 12, 4, "train", "1f1b", "").with_schedule(Schedule::Interleaved(2)).unwrap_err();
    assert!(uneven.contains("12 layers") && uneven.contains("interleaved:3"), "{uneven}");
    let alone = plan(1, 12, 4, "train", "1f1b", "").with_schedule(Schedule::Interleaved(2)).unwrap_err();
    assert!(alone.contains("at least two stages"), "{alone}");
    let plan = plan(4, 8, 6, "train", "interleaved:2", "");
    assert!(plan.unfit(4).is_none());
    assert!(plan.unfit(6).unwrap().contains("--schedule 1f1b"));
    assert_eq!(plan.unfit(2).unwrap(), "--microbatches 4, or --schedule 1f1b");
}

#[test]
fn every_unit_is_in_the_graph_once() {
    for (p, m, name) in [(3, 6, "interleaved:2"), (4, 3, "1f1b"), (2, 5, "gpipe")] {
        let dag = plan::lower(&plan(p, 12, m, "train", name, ""), &choice(m)).unwrap();
        let count = |name: &str| dag.nodes().filter(|n| dag.name_of(*n) == name).count() as u64;
        assert_eq!([count("qkv"), count("qkv_wgrad"), count("qkv_dgrad")], [12 * m; 3], "{name}");
        let sends = dag.nodes().filter(|n| dag.work_of(*n).kind == Kind::Send).count() as u64;
        let parts = if name.starts_with("inter") { 2 * p } else { p };
        assert_eq!(sends, 2 * (parts - 1) * m, "{name}");
    }
}
