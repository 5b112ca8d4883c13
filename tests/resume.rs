//! Nothing that was measured is lost: killed at any moment, torn, interrupted, on a full disk, or run twice at once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use gettime::device::Device;
use gettime::dtype::Dtype;
use gettime::op::{Family, Gemm, Kernel, KernelKind, Op};
use gettime::stats::Summary;
use gettime::table::{Record, Route, Table};
use gettime::units::Seconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// A folder with a table to replay.
struct Machine {
    folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Machine {
        let machine = Machine { folder: tempfile::tempdir().unwrap() };
        machine.recorded("580").write(&machine.path("device.csv")).unwrap();
        machine
    }

    /// Products and kernels that take 1 ns for every 1000 FLOP or byte.
    fn recorded(&self, driver: &str) -> Table {
        let gemm = |m, k| Op::Gemm(Gemm { m, k, n: 256, batch: 1, dtype: Dtype::Bf16 });
        let kernel = |kind, rows| Op::Kernel(Kernel { kind, rows, cols: 512, top_k: 1, dtype: Dtype::Bf16 });
        let sizes = [64, 128, 256, 512, 1024];
        let gemms = sizes.iter().flat_map(|m| sizes.map(|k| gemm(*m, k)));
        let kinds = [KernelKind::Copy, KernelKind::Softmax];
        let kernels = kinds.iter().flat_map(|kind| sizes.map(|rows| kernel(*kind, rows)));
        let row = |op: Op| {
            let seconds = Seconds::new((op.flops().max(op.bytes()) as f64) * 1e-12 + 1e-6).unwrap();
            let summary = Summary { seconds, interval: Some((seconds, seconds)), samples: Some(9) };
            Record { op, summary, route: Route::default(), flags: String::new(), source: "test".into() }
        };
        let details = [("driver".to_owned(), driver.into())].into_iter().collect();
        Table {
            device: Some(Device { name: "H200".into(), memory_bytes: Some(1 << 37), details }),
            records: gemms.chain(kernels).map(row).collect(),
            ..Table::default()
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A run that replays the table `device.csv` into `out`.
    fn command(&self, out: &str, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
        command.current_dir(self.folder.path());
        command.args(["--backend", "replay", "--replay", "device.csv", "--budget", "10s", "--out", out]);
        command.args(more).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, out: &str, more: &[&str]) -> Output {
        self.command(out, more).output().unwrap()
    }

    /// What an uninterrupted run writes into `t.csv`.
    fn uninterrupted(&self) -> Vec<u8> {
        succeeded(&self.run("t.csv", &[]));
        let bytes = fs::read(self.path("t.csv")).unwrap();
        assert!(!self.path("t.csv.partial").exists());
        fs::remove_file(self.path("t.csv")).unwrap();
        bytes
    }

    /// The longest journal seen while a run went on: nearly all of its measurements, as if killed near its end.
    fn journal(&self) -> Vec<u8> {
        let mut child = self.command("t.csv", &[]).spawn().unwrap();
        let mut longest = Vec::new();
        while child.try_wait().unwrap().is_none() {
            if let Ok(bytes) = fs::read(self.path("t.csv.partial"))
                && bytes.len() > longest.len()
            {
                longest = bytes;
            }
        }
        fs::remove_file(self.path("t.csv")).unwrap();
        longest
    }
}

fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn refused(output: &Output, messages: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    for message in messages {
        assert!(error.contains(message), "{message}: {error}");
    }
}

fn ops(table: &Path) -> Vec<Op> {
    Table::read(table).unwrap().records.iter().map(|record| record.op).collect()
}

/// `GETTIME_KILLS` sets how often.
#[test]
fn killed_at_random_moments_it_ends_with_the_same_table() {
    let machine = Machine::new();
    let whole = machine.uninterrupted();
    let longest = machine.journal().len();
    assert!(longest > 1000, "{longest}");
    let kills: usize = std::env::var("GETTIME_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let mut random = StdRng::seed_from_u64(8);
    let (mut killed, mut tables, mut within) = (0, 0, 0);
    while killed < kills {
        let (out, journal) = (machine.path("t.csv"), machine.path("t.csv.partial"));
        let mut child = machine.command("t.csv", &["--resume"]).spawn().unwrap();
        // a random length of the journal, or beyond it, while the fit is tried and the table written
        let moment = random.random_range(0..longest as u64 * 5 / 4);
        let patience = random.random_range(0..200_000);
        let mut looks = 0;
        let ended = loop {
            let length = fs::metadata(&journal).map_or(0, |meta| meta.len());
            looks += 1;
            match child.try_wait().unwrap() {
                Some(status) => break Some(status),
                None if length >= moment || (length * 10 > longest as u64 * 9 && looks > patience) => {
                    break None;
                }
                None => {}
            }
        };
        match ended {
            Some(status) => assert!(status.success()),
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
                within += usize::from(journal.exists());
            }
        }
        if out.exists() && !journal.exists() {
            assert_eq!(fs::read(&out).unwrap(), whole, "after {killed} kills");
            fs::remove_file(&out).unwrap();
            tables += 1;
        }
    }
    succeeded(&machine.run("t.csv", &["--resume"]));
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), whole);
    println!(
        "{killed} kills, {within} of them with a journal left; {} tables, all as the uninterrupted one",
        tables + 1
    );
    assert!(2 * within > killed, "{within} of {killed} kills were within a run");
}

#[test]
fn a_torn_journal_goes_on_from_its_last_whole_line() {
    let machine = Machine::new();
    let whole = machine.uninterrupted();
    let journal = machine.journal();
    let mut random = StdRng::seed_from_u64(9);
    for _ in 0..8 {
        let cut = random.random_range(0..journal.len());
        fs::write(machine.path("t.csv.partial"), &journal[..cut]).unwrap();
        succeeded(&machine.run("t.csv", &["--resume"]));
        assert_eq!(fs::read(machine.path("t.csv")).unwrap(), whole, "cut at {cut}");
        fs::remove_file(machine.path("t.csv")).unwrap();
    }
    // a length that reached the disk before its text
    let zeros = [&journal[..journal.len() / 2], &[0; 100], b"\n"].concat();
    let end = zeros.len() - 101;
    let last = zeros[..end].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    fs::write(machine.path("t.csv.partial"), [&zeros[..last], &zeros[end..]].concat()).unwrap();
    succeeded(&machine.run("t.csv", &["--resume"]));
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), whole);
    // once it is whole there is nothing to do
    let again = machine.run("t.csv", &["--resume"]);
    succeeded(&again);
    assert!(String::from_utf8_lossy(&again.stdout).contains("t.csv is whole"));
}

#[test]
fn another_run_is_refused_by_name() {
    let machine = Machine::new();
    let whole = machine.uninterrupted();
    let journal = machine.journal();
    let half = journal[..journal.len() / 2].to_vec();
    let partial = machine.path("t.csv.partial");
    fs::write(&partial, &half).unwrap();
    fs::write(machine.path("t.csv"), "op,seconds\n").unwrap();

    refused(&machine.run("t.csv", &[]), &["t.csv.partial keeps", "--resume", "remove the file"]);
    refused(
        &machine.run("t.csv", &["--resume", "--passes", "2"]),
        &["of another run: command", "--passes 3"],
    );
    machine.recorded("570").write(&machine.path("device.csv")).unwrap();
    refused(&machine.run("t.csv", &["--resume"]), &["of another run: driver \"580\" there, \"570\" here"]);
    machine.recorded("580").write(&machine.path("device.csv")).unwrap();

    let mut edited = half.clone();
    let second = edited.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    edited[second] = b'x';
    fs::write(&partial, &edited).unwrap();
    refused(&machine.run("t.csv", &["--resume"]), &["t.csv.partial: line 2: "]);
    fs::remove_file(&partial).unwrap();
    fs::create_dir(&partial).unwrap();
    let folder = machine.run("t.csv", &["--resume"]);
    refused(&folder, &["t.csv.partial cannot be kept: Is a directory (os error 21)\n", "is there room?\n"]);
    fs::remove_dir(&partial).unwrap();
    fs::write(&partial, "not ours\nat all\n").unwrap();
    refused(&machine.run("t.csv", &["--resume"]), &["t.csv.partial: line 1: it is no journal"]);

    // two runs on one file
    fs::write(&partial, &half).unwrap();
    let owner = fs::File::open(&partial).unwrap();
    owner.lock().unwrap();
    refused(&machine.run("t.csv", &["--resume"]), &["is being written by another calibrate"]);
    drop(owner);
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), b"op,seconds\n", "the old table stands");
    succeeded(&machine.run("t.csv", &["--resume"]));
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), whole);
}

#[test]
fn rows_are_added_to_a_table_of_the_same_device() {
    let machine = Machine::new();
    succeeded(&machine.run("t.csv", &["--ops", "gemm"]));
    let products = ops(&machine.path("t.csv"));
    assert!(products.len() > 5 && products.iter().all(|op| op.family() == Family::Gemm));
    succeeded(&machine.run("t.csv", &["--ops", "kernel", "--append"]));
    let all = ops(&machine.path("t.csv"));
    assert_eq!(all[..products.len()], products);
    assert!(
        all.len() > products.len() && all[products.len()..].iter().all(|op| op.family() == Family::Kernel)
    );

    let before = fs::read(machine.path("t.csv")).unwrap();
    machine.recorded("570").write(&machine.path("device.csv")).unwrap();
    let run = machine.run("t.csv", &["--append"]);
    refused(&run, &["t.csv cannot be added to", "driver \"580\", the other with \"570\""]);
    refused(&machine.run("none.csv", &["--append"]), &["none.csv", "no such file"]);
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), before);
    let unknown = machine.run("t.csv", &["--ops", "gems"]);
    assert_eq!(unknown.status.code(), Some(2));
}

/// A limit on the length of files stands for a full disk: both fail in the middle of a write.
#[cfg(unix)]
#[test]
fn on_a_full_disk_the_old_table_stands() {
    let machine = Machine::new();
    succeeded(&machine.run("t.csv", &[]));
    let old = fs::read(machine.path("t.csv")).unwrap();
    let limited = |blocks: u32| {
        let calibrate = env!("CARGO_BIN_EXE_calibrate");
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec '{calibrate}' --backend replay --replay device.csv --budget 10s \
             --out t.csv"
        );
        Command::new("sh").args(["-c", &script]).current_dir(machine.folder.path()).output().unwrap()
    };
    // not even the first lines; and the journal, not the table
    for blocks in [0, 2] {
        let _ = fs::remove_file(machine.path("t.csv.partial"));
        refused(&limited(blocks), &["t.csv", "File too large"]);
        assert_eq!(fs::read(machine.path("t.csv")).unwrap(), old);
    }
    // what was kept before the disk was full is not measured again
    succeeded(&machine.run("t.csv", &["--resume"]));
    assert_eq!(fs::read(machine.path("t.csv")).unwrap(), old);
    #[cfg(target_os = "linux")]
    {
        let run = machine.run("/dev/full", &[]);
        refused(&run, &["/dev/full: cannot be written: No space left"]);
    }
}

/// A campaign on the processor lasts long enough to be interrupted.
#[cfg(all(unix, feature = "cpu"))]
mod interrupted {
    use super::*;

    fn interrupted(machine: &Machine, meanwhile: impl Fn()) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
        command.current_dir(machine.folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.args(["--backend", "cpu", "--budget", "20s", "--out", "t.csv"]);
        let child = command.spawn().unwrap();
        // the first look writes five lines beside the first, what follows is the campaign
        let lines = || {
            let text = fs::read(machine.path("t.csv.partial")).unwrap_or_default();
            text.iter().filter(|byte| **byte == b'\n').count()
        };
        while lines() < 12 {
            std::thread::yield_now();
        }
        meanwhile();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
        child.wait_with_output().unwrap()
    }

    #[test]
    fn it_ends_with_what_there_is() {
        let machine = Machine::new();
        let run = interrupted(&machine, || {});
        refused(&run, &["interrupted", "t.csv has the ", "go on with:  calibrate --backend cpu"]);
        assert!(!ops(&machine.path("t.csv")).is_empty());
        assert!(machine.path("t.csv.partial").exists());
    }

    #[test]
    fn a_table_that_came_meanwhile_is_left_as_it_is() {
        let machine = Machine::new();
        let table = machine.path("t.csv");
        let run = interrupted(&machine, || fs::write(&table, "somebody's\n").unwrap());
        refused(&run, &["t.csv was changed by another program meanwhile"]);
        assert_eq!(fs::read(&table).unwrap(), b"somebody's\n");
    }
}
