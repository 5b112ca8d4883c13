//! A graph of ten million nodes, built and evaluated in this process in under 2 GB.

use gettime::dtype::Dtype;
use gettime::plan::{self, Choice, Plan};
use gettime::roofline::{BUILT_IN, Roofline};
use gettime::schedule::{price, timeline};
use gettime::spec::AttentionMode;

/// The most memory that this process ever held, in bytes; Linux says it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn ten_million_nodes_fit_in_two_gigabytes() {
    // tp8-pp2 on 64 GPUs (32 a stage) with 200 layers and 16 micro-batches
    let text = plan::BUILT_IN[0].1;
    let text = text
        .replace("layers = 16", "layers = 200")
        .replace("heads = 16", "heads = 64")
        .replace("gpus = 16", "gpus = 64")
        .replace("tensor = 8", "tensor = 32");
    let plan = Plan::parse("large", &text).unwrap();
    let choice =
        Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches: 130, attention: AttentionMode::Unfused };
    let dag = plan::lower(&plan, &choice).unwrap();
    // 200 layers of 12 nodes a GPU and 2 collectives, 32 sends and receives, input and output, 130 times
    assert_eq!(dag.len(), 130 * (200 * (12 * 32 + 2) + 64 + 2));
    assert!(dag.len() >= 10_000_000);
    let h200 = Roofline::parse("h200", BUILT_IN[0].1).unwrap();
    let done = timeline(&dag, &price(&dag, &h200).unwrap()).unwrap();
    let slack = done.schedule.slack(&dag, &done.durations);
    for node in done.schedule.critical_path(&dag) {
        assert!(slack[node.index()] <= 1e-9 * done.schedule.makespan);
    }
    if let Some(bytes) = peak_memory() {
        println!("{} nodes, {} edges, {} bytes at the peak", dag.len(), dag.edges(), bytes);
        assert!(bytes < 2_000_000_000, "{bytes} bytes");
    }
}
