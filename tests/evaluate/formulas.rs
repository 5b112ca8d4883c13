//! `evaluate formula` on the formulas of four designs.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Files, close, data, evaluate, evaluate_text, sheet};

const SLOWEST: &str = "max(Get_Time(2097152,512,4096), Get_Time(8388608,128,2048), \
     Get_Time(8388608,2048,128), Get_Time(2097152,341,4096), Get_Time(2097152,4096,2048), \
     Get_Time(2097152,2048,4096))";
const MHA: &str = "3*Get_Time(10240000,8192,1024) + 2*Get_Time(10240000,10240000,1024) + \
     Get_Time(10240000,1024,1024) + Get_Time(10240000,8192,8192)";
const MLP: &str = "Get_Time(10240000,8192,4096) + Get_Time(10240000,4096,1024)";
const SAME: &str = "3*Get_Time(10240000,1024,1024) + 2*(Get_Time(10240000,64,10000) + \
     Get_Time(10240000,10000,64)) + Get_Time(10240000,1024,1024) + \
     8*(Get_Time(640000,8192,32768) + Get_Time(640000,32768,8192))";

/// What the designs leave open: communication, which is 0 here,
const COMMUNICATION: [&str; 6] = [
    "Communication overhead",
    "comm_overhead",
    "allreduce",
    "Pipeline_Overhead",
    "Pipeline_Communication",
    "Pipeline_Communication_Latency",
];

/// and what they say beside their formulas.
const OPEN: [(&str, &str); 8] = [
    ("avg_tokens_per_expert", "640000"),
    ("Expert_FFN_Time", "Get_Time(640000,8192,32768) + Get_Time(640000,32768,8192)"),
    ("max_operation_time", SLOWEST),
    ("SAME", SAME),
    ("Stage0_MHA_Time", MHA),
    ("Stage1_MHA_Time", MHA),
    ("Stage0_MLP_Time", MLP),
    ("Stage1_MLP_Time", MLP),
];

/// `--set` for every open name that stands in `text`.
fn settings(text: &str) -> Vec<String> {
    let stands = |name: &str| {
        let goes_on = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(name).any(|(at, _)| !text[at + name.len()..].starts_with(goes_on))
    };
    let free = COMMUNICATION.map(|name| (name, "0"));
    let open = free.iter().chain(&OPEN).filter(|(name, _)| stands(name));
    open.flat_map(|(name, value)| ["--set".to_owned(), format!("{name}={value}")]).collect()
}

/// The program's answer to the only formula of `text`.
fn ask(text: &str, source: [&str; 2]) -> Value {
    let set = settings(text);
    let mut args = vec!["formula", "-", "--format", "json", source[0], source[1]];
    args.extend(set.iter().map(String::as_str));
    let answer = evaluate_text(&args, text).json();
    let formulas = answer["formulas"].as_array().unwrap();
    assert_eq!(formulas.len(), 1, "{text}");
    formulas[0].clone()
}

/// The texts of a golden formula that the program must read.
fn texts(formula: &Value) -> Vec<&str> {
    let as_written = formula["parses_as_written"].as_bool().unwrap().then_some(&formula["as_written"]);
    let all = as_written.into_iter().chain([&formula["normalized"], &formula["normalized_expanded"]]);
    all.filter_map(Value::as_str).collect()
}

/// How often the answer needs each shape.
fn calls(answer: &Value) -> BTreeMap<[u64; 3], u64> {
    let mut calls = BTreeMap::new();
    for call in answer["calls"].as_array().unwrap() {
        let shape = ["m", "k", "n"].map(|name| call[name].as_u64().unwrap());
        *calls.entry(shape).or_default() += call["count"].as_u64().unwrap();
    }
    calls
}

#[test]
fn every_formula_has_its_golden_value_under_three_data_sheets() {
    let files = Files::new();
    let laws = [
        ("A", files.add("a.toml", sheet("1", "inf"))),
        ("B", files.add("b.toml", sheet("inf", "1"))),
        ("C", "h200-sxm".to_owned()),
    ];
    let data = data("formulas.json");
    let formulas = data["formulas"].as_array().unwrap();
    assert_eq!(formulas.len(), 18);
    for formula in formulas {
        let id = formula["id"].as_str().unwrap();
        for (law, source) in &laws {
            let part = |name: &str| formula["laws"][law][name].as_str().unwrap().parse::<f64>().unwrap();
            for text in texts(formula) {
                let answer = ask(text, ["--roofline", source]);
                close(answer["seconds"].as_f64().unwrap(), part("num") / part("den"), id);
                assert_eq!(answer["basis"], "modelled", "{id}");
            }
        }
    }
}

/// 3m + 5k + 7n changes with every exchange of arguments.
fn skew([m, k, n]: [u64; 3]) -> u64 {
    3 * m + 5 * k + 7 * n
}

/// Reads a normalized formula, whose names are communication at 0, under [`skew`].
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn skip(&mut self, token: &str) -> bool {
        self.0 = self.0.trim_start();
        let rest = self.0.strip_prefix(token);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn sum(&mut self) -> u64 {
        let mut sum = self.product();
        while self.skip("+") {
            sum += self.product();
        }
        sum
    }

    fn product(&mut self) -> u64 {
        let mut product = self.factor();
        while self.skip("*") {
            product *= self.factor();
        }
        product
    }

    fn factor(&mut self) -> u64 {
        if self.skip("(") {
            return self.arguments()[0];
        }
        let end = self.0.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        if !self.skip("(") {
            return word.parse().unwrap_or(0);
        }
        let arguments = self.arguments();
        match word {
            "max" => arguments.into_iter().max().unwrap(),
            _ => skew(arguments.try_into().unwrap()),
        }
    }

    fn arguments(&mut self) -> Vec<u64> {
        let mut arguments = vec![self.sum()];
        while self.skip(",") {
            arguments.push(self.sum());
        }
        assert!(self.skip(")"), "{}", self.0);
        arguments
    }
}

/// A table with an exact row for each shape that stands in the texts.
fn skewed_table(texts: &[&str]) -> String {
    let mut shapes: Vec<[u64; 3]> = texts
        .iter()
        .flat_map(|text| text.split("Get_Time(").skip(1))
        .filter_map(|call| {
            let numbers = call.split(')').next()?.split(',').map(|number| number.trim().parse().ok());
            numbers.collect::<Option<Vec<u64>>>()?.try_into().ok()
        })
        .collect();
    shapes.sort_unstable();
    shapes.dedup();
    let rows = shapes.iter().map(|[m, k, n]| format!("gemm,bf16,{m},{k},{n},1,{}\n", skew([*m, *k, *n])));
    "op,dtype,m,k,n,batch,seconds\n".to_owned() + &rows.collect::<String>()
}

#[test]
fn a_law_that_is_not_symmetric_is_read_from_exact_rows() {
    let data = data("formulas.json");
    let formulas = data["formulas"].as_array().unwrap();
    let all: Vec<&str> = formulas.iter().map(|formula| *texts(formula).last().unwrap()).collect();
    let files = Files::new();
    let table = files.add("skew.csv", skewed_table(&all));
    for (formula, normalized) in formulas.iter().zip(&all) {
        let id = formula["id"].as_str().unwrap();
        let expected = Reader(normalized).sum();
        for text in texts(formula) {
            let answer = ask(text, ["--table", &table]);
            assert_eq!(answer["seconds"].as_f64().unwrap(), expected as f64, "{id}: {text}");
            assert_eq!(answer["basis"], "measured", "{id}");
            let sum: u64 = calls(&answer).into_iter().map(|(shape, count)| count * skew(shape)).sum();
            assert_eq!(sum, expected, "{id}: the calls do not add up");
        }
    }
}

#[test]
fn calls_are_counted_as_the_designs_say() {
    let expected = [
        (
            "000.T_proposed",
            vec![
                ([640_000, 512, 10_000], 256),
                ([640_000, 10_000, 512], 256),
                ([10_240_000, 8192, 8192], 64),
                ([10_240_000, 8192, 32_768], 16),
                ([10_240_000, 32_768, 8192], 16),
            ],
        ),
        (
            "001.T_baseline",
            vec![
                ([2_097_152, 341, 4096], 2),
                ([2_097_152, 512, 4096], 6),
                ([2_097_152, 2048, 4096], 2),
                ([2_097_152, 4096, 2048], 2),
                ([8_388_608, 128, 2048], 2),
                ([8_388_608, 2048, 128], 2),
            ],
        ),
    ];
    let data = data("formulas.json");
    for (id, expected) in expected {
        let formula = data["formulas"].as_array().unwrap().iter().find(|f| f["id"] == id).unwrap();
        let answer = ask(formula["as_written"].as_str().unwrap(), ["--roofline", "h200-sxm"]);
        assert_eq!(calls(&answer), expected.into_iter().collect(), "{id}");
    }
}

#[test]
fn what_is_left_open_is_named_and_can_be_a_time() {
    let files = Files::new();
    let file = files.add("plan.txt", "T = 2 × Get_Time(8, 8, 8) + Communication overhead\n");
    let law = files.add("a.toml", sheet("1", "inf"));
    let error = evaluate(&["formula", &file, "--roofline", &law]).refusal();
    assert!(error.contains("--set 'Communication overhead="), "{error}");
    let set = "Communication overhead=12ms";
    let answer = evaluate(&["formula", &file, "--roofline", &law, "--set", set, "--format", "json"]).json();
    close(answer["formulas"][0]["seconds"].as_f64().unwrap(), 2.0 * 1024.0 + 0.012, "T");
    assert_eq!(answer["formulas"][0]["name"], "T");
    let text = evaluate(&["formula", &file, "--roofline", &law, "--set", set]).answer();
    assert!(text.contains("2 × Get_Time(8, 8, 8)"), "{text}");
}
