//! The whole way of a GPU's measurement, against a double of the driver and its libraries: see double/double.rs.
//!
//! The double is built here, into the folder of the tests, and nothing but these tests can reach it.
#![cfg(feature = "cuda")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use gettime::dtype::Dtype;
use gettime::op::{KernelKind, Op};
use gettime::table::Table;

/// The names under which the libraries are looked for.
const NAMES: [&str; 6] = [
    "libcuda.so",
    "libcuda.so.1",
    "libcublasLt.so",
    "libcublasLt.so.13",
    "libnvidia-ml.so",
    "libnvidia-ml.so.1",
];

/// Builds the double with some of its functions left out, and returns the folder that holds it.
fn build(variant: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("double-{variant}"));
    fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/double/double.rs");
    let library = folder.join("double.so");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "--crate-type",
        "cdylib",
        "--cfg",
        variant,
        "-A",
        "warnings",
        "-o",
    ]);
    assert!(rustc.arg(&library).arg(source).status().unwrap().success());
    for name in NAMES {
        let link = folder.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink("double.so", &link).unwrap();
    }
    folder
}

fn whole() -> &'static Path {
    static WHOLE: OnceLock<PathBuf> = OnceLock::new();
    WHOLE.get_or_init(|| build("whole"))
}

/// One run of `calibrate`, and where its table is.
struct Run {
    output: Output,
    table: PathBuf,
}

impl Run {
    fn new(double: &Path, name: &str, faults: &str, arguments: &[&str]) -> Run {
        let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.csv"));
        for old in [&table, &table.with_extension("csv.partial")] {
            let _ = fs::remove_file(old);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
        command.env("LD_LIBRARY_PATH", double).env("GETTIME_DOUBLE", faults);
        command.args(["--gpus", "1", "--out"]).arg(&table).args(arguments);
        if !arguments.iter().any(|argument| argument.starts_with("--budget")) {
            command.arg("--budget=4s");
        }
        Run { output: command.output().unwrap(), table }
    }

    fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    fn records(&self) -> Table {
        assert!(self.output.status.success(), "{}", self.errors());
        assert!(!self.table.with_extension("csv.partial").exists());
        Table::read(&self.table).unwrap()
    }

    /// Status 1, a message that names the cause, and the rows measured until then.
    fn failed(&self, cause: &str) -> Table {
        assert_eq!(self.output.status.code(), Some(1), "{}", self.errors());
        assert!(self.errors().contains(cause), "{}", self.errors());
        // the measurements are kept as well, for a run that goes on
        assert!(self.table.with_extension("csv.partial").exists());
        Table::read(&self.table).unwrap()
    }
}

/// What the double takes for an op, in seconds.
fn law(op: &Op) -> f64 {
    match op {
        Op::Gemm(_) => 2e-6 + op.flops() as f64 / 500e12,
        Op::Kernel(kernel) if kernel.kind == KernelKind::Copy => {
            2e-6 + (kernel.rows * kernel.cols * kernel.dtype.bytes()) as f64 * 0.5e-12
        }
        Op::Kernel(kernel) => 2e-6 + (kernel.rows * kernel.cols) as f64 * 1e-12,
        _ => panic!("{op} is not measured"),
    }
}

fn follows_the_law(table: &Table) {
    assert!(table.records.len() > 20, "{} rows", table.records.len());
    for record in &table.records {
        let ratio = record.summary.seconds.get() / law(&record.op);
        assert!((ratio - 1.0).abs() < 1e-6, "{}: {ratio}", record.op);
        assert_eq!(record.source, "gettime-cuda");
    }
}

fn all_have(table: &Table, word: &str) -> bool {
    table.records.iter().all(|record| record.flags.split(' ').any(|known| known == word))
}

#[test]
fn times_are_those_of_the_law() {
    let run = Run::new(whole(), "law", "", &["--dtype", "bf16,f32", "--budget=10s"]);
    let table = run.records();
    follows_the_law(&table);
    for kind in KernelKind::ALL {
        let is_of_kind = |op: &Op| matches!(op, Op::Kernel(kernel) if kernel.kind == kind);
        assert!(table.records.iter().any(|record| is_of_kind(&record.op)), "{kind:?}");
    }
    assert!(table.records.iter().any(|record| record.op.dtype() == Some(Dtype::F32)));
    assert!(all_have(&table, "cache=weights-cold") && all_have(&table, "mhz=1755"));
    let device = table.device.unwrap();
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
fn memory_that_is_refused_once_is_asked_for_again() {
    follows_the_law(&Run::new(whole(), "oom-once", "oom=9", &[]).records());
}

#[test]
fn memory_that_is_refused_for_good_leaves_ops_out_by_name() {
    let run = Run::new(whole(), "oom", "oom_from=10", &[]);
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
fn clocks_held_down_are_flagged() {
    let always = Run::new(whole(), "always", "throttled=1", &[]).records();
    assert!(all_have(&always, "throttled"));
    let late = Run::new(whole(), "late", "throttled=80", &["--budget=10s", "--passes=1"]).records();
    let throttled = late.records.iter().filter(|record| record.flags.contains("throttled")).count();
    assert!(throttled > 0 && throttled < late.records.len(), "{throttled}");
}

#[test]
fn noise_is_flagged() {
    let table = Run::new(whole(), "noise", "noise=60", &["--budget=10s"]).records();
    assert!(table.records.iter().any(|record| record.flags.contains("noisy")));
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
fn without_a_driver_it_says_so() {
    let run = Run::new(Path::new("/nowhere"), "nowhere", "", &[]);
    if run.errors().contains("no CUDA driver on this machine") {
        assert_eq!(run.output.status.code(), Some(1));
        assert!(run.errors().contains("--backend cpu"), "{}", run.errors());
    } else {
        eprintln!("skipped: this machine has a CUDA driver");
    }
}
