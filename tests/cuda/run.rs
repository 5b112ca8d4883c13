//! Runs of `calibrate` against the double, and what they leave behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use gettime::op::{KernelKind, Link, Op};
use gettime::table::Table;

pub use crate::driver::{build, whole};

/// One run of `calibrate`, and where its table is.
pub struct Run {
    pub output: Output,
    pub table: PathBuf,
}

impl Run {
    pub fn new(double: &Path, name: &str, faults: &str, arguments: &[&str]) -> Run {
        let table = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.csv"));
        for old in [&table, &table.with_extension("csv.partial")] {
            let _ = fs::remove_file(old);
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
        command.env("LD_LIBRARY_PATH", double).env("GETTIME_DOUBLE", faults);
        if !arguments.iter().any(|argument| argument.starts_with("--gpus")) {
            command.arg("--gpus=1");
        }
        command.arg("--out").arg(&table).args(arguments);
        if !arguments.iter().any(|argument| argument.starts_with("--budget")) {
            command.arg("--budget=4s");
        }
        if !arguments.iter().any(|argument| argument.starts_with("--passes")) {
            command.arg("--passes=1");
        }
        Run { output: command.output().unwrap(), table }
    }

    pub fn errors(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    pub fn records(&self) -> Table {
        assert!(self.output.status.success(), "{}", self.errors());
        assert!(!self.table.with_extension("csv.partial").exists());
        Table::read(&self.table).unwrap()
    }

    /// Status 1, a message that names the cause, and the rows measured until then.
    pub fn failed(&self, cause: &str) -> Table {
        assert_eq!(self.output.status.code(), Some(1), "{}", self.errors());
        assert!(self.errors().contains(cause), "{}", self.errors());
        // the measurements are kept as well, for a run that goes on
        assert!(self.table.with_extension("csv.partial").exists());
        Table::read(&self.table).unwrap()
    }
}

/// What the double takes for an op, in seconds.
pub fn law(op: &Op) -> f64 {
    match op {
        Op::Gemm(_) => 2e-6 + op.flops() as f64 / 500e12,
        Op::Kernel(kernel) if kernel.kind == KernelKind::Copy => {
            2e-6 + (kernel.rows * kernel.cols * kernel.dtype.bytes()) as f64 * 0.5e-12
        }
        Op::Kernel(kernel) => 2e-6 + (kernel.rows * kernel.cols) as f64 * 1e-12,
        Op::Attention(_) => 3e-6 + op.flops() as f64 / 400e12,
        Op::P2p(copy) if copy.link == Link::DeviceToDevice => 5e-6 + copy.bytes as f64 * 2.5e-12,
        Op::P2p(copy) => 1e-5 + copy.bytes as f64 * 2e-11,
        _ => panic!("{op} is not measured"),
    }
}

pub fn follows_the_law(table: &Table) {
    assert!(table.records.len() > 10, "{} rows", table.records.len());
    for record in &table.records {
        let ratio = record.summary.seconds.get() / law(&record.op);
        assert!((ratio - 1.0).abs() < 1e-6, "{}: {ratio}", record.op);
        assert_eq!(record.source, "gettime-cuda");
    }
}

pub fn all_have(table: &Table, word: &str) -> bool {
    table.records.iter().all(|record| record.flags.split(' ').any(|known| known == word))
}
