//! The whole way of a GPU's measurement, against a double of the driver and its libraries: see double/double.rs.
//!
//! The double is built into the folder of the tests, and nothing but tests can reach it.
#![cfg(feature = "cuda")]

#[path = "../driver/mod.rs"]
mod driver;
mod faults;
mod flags;
mod law;
mod layers;
mod run;
mod script;
