//! A data sheet: what a vendor says of a device, for estimates before anything is measured.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::dtype::Dtype;

/// A device and its links as their vendor describes them. `inf` is allowed for every bandwidth and peak.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sheet {
    /// The device.
    pub name: String,
    /// Memory of one device.
    pub memory_bytes: f64,
    /// Bandwidth of that memory.
    pub memory_bandwidth_bytes_per_s: f64,
    /// Devices in one node.
    pub gpus_per_node: u64,
    /// Time that every op costs besides its work.
    pub launch_latency_seconds: f64,
    /// Dense peak for each element type.
    pub flops_per_s: BTreeMap<Dtype, f64>,
    /// A device's link inside its node, one direction.
    pub intra_node: LinkSpec,
    /// A device's share of the node's network cards, one direction.
    pub inter_node: LinkSpec,
}

/// A link between devices.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// One direction.
    pub bandwidth_bytes_per_s: f64,
    /// Time before the first byte arrives.
    pub latency_seconds: f64,
    /// Time that a collective takes before its first step; vendors do not tell it.
    #[serde(default)]
    pub start_seconds: f64,
}
