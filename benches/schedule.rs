//! The schedule pass beside petgraph's topological sort and longest-path pass, on the same graph in one run.
//!
//! Both graphs are built before; the node numbers are in topological order for both, which favours petgraph.

use std::hint::black_box;

use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use gettime::dag::Dag;
use gettime::dtype::Dtype;
use gettime::plan::{self, Choice, Plan};
use gettime::roofline::{self, Roofline};
use gettime::schedule::{busy, price, schedule};
use gettime::spec::AttentionMode;
use petgraph::Direction;
use petgraph::algo::toposort;
use petgraph::graph::DiGraph;

/// tp8-pp2 with as many layers and micro-batches as make about `nodes` nodes.
fn large(nodes: u64) -> (Dag, Vec<f64>) {
    let (layers, microbatches) = if nodes >= 1_000_000 { (160, nodes / 15_698) } else { (16, nodes / 1_586) };
    let text = plan::BUILT_IN[0].1.replace("layers = 16", &format!("layers = {layers}"));
    let plan = Plan::parse("tp8-pp2", &text).expect("a plan");
    let choice =
        Choice { dtype: Dtype::Bf16, gpus_per_node: 8, microbatches, attention: AttentionMode::Unfused };
    let dag = plan::lower(&plan, &choice).expect("a graph");
    let h200 = Roofline::parse("h200", roofline::BUILT_IN[0].1).expect("a sheet");
    let prices = price(&dag, &h200).expect("prices");
    let durations = prices.works.iter().map(|estimate| estimate.seconds.get()).collect();
    (dag, durations)
}

fn to_petgraph(dag: &Dag, durations: &[f64]) -> DiGraph<f64, ()> {
    let mut graph = DiGraph::with_capacity(dag.len(), dag.edges());
    let ids: Vec<_> = dag.work_column().iter().map(|work| graph.add_node(durations[work.index()])).collect();
    for node in dag.nodes() {
        for before in dag.after(node) {
            graph.add_edge(ids[before.index()], ids[node.index()], ());
        }
    }
    graph
}

/// Finish times by petgraph's toposort and one pass over incoming edges.
fn petgraph_makespan(graph: &DiGraph<f64, ()>) -> f64 {
    let order = toposort(graph, None).expect("no cycle");
    let mut end = vec![0.0f64; graph.node_count()];
    let mut makespan = 0.0f64;
    for node in order {
        let start = graph
            .neighbors_directed(node, Direction::Incoming)
            .map(|before| end[before.index()])
            .fold(0.0, f64::max);
        end[node.index()] = start + graph[node];
        makespan = makespan.max(end[node.index()]);
    }
    makespan
}

fn bench(c: &mut Criterion) {
    for nodes in [10_000, 100_000, 1_000_000, 10_000_000] {
        let (dag, durations) = large(nodes);
        let graph = to_petgraph(&dag, &durations);
        let ours = schedule(&dag, &durations).makespan;
        assert!((petgraph_makespan(&graph) / ours - 1.0).abs() < 1e-12, "the peers disagree");
        let mut group = c.benchmark_group(format!("schedule of {} nodes", dag.len()));
        // the largest takes most of a second a pass
        group.sample_size(if nodes > 1_000_000 { 10 } else { 20 }).sampling_mode(SamplingMode::Flat);
        group.bench_function("petgraph: toposort + finish times", |b| {
            b.iter(|| petgraph_makespan(black_box(&graph)))
        });
        group.bench_function("gettime: finish times", |b| {
            b.iter(|| schedule(black_box(&dag), black_box(&durations)))
        });
        group.bench_function("gettime: finish times, critical path, busy, slack", |b| {
            b.iter(|| {
                let done = schedule(black_box(&dag), black_box(&durations));
                let rest = (done.critical_path(&dag), busy(&dag, &durations), done.slack(&dag, &durations));
                (done, rest)
            })
        });
        group.bench_function("gettime: the same again, in the same memory", |b| {
            let (mut done, mut slack) = (schedule(&dag, &durations), Vec::new());
            b.iter(|| {
                done.renew(black_box(&dag), black_box(&durations));
                done.slack_in(&dag, &durations, &mut slack);
                (done.critical_path(&dag), busy(&dag, &durations))
            })
        });
        group.finish();
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
