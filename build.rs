//! Provenance of a build, for the header of every table. Never fails: what is not known is "unknown".

use std::process::Command;

fn main() {
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12"]);
    println!("cargo::rustc-env=GETTIME_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    let target = std::env::var("TARGET").unwrap_or_else(|_| "unknown".to_owned());
    println!("cargo::rustc-env=GETTIME_TARGET={target}");
    println!("cargo::rerun-if-changed=src");
    // where they are in a worktree too: a path that is not there would mean a new build every time
    for file in ["HEAD", "index"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file]) {
            println!("cargo::rerun-if-changed={path}");
        }
    }
}

/// What git answers, where there is one and this is a repository.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
