//! Faults, one by one: no row is lost, the message names the cause, and the status is 1.

use std::fs;
use std::path::Path;

use gettime::op::Op;
use gettime::table::Table;

use crate::run::{Run, all_have, build, follows_the_law, whole};

#[test]
fn memory_that_is_refused_once_is_asked_for_again() {
    follows_the_law(&Run::new(whole(), "oom-once", "oom=9", &[]).records());
}

#[test]
fn memory_that_is_refused_for_good_leaves_ops_out_by_name() {
    // a product that the buffers must grow for
    let large = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large.csv");
    fs::write(&large, "op,dtype,m,k,n,seconds\ngemm,bf16,16384,8192,16384,1\n").unwrap();
    let run = Run::new(whole(), "oom", "oom_above=700", &["--for", large.to_str().unwrap(), "--ops=gemm"]);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.errors());
    assert!(run.errors().contains("CUDA_ERROR_OUT_OF_MEMORY"), "{}", run.errors());
    assert!(Table::read(&run.table).unwrap().records.len() > 1);
}

#[test]
fn products_without_an_algorithm_are_left_out_by_name() {
    let run = Run::new(whole(), "algorithm", "no_algorithm", &[]);
    assert_eq!(run.output.status.code(), Some(1), "{}", run.errors());
    assert!(run.errors().contains("cuBLASLt knows no algorithm for it"), "{}", run.errors());
    follows_the_law(&Table::read(&run.table).unwrap());
}

#[test]
fn without_cudnn_the_table_has_no_attention_and_says_so() {
    let folder = build("no_dnn");
    fs::remove_file(folder.join("libcudnn.so.9")).unwrap();
    let run = Run::new(&folder, "no-dnn", "", &[]);
    let table = run.records();
    follows_the_law(&table);
    assert!(table.records.iter().all(|record| !matches!(record.op, Op::Attention(_))));
    let remark = "remark: there is no fused attention in this table: ";
    assert_eq!(run.errors().matches(remark).count(), 1, "{}", run.errors());
}

#[test]
fn attention_without_an_engine_or_that_fails_is_left_out_by_name() {
    for (fault, cause) in [
        ("no_engine", "cuDNN knows no engine for it"),
        ("execute=128", "cudnnBackendExecute returned CUDNN_STATUS_EXECUTION_FAILED"),
    ] {
        let run = Run::new(whole(), fault, fault, &["--budget=8s"]);
        assert_eq!(run.output.status.code(), Some(1), "{}", run.errors());
        assert!(run.errors().contains("attention bf16") && run.errors().contains(cause), "{}", run.errors());
        follows_the_law(&Table::read(&run.table).unwrap());
    }
}

#[test]
fn a_device_that_breaks_leaves_its_rows() {
    for (fault, cause) in [("launch=80", "_FAILED"), ("sticky=80", "CUDA_ERROR_ILLEGAL_ADDRESS")] {
        let table = Run::new(whole(), fault, fault, &["--budget=20s"]).failed(cause);
        assert!(!table.records.is_empty());
    }
}

#[test]
fn a_kernel_that_never_ends_is_given_up() {
    let table =
        Run::new(whole(), "endless", "endless=80", &["--budget=20s"]).failed("did not end within 20 s");
    assert!(!table.records.is_empty());
}

#[test]
fn a_device_in_use_is_measured_only_when_asked() {
    let run = Run::new(whole(), "others", "others=2", &[]);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("2 other process(es) compute on Test Double"), "{}", run.errors());
    assert!(!run.table.exists());
    let table = Run::new(whole(), "shared", "others=2", &["--allow-shared"]).records();
    assert!(all_have(&table, "shared"));
}

#[test]
fn what_cannot_be_captured_is_queued_behind_a_switch() {
    let table = Run::new(whole(), "eager", "no_capture", &[]).records();
    follows_the_law(&table);
    assert!(all_have(&table, "eager"));
}

#[test]
fn a_driver_too_old_for_the_kernels_is_told_of() {
    let run = Run::new(whole(), "driver", "driver=12080", &[]);
    assert_eq!(run.output.status.code(), Some(1));
    assert!(run.errors().contains("the driver speaks CUDA 12.8"), "{}", run.errors());
}
