//! Fits of collectives whose true law is known, because the test made it up: sizes between those that were measured.

use gettime::cost::Cost;
use gettime::fit::Fit;
use gettime::op::{Collective, CollectiveKind, Op};
use gettime::table::Table;

fn all_gather(bytes: u64) -> Op {
    let kind = CollectiveKind::AllGather;
    Op::Collective(Collective { kind, bytes, ranks: 8, nodes: 1, dtype: gettime::dtype::Dtype::F16 })
}

/// A fit of 512 B to 512 MiB by factors of 4, as `time` says, in µs.
fn fit(time: impl Fn(f64) -> f64) -> Fit {
    let mut text = String::from("op,kind,dtype,bytes,ranks,nodes,seconds\n");
    for log in (9..=29).step_by(2) {
        let bytes = 1u64 << log;
        text += &format!("collective,all_gather,f16,{bytes},8,1,{:e}\n", time(bytes as f64) * 1e-6);
    }
    Fit::new(&Table::parse(text.as_bytes(), "made up").unwrap(), "made up")
}

fn micros(fit: &Fit, bytes: u64) -> f64 {
    1e6 * fit.cost(&all_gather(bytes)).unwrap().seconds.get()
}

/// 12 µs and 40 GB/s up to 1.2 MB, beyond 36 µs and 200 GB/s: whichever protocol is the faster.
fn two_protocols(bytes: f64) -> f64 {
    (12.0 + bytes / 40e3).min(36.0 + bytes / 200e3)
}

#[test]
fn between_two_sizes_the_time_is_straight_in_bytes() {
    let fit = fit(two_protocols);
    for log in (10..=28).step_by(2).filter(|log| *log != 20) {
        let (said, truth) = (micros(&fit, 1 << log), two_protocols((1u64 << log) as f64));
        assert!((said / truth - 1.0).abs() < 0.08, "2^{log} B: {said} µs, and it takes {truth} µs");
    }
}

/// Between 512 KiB, 25.1 µs, and 2 MiB, 46.5 µs, another protocol takes over, no one knows where: 1 MiB takes 32.2 µs
/// if the new one starts at once, so that the line between both is followed, and 38.2 µs if the old one goes on.
#[test]
fn where_a_protocol_takes_over_is_left_open() {
    let said = micros(&fit(two_protocols), 1 << 20);
    assert!((32.3..38.2).contains(&said), "{said} µs");
}

/// The first message of a run takes twice as long as it should: those next to it do not.
#[test]
fn a_small_message_takes_no_longer_than_larger_ones() {
    let steady = |bytes: f64| 12.0 + bytes / 200e3;
    let fit = fit(|bytes| if bytes == 512.0 { 24.0 } else { steady(bytes) });
    let said = micros(&fit, 1024);
    assert!((said / steady(1024.0) - 1.0).abs() < 0.03, "{said} µs");
}
