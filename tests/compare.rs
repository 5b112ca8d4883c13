//! Differences of runtimes: sums to the last bit, figures by hand, and what paired scenarios tell.

mod random;

use gettime::difference::{Cause, Difference, Term, difference};
use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::plan::{self, Plan};
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;
use gettime::whatif::Lever;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn modelled() -> Source {
    Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap())
}

fn built_in(name: &str, microbatches: u64, source: &Source) -> Evaluation {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let overrides =
        Overrides { microbatches: Some(Microbatches::Exactly(microbatches)), ..Overrides::default() };
    evaluate(Plan::parse(name, text).unwrap(), source, &overrides).unwrap()
}

/// Sums forwards, backwards, and in the order of size.
fn sums(terms: &[Term], pick: fn(&Term) -> f64) -> [f64; 3] {
    let mut by_size: Vec<f64> = terms.iter().map(pick).collect();
    by_size.sort_by(f64::total_cmp);
    [terms.iter().map(pick).sum(), terms.iter().rev().map(pick).sum(), by_size.iter().sum()]
}

#[track_caller]
fn adds_up(first: &Evaluation, second: &Evaluation) {
    let found = difference(first, second);
    let [a, b] = found.makespans;
    for (makespan, e) in [(a, first), (b, second)] {
        let whole = e.timeline.schedule.makespan;
        assert!((makespan - whole).abs() <= 2e-15 * a.max(b), "{makespan} {whole}");
    }
    assert_eq!(found.seconds(), b - a);
    for account in [&found.per_gpu, &found.on_path] {
        assert_eq!(sums(account, |term| term.first), [a; 3]);
        assert_eq!(sums(account, |term| term.second), [b; 3]);
        assert_eq!(sums(account, Term::difference), [b - a; 3]);
        assert!(account.iter().all(|term| term.first >= 0.0 && term.second >= 0.0), "{account:?}");
    }
    assert!(found.on_path.iter().all(|term| !term.cause.waits()));
}

#[test]
fn terms_add_up_to_the_last_bit_on_all_pairs_of_built_in_plans() {
    let source = modelled();
    for microbatches in [1, 4] {
        let all: Vec<Evaluation> =
            plan::BUILT_IN.iter().map(|(name, _)| built_in(name, microbatches, &source)).collect();
        for first in &all {
            for second in &all {
                adds_up(first, second);
            }
        }
    }
}

#[test]
fn terms_add_up_to_the_last_bit_on_random_plans() {
    let (source, mut rng) = (modelled(), StdRng::seed_from_u64(20));
    for _ in 0..150 {
        let [first, second] = std::array::from_fn(|_| {
            evaluate(random::plan(&mut rng), &source, &Overrides::default()).unwrap()
        });
        adds_up(&first, &second);
        adds_up(&first, &first);
    }
}

fn of(found: &Difference, pick: impl Fn(Cause) -> bool) -> [f64; 2] {
    let terms = || found.per_gpu.iter().filter(|term| pick(term.cause));
    [terms().map(|term| term.first).sum(), terms().map(|term| term.second).sum()]
}

#[test]
fn waiting_in_a_pipeline_is_its_bubble() {
    // layerwise: 16 stages in a row, of which one works at a time. Sends aside, 15 of 16 parts of the time are
    // waiting; with 16 micro-batches 15 of 31
    let text = plan::BUILT_IN.iter().find(|(name, _)| *name == "layerwise").unwrap().1;
    let free_links = "
name = \"free links\"
memory_bytes = 141e9
memory_bandwidth_bytes_per_s = 4.8e12
gpus_per_node = 8
launch_latency_seconds = 0.0
[flops_per_s]
bf16 = 1e15
[intra_node]
bandwidth_bytes_per_s = inf
latency_seconds = 0.0
[inter_node]
bandwidth_bytes_per_s = inf
latency_seconds = 0.0
";
    let source = Source::from_sheet("free", gettime::roofline::Roofline::parse("free", free_links).unwrap());
    let [one, sixteen] = [1, 16].map(|m| {
        let overrides = Overrides { microbatches: Some(Microbatches::Exactly(m)), ..Overrides::default() };
        evaluate(Plan::parse("layerwise", text).unwrap(), &source, &overrides).unwrap()
    });
    let found = difference(&one, &sixteen);
    let close =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    let [a, b] = of(&found, Cause::waits);
    close(a / found.makespans[0], 15.0 / 16.0);
    close(b / found.makespans[1], 15.0 / 31.0);
    // the first stage fills at once and drains for 15 steps, the last the other way round
    let [filling, draining] = [Cause::Filling, Cause::Draining].map(|cause| of(&found, |c| c == cause));
    close(filling[1] / found.makespans[1], 7.5 / 31.0);
    close(draining[1] / found.makespans[1], 7.5 / 31.0);
    // the same products on both
    let [a, b] = of(&found, |cause| cause == Cause::Doing(Lever::Products));
    close(a, b);
}

/// A table of a few products of which others are interpolated, and the sheet for the rest.
fn measured(folder: &tempfile::TempDir) -> Source {
    let mut rows = String::from("op,dtype,m,k,n,seconds,seconds_low,seconds_high\n");
    for m in [1 << 16, 1 << 20, 1 << 24] {
        for (k, n) in [(1024, 8192), (8192, 3072), (8192, 32768), (32768, 8192), (8192, 8192), (4096, 8192)] {
            let seconds = 2.0 * f64::from(m) * f64::from(k) * f64::from(n) / 7e14;
            rows += &format!("gemm,bf16,{m},{k},{n},{seconds},{},{}\n", seconds * 0.98, seconds * 1.03);
        }
    }
    let path = folder.path().join("table.csv");
    std::fs::write(&path, rows).unwrap();
    Source::from_tables(&[&path], Some(("h200-sxm", sheet("h200-sxm").unwrap()))).unwrap()
}

#[test]
fn scenarios_are_the_same_errors_for_both_plans() {
    let folder = tempfile::tempdir().unwrap();
    let source = measured(&folder);
    let plan = built_in("tp8-pp2", 8, &source);
    assert!(plan.makespan().relative_half_width() > 0.005, "{:?}", plan.makespan());
    // a plan does not differ from itself in any scenario, though it has error bars
    let found = difference(&plan, &plan);
    assert_eq!(found.scenarios, vec![0.0; found.scenarios.len()]);
    assert_eq!(found.told_apart(), Some(false));
    // twice the batch takes twice the time, and is told apart in every scenario
    let small = plan::BUILT_IN[0].1.replace("batch = 1024", "batch = 512");
    let overrides = Overrides { microbatches: Some(Microbatches::Exactly(4)), ..Overrides::default() };
    let half = evaluate(Plan::parse("half", &small).unwrap(), &source, &overrides).unwrap();
    let found = difference(&half, &plan);
    assert_eq!((found.told_apart(), found.first_faster()), (Some(true), found.scenarios.len()));
    // errors go together: the difference is surer than the two runtimes by themselves
    let (low, high) = found.interval();
    let alone = [&half, &plan].map(|e| e.makespan().high.get() - e.makespan().low.get());
    assert!(low < found.seconds() && found.seconds() < high);
    assert!(high - low < 0.8 * (alone[0] + alone[1]), "{low} {high} {alone:?}");
    // and the other way round it is the same
    let back = difference(&plan, &half);
    assert_eq!((back.seconds(), back.interval()), (-found.seconds(), (-high, -low)));
}

#[test]
fn nothing_is_told_where_nothing_was_measured() {
    let source = modelled();
    let [a, b] = ["tp8-pp2", "layerwise"].map(|name| built_in(name, 1, &source));
    let found = difference(&a, &b);
    assert_eq!((found.told_apart(), found.scenarios.len()), (None, 0));
    assert_eq!(found.interval(), (found.seconds(), found.seconds()));
}
