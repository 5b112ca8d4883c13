//! The program `calibrate` from outside.

#[cfg(any(feature = "cpu", feature = "cuda"))]
use std::path::Path;
use std::process::{Command, Output};

fn calibrate(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_calibrate")).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The error of a run that ends with `code`, without an answer.
#[track_caller]
fn error(output: &Output, code: i32) -> &str {
    assert_eq!(output.status.code(), Some(code), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(text(&output.stdout), "");
    text(&output.stderr)
}

#[cfg(feature = "cuda")]
#[test]
fn without_a_driver_the_processor_is_offered() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "table.csv");
    let run = calibrate(&["--gpus", "16", "--out", &out]);
    if Path::new("/dev/nvidiactl").exists() {
        return; // there is a driver: it measures instead
    }
    let expected = format!(
        "calibrate: no CUDA driver on this machine (libcuda.so.1 was not found)\n  measure this machine's processor \
         instead:  calibrate --backend cpu --gpus 16 --out {out}\n  what is there and what is missing:         calibrate doctor\n"
    );
    assert!(error(&run, 1).starts_with(&expected), "{}", error(&run, 1));
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    for budget in ["", "0", "0s", "-5s", "five", "5 parsecs", "1e9", "inf", "nan", "1..5s", "99999999h"] {
        let run = calibrate(&["--backend", "cpu", "--out", "t.csv", &format!("--budget={budget}")]);
        assert!(error(&run, 2).contains("--budget"), "{budget}: {}", error(&run, 2));
    }
    for wrong in ["--gpus=0", "--gpus=1025", "--gpus=x", "--passes=0", "--backend=abacus"] {
        let run = calibrate(&["--out", "t.csv", wrong]);
        let option = wrong.split('=').next().unwrap();
        assert!(error(&run, 2).contains(option), "{wrong}: {}", error(&run, 2));
    }
    assert!(error(&calibrate(&["--backend", "cpu"]), 2).contains("--out"));
}

/// A table without rows could not be read again.
#[cfg(feature = "cpu")]
#[test]
fn nothing_to_measure_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let out = path(folder.path(), "table.csv");
    let run = calibrate(&["--backend", "cpu", "--ops", "p2p,collective", "--out", &out]);
    let said = error(&run, 1);
    assert!(
        said.contains("there is nothing to measure of p2p, collective\n  collectives and sends"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[cfg(any(feature = "cpu", feature = "cuda"))]
fn path(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

#[cfg(not(feature = "cuda"))]
#[test]
fn without_the_feature_no_gpu_is_measured() {
    let run = calibrate(&["--gpus", "1", "--out", "t.csv"]);
    assert!(error(&run, 1).contains("--features cuda"), "{}", error(&run, 1));
}

#[cfg(not(feature = "cpu"))]
#[test]
fn without_the_feature_it_says_so() {
    let run = calibrate(&["--backend", "cpu", "--out", "t.csv"]);
    assert!(error(&run, 1).contains("--features cpu"), "{}", error(&run, 1));
}

#[cfg(feature = "cpu")]
mod on_the_processor {
    use std::path::PathBuf;

    use super::*;

    use gettime::op::Family;
    use gettime::table::Table;

    const PLANS: [&str; 7] =
        ["tp8-pp2", "layerwise", "tp8-pp2-dense4", "ma-separation", "helix", "ep16", "moe-tp8-pp2"];

    #[test]
    fn a_place_that_cannot_be_written_is_found_out_before_measuring() {
        let folder = tempfile::tempdir().unwrap();
        let (missing, inside) = (path(folder.path(), "no/t.csv"), path(folder.path(), "file/t.csv"));
        std::fs::write(folder.path().join("file"), "").unwrap();
        let here = folder.path().to_str().unwrap().to_owned();
        let mut places = vec![missing, inside, here];
        if Path::new("/proc/self").exists() {
            places.push("/proc/table.csv".to_owned()); // closed even to root
        }
        for out in places {
            let run = calibrate(&["--backend", "cpu", "--out", &out, "--budget", "30s"]);
            let error = error(&run, 1);
            assert!(error.starts_with(&format!("calibrate: {out} cannot be written")), "{error}");
        }
        let left: Vec<PathBuf> =
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(left, [folder.path().join("file")]);
    }

    #[test]
    fn a_table_of_every_op_comes_out_and_prices_the_plans() {
        let folder = tempfile::tempdir().unwrap();
        let out = path(folder.path(), "table.csv");
        let run = calibrate(&["--backend", "cpu", "--gpus", "16", "--out", &out, "--budget", "8s"]);
        let (screen, remarks) = (text(&run.stdout), text(&run.stderr));
        assert!(run.status.success(), "{remarks}");
        for line in screen.lines().chain(remarks.lines()) {
            assert!(line.chars().count() <= 100 || line.contains(&out), "{line}");
        }
        for plan in PLANS {
            assert!(screen.lines().any(|line| line.trim().split(' ').next() == Some(plan)), "{screen}");
        }
        assert!(screen.starts_with(&format!("{out}   ")), "{screen}");
        assert!(screen.contains(&format!("evaluate --table {out}\n")), "{screen}");

        let table = Table::read(Path::new(&out)).unwrap();
        assert!(screen.contains(&format!(" {} rows", table.records.len())), "{screen}");
        // of two ops at a time a processor measures nothing, and of whole layers no campaign does
        let is_measured = |family: &Family| !matches!(family, Family::Overlap | Family::Chain);
        for family in Family::ALL.into_iter().filter(is_measured) {
            let rows: Vec<_> = table.records.iter().filter(|record| record.op.family() == family).collect();
            assert!(!rows.is_empty(), "no row of {family}");
            assert!(screen.contains(&format!("{family}")), "nothing of how well {family} fits: {screen}");
            for record in rows {
                let (low, high) = record.summary.interval.unwrap_or_else(|| panic!("{}", record.op));
                let seconds = record.summary.seconds;
                assert!(low <= seconds && seconds <= high && low.get() > 0.0, "{}", record.op);
                assert!(record.summary.samples.is_some_and(|samples| samples > 0), "{}", record.op);
                assert!(!record.source.is_empty(), "{}", record.op);
            }
        }
        assert_eq!((table.cluster.gpus, table.cluster.gpus_per_node), (Some(16), Some(16)));
        assert!(table.device.as_ref().is_some_and(|device| device.memory_bytes.is_some()));
        // the header's command is one that can be given again
        let command = table.run["command"].as_str().unwrap();
        assert!(command.starts_with("calibrate --backend cpu --gpus 16 "), "{command}");

        let evaluated =
            Command::new(env!("CARGO_BIN_EXE_evaluate")).args(["--table", &out]).output().unwrap();
        assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
        // the plans are those that the measuring ended with
        assert!(screen.contains(text(&evaluated.stdout)), "{screen}\n{}", text(&evaluated.stdout));
    }

    #[test]
    fn a_single_device_has_no_collectives_and_a_table_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let out = path(folder.path(), "table.csv");
        let args = ["--backend", "cpu", "--gpus", "1", "--out", &out, "--budget", "2s", "--passes", "1"];
        let run = calibrate(&args);
        assert!(run.status.success(), "{}", text(&run.stderr));
        let remark = "the built-in plans are for 16 devices: measure with --gpus 16 to evaluate them";
        assert!(text(&run.stdout).contains(remark), "{}", text(&run.stdout));
        assert!(text(&run.stdout).contains("gemm f32: "), "{}", text(&run.stdout));
        let table = Table::read(Path::new(&out)).unwrap();
        assert!(table.records.iter().all(|record| !record.op.family().is_communication()));
        let args = ["time", "512", "512", "512", "--table", &out];
        let evaluated = Command::new(env!("CARGO_BIN_EXE_evaluate")).args(args).output().unwrap();
        assert!(evaluated.status.success(), "{}", text(&evaluated.stderr));
    }
}
