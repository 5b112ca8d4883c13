//! Logs of nccl-tests, in samples written here after the print formats of its versions; and, where they are at
//! hand, the longer public ones with the rows that a reader must get.

use std::path::Path;

use gettime::dtype::Dtype;
use gettime::import::{Given, ImportErrorKind, Imported, nccl_tests};
use gettime::op::{Collective, CollectiveKind, Op};
use serde_json::Value;

/// 2.19, one process of two GPUs.
const NEW: &str = "\
# nccl-tests version 2.19.6 nccl-headers=22707 nccl-library=22707
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 2 minBytes 8 maxBytes 32 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0 unalign: 0
#
# Using devices
#  Rank  0 Group  0 Pid  41 on node01 device  0 [0000:1b:00] NVIDIA H200
#  Rank  1 Group  0 Pid  41 on node01 device  1 [0000:43:00] NVIDIA H200
#
#                                                              out-of-place                       in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)
           0             0     float     sum      -1    20.00    0.00    0.00       0    20.00    0.00    0.00       0
           8             2     float     sum      -1    22.14    0.00    0.00       0    21.65    0.00    0.00       0
node01:41:57 [0] NCCL INFO something between the rows
          16             4     float     sum      -1    22.15    0.00    0.00       3    21.42    0.00    0.00       0
          32             8  bfloat16     sum      -1    21.66    0.00    0.00     N/A    21.15    0.00    0.00     N/A
          64             8    double     sum      -1    21.66    0.00    0.00       0    21.15    0.00    0.00       0
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 0.1
";

/// Before 2.13: no group, no root for all_reduce, a largest difference in the place of a count.
const OLD: &str = "\
# nThread 1 nGpus 1 minBytes 1024 maxBytes 2048 step: 2(factor) warmup iters: 5 iters: 20 validation: 1
#
# Using devices
#   Rank  0 Pid   8801 on    a100-n1 device  0 [0x07] A100-SXM4-40GB
#   Rank  1 Pid   8802 on    a100-n2 device  0 [0x07] A100-SXM4-40GB
#
#                                                       out-of-place                       in-place
#       size         count      type   redop     time   algbw   busbw  error     time   algbw   busbw  error
#        (B)    (elements)                       (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)
        1024           256     float     sum    25.00    0.04    0.07  1e-06    26.00    0.04    0.07  1e-06
        2048           512     float     sum    27.50    0.07    0.13  0e+00    28.00    0.07    0.13  0e+00
";

fn op(kind: CollectiveKind, bytes: u64, ranks: u64, nodes: u64, dtype: Dtype) -> Op {
    Op::Collective(Collective { kind, bytes, ranks, nodes, dtype })
}

fn rows(imported: &Imported) -> Vec<(Op, f64, &str)> {
    let row = |r: &gettime::table::Record| (r.op, r.summary.seconds.get());
    imported.records.iter().map(|r| (row(r).0, row(r).1, r.flags.as_str())).collect()
}

fn read(text: &str) -> Imported {
    nccl_tests("log", text, &Given::default()).unwrap()
}

fn given(collective: Option<CollectiveKind>) -> Given {
    Given { collective, ..Given::default() }
}

#[test]
fn rows_of_the_newest_format() {
    let imported = read(NEW);
    let reduce = CollectiveKind::AllReduce;
    assert_eq!(
        rows(&imported),
        [
            (op(reduce, 8, 2, 1, Dtype::F32), 22.14 / 1e6, ""),
            (op(reduce, 32, 2, 1, Dtype::Bf16), 21.66 / 1e6, "unchecked"),
        ]
    );
    assert_eq!(imported.device.as_deref(), Some("NVIDIA H200"));
    let left_out = imported.left_out;
    assert_eq!((left_out.empty, left_out.wrong, left_out.other_dtype, left_out.sum()), (1, 1, 1, 3));
}

#[test]
fn the_in_place_half_on_request() {
    let imported = nccl_tests("log", NEW, &Given { in_place: true, ..Given::default() }).unwrap();
    let times: Vec<f64> = imported.records.iter().map(|r| r.summary.seconds.get()).collect();
    assert_eq!(times, [21.65 / 1e6, 21.42 / 1e6, 21.15 / 1e6]);
}

#[test]
fn rows_of_an_old_format_whose_test_is_not_named() {
    let error = nccl_tests("log", OLD, &Given::default()).unwrap_err();
    assert_eq!(error.kind(), &ImportErrorKind::WhichCollective);
    assert!(error.to_string().contains("--collective all_reduce|"), "{error}");
    let imported = nccl_tests("log", OLD, &given(Some(CollectiveKind::AllReduce))).unwrap();
    let reduce = CollectiveKind::AllReduce;
    assert_eq!(
        rows(&imported),
        [
            (op(reduce, 1024, 2, 2, Dtype::F32), 25.00 / 1e6, ""),
            (op(reduce, 2048, 2, 2, Dtype::F32), 27.50 / 1e6, ""),
        ]
    );
}

#[test]
fn tags_of_launchers_do_not_matter() {
    let plain = read(NEW);
    let mpirun: String = NEW.lines().map(|line| format!("[1,0]<stdout>:{line}\n")).collect();
    assert_eq!(read(&mpirun), plain);
    let srun: String = NEW.lines().map(|line| format!("0: {line}\n")).collect();
    assert_eq!(read(&srun), plain);
    let padded: String = NEW.lines().map(|line| format!(" 0: {line}\r\n")).collect();
    assert_eq!(read(&padded), plain);
}

#[test]
fn several_runs_in_one_file() {
    let gather = NEW.replace("all_reduce_perf", "./build/all_gather_perf_mpi");
    let both = format!("{NEW}\n{gather}");
    let imported = read(&both);
    let kinds: Vec<_> = rows(&imported).iter().map(|(op, ..)| op.cells().kind).collect();
    assert_eq!(kinds, ["all_reduce", "all_reduce", "all_gather", "all_gather"]);
    // the same run twice, slower the second time: the median of two is their middle
    let twice = format!("{NEW}{}", NEW.replace("22.14", "24.14"));
    assert_eq!(rows(&read(&twice))[0].1, (22.14 / 1e6 + 24.14 / 1e6) / 2.0);
}

#[test]
fn per_iteration_columns_timestamps_and_host_times() {
    let wide = NEW
        .replace("#wrong     time", "#wrong    i_min    i_max    i_p99    i_cv%     time")
        .replace("#wrong\n", "#wrong    i_min    i_max    i_p99    i_cv%   timestamp\n")
        .replace(
            "22.14    0.00    0.00       0    21.65    0.00    0.00       0",
            "22.14 0.00 0.00 0 20.0 25.0 24.0 3.0 21.65 0.00 0.00 0 20.0 25.0 24.0 3.0 2026-11-20 04:27:20",
        );
    // only the row that has the columns of the head is a row
    assert_eq!(rows(&read(&wide)), [(op(CollectiveKind::AllReduce, 8, 2, 1, Dtype::F32), 22.14 / 1e6, "")]);
    let host = NEW.replace("root     time", "root  cputime").replace("#wrong     time", "#wrong  cputime");
    let error = nccl_tests("log", &host, &Given::default()).unwrap_err();
    assert!(error.to_string().contains("host's time only"), "{error}");
}

#[test]
fn groups_of_a_split_run_count_once() {
    let split = NEW.replace("Rank  1 Group  0", "Rank  1 Group  1");
    let error = nccl_tests("log", &split, &Given::default()).unwrap_err();
    assert_eq!(error.kind(), &ImportErrorKind::NoGroup { ranks: 1, nodes: 1 });
}

#[test]
fn what_is_given_must_not_contradict() {
    let error = nccl_tests("log", NEW, &given(Some(CollectiveKind::Broadcast))).unwrap_err();
    assert!(error.to_string().contains("--collective broadcast was given, and the log says all_reduce"));
    let ranks = Given { ranks: Some(8), ..Given::default() };
    let error = nccl_tests("log", NEW, &ranks).unwrap_err();
    assert!(error.to_string().contains("--ranks 8 was given, and the log says 2"), "{error}");
    // a log whose head was not pasted says neither
    let headless: String =
        NEW.lines().filter(|line| !line.contains("Rank")).map(|l| format!("{l}\n")).collect();
    let error = nccl_tests("log", &headless, &Given::default()).unwrap_err();
    assert_eq!(error.kind(), &ImportErrorKind::HowMany { what: "ranks" });
    let told = Given { ranks: Some(16), nodes: Some(2), ..Given::default() };
    assert_eq!(nccl_tests("log", &headless, &told).unwrap().records.len(), 2);
}

#[test]
fn other_tests_and_texts_are_refused() {
    let error =
        nccl_tests("log", &NEW.replace("all_reduce_perf", "gather_perf"), &Given::default()).unwrap_err();
    assert_eq!(error.kind(), &ImportErrorKind::OtherTest { name: "gather_perf".into() });
    for text in ["", "nothing of the kind\n1 2 3\n", "# nccl-tests version 2.19.6\n"] {
        let error = nccl_tests("log", text, &Given::default()).unwrap_err();
        assert_eq!(error.kind(), &ImportErrorKind::NoResults);
    }
    let cut = "{\"version\":3,\"results\":[{\"size\":8,";
    assert!(matches!(
        nccl_tests("log", cut, &Given::default()).unwrap_err().kind(),
        ImportErrorKind::NotJson { .. }
    ));
    assert!(matches!(
        nccl_tests("log", "{}", &Given::default()).unwrap_err().kind(),
        ImportErrorKind::OtherJson { missing: "results" }
    ));
}

#[test]
fn json_with_its_strings_for_numbers() {
    let json = r#"{"version":3,"args":[".\/build\/reduce_scatter_perf","-g","4"],"config":{"nthreads":1,"ngpus":4,
        "blocking_collectives":"false","devices":[{"rank":0,"group":0,"pid":1,"hostname":"n1","device":0,
        "device_info":"NVIDIA H100"}]},"results":[
        {"size":1024,"count":64,"type":"half","redop":"sum","root":"    -1",
         "out_of_place":{"time":12.5,"nwrong":0.000000},"in_place":{"time":"nan","nwrong":null}},
        {"size":2048,"count":128,"type":"half","redop":"sum","root":"    -1",
         "out_of_place":{"time":13.5,"nwrong":1.000000},"in_place":{"time":13.0,"nwrong":null}}],
        "out_of_bounds":{"count":0,"okay":"unchecked"}}"#;
    let imported = read(json);
    let scatter = CollectiveKind::ReduceScatter;
    assert_eq!(rows(&imported), [(op(scatter, 1024, 4, 1, Dtype::F16), 12.5 / 1e6, "")]);
    assert_eq!(imported.left_out.wrong, 1);
    let two_nodes = json.replace(
        r#""device_info":"NVIDIA H100"}"#,
        r#""device_info":"NVIDIA H100"},{"rank":1,"group":0,"pid":9,"hostname":"n2","device":0,"device_info":"NVIDIA H100"}"#,
    );
    assert_eq!(rows(&read(&two_nodes))[0].0, op(scatter, 1024, 2, 2, Dtype::F16));
}

/// The public samples, where the checkout stands beside them.
#[test]
fn public_samples_give_exactly_their_expected_rows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/nccl-tests");
    let Ok(files) = std::fs::read_dir(&folder) else {
        println!("the public samples are not there");
        return;
    };
    let mut read = 0;
    for file in files.map(|file| file.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        if name.ends_with(".expected.json") {
            continue;
        }
        let stem = name.rsplit_once('.').unwrap().0;
        let expected = std::fs::read_to_string(folder.join(format!("{stem}.expected.json"))).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let kind = if name.starts_with("all_gather") { Some(CollectiveKind::AllGather) } else { None };
        let text = std::fs::read_to_string(&file).unwrap();
        let imported = nccl_tests(name, &text, &given(kind)).unwrap();
        let expected = expected.as_array().unwrap();
        assert_eq!(imported.records.len(), expected.len(), "{name}");
        for (record, row) in imported.records.iter().zip(expected) {
            let Op::Collective(op) = record.op else { panic!("{name}") };
            assert_eq!(op.bytes, row["size"].as_u64().unwrap(), "{name}");
            let time = row["out_of_place"]["time"].as_f64().unwrap() / 1e6;
            // the JSON has more digits than the text that the expected rows were taken from
            let close = (record.summary.seconds.get() / time - 1.0).abs() < 1e-3;
            assert!(close, "{name} {}: {} instead of {time}", op.bytes, record.summary.seconds.get());
        }
        read += 1;
    }
    assert!(read > 0);
}

#[test]
fn nothing_panics_on_broken_logs() {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    let mut rng = StdRng::seed_from_u64(5);
    for text in [NEW, OLD] {
        for _ in 0..5_000 {
            let mut bytes = text.as_bytes().to_vec();
            for _ in 0..rng.random_range(1..8) {
                let at = rng.random_range(0..bytes.len().max(1));
                if bytes.len() < 2 {
                    break;
                }
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random_range(0..=255u32) as u8,
                    1 => drop(bytes.remove(at)),
                    _ => bytes.truncate(at.max(1)),
                }
            }
            let _ = nccl_tests("log", &String::from_utf8_lossy(&bytes), &Given::default());
        }
    }
}

#[test]
fn what_nccl_tells_of_its_connections_goes_with_the_rows_of_the_run() {
    let transports = |text: &str| -> Vec<String> {
        read(text).records.into_iter().map(|record| record.route.transport).collect()
    };
    assert!(transports(NEW).iter().all(String::is_empty));
    let lines = "node01:41:57 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM/read\n\
                 [1,1]<stdout>:node01:41:57 [1] NCCL INFO Channel 01/0 : 1[1] -> 2[0] [send] via NET/IB/2/GDRDMA\n";
    let told = NEW.replacen("#\n#  ", &format!("#\n{lines}#  "), 1);
    assert!(told != NEW && transports(&told).iter().all(|ways| ways == "p2p+net/ib/gdrdma"));
    // the next run of the file is another
    let both = transports(&format!("{told}{}", NEW.replace("node01 device  1", "node02 device  1")));
    assert!(both.iter().any(String::is_empty) && both.len() == 2 * transports(NEW).len());
}
