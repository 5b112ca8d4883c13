//! The formulas of four designs, as their authors wrote them, against exact values.

use gettime::dtype::Dtype;
use gettime::formula::evaluate;
use serde_json::Value;

use crate::{Law, settings};

const LAWS: [(&str, Law); 3] = [
    ("A", Law(|m, k, n| 2.0 * m * k * n)),
    ("B", Law(|m, k, n| 2.0 * (m * k + k * n + m * n))),
    ("C", Law(|m, k, n| (2.0 * m * k * n / 989e12).max(2.0 * (m * k + k * n + m * n) / 4.8e12))),
];

const SLOWEST: &str = "max_operation_time = max(Get_Time(2097152,512,4096), Get_Time(8388608,128,2048), \
     Get_Time(8388608,2048,128), Get_Time(2097152,341,4096), Get_Time(2097152,4096,2048), \
     Get_Time(2097152,2048,4096))";
const MHA: &str = "3*Get_Time(10240000,8192,1024) + 2*Get_Time(10240000,10240000,1024) + \
     Get_Time(10240000,1024,1024) + Get_Time(10240000,8192,8192)";
const MLP: &str = "Get_Time(10240000,8192,4096) + Get_Time(10240000,4096,1024)";
const SAME: &str = "SAME = 3*Get_Time(10240000,1024,1024) + 2*(Get_Time(10240000,64,10000) + \
     Get_Time(10240000,10000,64)) + Get_Time(10240000,1024,1024) + \
     8*(Get_Time(640000,8192,32768) + Get_Time(640000,32768,8192))";

/// What the designs say beside their formulas, with communication at 0.
fn everything() -> Vec<String> {
    let mut values: Vec<String> = [
        "Communication overhead = 0",
        "comm_overhead = 0",
        "allreduce = 0",
        "Pipeline_Overhead = 0",
        "Pipeline_Communication = 0",
        "Pipeline_Communication_Latency = 0",
        "avg_tokens_per_expert = 640000",
        "Expert_FFN_Time = Get_Time(640000,8192,32768) + Get_Time(640000,32768,8192)",
        SLOWEST,
        SAME,
    ]
    .map(String::from)
    .into();
    for stage in ["Stage0", "Stage1"] {
        values.push(format!("{stage}_MHA_Time = {MHA}"));
        values.push(format!("{stage}_MLP_Time = {MLP}"));
    }
    values
}

fn formulas() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/formulas.json");
    let data: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    data["formulas"].as_array().unwrap().clone()
}

fn exact(value: &Value) -> f64 {
    let part = |name: &str| value[name].as_str().unwrap().parse::<u128>().unwrap() as f64;
    part("num") / part("den")
}

/// The values for those names that occur in `text`, since a setting for another one is an error.
fn settings_for(text: &str) -> Vec<String> {
    let occurs = |setting: &String| {
        let name = setting.split(" = ").next().unwrap();
        let continues = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(continues))
    };
    everything().into_iter().filter(occurs).collect()
}

#[track_caller]
fn check(id: &str, text: &str, laws: &Value) {
    let set = settings_for(text);
    let set = settings(&set.iter().map(String::as_str).collect::<Vec<_>>());
    for (name, law) in LAWS {
        let values = evaluate(text, &set, Dtype::Bf16, &law).unwrap_or_else(|error| panic!("{id}: {error}"));
        let [value] = values.as_slice() else { panic!("{id}: {} formulas", values.len()) };
        let (seconds, expected) = (value.seconds.get(), exact(&laws[name]));
        assert!((seconds / expected - 1.0).abs() < 1e-12, "{id}, law {name}: {seconds} is not {expected}");
        let calls: f64 = value.calls.iter().map(|call| call.count * call.estimate.seconds.get()).sum();
        assert!((calls / expected - 1.0).abs() < 1e-12, "{id}, law {name}: the calls add up to {calls}");
    }
}

#[test]
fn every_golden_formula_has_its_exact_value() {
    let formulas = formulas();
    assert_eq!(formulas.len(), 18);
    for formula in &formulas {
        let id = formula["id"].as_str().unwrap();
        if formula["parses_as_written"].as_bool().unwrap() {
            check(id, formula["as_written"].as_str().unwrap(), &formula["laws"]);
        }
        check(id, formula["normalized"].as_str().unwrap(), &formula["laws"]);
        if let Some(text) = formula["normalized_expanded"].as_str() {
            check(id, text, &formula["laws"]);
        }
    }
}

#[test]
fn prose_inside_a_formula_is_an_error_with_its_place() {
    let places = [
        ("001.baseline.longest_path_runtime", 7, 12, "\"repeated for\" reads as prose"),
        ("002.stage0_critical_path", 1, 60, "\"parallel across\" reads as prose"),
        ("003.baseline.stage0", 1, 1, "list bullet"),
        ("003.baseline.final", 10, 6, "left open: Same computation as above"),
    ];
    let formulas = formulas();
    let with_prose = formulas.iter().filter(|formula| formula["parses_as_written"] == false);
    assert_eq!(with_prose.clone().count(), places.len());
    for (formula, (id, line, column, message)) in with_prose.zip(places) {
        assert_eq!(formula["id"], id);
        let text = formula["as_written"].as_str().unwrap();
        let set = settings_for(text);
        let set = settings(&set.iter().map(String::as_str).collect::<Vec<_>>());
        let error = evaluate(text, &set, Dtype::Bf16, &LAWS[0].1).unwrap_err();
        assert_eq!((error.line(), error.column()), (line, column), "{error}");
        let shown = error.to_string();
        assert!(shown.contains(message), "{shown}");
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines[2].trim_start().starts_with('^'), "{shown}");
    }
}

/// Laws A, B and C do not change when m, k and n are swapped; 3m + 5k + 7n does.
#[test]
fn arguments_keep_their_order() {
    const SKEW: Law = Law(|m, k, n| 3.0 * m + 5.0 * k + 7.0 * n);
    // (30720000 + 40960 + 28672) + (30720000 + 20480 + 7168)
    // 2 × (3×6322688 + 25180800 + 25176960 + 6321833 + 6326272 + 6330368)
    for (id, expected) in [("002.stage_mlp_time", 61_537_280.0), ("001.T_baseline", 176_608_594.0)] {
        let formulas = formulas();
        let formula = formulas.iter().find(|formula| formula["id"] == id).unwrap();
        let text = formula["as_written"].as_str().unwrap();
        let values = evaluate(text, &[], Dtype::Bf16, &SKEW).unwrap();
        assert_eq!(values[0].seconds.get(), expected, "{id}");
    }
}

#[test]
fn labels_give_the_name_without_its_decoration() {
    let name = |id: &str| {
        let formulas = formulas();
        let text =
            formulas.iter().find(|formula| formula["id"] == id).unwrap()["as_written"].as_str().unwrap();
        let set = settings_for(text);
        let set = settings(&set.iter().map(String::as_str).collect::<Vec<_>>());
        evaluate(text, &set, Dtype::Bf16, &LAWS[0].1).unwrap()[0].name.clone()
    };
    assert_eq!(name("000.baseline.total_inline").as_deref(), Some("Total Runtime"));
    assert_eq!(name("002.stage_mha_time").as_deref(), Some("Stage MHA Time"));
    assert_eq!(name("003.ep.final").as_deref(), Some("Total_Runtime"));
    assert_eq!(name("003.ep.total_longest_path"), None);
}
