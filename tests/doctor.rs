//! The doctor never fails, whatever is missing, and fits on a screen.

use std::process::Command;

#[test]
fn whatever_is_missing_it_says_so_and_succeeds() {
    let doctor = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_calibrate"));
        command.arg("doctor").env_clear().envs(variables.iter().copied());
        let run = command.output().unwrap();
        let text = String::from_utf8(run.stdout).unwrap();
        assert!(run.status.success(), "{text}");
        assert!(text.lines().count() <= 40 && text.lines().all(|line| line.chars().count() <= 100), "{text}");
        text
    };
    let line = |text: &str, name: &str| {
        // behind the mark
        let named = |line: &&str| line.trim_start().chars().skip(2).collect::<String>().starts_with(name);
        let found = text.lines().find(named);
        found.unwrap_or_else(|| panic!("no line of {name}: {text}")).to_owned()
    };
    // without a PATH there is no mpirun, and without variables no launcher
    let bare = doctor(&[]);
    assert!(line(&bare, "MPI").contains("not found; would enable"), "{bare}");
    assert!(line(&bare, "launcher").contains("not found; would enable"), "{bare}");
    let launched = doctor(&[("RANK", "3"), ("WORLD_SIZE", "16")]);
    assert!(line(&launched, "launcher").contains("torchrun: rank 3 of 16"), "{launched}");
    // half of what a launcher sets
    let half = doctor(&[("RANK", "3")]);
    assert!(line(&half, "launcher").contains("WORLD_SIZE is not"), "{half}");
    #[cfg(target_os = "linux")]
    assert!(line(&bare, "memory").contains("free"), "{bare}");
}
