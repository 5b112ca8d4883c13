//! Modules import strictly downward, and no file grows beyond what one idea needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. A module may import those of the layers below it, and nothing else of the crate.
const LAYERS: [&[&str]; 11] = [
    &["units", "dtype", "world", "nccl_log", "bounded"],
    &["op", "device", "stats"],
    &["cost", "table", "dag", "spec"],
    &["graph", "slowdown"],
    &["roofline", "measure", "fit", "formula", "plan", "schedule", "grid", "import", "comparison"],
    &["source", "refine"],
    &["calibrate", "check", "evaluate", "doctor", "plot", "validate"],
    &["explain", "occupancy", "search", "whatif"],
    &["difference"],
    &["report"],
    &["cli"],
];

const MOST_LINES: usize = 300;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    found.sort();
    assert!(found.len() > 20, "the sources are not where they are looked for");
    found
}

/// The top module that a file belongs to; none for the crate's root and the programs.
fn module(path: &Path) -> Option<String> {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap();
    let first = inside.components().next()?.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (first != "lib" && first != "bin").then_some(first)
}

/// The crate's modules that a text names as `crate::name`, comments left out.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut found = BTreeSet::new();
    for line in code {
        for (at, _) in line.match_indices("crate::") {
            let name = line[at + "crate::".len()..].split(|c: char| !c.is_alphanumeric() && c != '_').next();
            found.insert(name.unwrap().to_owned());
        }
        // `use crate::{a, b}` would pass unseen
        assert!(!line.contains("crate::{"), "name each module on a line of its own: {line}");
    }
    found
}

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|layer| layer.contains(&module))
        .unwrap_or_else(|| panic!("module {module} has no layer: add it to the list"))
}

#[test]
fn modules_import_downward() {
    for path in sources() {
        let Some(module) = module(&path) else { continue };
        let from = layer(&module);
        for import in imports(&fs::read_to_string(&path).unwrap()) {
            if import == module {
                continue;
            }
            let to = layer(&import);
            assert!(to < from, "{}: {module} (layer {from}) imports {import} (layer {to})", path.display());
        }
    }
}

#[test]
fn every_listed_module_exists() {
    let there: BTreeSet<String> = sources().iter().filter_map(|path| module(path)).collect();
    let listed: BTreeSet<String> =
        LAYERS.iter().flat_map(|layer| layer.iter().map(|m| (*m).to_owned())).collect();
    assert_eq!(there, listed);
}

#[test]
fn no_file_is_long() {
    for path in sources() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines; does it still hold one idea?", path.display());
    }
}

/// What is measured and planned stays on the machine: only ranks meet over a network.
#[test]
fn only_the_ranks_of_a_world_speak_over_a_network() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        let speaks = ["std::net", "os::unix::net", "rustix::net"].iter().any(|word| text.contains(word));
        assert!(!speaks || module(&path).as_deref() == Some("world"), "a network in {}", path.display());
    }
}

#[test]
fn unsafe_code_stays_in_measure_with_its_reason() {
    for path in sources() {
        let text = fs::read_to_string(&path).unwrap();
        if !text.contains("unsafe {") && !text.contains("unsafe fn") && !text.contains("unsafe impl") {
            continue;
        }
        assert_eq!(module(&path).as_deref(), Some("measure"), "unsafe in {}", path.display());
        assert!(text.contains("SAFETY:"), "unsafe without a reason in {}", path.display());
    }
}
