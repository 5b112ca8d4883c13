//! The kernels, as NVRTC made them of the sources beside them.

/// Ops that work row by row.
pub(super) const ROWS: &str = include_str!("../../../kernels/rows.ptx");

/// Ops that work element by element.
pub(super) const ELEMENTS: &str = include_str!("../../../kernels/elements.ptx");

/// The gate of a mixture of experts.
pub(super) const GATE: &str = include_str!("../../../kernels/gate.ptx");

/// What measuring itself needs.
pub(super) const HARNESS: &str = include_str!("../../../kernels/harness.ptx");
