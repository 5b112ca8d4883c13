//! What the management library tells of a device before and while it is measured.

use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::Clock;
use nvml_wrapper::{Device, Nvml};

/// Reasons for a low clock that are faults. A limit of power is none: it is how large products run.
const FAULTS: ThrottleReasons = ThrottleReasons::HW_SLOWDOWN
    .union(ThrottleReasons::SW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_THERMAL_SLOWDOWN)
    .union(ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN);

/// A device as the management library sees it; nothing where there is no such library or device.
pub(super) struct Watch {
    device: Option<Device<'static>>,
    /// Why nothing is seen.
    blind: Option<String>,
}

/// How fast a device runs at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    /// Clock of the multiprocessors, in MHz.
    pub mhz: u32,
    /// Whether heat or a fault of the power supply holds the clock down.
    pub throttled: bool,
    /// Whether the limit of power does.
    pub power_capped: bool,
}

impl Watch {
    /// Watches the device with this UUID.
    pub fn new(uuid: &str) -> Self {
        let device = Nvml::init().map_err(|error| error.to_string()).and_then(|nvml| {
            // Never given back: the device is watched as long as the process lives.
            let nvml: &'static Nvml = Box::leak(Box::new(nvml));
            nvml.device_by_uuid(uuid).map_err(|error| error.to_string())
        });
        match device {
            Ok(device) => Watch { device: Some(device), blind: None },
            Err(error) => Watch { device: None, blind: Some(error) },
        }
    }

    /// Other processes that compute on the device. To be asked before this process does.
    pub fn others(&self) -> usize {
        let own = std::process::id();
        let processes = self.device.as_ref().and_then(|nvml| nvml.running_compute_processes().ok());
        processes.map_or(0, |processes| processes.iter().filter(|process| process.pid != own).count())
    }

    /// The state now.
    pub fn state(&self) -> Option<State> {
        let device = self.device.as_ref()?;
        let mhz = device.clock_info(Clock::SM).ok()?;
        let reasons = device.current_throttle_reasons().unwrap_or(ThrottleReasons::empty());
        Some(State {
            mhz,
            throttled: reasons.intersects(FAULTS),
            power_capped: reasons.contains(ThrottleReasons::SW_POWER_CAP),
        })
    }

    /// The device, or why it cannot be seen.
    pub fn device(&self) -> Result<&Device<'static>, &str> {
        self.device.as_ref().ok_or(self.blind.as_deref().unwrap_or("not there"))
    }
}
