//! Training: FLOPs, memory and graphs against closed forms and published formulas.

use gettime::check::{Limits, check};
use gettime::dag::{Dag, Kind};
use gettime::dtype::Dtype;
use gettime::op::{CollectiveKind, Op};
use gettime::plan::{self, Choice, Plan};
use gettime::spec::AttentionMode;

const LAYERS: u64 = 6;
const HIDDEN: u64 = 1024;
const HEADS: u64 = 16;
const SEQUENCE: u64 = 512;
const BATCH: u64 = 4;

fn plan(parallel: &str, train: &str, more: &str) -> Plan {
    let gpus: u64 = parallel.split([' ', '\n']).filter_map(|word| word.parse::<u64>().ok()).product();
    let text = format!(
        "name = \"training\"\nphase = \"train\"\n{more}\n[model]\nlayers = {LAYERS}\nhidden = {HIDDEN}\nheads = {HEADS}\n\
         ffn = 4096\nbatch = {BATCH}\nsequence = {SEQUENCE}\n[train]\n{train}\n[cluster]\ngpus = {gpus}\n[parallel]\n{parallel}\n"
    );
    Plan::parse("training.toml", &text).unwrap()
}

fn choice(microbatches: u64, attention: AttentionMode) -> Choice {
    Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches, attention }
}

/// What one more layer keeps of one micro-batch of one sequence, on a GPU.
fn kept(parallel: &str, train: &str) -> u64 {
    // gpipe keeps the activations of every micro-batch: the difference of two numbers of them is that of one
    let peak = |batch: u64| {
        let plan =
            plan(parallel, &format!("dropout = true\noptimizer = \"none\"\n{train}"), "schedule = \"gpipe\"");
        let plan = Plan { model: gettime::plan::Model { batch, ..plan.model.clone() }, ..plan };
        plan::footprints(&plan, &choice(batch, AttentionMode::Unfused))[0].peak_bytes
    };
    let of_one = peak(9) - peak(8);
    assert!(of_one.is_multiple_of(LAYERS));
    of_one / LAYERS
}

#[test]
fn activations_are_those_of_the_published_formulas() {
    // arXiv 2205.05198, table 2: bytes of activations of a layer, by technique
    let (s, b, h, a) = (SEQUENCE as f64, 1.0, HIDDEN as f64, HEADS as f64);
    let (sbh, scores) = (s * b * h, 5.0 * a * s / h);
    for t in [2.0, 4.0] {
        let tensor = format!("tensor = {t}");
        let split = format!("tensor = {t}\nsequence_parallel = true");
        let expected = [
            (tensor.as_str(), "", sbh * (10.0 + 24.0 / t + scores / t)),
            (&split, "", sbh / t * (34.0 + scores)),
            (&tensor, "recompute = \"selective\"", sbh * (10.0 + 24.0 / t)),
            (&split, "recompute = \"selective\"", sbh * 34.0 / t),
            (&tensor, "recompute = \"full\"", sbh * 2.0),
        ];
        for (parallel, train, bytes) in expected {
            assert_eq!(kept(parallel, train) as f64, bytes, "{parallel} {train}");
        }
    }
    assert_eq!(kept("tensor = 1", "") as f64, sbh * (34.0 + scores));
}

#[test]
fn graphs_hold_what_the_checks_ask_for() {
    for parallel in [
        "tensor = 2\npipeline = 2\ndata = 2",
        "tensor = 2\npipeline = 3\nsequence_parallel = true",
        "pipeline = 2",
    ] {
        for (train, attention) in [
            ("", AttentionMode::Unfused),
            ("recompute = \"selective\"\ndropout = true", AttentionMode::Unfused),
            ("recompute = \"full\"\nshard_optimizer = true", AttentionMode::Unfused),
            ("recompute = \"selective\"", AttentionMode::Fused),
        ] {
            for more in ["schedule = \"1f1b\"", "schedule = \"gpipe\"\noverlap = true"] {
                let mut plan = plan(parallel, train, more);
                for vocabulary in [None, Some(1024)] {
                    plan.model.vocabulary = vocabulary;
                    holds(&plan, &choice(2, attention), &format!("{parallel} {train} {more} {vocabulary:?}"));
                }
            }
        }
    }
}

/// D1, D2, D3 and D5: no cycle, connected, dimensions, and the model's FLOPs and parameters to the last one.
fn holds(plan: &Plan, choice: &Choice, what: &str) {
    let dag = plan::lower(plan, choice).unwrap();
    let graph = plan::describe(plan, choice, &dag);
    let limits = Limits { memory_bytes: Some(1 << 40), cost: None, tolerance: 0.0 };
    for check in check(&graph, &limits) {
        assert!(check.id == "D4" || !check.verdict.failed(), "{what}: {} {:?}", check.id, check.verdict);
    }
}

#[test]
fn the_state_of_adam_is_twelve_bytes_and_shared_out() {
    // layernorms have 2h parameters each, the matrices of a layer 12h²
    let parameters = LAYERS * (12 * HIDDEN * HIDDEN + 4 * HIDDEN);
    let state = |train: &str, data: u64| {
        let plan = plan(&format!("data = {data}"), train, "");
        let footprint = plan::footprints(&plan, &choice(1, AttentionMode::Fused))[0];
        assert_eq!(footprint.weight_bytes, 2 * parameters);
        footprint.state_bytes
    };
    assert_eq!(state("", 4), parameters * (4 + 12));
    assert_eq!(state("shard_optimizer = true", 4), parameters * (4 + 3));
    assert_eq!(state("optimizer = \"none\"", 4), parameters * 4);
}

fn bytes_of(dag: &Dag, kind: CollectiveKind, name: &str) -> u64 {
    let of = |op: &Op| match op {
        Op::Collective(c) if c.kind == kind => c.bytes,
        _ => 0,
    };
    let nodes = dag.nodes().filter(|node| dag.name_of(*node).contains(name));
    nodes.flat_map(|node| &dag.work_of(node).ops).map(|(op, count)| of(op) * count).sum()
}

#[test]
fn replicas_sum_every_gradient_once() {
    let parameters = LAYERS * (12 * HIDDEN * HIDDEN + 4 * HIDDEN);
    let choice = choice(2, AttentionMode::Fused);
    let dag = plan::lower(&plan("data = 2", "", ""), &choice).unwrap();
    assert_eq!(bytes_of(&dag, CollectiveKind::AllReduce, "grad"), 4 * parameters);
    let dag = plan::lower(&plan("data = 2", "shard_optimizer = true", ""), &choice).unwrap();
    assert_eq!(bytes_of(&dag, CollectiveKind::ReduceScatter, "grad"), 4 * parameters);
    assert_eq!(bytes_of(&dag, CollectiveKind::AllGather, "weights"), 2 * parameters);
}

#[test]
fn tensor_parallel_layers_reduce_four_times() {
    // two all_reduces forward and two backward (arXiv 1909.08053), two more where all is computed again
    let count = |train: &str, more: &str| {
        let plan = plan(&format!("tensor = 4\n{more}"), train, "");
        let dag = plan::lower(&plan, &choice(1, AttentionMode::Unfused)).unwrap();
        let collectives =
            dag.nodes().filter(|node| dag.work_of(*node).kind == Kind::Collective).count() as u64;
        collectives / LAYERS
    };
    assert_eq!(count("", ""), 4);
    assert_eq!(count("recompute = \"full\"", ""), 6);
    // two gathers and two scatters forward, as many backward, and both gathers again
    assert_eq!(count("", "sequence_parallel = true"), 10);
}

#[test]
fn what_does_not_go_together_is_refused_with_a_remedy() {
    let read = |text: &str| Plan::parse("wrong.toml", text).unwrap_err().to_string();
    let model = "[model]\nlayers = 4\nhidden = 64\nheads = 4\nffn = 256\nbatch = 4\nsequence = 16\n";
    let cluster = "[cluster]\ngpus = 2\n[parallel]\npipeline = 2\n";
    let text = format!("name = \"w\"\n{model}[train]\nrecompute = \"full\"\n{cluster}");
    assert!(read(&text).contains("set phase = \"train\""), "{}", read(&text));
    let text = format!("name = \"w\"\nphase = \"train\"\nschedule = \"interleaved:3\"\n{model}{cluster}");
    assert!(read(&text).contains("line 3") && read(&text).contains("use interleaved:2"), "{}", read(&text));
    let text = format!("name = \"w\"\nphase = \"train\"\n{model}[train]\nrecompute = \"some\"\n{cluster}");
    assert!(read(&text).contains("unknown variant `some`"), "{}", read(&text));
}
