//! What is read from people's files, each reader as one function of bytes that must never panic: shared by the
//! fuzz targets and by the test that goes through their corpus.

use gettime::check::{self, Limits};
use gettime::dtype::Dtype;
use gettime::formula;
use gettime::graph;
use gettime::import::{self, Given, ImportError, Imported};
use gettime::op::CollectiveKind;
use gettime::plan::{self, Choice, Plan};
use gettime::roofline::{BUILT_IN, Roofline};
use gettime::spec::AttentionMode;
use gettime::table::Table;

/// Nodes of a graph that is worth building here.
const MOST_NODES: u64 = 20_000;

fn sheet() -> Roofline {
    let (name, text) = BUILT_IN[0];
    Roofline::parse(name, text).unwrap()
}

/// A table that can be read is written and read back as it was.
pub fn table(bytes: &[u8]) {
    match Table::parse(bytes, "table.csv") {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(table) => {
            let mut text = Vec::new();
            // a header may hold what TOML cannot write
            if table.write_to(&mut text).is_ok() {
                assert_eq!(Table::parse(&text, "again.csv").unwrap(), table);
            }
        }
    }
}

/// A plan that can be read is lowered, where it is small.
pub fn plan(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let plan = match Plan::parse("plan.toml", text) {
        Ok(plan) => plan,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    for attention in [AttentionMode::Fused, AttentionMode::Unfused] {
        let microbatches = plan.most_microbatches().min(2);
        let choice = Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches, attention };
        assert_eq!(plan::footprints(&plan, &choice).len() as u64, plan.gpus);
        plan::max_sequences(&plan, &choice, 1 << 37);
        let nodes = [plan.gpus, plan.model.layers, 20 + 3 * plan.model.experts(), microbatches];
        if nodes.into_iter().map(u128::from).product::<u128>() > MOST_NODES.into() {
            continue;
        }
        let Ok(dag) = plan::lower(&plan, &choice) else { continue };
        let graph = plan::describe(&plan, &choice, &dag);
        let limits = Limits { memory_bytes: Some(1 << 37), cost: Some(&sheet()), tolerance: 0.0 };
        check::check(&graph, &limits);
        // what is written as a graph is read as the same one
        assert_eq!(graph::read(&graph::dot(&graph, |_| false)).unwrap().nodes.len(), graph.nodes.len());
    }
}

/// A formula has a value or an error, and both can be printed.
pub fn formula(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match formula::evaluate(text, &[], Dtype::Bf16, &sheet()) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(formulas) => {
            for formula in formulas {
                assert!(formula.low <= formula.seconds && formula.seconds <= formula.high);
            }
        }
    }
}

/// A graph that can be read is checked, and written as one that can be read.
pub fn dot(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match graph::read(text) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(graph) => {
            let limits = Limits { memory_bytes: Some(1 << 37), cost: Some(&sheet()), tolerance: 0.0 };
            check::check(&graph, &limits);
            let again = graph::read(&graph::dot(&graph, |_| false)).unwrap();
            assert_eq!(again.nodes.len(), graph.nodes.len());
        }
    }
}

/// A log gives rows that a table can hold, or an error.
pub fn nccl_tests(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let said = Given {
        collective: Some(CollectiveKind::AllReduce),
        ranks: Some(2),
        nodes: Some(1),
        in_place: false,
    };
    for given in [Given::default(), said] {
        is_a_table_or_an_error(import::nccl_tests("log", &text, &given));
    }
}

/// A table of another project gives rows that a table can hold, or an error.
pub fn aiconfigurator(bytes: &[u8]) {
    for nodes in [None, Some(2)] {
        is_a_table_or_an_error(import::aiconfigurator("perf.txt", bytes, nodes));
    }
}

fn is_a_table_or_an_error(imported: Result<Imported, ImportError>) {
    match imported {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(imported) => {
            let table = Table { records: imported.records, ..Table::default() };
            let mut text = Vec::new();
            table.write_to(&mut text).unwrap();
            assert_eq!(Table::parse(&text, "again.csv").unwrap(), table);
        }
    }
}
