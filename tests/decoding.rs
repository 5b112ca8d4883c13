//! Decoding, routing that is not even, and plans of public models.

use gettime::check::{Limits, check};
use gettime::dtype::Dtype;
use gettime::evaluate::{Overrides, evaluate};
use gettime::op::Op;
use gettime::plan::{self, Choice, Plan};
use gettime::source::{Source, sheet};
use gettime::spec::AttentionMode;

fn choice(attention: AttentionMode) -> Choice {
    Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches: 1, attention }
}

fn holds(plan: &Plan, choice: &Choice) {
    let dag = plan::lower(plan, choice).unwrap();
    let graph = plan::describe(plan, choice, &dag);
    let limits = Limits { memory_bytes: Some(1 << 42), cost: None, tolerance: 0.0 };
    for check in check(&graph, &limits) {
        assert!(
            check.id == "D4" || !check.verdict.failed(),
            "{}: {} {:?}",
            plan.name,
            check.id,
            check.verdict
        );
    }
}

fn decode(tensor: u64) -> Plan {
    let text = format!(
        "name = \"decode\"\nphase = \"decode\"\n[model]\nlayers = 4\nhidden = 4096\nheads = 32\nkv_heads = 8\nhead_dim = 128\n\
         ffn = 14336\ngated = true\nbatch = 16\nsequence = 8192\n[cluster]\ngpus = {tensor}\n[parallel]\ntensor = {tensor}\n"
    );
    Plan::parse("decode.toml", &text).unwrap()
}

#[test]
fn a_new_token_looks_back_on_the_whole_cache() {
    for tensor in [1, 4] {
        for attention in [AttentionMode::Fused, AttentionMode::Unfused] {
            let (plan, choice) = (decode(tensor), choice(attention));
            holds(&plan, &choice);
            // keys and values: 2 · layers · sequences · tokens · heads · width · 2 bytes
            let cache = 2 * 4 * 16 * 8192 * 8 * 128 * 2 / tensor;
            assert_eq!(plan::footprints(&plan, &choice)[0].cache_bytes, cache);
        }
    }
}

#[test]
fn heads_that_share_keys_read_them_once() {
    let dag = plan::lower(&decode(1), &choice(AttentionMode::Fused)).unwrap();
    let works = dag.works().iter().flat_map(|work| &work.ops);
    let attention = works.map(|(op, _)| *op).find(|op| matches!(op, Op::Attention(_))).unwrap();
    assert_eq!(attention.flops(), 4 * 16 * 32 * 8192 * 128);
    // 8 heads of keys and values, and 32 of queries and results, of 16 sequences
    assert_eq!(attention.bytes(), 2 * 16 * 128 * (8 * 8192 + 32) * 2);
}

fn experts(hottest: &str) -> Plan {
    let text = format!(
        "name = \"experts\"\n[model]\nlayers = 2\nhidden = 256\nheads = 4\nbatch = 8\nsequence = 128\n[model.moe]\nexperts = 8\n\
         top_k = 2\nffn = 512\n{hottest}\n[cluster]\ngpus = 4\n[parallel]\ndata = 4\nexpert = 4\n"
    );
    Plan::parse("experts.toml", &text).unwrap()
}

#[test]
fn the_most_wanted_expert_gets_its_share_and_the_others_the_rest() {
    let rows = |plan: &Plan, expert: u64| {
        let dag = plan::lower(plan, &choice(AttentionMode::Fused)).unwrap();
        let name = format!("expert_up_{expert}");
        let node = dag.nodes().find(|node| dag.name_of(*node) == name).unwrap();
        match dag.work_of(node).ops[0].0 {
            Op::Gemm(gemm) => gemm.m,
            other => panic!("{other}"),
        }
    };
    // 1,024 tokens, two experts each
    let even = experts("");
    assert_eq!([0, 1, 7].map(|expert| rows(&even, expert)), [256; 3]);
    let uneven = experts("hottest = 0.3");
    assert_eq!([0, 1, 7].map(|expert| rows(&uneven, expert)), [615, 205, 205]);
    holds(&uneven, &choice(AttentionMode::Unfused));
    let h200 = Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap());
    let time = |plan: Plan| evaluate(plan, &h200, &Overrides::default()).unwrap().makespan().seconds;
    assert!(time(experts("hottest = 0.3")) > time(experts("hottest = 0.2")));
    assert!(time(experts("hottest = 0.2")) > time(experts("")));
    // the GPU that holds it holds more
    let peaks = plan::footprints(&uneven, &choice(AttentionMode::Fused));
    assert!(peaks[0].peak_bytes > peaks[1].peak_bytes);
}

#[test]
fn impossible_shares_are_refused() {
    for share in ["0.1", "0.6", "2"] {
        let text = format!(
            "name = \"x\"\n[model]\nlayers = 1\nhidden = 64\nheads = 4\nbatch = 4\nsequence = 8\n[model.moe]\nexperts = 8\ntop_k = 2\n\
             ffn = 64\nhottest = {share}\n[cluster]\ngpus = 1\n"
        );
        let error = Plan::parse("x.toml", &text).unwrap_err().to_string();
        assert!(error.contains("line 12") && error.contains("at least 0.125"), "{error}");
    }
}

#[test]
fn public_models_have_their_published_sizes() {
    // parameters as their authors count them, in billions
    for (name, billions) in [("llama-3-70b", 70.6), ("llama-3.1-405b", 405.0), ("deepseek-v3", 671.0)] {
        for phase in ["train", "decode"] {
            let name = format!("{name}-{phase}");
            let (_, text) = plan::PUBLIC.iter().find(|(n, _)| *n == name).unwrap();
            let plan = Plan::parse(&name, text).unwrap();
            assert_eq!(plan.name, name);
            let replicas = |footprint: &plan::Footprint| footprint.weight_bytes as f64 / 2e9;
            let held: f64 = plan::footprints(&plan, &choice(AttentionMode::Fused)).iter().map(replicas).sum();
            let copies = match &plan.layout {
                plan::Layout::Pipeline(layout) if layout.expert == 1 => layout.data as f64,
                _ => continue, // the replicas share the experts and nothing else
            };
            assert!((held / copies / billions - 1.0).abs() < 0.005, "{name}: {} billion", held / copies);
        }
    }
}

#[test]
fn deepseek_has_671_billion_parameters_of_which_37_work_for_a_token() {
    let (name, text) = plan::PUBLIC[5];
    let text = text
        .replace("gpus = 32", "gpus = 1")
        .replace("data = 32", "data = 1")
        .replace("expert = 32", "expert = 1");
    let plan = Plan::parse(name, &text).unwrap();
    let choice = choice(AttentionMode::Fused);
    let held = plan::footprints(&plan, &choice)[0].weight_bytes as f64 / 2e9;
    assert!((held / 671.0 - 1.0).abs() < 0.005, "{held}");
    // DeepSeek-V3 technical report, arXiv 2412.19437: 37 billion activated; the embedding is looked up
    let prefill = text
        .replace("phase = \"decode\"", "")
        .replace("batch = 2048", "batch = 1")
        .replace("sequence = 4096", "sequence = 256");
    let plan = Plan::parse(name, &prefill).unwrap();
    let dag = plan::lower(&plan, &choice).unwrap();
    let flops = |op: &Op| if matches!(op, Op::Gemm(_)) { op.flops() as f64 } else { 0.0 };
    let head = 7168.0 * 129_280.0;
    let sum: f64 =
        dag.nodes().flat_map(|n| &dag.work_of(n).ops).map(|(op, count)| flops(op) * *count as f64).sum();
    // the head scores one token of the 256
    let activated = (sum / 2.0 - head) / 256.0 + 2.0 * head;
    assert!((activated / 37e9 - 1.0).abs() < 0.02, "{activated}");
}

#[test]
fn public_plans_pass_their_checks_and_are_priced() {
    let h200 = Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap());
    for (name, text) in plan::PUBLIC {
        let plan = Plan::parse(name, text).unwrap();
        let e = evaluate(plan, &h200, &Overrides::default()).unwrap();
        println!(
            "{name}: {} nodes, {}, {} B of memory",
            e.dag.len(),
            e.makespan().seconds,
            e.fullest().peak_bytes
        );
        assert_eq!(e.fits(), Some(true), "{name}");
        if name.ends_with("decode") {
            holds(&e.plan, &e.choice);
        }
    }
}
