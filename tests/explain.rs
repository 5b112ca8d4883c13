//! Formulas beside their plans, and pictures of plans: against the audit of the documents, from outside.

use std::collections::BTreeSet;

use gettime::check::{Limits, check};
use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::explain::{Explanation, author_of, explain};
use gettime::formula::{self, Setting};
use gettime::graph::Graph;
use gettime::plan::{self, Plan};
use gettime::report;
use gettime::source::{Source, sheet};

fn source() -> Source {
    Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap())
}

fn evaluated(name: &str, source: &Source) -> (Evaluation, Graph) {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let e = evaluate(Plan::parse(name, text).unwrap(), source, &Overrides::default()).unwrap();
    let graph = plan::describe(&e.plan, &e.choice, &e.dag);
    (e, graph)
}

fn explained(name: &str) -> Explanation {
    let source = source();
    let (e, graph) = evaluated(name, &source);
    let written = author_of(name).unwrap();
    let settings: Vec<Setting> = written.settings.iter().map(|s| Setting::parse(s).unwrap()).collect();
    let text = written.reads_as.as_deref().unwrap_or(&written.text);
    let formulas = formula::evaluate(text, &settings, e.choice.dtype, &source).unwrap();
    explain(&e, &graph, &formulas)
}

#[test]
fn formulas_and_paths_have_the_flops_of_the_audit() {
    // section 7 of the audit: as written, corrected path, and their ratio
    for (name, written, path, ratio) in [
        ("tp8-pp2", 3.3592e16, 3.9696e16, 0.8462),
        ("layerwise", 2.6724e17, 3.1757e17, 0.8415),
        ("tp8-pp2-dense4", 2.2282e14, 4.5740e14, 0.4872),
        ("ma-separation", 2.3291e15, 6.9517e14, 3.35),
        ("helix", 8.6282e17, 4.9620e15, 173.9),
        ("ep16", 3.8172e16, 4.9627e15, 7.692),
        ("moe-tp8-pp2", 2.2544e16, 9.9254e15, 2.271),
    ] {
        let x = explained(name);
        let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 5e-4;
        assert!(near(x.written_flops, written), "{name}: {}", x.written_flops);
        assert!(near(x.path_flops, path), "{name}: {}", x.path_flops);
        assert!(near(x.written_flops / x.path_flops, ratio), "{name}");
    }
}

/// Step, words of the finding, factor of FLOPs.
type Expected = (&'static str, &'static str, Option<f64>);

#[test]
fn the_largest_errors_of_each_formula_are_found() {
    // sections 1 to 6 of the audit
    let expected: [(&str, &[Expected]); 7] = [
        (
            "tp8-pp2",
            &[
                ("o_proj", "absent", Some(0.0)),
                ("qkv", "k is cut where n must be", Some(1.0)),
                ("mlp_up", "k is cut where n must be", Some(1.0)),
                ("attn_scores", "1/2 of the rows", Some(0.5)),
            ],
        ),
        (
            "layerwise",
            &[
                ("attn_scores", "of the rows", Some(1.0 / 16.0)),
                ("attn_output", "of the rows", Some(1.0 / 16.0)),
            ],
        ),
        (
            "tp8-pp2-dense4",
            &[
                ("every term", "1/2 as often", Some(0.5)),
                ("o_proj", "k = 341 does not divide 4096", Some(341.0 / 512.0)),
                ("qkv", "k is cut where n must be", Some(1.0)),
            ],
        ),
        (
            "ma-separation",
            &[
                ("expert_up", "16 times the rows", Some(4.0)),
                ("gate", "4 times the rows", Some(4.0)),
                ("qkv", "counted 1/3 as often", Some(1.0 / 3.0)),
                ("o_proj", "k = 341 does not divide 4096", Some(341.0 / 384.0)),
            ],
        ),
        (
            "helix",
            &[
                ("attn_scores", "folded into the sequence", Some(1024.0)),
                ("attn_output", "folded into the sequence", Some(1024.0)),
                ("o_proj", "not spread over the GPUs", Some(8.0)),
                ("mlp_down", "k and n are both cut", Some(0.125)),
                ("Get_Time(10,240,000, 1,024, 1,024)", "no op of the plan", None),
            ],
        ),
        (
            "ep16",
            &[
                ("qkv + o_proj", "16 times the rows", Some(16.0)),
                ("attn_scores", "", Some(16.0)),
                ("gate", "16 times the rows", Some(16.0)),
            ],
        ),
        (
            "moe-tp8-pp2",
            &[
                ("gate", "absent", Some(0.0)),
                ("qkv", "k and n are both cut", Some(0.125)),
                ("attn_scores", "the head's width is cut", Some(0.125)),
                ("expert_up", "counted 4 times as often", Some(4.0)),
            ],
        ),
    ];
    for (name, findings) in expected {
        let found = explained(name).findings;
        for (about, what, ratio) in findings {
            let is = |f: &&gettime::explain::Finding| {
                f.about == *about
                    && f.what.contains(what)
                    && match (f.ratio, ratio) {
                        (Some(a), Some(b)) => (a - b).abs() < 1e-6 * b.max(1.0),
                        (a, b) => a == *b,
                    }
            };
            assert!(found.iter().any(|f| is(&f)), "{name}: no \"{about}: {what}\" {ratio:?} in {found:#?}");
        }
    }
}

#[test]
fn a_path_as_a_formula_reads_back_to_the_same_time_and_has_no_error() {
    let source = source();
    for (name, _) in plan::BUILT_IN {
        let (e, graph) = evaluated(name, &source);
        let text = report::path_formula(&e, &source);
        let formulas = formula::evaluate(&text, &[], e.choice.dtype, &source).unwrap();
        let seconds = formulas[0].seconds.get();
        let expected = e.makespan().seconds.get();
        assert!((seconds / expected - 1.0).abs() < 1e-12, "{name}: {seconds}, not {expected}\n{text}");
        let found = explain(&e, &graph, &formulas[..1]);
        assert!((found.written_flops / found.path_flops - 1.0).abs() < 1e-12, "{name}");
        let wrong: Vec<_> = found.findings.iter().filter(|f| f.about != "memory").collect();
        assert!(wrong.is_empty(), "{name}: {wrong:#?}");
    }
}

fn attributes(text: &str, name: &str) -> Vec<String> {
    let start = format!(" {name}=\"");
    let values = text.match_indices(&start).map(|(at, _)| &text[at + start.len()..]);
    values.map(|rest| rest[..rest.find('"').unwrap()].to_owned()).collect()
}

#[test]
fn the_drawing_has_the_nodes_and_edges_of_the_dot_file() {
    let source = source();
    for (name, _) in plan::BUILT_IN {
        let (e, graph) = evaluated(name, &source);
        let limits = Limits { memory_bytes: None, cost: None, tolerance: 0.0 };
        let files = || report::artifacts(&e, &graph, &check(&graph, &limits), "a sheet").unwrap();
        let first = files();
        assert_eq!(first, files(), "{name}");
        let names: Vec<&str> = first.iter().map(|(name, _)| name.as_str()).collect();
        if name == "tp8-pp2" {
            // the names of document 004
            assert!(names.contains(&"improved_tensor_parallel_dag.dot"), "{names:?}");
            assert!(names.contains(&"improved_tensor_parallel_dag.svg"), "{names:?}");
        }
        for file in ["deployment_overview.svg", "layer_detailed_breakdown.svg", "deployment_config.json"] {
            assert!(names.contains(&file), "{names:?}");
        }
        let [(_, dot), (_, svg), ..] = first.as_slice() else { panic!() };
        let nodes: BTreeSet<String> = dot
            .lines()
            .filter(|l| l.contains("[kind="))
            .map(|l| l.split('"').nth(1).unwrap().into())
            .collect();
        let drawn: BTreeSet<String> = svg
            .lines()
            .filter_map(|l| l.strip_prefix("<g id=\""))
            .map(|l| l.split('"').next().unwrap().to_owned())
            .collect();
        assert_eq!(nodes.len(), graph.nodes.len());
        assert_eq!(nodes, drawn, "{name}");
        let edges: BTreeSet<(String, String)> = dot
            .lines()
            .filter(|l| l.contains("\" -> \""))
            .map(|l| (l.split('"').nth(1).unwrap().into(), l.split('"').nth(3).unwrap().into()))
            .collect();
        let drawn = attributes(svg, "data-from").into_iter().zip(attributes(svg, "data-to"));
        assert_eq!(edges, drawn.collect(), "{name}");
        for (name, text) in &first {
            assert!(!text.contains("http") || text.matches("http").count() == 1, "{name}"); // xmlns only
            if name.ends_with(".json") {
                serde_json::from_str::<serde_json::Value>(text).unwrap();
            }
        }
    }
}
