//! Layouts found against plans evaluated one by one, counted by hand, and ranked by definition.

mod random;

use gettime::cost::Estimate;
use gettime::evaluate::{self, Overrides, evaluate};
use gettime::plan::{self, Choice, Plan};
use gettime::schedule::{price, timeline};
use gettime::search::{Found, Search, Template, search};
use gettime::source::{Source, sheet};
use gettime::spec::{Microbatches, Overlap, Schedule};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn modelled() -> Source {
    Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap())
}

/// A table of products with intervals, between and beyond which others lie; the sheet for the rest. Neither says
/// how many GPUs a node has where `gpus_per_node` is left to the plan.
fn measured(folder: &tempfile::TempDir) -> Source {
    let mut rows = String::from("op,dtype,m,k,n,seconds,seconds_low,seconds_high\n");
    for m in [256u64, 4096, 65_536] {
        for (k, n) in [(512, 1024), (1024, 4096), (2048, 2048), (4096, 1024), (3072, 3072)] {
            let seconds = 5e-6 + 2.0 * (m * k * n) as f64 / 6e14;
            rows += &format!("gemm,bf16,{m},{k},{n},{seconds},{},{}\n", seconds * 0.97, seconds * 1.04);
        }
    }
    let path = folder.path().join("table.csv");
    std::fs::write(&path, rows).unwrap();
    Source::from_tables(&[&path], Some(("h200-sxm", sheet("h200-sxm").unwrap()))).unwrap()
}

#[track_caller]
fn near(found: f64, expected: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-9 * expected, "{what}: {found} instead of {expected}");
}

#[track_caller]
fn same(found: &Estimate, expected: &Estimate, what: &str) {
    near(found.seconds.get(), expected.seconds.get(), what);
    near(found.low.get(), expected.low.get(), what);
    near(found.high.get(), expected.high.get(), what);
}

#[test]
fn folded_plans_take_as_long_as_whole_ones() {
    let folder = tempfile::tempdir().unwrap();
    let (source, mut rng) = (measured(&folder), StdRng::seed_from_u64(40));
    let mut smaller = 0;
    for i in 0..300 {
        let plan = random::plan(&mut rng);
        let Microbatches::Exactly(microbatches) = plan.microbatches else { unreachable!() };
        let choice = evaluate::choice(&plan, &source, &Overrides::default()).unwrap();
        // nodes of any size, whatever the source says
        let gpus_per_node = plan.gpus_per_node.unwrap();
        let choice = Choice { microbatches, gpus_per_node, ..choice };
        let whole = plan::lower(&plan, &choice).unwrap();
        let folded = plan::lower_folded(&plan, &choice).unwrap();
        let [a, b] = [&whole, &folded].map(|dag| timeline(dag, &price(dag, &source).unwrap()).unwrap());
        same(&b.makespan, &a.makespan, &format!("{i}: {plan:?}"));
        for (a, b) in a.scenarios.iter().zip(&b.scenarios) {
            near(*b, *a, &format!("{i}: a scenario of {plan:?}"));
        }
        smaller += usize::from(folded.len() < whole.len());
    }
    assert!(smaller > 150, "{smaller} of 300 are smaller");
}

#[test]
fn streams_beside_each_other_are_folded_right() {
    let (source, mut rng) = (modelled(), StdRng::seed_from_u64(41));
    for _ in 0..100 {
        let plan = Plan { overlap: Overlap::All, ..random::plan(&mut rng) };
        let Microbatches::Exactly(microbatches) = plan.microbatches else { unreachable!() };
        let choice = evaluate::choice(&plan, &source, &Overrides::default()).unwrap();
        let choice = Choice { microbatches, ..choice };
        let [a, b] = [plan::lower(&plan, &choice), plan::lower_folded(&plan, &choice)].map(|dag| {
            let dag = dag.unwrap();
            timeline(&dag, &price(&dag, &source).unwrap()).unwrap().makespan
        });
        same(&b, &a, &format!("{plan:?}"));
    }
}

const DENSE: &str = "
[model]
layers = 4
hidden = 1024
heads = 4
ffn = 4096
batch = 4
sequence = 512
";

const EXPERTS: &str = "
phase = \"train\"
attention = \"fused\"
[model]
layers = 4
hidden = 1024
heads = 8
gated = true
vocabulary = 32000
batch = 8
sequence = 512
[model.moe]
experts = 8
top_k = 2
ffn = 1024
";

fn found(model: &str, gpus: u64, source: &Source) -> (Template, Search) {
    let template = Template::parse("small.toml", model).unwrap();
    let search = search(&template, gpus, source).unwrap();
    (template, search)
}

#[test]
fn the_layouts_are_those_counted_by_hand() {
    // tensor × pipeline × data = 4; with the tokens split or not where tensor > 1; pieces divide the 4 / data
    // sequences of a replica; two stages of 4 layers can also be dealt out in two parts each:
    //   1·1·4: 1   1·2·2: 2 pieces × 2 schedules   1·4·1: 3   2·1·2: 2 × 2   2·2·1: 3 × 2 × 2   4·1·1: 3 × 2
    let (_, search) = found(DENSE, 4, &modelled());
    assert_eq!(search.layouts, 1 + 4 + 3 + 4 + 12 + 6);
    assert_eq!((search.found.len(), search.too_large, search.unpriced), (30, 0, 0));
    let interleaved = search.found.iter().filter(|f| f.degrees.schedule == Schedule::Interleaved(2)).count();
    assert_eq!(interleaved, 2 + 6);
    // trained, two stages and four have gpipe besides
    let (_, search) = found(&format!("phase = \"train\"\n{DENSE}"), 4, &modelled());
    // of interleaved ones those whose pieces come in rounds of two: 1 of 2, and 2 of 3 × 2
    assert_eq!(search.layouts, 1 + (2 + 2 + 1) + (3 + 3) + 4 + (6 + 6 + 4) + 6);
}

#[test]
fn every_layout_is_a_plan_that_takes_as_long() {
    let folder = tempfile::tempdir().unwrap();
    for source in [modelled(), measured(&folder)] {
        for (model, gpus) in [(DENSE, 8), (EXPERTS, 8), (EXPERTS, 12)] {
            let (template, search) = found(model, gpus, &source);
            assert!(search.found.len() > 30, "{}", search.found.len());
            for f in search.found.iter().step_by(5) {
                let text = template.text(gpus, &f.degrees);
                let plan = Plan::parse("best.toml", &text).unwrap();
                let e = evaluate(plan, &source, &Overrides::default()).unwrap();
                same(&f.makespan, &e.makespan(), &text);
                assert_eq!(f.peak_bytes, e.fullest().peak_bytes, "{text}");
                assert_eq!(f.degrees.microbatches, e.choice.microbatches);
            }
        }
    }
}

/// Whether the second is slower in nearly all scenarios: 31 of 32 leave no doubt, 5 % to either side.
fn surely_slower(best: &Found, other: &Found) -> bool {
    if best.scenarios.is_empty() {
        return other.makespan.seconds.get() > best.makespan.seconds.get() * (1.0 + 1e-9);
    }
    let slower = best.scenarios.iter().zip(&other.scenarios).filter(|(a, b)| b > a).count();
    slower >= best.scenarios.len() - 1
}

#[test]
fn the_ranking_is_by_time_and_its_marks_mean_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    for source in [modelled(), measured(&folder)] {
        let (_, search) = found(EXPERTS, 8, &source);
        let all = &search.found;
        for pair in all.windows(2) {
            let [a, b] = [&pair[0], &pair[1]].map(|f| f.makespan.seconds.get());
            assert!(a <= b * (1.0 + 2e-9), "{a} before {b}");
        }
        for f in all {
            let better = |other: &&Found| {
                let faster = other.makespan.seconds.get() <= f.makespan.seconds.get() * (1.0 + 1e-9);
                faster && other.peak_bytes < f.peak_bytes
            };
            if f.pareto {
                let better = all.iter().find(better);
                assert!(better.is_none(), "{:?} beats {:?}", better.map(|b| b.degrees), f.degrees);
            }
            assert_eq!(f.tied, !surely_slower(&all[0], f), "{:?}", f.degrees);
        }
        assert!(all[0].pareto && all[0].tied);
        let least = all.iter().min_by_key(|f| f.peak_bytes).unwrap().peak_bytes;
        assert!(all.iter().any(|f| f.pareto && f.peak_bytes == least));
    }
}

#[test]
fn what_does_not_fit_is_counted_and_the_least_need_told() {
    let small = gettime::roofline::BUILT_IN[0].1.replace("memory_bytes = 141e9", "memory_bytes = 60e6");
    let source =
        |text: &str| Source::from_sheet("small", gettime::roofline::Roofline::parse("small", text).unwrap());
    let (_, all) = found(DENSE, 4, &modelled());
    let (_, some) = found(DENSE, 4, &source(&small));
    let fit = all.found.iter().filter(|f| f.peak_bytes <= 60_000_000).count();
    assert!(fit > 0 && fit < 30, "{fit}");
    assert_eq!((some.layouts, some.found.len(), some.too_large), (30, fit, 30 - fit));
    let (_, none) = found(DENSE, 4, &source(&small.replace("60e6", "1e6")));
    assert_eq!((none.found.len(), none.too_large), (0, 30));
    assert_eq!(none.least_bytes, all.found.iter().map(|f| f.peak_bytes).min());
}

#[test]
fn a_model_is_refused_with_its_own_line() {
    for (from, to, line) in [("heads = 4", "heads = 0", 5), ("ffn = 4096", "fnn = 4096", 6)] {
        let error = Template::parse("small.toml", &DENSE.replace(from, to)).unwrap_err();
        assert_eq!((error.line, error.file.as_str()), (line, "small.toml"), "{error}");
    }
}

#[test]
fn public_models_have_the_parameters_that_they_are_named_for() {
    // the models' published sizes, in billions
    for (name, billions) in
        [("llama-3-70b-train", 70.6), ("llama-3.1-405b-train", 405.9), ("deepseek-v3-train", 671.0)]
    {
        let (_, text) = plan::PUBLIC.iter().find(|(n, _)| *n == name).unwrap();
        let template = Template::parse(name, text).unwrap();
        let choice = evaluate::choice(template.plan(), &modelled(), &Overrides::default()).unwrap();
        let (alone, choice) = template.plan().on_one_gpu(&choice);
        let bytes = plan::fullest(&alone, &choice).weight_bytes as f64;
        assert!((bytes / 2e9 / billions - 1.0).abs() < 0.02, "{name}: {}", bytes / 2e9);
    }
}
