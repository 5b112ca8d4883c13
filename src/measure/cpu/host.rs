//! What the operating system tells about this machine.

use std::fs;

use crate::device::Device;

/// Where the caches of the first core are described.
const CACHES: &str = "/sys/devices/system/cpu/cpu0/cache";

/// Last-level cache to assume where none is described, in bytes.
const CACHE_FALLBACK: u64 = 32 << 20;

/// Memory to assume where the system does not tell, in bytes.
const MEMORY_FALLBACK: u64 = 1 << 30;

/// Looks for other tasks, and the time before each.
const LOOKS: usize = 10;
const LOOK: std::time::Duration = std::time::Duration::from_millis(10);

/// The processor with all its cores as one device.
pub(super) fn device(threads: usize) -> Device {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut details = toml::Table::new();
    details.insert("cores".into(), (threads as i64).into());
    details.insert("cache_bytes".into(), i64::try_from(cache_bytes()).unwrap_or(i64::MAX).into());
    details.insert("instructions".into(), instructions().into());
    if let Ok(governor) = fs::read_to_string("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") {
        details.insert("governor".into(), governor.trim().into());
    }
    let name = model_name(&cpuinfo).unwrap_or("unknown processor").to_owned();
    Device { name, memory_bytes: meminfo("MemTotal"), details }
}

/// The widest vector instructions that the matrix products use here.
fn instructions() -> &'static str {
    match pulp::Arch::new() {
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pulp::Arch::V4(_) => "avx512",
        #[cfg(any(target_arch = "x86", target_arch = "x86_64"))]
        pulp::Arch::V3(_) => "avx2",
        #[cfg(target_arch = "aarch64")]
        pulp::Arch::Neon(_) => "neon",
        _ => "baseline",
    }
}

/// Bytes of the largest cache that the first core reaches.
pub(super) fn cache_bytes() -> u64 {
    let sizes = fs::read_dir(CACHES).into_iter().flatten().flatten();
    let sizes = sizes.filter_map(|cache| fs::read_to_string(cache.path().join("size")).ok());
    sizes.filter_map(|text| size(&text)).max().unwrap_or(CACHE_FALLBACK)
}

/// Bytes that could be allocated now without swapping.
pub(super) fn available_bytes() -> u64 {
    meminfo("MemAvailable").unwrap_or(MEMORY_FALLBACK)
}

/// How many tasks besides this one want a core all the time; a moment's look, since the load average still
/// remembers the compiler that built this program.
pub(super) fn others_running() -> u64 {
    let look = || {
        std::thread::sleep(LOOK);
        runnable(&fs::read_to_string("/proc/loadavg").ok()?)
    };
    (0..LOOKS).filter_map(|_| look()).min().map_or(0, |tasks| tasks.saturating_sub(1))
}

/// The number of runnable tasks in the format of /proc/loadavg.
fn runnable(text: &str) -> Option<u64> {
    text.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

fn meminfo(key: &str) -> Option<u64> {
    meminfo_value(&fs::read_to_string("/proc/meminfo").ok()?, key)
}

/// The value of `key` in the format of /proc/meminfo, in bytes.
fn meminfo_value(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// The name in the format of /proc/cpuinfo on x86.
fn model_name(text: &str) -> Option<&str> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    line.split_once(':').map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

/// `32768K` in bytes.
fn size(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, factor) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::{meminfo_value, model_name, runnable, size};

    #[test]
    fn sizes_as_the_kernel_writes_them() {
        assert_eq!(size("32768K\n"), Some(32 << 20));
        assert_eq!(size("2M"), Some(2 << 20));
        assert_eq!(size("100"), Some(100));
        assert_eq!(size(""), None);
        assert_eq!(size("K"), None);
    }

    #[test]
    fn meminfo_and_cpuinfo() {
        let text = "MemTotal:       24604876 kB\nMemFree:        1 kB\nMemAvailable:   23 kB\n";
        assert_eq!(meminfo_value(text, "MemTotal"), Some(24_604_876 * 1024));
        assert_eq!(meminfo_value(text, "MemAvailable"), Some(23 * 1024));
        assert_eq!(meminfo_value(text, "Mem"), None);
        assert_eq!(model_name("processor\t: 0\nmodel name\t: AMD EPYC\n"), Some("AMD EPYC"));
        assert_eq!(model_name("Hardware : x"), None);
        assert_eq!(runnable("2.78 2.94 3.28 3/214 4711\n"), Some(3));
        assert_eq!(runnable("2.78"), None);
    }
}
