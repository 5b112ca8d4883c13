//! Builds the double of the driver and its libraries into the folder of the tests, where nothing but tests finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The names under which the libraries are looked for.
const NAMES: [&str; 8] = [
    "libcuda.so",
    "libcuda.so.1",
    "libcublasLt.so",
    "libcublasLt.so.13",
    "libcudnn.so.9",
    "libnvidia-ml.so",
    "libnvidia-ml.so.1",
    "libnccl.so.2",
];

/// Builds the double with some of its functions left out, and returns the folder that holds it.
pub fn build(variant: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let program = env!("CARGO_CRATE_NAME");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("double-{program}-{variant}"));
    fs::create_dir_all(&folder).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/double/double.rs");
    let library = folder.join("double.so");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or("rustc".into()));
    rustc.args(["--edition", "2024", "-O", "--crate-type", "cdylib", "--cfg", variant, "-A", "warnings"]);
    assert!(rustc.arg("-o").arg(&library).arg(source).status().unwrap().success());
    for name in NAMES {
        let link = folder.join(name);
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink("double.so", &link).unwrap();
    }
    folder
}

/// The double with all of its functions.
pub fn whole() -> &'static Path {
    static WHOLE: OnceLock<PathBuf> = OnceLock::new();
    WHOLE.get_or_init(|| build("whole"))
}
