//! The whole way of a GPU's measurement, against a double of the driver and its libraries: see double/double.rs.
//!
//! The double is built here, into the folder of the tests, and nothing but these tests can reach it.
#![cfg(feature = "cuda")]

mod faults;
mod flags;
mod law;
mod run;
mod script;
