//! Measure `Get_Time(m, k, n)` on real hardware, and plan LLM deployments with the numbers.
//!
//! Data flows one way: `measure` fills a [`table::Table`], [`fit::Fit`] makes a [`cost::Cost`] of it,
//! [`plan`] makes a [`dag::Dag`] of a plan file, and [`schedule`] brings both together. Modules import
//! strictly downward; `tests/architecture.rs` holds the order.

pub mod bounded;
pub mod calibrate;
pub mod check;
pub mod cli;
pub mod comparison;
pub mod cost;
pub mod dag;
pub mod device;
pub mod difference;
pub mod doctor;
pub mod dtype;
pub mod evaluate;
pub mod explain;
pub mod fit;
pub mod formula;
pub mod graph;
pub mod grid;
pub mod import;
pub mod measure;
pub mod nccl_log;
pub mod occupancy;
pub mod op;
pub mod plan;
pub mod plot;
pub mod refine;
pub mod report;
pub mod roofline;
pub mod schedule;
pub mod search;
pub mod slowdown;
pub mod source;
pub mod spec;
pub mod stats;
pub mod table;
pub mod units;
pub mod validate;
pub mod whatif;
pub mod world;
