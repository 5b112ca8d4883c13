//! What Linux tells: the processor, the memory, the network, and who started this process.

use std::fs;
use std::path::Path;

use super::Finding;
use crate::units::human_bytes;
use crate::world::{self, Launcher, World};

/// Cores, memory, clock, and what else is running.
pub(super) fn processor() -> Vec<Finding> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let cpuinfo = text("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpuinfo.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    let model = model.map_or("unknown", |(_, name)| name.trim());
    let mut findings = vec![match cfg!(feature = "cpu") {
        true => Finding::there("processor", format!("{model}, {cores} cores for this process")),
        false => Finding::missing("backend", "measuring the processor: build with --features cpu"),
    }];
    let memory = |key: &str| kilobytes(&text("/proc/meminfo")?, key);
    if let (Some(total), Some(free)) = (memory("MemTotal"), memory("MemAvailable")) {
        findings.push(Finding::there(
            "memory",
            format!("{}, {} of it free", human_bytes(total), human_bytes(free)),
        ));
    }
    findings.push(match text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        Some(governor) if governor == "performance" => Finding::there("clock", "governor performance"),
        Some(governor) => Finding::there("clock", format!("governor {governor}"))
            .but("times vary with the clock; performance keeps it up"),
        None => Finding::missing("clock", "telling whether the clock is held down"),
    });
    if let Some(load) = text("/proc/loadavg").and_then(|text| text.split(' ').next()?.parse::<f64>().ok()) {
        let found = Finding::there("load", format!("{load:.2} in the last minute"));
        findings.push(match load > 0.5 {
            true => found.but("other work runs: times come out too long"),
            false => found,
        });
    }
    findings
}

/// Launchers, and the network between nodes.
pub(super) fn processes() -> Vec<Finding> {
    let launcher = match World::read(&world::environment) {
        Ok(World { launcher: Launcher::Alone, .. }) => {
            Finding::missing("launcher", "several nodes: start with torchrun, srun or mpirun")
        }
        Ok(world) => {
            Finding::there("launcher", format!("{}: rank {} of {}", world.launcher, world.rank, world.size))
        }
        Err(error) => Finding::there("launcher", error.to_string().lines().next().unwrap_or_default())
            .but("its variables do not go together"),
    };
    let mpi = match on_path("mpirun").or_else(|| on_path("mpiexec")) {
        Some(path) => Finding::there("MPI", path),
        None => Finding::missing("MPI", "starting a process for each rank with mpirun"),
    };
    let infiniband = names("/sys/class/infiniband");
    let fabric = match infiniband.is_empty() {
        false => Finding::there("InfiniBand", infiniband.join(", ")),
        true => Finding::missing("InfiniBand", "fast collectives between nodes"),
    };
    let cards: Vec<String> =
        names("/sys/class/net").into_iter().filter(|name| name != "lo").map(card).collect();
    let network = match cards.is_empty() {
        false => Finding::there("network", cards.join(", ")),
        true => Finding::missing("network", "several nodes"),
    };
    vec![launcher, mpi, fabric, network]
}

/// `eth0 10 Gbit/s`; the name alone where the speed is not known.
fn card(name: String) -> String {
    let speed = text(&format!("/sys/class/net/{name}/speed")).and_then(|speed| speed.parse::<i64>().ok());
    match speed.filter(|speed| *speed > 0) {
        Some(megabits) => format!("{name} {} Gbit/s", megabits as f64 / 1e3),
        None => name,
    }
}

fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

fn on_path(program: &str) -> Option<String> {
    let folders = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| Path::is_file(path))?;
    Some(found.display().to_string())
}

/// The text of a file of the system, without the blanks around it.
fn text(path: &str) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// The value of `key` in the format of /proc/meminfo, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}
