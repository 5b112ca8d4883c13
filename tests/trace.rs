//! A plan's trace against the rules of the Trace Event Format (Google, "Trace Event Format", 2016), which
//! ui.perfetto.dev and chrome://tracing read.

use std::collections::{BTreeMap, BTreeSet};

use gettime::evaluate::{Evaluation, Overrides, evaluate};
use gettime::plan::{self, Plan};
use gettime::report;
use gettime::source::{Source, sheet};
use gettime::spec::Microbatches;
use serde_json::Value;

fn evaluated(name: &str, microbatches: u64) -> Evaluation {
    let (_, text) = plan::BUILT_IN.iter().find(|(n, _)| *n == name).unwrap();
    let source = Source::from_sheet("h200-sxm", sheet("h200-sxm").unwrap());
    let microbatches = Some(Microbatches::Exactly(microbatches));
    let overrides = Overrides { microbatches, ..Overrides::default() };
    evaluate(Plan::parse(name, text).unwrap(), &source, &overrides).unwrap()
}

fn events(e: &Evaluation) -> Vec<Value> {
    let mut trace: Value = serde_json::from_str(&report::perfetto(e).unwrap()).unwrap();
    serde_json::from_value(trace["traceEvents"].take()).unwrap()
}

/// Process and thread.
type Track = (u64, u64);

fn track(event: &Value) -> Track {
    (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap())
}

fn number(event: &Value, key: &str) -> f64 {
    let number = event[key].as_f64().unwrap_or_else(|| panic!("no {key} in {event}"));
    assert!(number.is_finite() && number >= 0.0, "{event}");
    number
}

/// Slices by track, in the order of their start, the longer first: start and end in microseconds.
fn slices(events: &[Value]) -> BTreeMap<Track, Vec<(f64, f64)>> {
    let mut slices: BTreeMap<Track, Vec<(f64, f64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let (ts, dur) = (number(event, "ts"), number(event, "dur"));
        slices.entry(track(event)).or_default().push((ts, ts + dur));
    }
    slices.values_mut().for_each(|track| track.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.total_cmp(&a.1))));
    slices
}

/// Starts and ends are sums in different orders: so much of them, in parts of the whole.
const ROUNDING: f64 = 1e-12;

#[test]
fn every_event_is_of_the_format() {
    for (name, ..) in plan::BUILT_IN {
        for microbatches in [1, 3] {
            let e = evaluated(name, microbatches);
            let events = events(&e);
            let slices = slices(&events);
            let mut named = BTreeSet::new();
            let mut arrows: BTreeMap<u64, Vec<&Value>> = BTreeMap::new();
            for event in &events {
                assert!(event["name"].as_str().is_some_and(|name| !name.is_empty()), "{event}");
                match event["ph"].as_str().unwrap() {
                    "M" => {
                        assert!(event["args"]["name"].is_string(), "{event}");
                        if event["name"] == "thread_name" {
                            assert!(named.insert(track(event)), "named twice: {event}");
                        }
                    }
                    "X" => assert!(event["cat"].is_string(), "{event}"),
                    "C" => {
                        number(event, "ts");
                        let series = event["args"].as_object().unwrap();
                        assert!(!series.is_empty() && series.values().all(Value::is_number), "{event}");
                    }
                    "s" | "f" => arrows.entry(event["id"].as_u64().unwrap()).or_default().push(event),
                    other => panic!("{other} is no phase of this trace"),
                }
            }
            // a track for the work and one for the communication of each GPU, and the critical path
            assert_eq!(named.len(), 2 * 16 + 1, "{name}");
            assert!(slices.keys().all(|track| named.contains(track)), "{name}");
            // slices of a track follow one another or lie within one another
            for (track, slices) in &slices {
                let mut open: Vec<(f64, f64)> = Vec::new();
                for (start, stop) in slices {
                    let rounding = ROUNDING * stop.max(1.0);
                    open.retain(|around| around.1 > start + rounding);
                    let within = open.last().is_none_or(|around| *stop <= around.1 + rounding);
                    assert!(within, "{name} {track:?}: {start} to {stop} leaves {open:?}");
                    open.push((*start, *stop));
                }
            }
            for (id, ends) in arrows {
                let [from, to] = ends.as_slice() else {
                    panic!("{name}: arrow {id} has {} ends", ends.len())
                };
                // one name, category and id; it leaves before it arrives, and binds to the slice around it
                assert_eq!((&from["ph"], &to["ph"], &to["bp"]), (&"s".into(), &"f".into(), &"e".into()));
                assert_eq!((&from["name"], &from["cat"]), (&to["name"], &to["cat"]));
                assert!(number(from, "ts") <= number(to, "ts"), "{from} {to}");
                for end in [from, to] {
                    let ts = number(end, "ts");
                    let around = |(start, stop): &(f64, f64)| *start <= ts && ts <= *stop;
                    assert!(slices[&track(end)].iter().any(around), "{name}: {end} hangs in the air");
                }
            }
        }
    }
}

#[test]
fn the_critical_path_has_a_track_and_memory_a_counter() {
    let e = evaluated("tp8-pp2", 1);
    let events = events(&e);
    let path: f64 = slices(&events)[&(2, 0)].iter().map(|(start, stop)| stop - start).sum();
    assert!((path / 1e6 / e.makespan().seconds.get() - 1.0).abs() < 1e-9);
    let flows = |phase: &str| events.iter().filter(|event| event["ph"] == phase).count();
    // 32 all-reduces over 8 GPUs, 8 sends
    assert_eq!((flows("s"), flows("f")), (32 * 7 + 8, 32 * 7 + 8));
    let counters = || events.iter().filter(|event| event["ph"] == "C");
    let counted: BTreeSet<&str> = counters().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(counted.len(), 16);
    let last = counters().next_back().unwrap();
    assert!(last["args"]["activations"].as_f64().unwrap().abs() < 1e-9, "{last}");
    // 12,884,901,888 parameters of two bytes on 16 GPUs
    let weights = last["args"]["weights"].as_f64().unwrap();
    assert!((weights / (12_884_901_888.0 * 2.0 / 16.0 / 1e9) - 1.0).abs() < 1e-3, "{weights}");
}
