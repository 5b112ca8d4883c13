//! What was measured, or is described: one device, and how many stand together.

use serde::{Deserialize, Serialize};

/// One device: a GPU, or a processor with all its cores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Device {
    /// Its name as the driver or the kernel gives it.
    pub name: String,
    /// Memory that a plan can use on it, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Whatever else is known of it: cores, caches, driver, clocks.
    #[serde(flatten)]
    pub details: toml::Table,
}

/// How devices stand together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cluster {
    /// Devices in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus: Option<u64>,
    /// Devices in one node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpus_per_node: Option<u64>,
    /// Whatever else is known of it.
    #[serde(flatten)]
    pub details: toml::Table,
}
