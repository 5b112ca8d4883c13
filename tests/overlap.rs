//! What runs at the same time: how a table's rows of two ops at once make their way into a plan, worked out by hand.

use gettime::cost::Basis;
use gettime::dtype::Dtype;
use gettime::evaluate::{Beside, Evaluation, Overrides, evaluate};
use gettime::op::{Collective, CollectiveKind, Link, Op, Overlap, P2p, Timed};
use gettime::plan::{self, Choice, Plan};
use gettime::report;
use gettime::slowdown::Slowdowns;
use gettime::source::Source;
use gettime::spec::AttentionMode;
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;
use gettime::whatif::Outlook;

const DTYPE: Dtype = Dtype::Bf16;

fn row(op: Op, seconds: f64, flags: &str) -> Record {
    let summary = Summary { seconds: Seconds::new(seconds).unwrap(), interval: None, samples: None };
    Record { op, summary, route: Route::default(), flags: flags.into(), source: "test".into() }
}

fn overlap(timed: Timed, bytes: u64, (ranks, nodes): (u32, u32), factor: f64) -> Record {
    let op = Overlap { timed, m: 8, k: 8, n: 8, bytes, ranks, nodes, dtype: DTYPE };
    row(Op::Overlap(op), factor * 2e-3, "noisy alone=2e-3 spread=1%")
}

fn all_reduce(bytes: u64, ranks: u64, nodes: u64) -> Op {
    let kind = CollectiveKind::AllReduce;
    Op::Collective(Collective { kind, bytes, ranks, nodes, dtype: DTYPE })
}

#[test]
fn factors_lie_between_those_of_the_sizes_measured() {
    let records = vec![
        overlap(Timed::Gemm, 1 << 20, (8, 1), 1.1),
        overlap(Timed::Gemm, 1 << 24, (8, 1), 1.3),
        overlap(Timed::AllReduce, 1 << 20, (8, 1), 2.0),
        overlap(Timed::Gemm, 1 << 20, (16, 2), 1.7),
        row(all_reduce(1 << 20, 8, 1), 1e-3, "alone=1e-9"),
    ];
    let slowdowns = Slowdowns::of(&Table { records, ..Table::default() });
    let factor = |timed, op: &Op| {
        let (factor, basis) = slowdowns.factor(timed, op).unwrap();
        ((factor * 1e6).round() / 1e6, basis)
    };
    assert_eq!(factor(Timed::Gemm, &all_reduce(1 << 20, 8, 1)), (1.1, Basis::Measured));
    assert_eq!(factor(Timed::Gemm, &all_reduce(1 << 22, 8, 1)), (1.2, Basis::Interpolated));
    assert_eq!(factor(Timed::Gemm, &all_reduce(1 << 30, 8, 1)), (1.3, Basis::Extrapolated));
    assert_eq!(factor(Timed::Gemm, &all_reduce(1 << 20, 4, 1)), (1.1, Basis::Extrapolated));
    assert_eq!(factor(Timed::Gemm, &all_reduce(1 << 20, 4, 2)), (1.7, Basis::Extrapolated));
    let send = Op::P2p(P2p { bytes: 1 << 24, link: Link::IntraNode });
    assert_eq!(factor(Timed::Gemm, &send), (1.3, Basis::Extrapolated));
    assert_eq!(factor(Timed::AllReduce, &all_reduce(1 << 28, 16, 2)), (2.0, Basis::Extrapolated));
    assert_eq!(Slowdowns::default().factor(Timed::Gemm, &send), None);
}

/// Two stages of one layer each, eight micro-batches, and sends that have a stream of their own. Of a layer's products
/// three are alike.
const PLAN: &str = "name = 'two'\noverlap = true\nmicrobatches = 8\n\
                    model = { layers = 2, hidden = 64, heads = 1, ffn = 64, batch = 8, sequence = 128 }\n\
                    cluster = { gpus = 2, gpus_per_node = 8 }\nparallel = { pipeline = 2 }\n";

/// Each of the three takes a third of a second, a send 0.45 s, and everything else next to nothing.
fn evaluated(more: Vec<Record>) -> (Evaluation, Source) {
    let plan = Plan::parse("two.toml", PLAN).unwrap();
    let attention = AttentionMode::Unfused;
    let choice = Choice { dtype: DTYPE, gpus_per_node: 8, microbatches: 8, attention };
    let dag = plan::lower(&plan, &choice).unwrap();
    let mut ops: Vec<Op> = dag.works().iter().flat_map(|work| &work.ops).map(|(op, _)| *op).collect();
    ops.sort();
    ops.dedup();
    let seconds = |op: &Op| match op {
        Op::Gemm(gemm) if (gemm.batch, gemm.k, gemm.n) == (1, 64, 64) => 1.0 / 3.0,
        Op::P2p(_) => 0.45,
        _ => 1e-12,
    };
    let mut records: Vec<Record> = ops.iter().map(|op| row(*op, seconds(op), "")).collect();
    records.extend(more);
    let source = Source::from_table(&Table { records, ..Table::default() }, "table", None);
    let overrides = Overrides { attention: Some(attention), ..Overrides::default() };
    (evaluate(plan, &source, &overrides).unwrap(), source)
}

fn screen((e, source): &(Evaluation, Source)) -> String {
    report::one(e, &Outlook::of(e, source), source, false)
}

#[test]
fn nothing_measured_slows_nothing_and_says_so() {
    let found = evaluated(Vec::new());
    // eight blocks of a second on the first stage, a send, and one block on the second
    assert!((found.0.makespan().seconds.get() - 9.45).abs() < 1e-6);
    assert_eq!(found.0.beside, Some(Beside::AsAlone));
    let line = "overlap          priced without slow-down: nobody has measured communication beside compute";
    assert!(screen(&found).contains(line), "{}", screen(&found));
}

/// Of eight sends of C·0.45 s each, all but the last have products beside them: of these products 2 × 8 blocks of F s
/// are made on both stages. What takes f times as long gets 1/f done in its time, so
/// C = 1/(1 − 7/8·(1 − 1/2)) = 16/9, and 16·F = 16 + 7·C·0.45·(1 − 1/1.25), F = 1.07.
#[test]
fn what_runs_at_the_same_time_takes_longer() {
    let rows = |gemm, sends| {
        vec![overlap(Timed::Gemm, 1 << 20, (2, 1), gemm), overlap(Timed::AllReduce, 1 << 20, (2, 1), sends)]
    };
    let found = evaluated(rows(1.25, 2.0));
    let Some(Beside::Slower { products, communication }) = found.0.beside else {
        panic!("{:?}", found.0.beside)
    };
    assert!((products - 1.07).abs() < 1e-3, "{products}");
    assert!((communication - 16.0 / 9.0).abs() < 1e-3, "{communication}");
    let makespan = found.0.makespan();
    assert!((makespan.seconds.get() - (9.0 * 1.07 + 0.8)).abs() < 1e-2, "{makespan:?}");
    // of sends nothing was measured beside products, but of all-reduces
    assert_eq!(makespan.basis, Basis::Extrapolated);
    let line =
        "overlap          where both run, products take 1.07 times as long and communication 1.78 times";
    assert!(screen(&found).contains(line), "{}", screen(&found));
    // what slows nothing changes nothing
    let (same, _) = evaluated(rows(1.0, 1.0));
    assert!((same.makespan().seconds.get() - 9.45).abs() < 1e-6);
}
