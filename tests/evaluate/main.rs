//! The program `evaluate` from outside: its answers against values worked out elsewhere, its screens, its
//! refusals.

mod compare;
mod formulas;
mod golden_plans;
mod hostile;
mod screens;
mod search;
mod sources;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What a run of the program left behind.
pub(crate) struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The answer of a run that succeeded.
    #[track_caller]
    pub fn answer(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self.out
    }

    /// The answer of a run that succeeded, as JSON.
    #[track_caller]
    pub fn json(self) -> Value {
        serde_json::from_str(&self.answer()).unwrap()
    }

    /// The error of a run that was refused: exit 1, nothing on stdout, no panic.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert_eq!(self.code, Some(1), "{}{}", self.out, self.err);
        assert_eq!(self.out, "", "an answer beside an error");
        assert!(self.err.contains("evaluate: "), "{}", self.err);
        self.err
    }

    /// The error of a command line that nobody can mean: exit 2.
    #[track_caller]
    pub fn usage(self) -> String {
        assert_eq!(self.code, Some(2), "{}{}", self.out, self.err);
        assert_eq!(self.out, "");
        self.err
    }
}

pub(crate) fn evaluate(args: &[&str]) -> Run {
    Run::of(program(args).stdin(Stdio::null()).output().unwrap())
}

/// As [`evaluate`], with a text on standard input.
pub(crate) fn evaluate_text(args: &[&str], text: &str) -> Run {
    let piped = program(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = piped.unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    Run::of(child.wait_with_output().unwrap())
}

pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaluate"));
    command.args(args);
    command
}

/// A folder with the files of one test.
pub(crate) struct Files(TempDir);

impl Files {
    pub fn new() -> Self {
        Files(tempfile::tempdir().unwrap())
    }

    /// Writes a file, and gives its path.
    pub fn add(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        Path::join(self.0.path(), name)
    }
}

/// The seven built-in plans, in their order.
pub(crate) const PLANS: [&str; 7] =
    ["tp8-pp2", "layerwise", "tp8-pp2-dense4", "ma-separation", "helix", "ep16", "moe-tp8-pp2"];

/// A data sheet with links and latencies that cost nothing.
pub(crate) fn sheet(peak: &str, bandwidth: &str) -> String {
    let free = "bandwidth_bytes_per_s = inf\nlatency_seconds = 0.0\n";
    format!(
        "name = \"law\"\nmemory_bytes = 141e9\nmemory_bandwidth_bytes_per_s = {bandwidth}\n\
         gpus_per_node = 8\nlaunch_latency_seconds = 0.0\n[flops_per_s]\nbf16 = {peak}\n\
         [intra_node]\n{free}[inter_node]\n{free}"
    )
}

/// The files of `tests/data`.
pub(crate) fn data(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
pub(crate) fn close(found: f64, expected: f64, what: &str) {
    assert!((found / expected - 1.0).abs() < 1e-12, "{what}: {found} is not {expected}");
}

/// A table with some rows of every op that the plans need, in `dtype`, of a device that does 1e14 FLOP/s and
/// moves 1e12 B/s, each time ± 5 %.
pub(crate) fn table(dtype: &str) -> String {
    let mut text = "# [device]\n# name = \"toy\"\n# memory_bytes = 141000000000\n# [cluster]\n# gpus_per_node = 16\n\
         op,kind,dtype,m,k,n,batch,heads,rows,cols,bytes,ranks,nodes,seconds,seconds_low,seconds_high,samples\n"
        .to_owned();
    let mut row = |key: String, seconds: f64| {
        let seconds = 1e-6 + seconds;
        text += &format!("{key},{seconds:e},{:e},{:e},20\n", seconds * 0.95, seconds * 1.05);
    };
    for (m, k, n) in
        [(64_u64, 64, 64), (512, 512, 512), (4096, 512, 4096), (512, 4096, 512), (4096, 4096, 4096)]
    {
        for batch in [1, 8] {
            row(format!("gemm,,{dtype},{m},{k},{n},{batch},,,,,,"), 2e-14 * (m * k * n * batch) as f64);
        }
    }
    for kind in
        ["layernorm", "softmax", "activation", "residual", "gate_topk", "permute", "unpermute", "copy"]
    {
        for (rows, cols) in [(16_u64, 64), (1024, 64), (1024, 4096), (65_536, 4096)] {
            row(format!("kernel,{kind},{dtype},,,,,,{rows},{cols},,,"), 4e-12 * (rows * cols) as f64);
        }
    }
    for length in [128_u64, 1024, 4096] {
        row(format!("attention,,{dtype},{length},128,{length},1,4,,,,,"), 2e-11 * (length * length) as f64);
    }
    for kind in ["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "broadcast"] {
        for ranks in [2, 8, 16] {
            for bytes in [256, 65_536, 16_777_216] {
                row(format!("collective,{kind},{dtype},,,,,,,,{bytes},{ranks},1"), 1e-11 * bytes as f64);
            }
        }
    }
    for bytes in [256, 65_536, 16_777_216] {
        row(format!("p2p,send,,,,,,,,,{bytes},2,1"), 1e-11 * bytes as f64);
    }
    text
}
