//! Measure `Get_Time(m, k, n)` on real hardware, and plan LLM deployments with the numbers.
//!
//! Modules import strictly downward; `tests/architecture.rs` holds the order.
//!
//! * layer 0: [`units`], [`dtype`]
//! * layer 1: [`op`], [`device`], [`stats`]
//! * layer 2: [`cost`], [`table`]
//! * layer 3: [`measure`], [`fit`], [`formula`]

pub mod cost;
pub mod dag;
pub mod device;
pub mod dtype;
pub mod fit;
pub mod formula;
pub mod measure;
pub mod op;
pub mod plan;
pub mod roofline;
pub mod schedule;
pub mod spec;
pub mod stats;
pub mod table;
pub mod units;
