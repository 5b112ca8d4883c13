//! NVIDIA's libraries and devices.

#[cfg(not(feature = "cuda"))]
use super::Finding;
use super::Topic;

/// Devices and libraries.
#[cfg(not(feature = "cuda"))]
pub(super) fn examine() -> Vec<Topic> {
    let missing = Finding::missing("GPU backend", "measuring GPUs: build with --features cuda");
    vec![Topic { title: "GPUs", findings: vec![missing] }]
}

/// Devices and libraries.
#[cfg(feature = "cuda")]
pub(super) fn examine() -> Vec<Topic> {
    use super::Finding;
    use crate::measure::cuda::found::{DevicesFound, LibraryFound, devices, libraries};

    let library = |LibraryFound { name, enables, file }: LibraryFound| match file {
        Some(file) => Finding::there(name, file),
        None => Finding::missing(name, enables),
    };
    let libraries = libraries().into_iter().map(library).collect();
    let DevicesFound { driver, devices, topology, processes, blind } = devices();
    let mut findings = vec![match driver.or_else(driver_file) {
        Some(version) => Finding::there("driver", version),
        None => Finding::missing("driver", "measuring a GPU at all"),
    }];
    if devices.is_empty() {
        // without a driver the reason is clear
        let why = blind.filter(|_| findings.iter().any(|finding| finding.found.is_some()));
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        findings.push(Finding::missing("GPU", &format!("calibrate --backend cuda{why}")));
    }
    findings.extend((0..).zip(&devices).map(|(index, line)| Finding::there(&format!("GPU {index}"), line)));
    findings.extend(topology.map(|topology| Finding::there("topology", topology)));
    if !processes.is_empty() {
        let text: Vec<String> =
            processes.iter().map(|(gpu, pid)| format!("process {pid} on GPU {gpu}")).collect();
        let note = "times will come out too long; --allow-shared measures all the same";
        findings.push(Finding::there("also there", text.join(", ")).but(note));
    }
    vec![Topic { title: "GPUs", findings }, Topic { title: "libraries of GPUs", findings: libraries }]
}

/// The version that the kernel's module tells, where the management library is missing.
#[cfg(feature = "cuda")]
fn driver_file() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    text.lines().next().map(|line| line.trim_start_matches("NVRM version:").trim().to_owned())
}
