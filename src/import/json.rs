//! The JSON that `-J` of nccl-tests writes, versions 1 to 3.
//!
//! Booleans and some numbers are strings there, a run without MPI lists only one of its devices, and the
//! collective's name stands only in the command line.

use std::collections::BTreeSet;

use serde_json::Value;

use super::error::ImportErrorKind;
use super::rows::{Check, Half, Row, Run};

/// Reads the one run of a file.
pub(super) fn runs(text: &str) -> Result<Vec<Run>, ImportErrorKind> {
    let file: Value = serde_json::from_str(text)
        .map_err(|error| ImportErrorKind::NotJson { message: error.to_string() })?;
    let results = file["results"].as_array().ok_or(ImportErrorKind::OtherJson { missing: "results" })?;
    let config = &file["config"];
    if !config.is_object() {
        return Err(ImportErrorKind::OtherJson { missing: "config" });
    }
    let devices = config["devices"].as_array().map(Vec::as_slice).unwrap_or_default();
    let (ranks, nodes) = group(config, devices);
    let names: BTreeSet<&str> = devices.iter().filter_map(|device| device["device_info"].as_str()).collect();
    Ok(vec![Run {
        test: file["args"][0].as_str().map(str::to_owned),
        ranks,
        nodes,
        devices: names.into_iter().map(str::to_owned).collect(),
        host_time: results.iter().any(|row| row["out_of_place"]["cpu_time"].is_number()),
        rows: results.iter().filter_map(row).collect(),
        ..Run::default()
    }])
}

/// Ranks and nodes of the group of rank 0.
fn group(config: &Value, devices: &[Value]) -> (Option<u64>, Option<u64>) {
    let group = |device: &Value| device["group"].as_i64();
    let Some(first) = devices.first().map(group) else { return (None, None) };
    let members = devices.iter().filter(|device| group(device) == first);
    let hosts: BTreeSet<&str> = members.clone().filter_map(|device| device["hostname"].as_str()).collect();
    let nodes = (!hosts.is_empty()).then_some(hosts.len() as u64);
    let per_process = match (config["nthreads"].as_u64(), config["ngpus"].as_u64()) {
        (Some(threads), Some(gpus)) => threads.checked_mul(gpus),
        _ => None,
    };
    match (devices.len(), per_process) {
        // without MPI there is one process, and of its devices only the first is listed
        (1, Some(all)) => (Some(all), nodes),
        _ => (Some(members.count() as u64), nodes),
    }
}

fn row(row: &Value) -> Option<Row> {
    Some(Row {
        bytes: row["size"].as_u64()?,
        dtype: row["type"].as_str()?.to_owned(),
        out_of_place: half(&row["out_of_place"]),
        in_place: half(&row["in_place"]),
    })
}

fn half(half: &Value) -> Half {
    Half {
        // "nan" is a string there
        time: half["time"].as_f64(),
        check: match &half["nwrong"] {
            Value::Number(wrong) if wrong.as_f64() == Some(0.0) => Check::Good,
            Value::Null => Check::Off,
            _ => Check::Wrong,
        },
    }
}
