//! The script of a GPU's whole run, as far as it goes without PyTorch: against the double.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::run::whole;

/// Whether a command can be run, and ends well.
fn works(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

#[test]
fn the_whole_run_ends_with_a_readme() {
    if !works("bash", &["-c", "true"]) || !works("python3", &["-c", "pass"]) {
        return eprintln!("skipped: bash and python3 are needed");
    }
    if works("python3", &["-c", "import torch"]) {
        return eprintln!("skipped: PyTorch brings libraries that do not fit the double");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gpu-run");
    let _ = fs::remove_dir_all(&out);
    fs::create_dir_all(&out).unwrap();
    let public = out.join("public-table.csv");
    fs::write(&public, "op,dtype,m,k,n,batch,seconds\ngemm,bf16,1024,1024,1024,1,6.3e-6\n").unwrap();
    let programs = Path::new(env!("CARGO_BIN_EXE_calibrate")).parent().unwrap();
    let mut script = Command::new("bash");
    script.arg(root.join("scripts/gpu-run.sh")).args([&out, programs]).arg("10").arg(&public);
    let output = script.env("LD_LIBRARY_PATH", whole()).env("GETTIME_DOUBLE", "").output().unwrap();
    let log = fs::read_to_string(out.join("log.txt")).unwrap();
    assert!(output.status.success(), "{log}");
    let readme = fs::read_to_string(out.join("README.md")).unwrap();
    for part in [
        "# Test Double",
        "* results: ",
        "* a second process, minutes later: apart 0.00% in the median",
        "--cache hot: apart 0.",
        "* products: not compared.",
        "| gemm bf16 | ",
        "times what the samples took",
    ] {
        assert!(readme.contains(part), "no \"{part}\" in\n{readme}\n{log}");
    }
    assert!(!out.join("lib").exists());
}
