//! What of NVIDIA's is on this machine: libraries, where the loader finds them, and devices. For a person who
//! asks why something is not measured; nothing here is an error.

use std::fs;

use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::{Device, Nvml};

use super::wheels;

/// A library that something is measured with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LibraryFound {
    /// `libcuda`.
    pub name: &'static str,
    /// What it is there for.
    pub enables: &'static str,
    /// The file that was loaded; `None` where the loader finds none.
    pub file: Option<String>,
}

/// A device, in a line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DevicesFound {
    /// Version of the driver.
    pub driver: Option<String>,
    /// Name, memory, clocks, limit of power.
    pub devices: Vec<String>,
    /// How they are connected.
    pub topology: Option<String>,
    /// Processes that compute on them: device, process id.
    pub processes: Vec<(u32, u32)>,
    /// Why nothing is known.
    pub blind: Option<String>,
}

/// Names by which the loader is asked, and what each library is for.
const LIBRARIES: [(&str, &[&str], &str); 5] = [
    ("libcuda", &["libcuda.so.1"], "all of it; it comes with NVIDIA's driver"),
    (
        "libcublasLt",
        &["libcublasLt.so.13", "libcublasLt.so.12"],
        "products; pip install nvidia-cublas, or LD_LIBRARY_PATH",
    ),
    ("libnvidia-ml", &["libnvidia-ml.so.1"], "seeing clocks, throttling and other processes"),
    ("libnccl", &["libnccl.so.2", "libnccl.so"], "collectives; pip install nvidia-nccl-cu13"),
    ("libcudnn", &["libcudnn.so.9", "libcudnn.so.8"], "fused attention; pip install nvidia-cudnn-cu13"),
];

/// Asks the system's loader for each library, and the packages of a Python for what it does not know.
pub fn libraries() -> Vec<LibraryFound> {
    let found = |(name, files, enables): (&'static str, &[&str], &'static str)| LibraryFound {
        name,
        enables,
        file: files.iter().find_map(|file| load(file)).or_else(|| packaged(files.first()?)),
    };
    LIBRARIES.into_iter().map(found).collect()
}

/// A library in a package of a Python, by its file: the driver's are in none.
fn packaged(file: &str) -> Option<String> {
    let library = wheels::load(file)?;
    std::mem::forget(library);
    loaded(file)
}

/// Loads a library, and says which file that was.
fn load(file: &str) -> Option<String> {
    // SAFETY: these libraries of NVIDIA's are made to be loaded by any program; nothing in them is called.
    #[allow(unsafe_code)]
    let library = unsafe { libloading::Library::new(file) }.ok()?;
    // unloading a driver's library while its threads live is not always survived
    std::mem::forget(library);
    Some(loaded(file).unwrap_or_else(|| file.to_owned()))
}

/// The path of a library that this process has loaded.
fn loaded(file: &str) -> Option<String> {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let stem = file.split(".so").next().unwrap_or(file);
    let is_it =
        |path: &&str| path.rsplit('/').next().is_some_and(|name| name.starts_with(&format!("{stem}.so")));
    maps.lines().filter_map(|line| line.split_whitespace().nth(5)).find(is_it).map(str::to_owned)
}

/// Asks the management library for the devices.
pub fn devices() -> DevicesFound {
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        Err(error) => return DevicesFound { blind: Some(error.to_string()), ..DevicesFound::default() },
    };
    let count = nvml.device_count().unwrap_or(0);
    let devices: Vec<Device<'_>> = (0..count).filter_map(|index| nvml.device_by_index(index).ok()).collect();
    let own = std::process::id();
    let mut processes = Vec::new();
    for (index, gpu) in (0..).zip(&devices) {
        let running = gpu.running_compute_processes().unwrap_or_default();
        processes.extend(
            running.iter().map(|process| process.pid).filter(|pid| *pid != own).map(|pid| (index, pid)),
        );
    }
    DevicesFound {
        driver: nvml.sys_driver_version().ok(),
        topology: topology(&nvml, &devices),
        devices: devices.iter().map(line).collect(),
        processes,
        blind: None,
    }
}

fn line(device: &Device<'_>) -> String {
    let mut parts =
        vec![device.name().unwrap_or_else(|error| format!("a device that says nothing ({error})"))];
    if let Ok(memory) = device.memory_info() {
        let [total, free] = [memory.total, memory.free].map(crate::units::human_bytes);
        parts.push(format!("{total} ({free} free)"));
    }
    if let (Ok(now), Ok(most)) = (device.clock_info(Clock::SM), device.max_clock_info(Clock::SM)) {
        parts.push(format!("{now} of {most} MHz"));
    }
    if let Ok(milliwatts) = device.enforced_power_limit() {
        let usual = device.power_management_limit_default().ok().filter(|usual| *usual != milliwatts);
        let usual = usual.map(|usual| format!(" (usually {} W)", usual / 1000)).unwrap_or_default();
        parts.push(format!("at most {} W{usual}", milliwatts / 1000));
    }
    if device.mig_mode().is_ok_and(|mode| mode.current != 0) {
        parts.push("MIG".to_owned());
    }
    parts.join(" · ")
}

/// How the first device reaches the others: over NVLink, and where not, over what they share.
fn topology(nvml: &Nvml, devices: &[Device<'_>]) -> Option<String> {
    let first = devices.first()?;
    let links = (0..18).filter(|link| first.link_wrapper_for(*link).is_active().unwrap_or(false)).count();
    if links > 0 {
        return Some(format!("{links} NVLinks from the first device"));
    }
    let second = nvml.device_by_index(1).ok()?;
    let bus = second.pci_info().ok()?.bus_id;
    let level = first.topology_common_ancestor(second).ok()?;
    Some(format!("no NVLink; the first two ({bus}) meet at: {level:?}").to_lowercase())
}
