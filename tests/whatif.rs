//! Gains against shares of the path worked out by hand, and against their bounds.

use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::plan::{self, Plan};
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;
use gettime::whatif::{Lever, gain};

fn evaluated(name: &str, microbatches: u64) -> Evaluation {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let source = Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap());
    let overrides =
        Overrides { microbatches: Some(Microbatches::Exactly(microbatches)), ..Overrides::default() };
    evaluate(Plan::parse(name, text).unwrap(), &source, &overrides).unwrap()
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
}

#[test]
fn nothing_gains_nothing_and_all_gain_everything() {
    for (name, ..) in plan::BUILT_IN {
        let e = evaluated(name, 2);
        let makespan = e.makespan().seconds.get();
        let mut sum = 0.0;
        for lever in Lever::ALL {
            assert_eq!(gain(&e, lever, 1.0), 0.0);
            let half = gain(&e, lever, 0.5);
            let tenth = gain(&e, lever, 0.9);
            assert!(0.0 <= tenth && tenth <= half && half <= makespan / 2.0 * (1.0 + 1e-12), "{name}");
            sum += gain(&e, lever, 0.999_999);
        }
        // for a vanishing change the levers together move the whole path, unless it is one of several
        assert!(sum <= makespan * 1e-6 * (1.0 + 1e-6), "{name}: {sum}");
    }
}
