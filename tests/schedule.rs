//! The schedule pass against brute force on random graphs, and its promises.

use gettime::cost::{Basis, Cost, CostError, Estimate};
use gettime::dag::{Dag, Kind, NodeId, Tag, Work};
use gettime::dtype::Dtype;
use gettime::op::{Gemm, Op};
use gettime::schedule::{Prices, busy, price, schedule, timeline};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A random graph with a work for every node, so that each has a duration of its own.
fn random(rng: &mut StdRng, nodes: usize) -> (Dag, Vec<Vec<usize>>, Vec<f64>) {
    let mut dag = Dag::new(4, 1);
    let mut before = Vec::new();
    let mut ids: Vec<NodeId> = Vec::new();
    for i in 0..nodes {
        let op = Op::Gemm(Gemm { m: i as u64 + 1, k: 1, n: 1, batch: 1, dtype: Dtype::Bf16 });
        let work = dag.work(Work { kind: Kind::Gemm, ops: vec![(op, 1)] });
        let lane = dag.lane(&[rng.random_range(0..4)]);
        let tag = Tag { name: dag.name("node").unwrap(), layer: None, microbatch: 0 };
        let mut after: Vec<usize> = (0..i).filter(|_| rng.random_bool(0.2)).collect();
        after.sort_unstable();
        let node = dag.push(tag, work, lane, after.iter().map(|i| ids[*i])).unwrap();
        ids.push(node);
        before.push(after);
    }
    let durations = (0..nodes).map(|_| f64::from(rng.random_range(0..1000u32))).collect();
    (dag, before, durations)
}

/// The longest chain that ends with each node, by recursion.
fn longest(before: &[Vec<usize>], durations: &[f64], node: usize) -> f64 {
    durations[node] + before[node].iter().map(|b| longest(before, durations, *b)).fold(0.0, f64::max)
}

#[test]
fn ends_makespan_and_path_are_those_of_brute_force() {
    let mut rng = StdRng::seed_from_u64(7);
    for _ in 0..200 {
        let nodes = rng.random_range(1..14);
        let (dag, before, durations) = random(&mut rng, nodes);
        let done = schedule(&dag, &durations);
        let expected: Vec<f64> = (0..nodes).map(|i| longest(&before, &durations, i)).collect();
        for node in dag.nodes() {
            assert_eq!(done.end(node), expected[node.index()]);
            assert_eq!(done.start(&dag, node), expected[node.index()] - durations[node.index()]);
        }
        assert_eq!(done.makespan, expected.iter().copied().fold(0.0, f64::max));
        let path = done.critical_path(&dag);
        let along: f64 = path.iter().map(|node| durations[node.index()]).sum();
        assert_eq!(along, done.makespan);
        for pair in path.windows(2) {
            assert!(dag.after(pair[1]).contains(&pair[0]));
        }
    }
}

#[test]
fn slack_is_how_much_a_node_may_grow() {
    let mut rng = StdRng::seed_from_u64(8);
    for _ in 0..100 {
        let nodes = rng.random_range(1..12);
        let (dag, _, durations) = random(&mut rng, nodes);
        let done = schedule(&dag, &durations);
        let slack = done.slack(&dag, &durations);
        for i in 0..nodes {
            let mut grown = durations.clone();
            grown[i] += slack[i];
            assert_eq!(schedule(&dag, &grown).makespan, done.makespan, "within its slack");
            grown[i] += 1.0;
            assert_eq!(schedule(&dag, &grown).makespan, done.makespan + 1.0, "beyond its slack");
        }
    }
}

#[test]
fn faster_ops_never_make_a_plan_slower() {
    let mut rng = StdRng::seed_from_u64(9);
    for _ in 0..200 {
        let (dag, _, durations) = random(&mut rng, 12);
        let faster: Vec<f64> = durations.iter().map(|d| d * rng.random_range(0.0..=1.0)).collect();
        assert!(schedule(&dag, &faster).makespan <= schedule(&dag, &durations).makespan);
    }
}

#[test]
fn busy_seconds_are_the_sums_by_gpu() {
    let mut rng = StdRng::seed_from_u64(10);
    let (dag, _, durations) = random(&mut rng, 50);
    let mut expected = vec![0.0; 4];
    for node in dag.nodes() {
        expected[dag.gpus_of(node)[0] as usize] += durations[node.index()];
    }
    assert_eq!(busy(&dag, &durations), expected);
}

#[test]
fn a_predecessor_named_twice_is_one_edge() {
    let mut dag = Dag::new(1, 1);
    let work = dag.work(Work { kind: Kind::Join, ops: Vec::new() });
    let tag = Tag { name: dag.name("node").unwrap(), layer: None, microbatch: 0 };
    let lane = dag.gpu(0);
    let a = dag.push(tag, work, lane, []).unwrap();
    let b = dag.push(tag, work, lane, [a, a]).unwrap();
    assert_eq!(dag.after(b), [a]);
    assert_eq!(dag.edges(), 1);
}

#[test]
fn an_empty_graph_takes_no_time() {
    let dag = Dag::new(2, 1);
    let done = schedule(&dag, &[]);
    assert_eq!(done.makespan, 0.0);
    assert!(done.critical_path(&dag).is_empty());
}

/// m milliseconds on some basis, with an interval of a factor each way.
struct Unsure(Basis, f64);

impl Cost for Unsure {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let Op::Gemm(gemm) = op else { unreachable!("only products are made here") };
        let seconds = |s: f64| Seconds::new(s).unwrap();
        let time = gemm.m as f64 * 1e-3;
        Ok(Estimate {
            seconds: seconds(time),
            low: seconds(time / self.1),
            high: seconds(time * self.1),
            basis: self.0,
        })
    }
}

fn makespan(dag: &Dag, basis: Basis, factor: f64) -> Estimate {
    timeline(dag, &price(dag, &Unsure(basis, factor)).unwrap()).unwrap().makespan
}

#[test]
fn a_plan_of_one_op_has_its_interval_to_the_bit() {
    let mut dag = Dag::new(1, 1);
    let op = Op::Gemm(Gemm { m: 7, k: 1, n: 1, batch: 1, dtype: Dtype::Bf16 });
    let work = dag.work(Work { kind: Kind::Gemm, ops: vec![(op, 3)] });
    let tag = Tag { name: dag.name("node").unwrap(), layer: None, microbatch: 0 };
    let lane = dag.gpu(0);
    dag.push(tag, work, lane, []).unwrap();
    for basis in [Basis::Measured, Basis::Interpolated, Basis::Extrapolated] {
        let cost = Unsure(basis, 1.1);
        let own = cost.cost(&op).unwrap() * 3;
        assert_eq!(makespan(&dag, basis, 1.1), own);
    }
}

#[test]
fn intervals_of_plans_lie_within_all_lows_and_all_highs_and_hold_the_time() {
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..100 {
        let nodes = rng.random_range(1..40);
        let (dag, ..) = random(&mut rng, nodes);
        for basis in [Basis::Measured, Basis::Interpolated, Basis::Extrapolated] {
            let prices: Prices = price(&dag, &Unsure(basis, 1.3)).unwrap();
            let bound = |pick: fn(&Estimate) -> Seconds| {
                let durations: Vec<f64> = prices.works.iter().map(|e| pick(e).get()).collect();
                schedule(&dag, &durations).makespan
            };
            let Estimate { seconds, low, high, .. } = timeline(&dag, &prices).unwrap().makespan;
            assert_eq!(seconds.get(), bound(|e| e.seconds));
            assert!(bound(|e| e.low) <= low.get() && low <= seconds, "{low} {seconds}");
            assert!(high.get() <= bound(|e| e.high) && seconds <= high, "{seconds} {high}");
        }
    }
}

#[test]
fn wider_inputs_give_wider_plans() {
    let mut rng = StdRng::seed_from_u64(12);
    for _ in 0..100 {
        let nodes = rng.random_range(1..40);
        let (dag, ..) = random(&mut rng, nodes);
        for basis in [Basis::Measured, Basis::Interpolated, Basis::Extrapolated] {
            let widths = [1.0, 1.05, 1.1, 1.2, 1.5, 2.0]
                .map(|factor| makespan(&dag, basis, factor).relative_half_width());
            assert!(widths.is_sorted() && widths[0] == 0.0, "{widths:?}");
        }
    }
}

#[test]
fn errors_of_many_ops_cancel_unless_they_have_a_cause_in_common() {
    // a chain of 200 ops of alike times, each ± 10 %
    let mut dag = Dag::new(1, 1);
    let mut last: Option<NodeId> = None;
    for m in 1000..1200 {
        let op = Op::Gemm(Gemm { m, k: 1, n: 1, batch: 1, dtype: Dtype::Bf16 });
        let work = dag.work(Work { kind: Kind::Gemm, ops: vec![(op, 1)] });
        let tag = Tag { name: dag.name("node").unwrap(), layer: None, microbatch: 0 };
        let lane = dag.gpu(0);
        last = Some(dag.push(tag, work, lane, last).unwrap());
    }
    let width = |basis| makespan(&dag, basis, 1.1).relative_half_width();
    let [own, between, beyond] = [Basis::Measured, Basis::Interpolated, Basis::Extrapolated].map(width);
    // sums of 200: a 14th of ± 10 % where nothing is in common, and √ρ of it where ρ of the variance is
    assert!((0.003..0.012).contains(&own), "{own}");
    assert!((0.035..0.065).contains(&between), "{between}");
    assert!((0.07..0.1).contains(&beyond), "{beyond}");
}
