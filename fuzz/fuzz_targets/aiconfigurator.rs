#![no_main]
#![allow(missing_docs)]

#[allow(dead_code)]
#[path = "../../tests/corpus/readers.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| readers::aiconfigurator(bytes));
