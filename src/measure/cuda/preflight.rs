//! The state in which a device is found: what a table's header says of it, and what a person should know first.

use std::path::Path;
use std::rc::Rc;

use nvml_wrapper::Device;
use nvml_wrapper::enum_wrappers::device::{Clock, TemperatureSensor};

use super::blas_lt::BlasLt;
use super::dnn::Dnn;
use super::gpu::Gpu;
use super::watch::Watch;

/// Above this a device is about to slow down, in °C.
const HOT: i64 = 80;

/// The most links that a device has to others of its node.
const LINKS: u32 = 18;

/// What a table's header says of the device, beside its name and memory.
pub(super) fn details(
    gpu: &Gpu,
    blas_lt: &BlasLt,
    dnn: &Result<Rc<Dnn>, String>,
    watch: &Watch,
) -> toml::Table {
    let facts = &gpu.facts;
    let int = |value: u64| toml::Value::from(i64::try_from(value).unwrap_or(i64::MAX));
    let mut out = toml::Table::new();
    out.insert("sms".into(), int(facts.multiprocessors.into()));
    out.insert("l2_bytes".into(), int(facts.l2_bytes));
    out.insert("uuid".into(), facts.uuid.clone().into());
    out.insert("capability".into(), format!("{}.{}", facts.capability.0, facts.capability.1).into());
    out.insert("cuda".into(), format!("{}.{}", facts.cuda / 1000, facts.cuda % 1000 / 10).into());
    out.insert("cublas_lt".into(), blas_lt.version().into());
    out.insert("workspace_bytes".into(), int(blas_lt.workspace_bytes()));
    if let Ok(dnn) = dnn {
        out.insert("cudnn".into(), dnn.version().into());
    }
    if let Some(bytes_per_s) = facts.peaks.bytes_per_s() {
        out.insert("memory_bytes_per_s".into(), bytes_per_s.into());
    }
    out.extend(state(watch));
    out
}

/// What is known of the device and of where the program runs; what nobody answers is left out.
fn state(watch: &Watch) -> toml::Table {
    let mut out = toml::Table::new();
    match watch.device() {
        Ok(device) => of_device(device, &mut out),
        Err(blind) => drop(out.insert("clocks".to_owned(), format!("not seen: {blind}").into())),
    }
    if multi_process_service() {
        out.insert("mps".to_owned(), true.into());
    }
    if let Some(container) = container() {
        out.insert("container".to_owned(), container.into());
    }
    out
}

fn of_device(device: &Device<'_>, out: &mut toml::Table) {
    let mut put = |key: &str, value: Option<toml::Value>| {
        if let Some(value) = value {
            out.insert(key.to_owned(), value);
        }
    };
    let int = |value: u32| toml::Value::from(i64::from(value));
    let watts = |milliwatts: u32| toml::Value::from(f64::from(milliwatts) / 1e3);
    put("clocks", Some("as found".into()));
    put("sm_max_mhz", device.max_clock_info(Clock::SM).ok().map(int));
    put("memory_mhz", device.clock_info(Clock::Memory).ok().map(int));
    put("memory_max_mhz", device.max_clock_info(Clock::Memory).ok().map(int));
    put("power_limit_watts", device.enforced_power_limit().ok().map(watts));
    put("power_limit_default_watts", device.power_management_limit_default().ok().map(watts));
    put("temperature_celsius", device.temperature(TemperatureSensor::Gpu).ok().map(int));
    put("ecc", device.is_ecc_enabled().ok().map(|state| state.currently_enabled.into()));
    put("mig", device.mig_mode().ok().map(|mode| (mode.current != 0).into()));
    put("persistence", device.is_in_persistent_mode().ok().map(Into::into));
    put("compute_mode", device.compute_mode().ok().map(|mode| format!("{mode:?}").into()));
    put("vbios", device.vbios_version().ok().map(Into::into));
    put("driver", device.nvml().sys_driver_version().ok().map(Into::into));
    let pcie = device.current_pcie_link_gen().ok().zip(device.current_pcie_link_width().ok());
    put("pcie", pcie.map(|(generation, width)| format!("{generation}.0 x{width}").into()));
    let most = device.max_pcie_link_gen().ok().zip(device.max_pcie_link_width().ok());
    put("pcie_max", most.map(|(generation, width)| format!("{generation}.0 x{width}").into()));
    let links: Vec<bool> =
        (0..LINKS).filter_map(|link| device.link_wrapper_for(link).is_active().ok()).collect();
    let active = links.iter().filter(|active| **active).count() as i64;
    put("nvlinks_active", (!links.is_empty()).then(|| active.into()));
    put("numa_node", device.pci_info().ok().and_then(|pci| numa_node(&pci.bus_id)).map(Into::into));
}

/// What stands in the way of trusting a device in this state.
pub(super) fn remarks(details: &toml::Table) -> Vec<String> {
    let watts = |key: &str| details.get(key).and_then(toml::Value::as_float);
    let is = |key: &str| details.get(key).and_then(toml::Value::as_bool).unwrap_or(false);
    let mut out = Vec::new();
    if let (Some(limit), Some(usual)) = (watts("power_limit_watts"), watts("power_limit_default_watts"))
        && limit < usual
    {
        out.push(format!(
            "the power limit is {limit} W, and {usual} W by default: large products run slower"
        ));
    }
    let celsius = details.get("temperature_celsius").and_then(toml::Value::as_integer);
    if let Some(celsius) = celsius.filter(|celsius| *celsius > HOT) {
        out.push(format!("the device is at {celsius} °C before it has begun: it may be slowed down"));
    }
    if is("mig") {
        out.push("the device is divided (MIG): what is measured is one part of it".to_owned());
    }
    if is("mps") {
        out.push("a multi-process service (MPS) runs: others may compute on the device unseen".to_owned());
    }
    out
}

/// The memory node that a device at this address of the PCI bus is nearest to; the driver writes the domain with
/// eight digits, and the system with four.
fn numa_node(bus_id: &str) -> Option<i64> {
    let (domain, rest) = bus_id.trim_end_matches('\0').split_once(':')?;
    let domain = u32::from_str_radix(domain, 16).ok()?;
    let path = format!("/sys/bus/pci/devices/{domain:04x}:{}/numa_node", rest.to_lowercase());
    let node: i64 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    (node >= 0).then_some(node)
}

/// Whether the service is there through which several processes share a device.
fn multi_process_service() -> bool {
    let folder = std::env::var_os("CUDA_MPS_PIPE_DIRECTORY").unwrap_or("/tmp/nvidia-mps".into());
    Path::new(&folder).join("control").exists()
}

/// The beginning of the container's name, where the program runs in one.
fn container() -> Option<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    named(&(read("/proc/self/cgroup") + &read("/proc/self/mountinfo")))
}

/// The first twelve of 64 hexadecimal digits behind the word for containers.
fn named(text: &str) -> Option<String> {
    let behind = text.split(['/', '\n', ' ', '-', '.']).filter(|part| part.len() == 64);
    let mut ids = behind.filter(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()));
    ids.next().map(|id| id[..12].to_owned())
}

#[cfg(test)]
mod tests {
    use super::{named, remarks};

    #[test]
    fn a_container_by_its_mounts_or_its_group() {
        let id = "0123456789abcdef".repeat(4);
        let mounts =
            format!("712 700 0:1 /var/lib/docker/containers/{id}/hostname /etc/hostname rw - ext4 /dev/x rw");
        assert_eq!(named(&mounts).as_deref(), Some("0123456789ab"));
        assert_eq!(named(&format!("0::/system.slice/docker-{id}.scope")).as_deref(), Some("0123456789ab"));
        assert_eq!(named("0::/user.slice"), None);
    }

    #[test]
    fn states_that_a_person_should_know_of() {
        let text = "power_limit_watts = 500.0\npower_limit_default_watts = 700.0\ntemperature_celsius = 81\nmig = true";
        assert_eq!(remarks(&toml::from_str(text).unwrap()).len(), 3);
        let text = "power_limit_watts = 700.0\npower_limit_default_watts = 700.0\ntemperature_celsius = 80\nmig = false";
        assert_eq!(remarks(&toml::from_str(text).unwrap()), Vec::<String>::new());
    }
}
