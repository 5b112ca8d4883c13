//! The corpus of the fuzz targets, once through the readers: what fuzzing found stays found.

mod readers;

use std::fs;
use std::path::Path;

fn each(target: &str, read: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        read(&fs::read(&file).unwrap());
    }
}

#[test]
fn tables() {
    each("table", readers::table);
}

#[test]
fn plans() {
    each("plan", readers::plan);
}

#[test]
fn formulas() {
    each("formula", readers::formula);
}

#[test]
fn graphs() {
    each("dot", readers::dot);
}

#[test]
fn logs() {
    each("nccl_tests", readers::nccl_tests);
}

#[test]
fn tables_of_aiconfigurator() {
    each("aiconfigurator", readers::aiconfigurator);
}
