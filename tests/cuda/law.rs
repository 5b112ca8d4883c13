//! Without a fault: times exactly as the double's law has them, and right results.

use std::path::Path;

use gettime::dtype::Dtype;
use gettime::op::{KernelKind, Link, Op};

use crate::run::{Run, all_have, build, follows_the_law, law, whole};

#[test]
fn times_are_those_of_the_law() {
    let run = Run::new(whole(), "law", "", &["--dtype", "bf16,f32", "--budget=20s"]);
    let table = run.records();
    follows_the_law(&table);
    // a loaded machine may not come to all of them
    let is_there = |kind: &&KernelKind| {
        table.records.iter().any(|record| matches!(record.op, Op::Kernel(kernel) if kernel.kind == **kind))
    };
    assert!(KernelKind::ALL.iter().filter(is_there).count() > 4);
    assert!(table.records.iter().any(|record| record.op.dtype() == Some(Dtype::F32)));
    assert!(all_have(&table, "cache=weights-cold") && all_have(&table, "mhz=1755"));
    let attention: Vec<_> =
        table.records.iter().filter(|record| matches!(record.op, Op::Attention(_))).collect();
    assert!(!attention.is_empty() && attention.iter().all(|record| record.flags.contains("engine=4")));
    let device = table.device.unwrap();
    assert_eq!(device.details["cudnn"].as_str(), Some("9.19.0"));
    assert_eq!((device.name.as_str(), device.details["sms"].as_integer()), ("Test Double", Some(132)));
    assert_eq!(device.details["cublas_lt"].as_str(), Some("13.1.0"));
    let plan = run.errors().lines().find(|line| line.contains(" cases, ")).unwrap().to_owned();
    assert!(plan.contains(" for 7 plans") && plan.contains("about"), "{plan}");
}

#[test]
fn the_fastest_of_eight_is_kept() {
    for (policy, cache) in [("best-of-8", "cold"), ("heuristic", "hot")] {
        let table = Run::new(whole(), policy, "", &["--policy", policy, "--cache", cache]).records();
        follows_the_law(&table);
        assert!(all_have(&table, &format!("cache={cache}")));
        let products = table.records.iter().filter(|record| matches!(record.op, Op::Gemm(_)));
        assert!(products.into_iter().all(|record| record.flags.contains(&format!("policy={policy} algo=1"))));
    }
}

#[test]
fn every_kind_of_op_is_right_at_awkward_sizes() {
    let run = Run::new(whole(), "check", "", &["--check", "--dtype", "bf16,f32"]);
    let text = String::from_utf8_lossy(&run.output.stdout);
    assert!(run.output.status.success() && !text.contains("WRONG"), "{text}{}", run.errors());
    assert!(text.ends_with(" results are right\n"), "{text}");
    assert!(!run.table.exists());
}

#[test]
fn the_ops_of_one_plan() {
    let run = Run::new(whole(), "for", "", &["--for", "helix"]);
    follows_the_law(&run.records());
    assert!(run.errors().contains(" for 1 plans"));
}

#[test]
fn one_device_copies_from_and_to_its_host() {
    let table = Run::new(whole(), "host", "", &["--ops=p2p", "--budget=8s"]).records();
    follows_the_law(&table);
    assert!(all_have(&table, "pinned"));
    let over = |link| {
        table.records.iter().filter(|row| matches!(row.op, Op::P2p(copy) if copy.link == link)).count()
    };
    assert!(over(Link::HostToDevice) > 5 && over(Link::DeviceToHost) > 5);
    assert_eq!(over(Link::DeviceToDevice), 0);
}

/// Copies are the driver's, and sends NCCL's, with times of their own.
#[test]
fn two_devices_copy_to_each_other() {
    for (name, faults, way) in [("beside", "gpus=2", "path=direct"), ("apart", "gpus=2 apart", "path=host")] {
        let table = Run::new(whole(), name, faults, &["--gpus=2", "--ops=p2p", "--budget=8s"]).records();
        let rows =
            |link| table.records.iter().filter(move |row| matches!(row.op, Op::P2p(p) if p.link == link));
        for row in rows(Link::DeviceToDevice) {
            assert!((row.summary.seconds.get() / law(&row.op) - 1.0).abs() < 1e-6, "{}", row.op);
            assert_eq!(
                (row.source.as_str(), row.flags.split(' ').any(|word| word == way)),
                ("gettime-cuda", true)
            );
        }
        assert!(rows(Link::DeviceToDevice).count() > 5);
        assert!(rows(Link::IntraNode).count() > 5 && rows(Link::IntraNode).all(|row| row.source == "nccl"));
    }
}

#[test]
fn a_copy_that_does_not_arrive_is_seen() {
    let faults = "gpus=2 nothing_arrives";
    let run = Run::new(whole(), "nothing", faults, &["--gpus=2", "--ops=p2p", "--budget=8s"]);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("from device to device gave a wrong result"), "{}", run.errors());
}

/// Where links differ, each class is measured once, and a send of which no more is known is over the worst.
#[test]
fn each_class_of_links_is_measured() {
    let arguments = ["--gpus=4", "--ops=p2p", "--budget=10s"];
    let table = Run::new(whole(), "classes", "gpus=4 half=2", &arguments).records();
    let mut seen = std::collections::BTreeMap::new();
    for row in table.records.iter().filter(|row| row.source == "nccl") {
        let Op::P2p(send) = row.op else { panic!("{}", row.op) };
        let times = if send.link == Link::Class(0) { 1.0 } else { 2.0 };
        let law = 6e-6 + times * send.bytes as f64 / 1e11;
        assert!((row.summary.seconds.get() / law - 1.0).abs() < 1e-5, "{}", row.op);
        *seen.entry(send.link).or_insert(0) += 1;
    }
    let links = [Link::IntraNode, Link::Class(0), Link::Class(1)];
    assert!(seen.keys().eq(&links) && seen.values().all(|count| *count > 5), "{seen:?}");
    assert_eq!(table.cluster.details["link_classes"].as_str(), Some("0-1 0-2"));
    let alike = Run::new(whole(), "alike", "gpus=4", &arguments).records();
    let is_class =
        |row: &gettime::table::Record| matches!(row.op, Op::P2p(send) if matches!(send.link, Link::Class(_)));
    assert!(!alike.records.iter().any(is_class));
}

#[test]
fn an_older_driver_measures_the_same() {
    follows_the_law(&Run::new(&build("no_elapsed_v2"), "older", "", &[]).records());
}

#[test]
fn a_missing_function_is_named() {
    let run = Run::new(&build("no_matmul"), "symbol", "", &[]);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("libcublasLt has no cublasLtMatmul:"), "{}", run.errors());
}

#[test]
fn without_a_driver_it_says_so() {
    let run = Run::new(Path::new("/nowhere"), "nowhere", "", &[]);
    if run.errors().contains("no CUDA driver on this machine") {
        assert_eq!(run.output.status.code(), Some(1));
        assert!(run.errors().contains("--backend cpu"), "{}", run.errors());
    } else {
        eprintln!("skipped: this machine has a CUDA driver");
    }
}
