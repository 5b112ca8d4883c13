//! Gains against shares of the path worked out by hand and against costs scaled from outside; the next
//! bottleneck and the lower bound likewise.

mod laws;
mod random;

use gettime::cost::{Cost, CostError, Estimate};
use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::op::{Link, Op};
use gettime::plan::{self, Plan};
use gettime::roofline::Roofline;
use gettime::schedule::{price, timeline};
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;
use gettime::units::Seconds;
use gettime::whatif::{Lever, gain, ideal, on_path, per_percent, takeover};
use rand::SeedableRng;
use rand::rngs::StdRng;

fn h200() -> Source {
    Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap())
}

fn evaluated(name: &str, microbatches: u64) -> Evaluation {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let overrides =
        Overrides { microbatches: Some(Microbatches::Exactly(microbatches)), ..Overrides::default() };
    evaluate(Plan::parse(name, text).unwrap(), &h200(), &overrides).unwrap()
}

/// The built-in plans in one piece and in four, and others at random.
fn plans() -> Vec<Evaluation> {
    let mut rng = StdRng::seed_from_u64(30);
    let source = h200();
    let random = (0..40).map(|_| evaluate(random::plan(&mut rng), &source, &Overrides::default()).unwrap());
    let built_in = plan::BUILT_IN.iter().flat_map(|(name, _)| [evaluated(name, 1), evaluated(name, 4)]);
    built_in.chain(random).collect()
}

/// Whose op it is, said anew.
fn lever(op: &Op) -> Lever {
    let across = match op {
        Op::Gemm(_) => return Lever::Products,
        Op::Attention(_) => return Lever::Attention,
        Op::Kernel(_) => return Lever::Memory,
        Op::Collective(op) => op.nodes >= 2,
        Op::P2p(op) => op.link == Link::InterNode,
        Op::Overlap(_) => panic!("{op} is no op of a plan"),
        Op::Chain(_) => panic!("{op} is no part of a plan"),
    };
    if across { Lever::InterNode } else { Lever::IntraNode }
}

/// The sheet with the ops of one lever at a share of their time.
struct Scaled(Source, Lever, f64);

impl Cost for Scaled {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let estimate = self.0.cost(op)?;
        let share = if lever(op) == self.1 { self.2 } else { 1.0 };
        Ok(Estimate::exactly(Seconds::new(estimate.seconds.get() * share).unwrap(), estimate.basis))
    }
}

/// The makespan under a scaled cost, and the path's seconds by lever.
fn rescaled(e: &Evaluation, faster: Lever, share: f64) -> (f64, [f64; 5]) {
    let prices = price(&e.dag, &Scaled(h200(), faster, share)).unwrap();
    let done = timeline(&e.dag, &prices).unwrap();
    let mut on = [0.0; 5];
    for node in done.schedule.critical_path(&e.dag) {
        for (op, _) in e.dag.work_of(node).ops.iter().take(1) {
            on[lever(op) as usize] += prices.of(&e.dag, node).seconds.get();
        }
    }
    (done.schedule.makespan, on)
}

#[test]
fn one_chain_gains_its_share() {
    // layerwise, the batch undivided, is one chain: the golden path's products take 321.102 s of it, so at
    // half their time 160.551 s are gained; 14 sends of 167.77216 GB at 450 GB/s and one at 50 GB/s
    let e = evaluated("layerwise", 1);
    let close =
        |found: f64, expected: f64| assert!((found / expected - 1.0).abs() < 1e-9, "{found} {expected}");
    close(gain(&e, Lever::Products, 0.5), 321.102_003_909_241_66 / 2.0);
    close(gain(&e, Lever::IntraNode, 0.5), 14.0 * 167.772_16 / 450.0 / 2.0);
    close(gain(&e, Lever::InterNode, 0.5), 167.772_16 / 50.0 / 2.0);
    close(on_path(&e)[Lever::Products as usize], 321.102_003_909_241_66);
    // products lead until they take as long as what comes next, the memory-bound ops
    let next = takeover(&e).unwrap();
    assert_eq!((next.from, next.to), (Lever::Products, Lever::Memory));
    close(next.speedup, 321.102_003_909_241_66 / on_path(&e)[Lever::Memory as usize]);
}

#[test]
fn nothing_gains_nothing_and_all_gain_everything() {
    for e in plans() {
        let makespan = e.makespan().seconds.get();
        let mut sum = 0.0;
        for lever in Lever::ALL {
            assert_eq!(gain(&e, lever, 1.0), 0.0);
            let half = gain(&e, lever, 0.5);
            let tenth = gain(&e, lever, 0.9);
            let name = &e.plan.name;
            assert!(0.0 <= tenth && tenth <= half && half <= makespan / 2.0 * (1.0 + 1e-12), "{name}");
            sum += gain(&e, lever, 0.999_999);
        }
        // for a vanishing change the levers together move the whole path, unless it is one of several
        assert!(sum <= makespan * 1e-6 * (1.0 + 1e-6), "{}: {sum}", e.plan.name);
    }
}

#[test]
fn gains_are_those_of_a_cost_scaled_from_outside() {
    for e in plans() {
        let makespan = e.makespan().seconds.get();
        let found = per_percent(&e);
        for lever in Lever::ALL {
            let expected = makespan - rescaled(&e, lever, 0.99).0;
            let found = found[lever as usize];
            assert!((found - expected).abs() <= 1e-13 * makespan, "{}: {found}, not {expected}", e.plan.name);
        }
    }
}

#[test]
fn the_next_bottleneck_takes_over_where_it_is_said_to() {
    let mut found = 0;
    for e in plans() {
        let Some(next) = takeover(&e) else { continue };
        found += 1;
        let at = |nearby: f64| rescaled(&e, next.from, 1.0 / (next.speedup * nearby)).1;
        let [from, to] = [next.from as usize, next.to as usize];
        assert!(next.speedup >= 1.0, "{next:?}");
        if next.speedup > 1.0 + 1e-5 {
            let before = at(1.0 - 1e-6);
            assert!(before.iter().all(|other| *other <= before[from] * (1.0 + 1e-9)), "{next:?} {before:?}");
        }
        let after = at(1.0 + 1e-6);
        assert!(after[to] > after[from] && after[to] >= after.iter().copied().fold(0.0, f64::max) * 0.999_99);
    }
    assert!(found > 40, "{found}");
}

#[test]
fn the_ideal_is_all_flops_over_all_gpus() {
    let source = Source::from_sheet("law A", Roofline::parse("law A", laws::LAW_A).unwrap());
    let bound = ideal(&evaluated("tp8-pp2", 4), &source).unwrap().seconds.get();
    // the golden plan's FLOPs
    assert!((bound / (317_569_881_866_240_000.0 / 16.0) - 1.0).abs() < 1e-12, "{bound}");
}

#[test]
fn no_plan_is_faster_than_its_ideal() {
    for e in plans() {
        let bound = ideal(&e, &h200()).unwrap().seconds.get();
        let makespan = e.makespan().seconds.get();
        assert!(bound <= makespan * (1.0 + 1e-12) && bound > 0.0, "{bound} {makespan} {:?}", e.plan);
    }
}
