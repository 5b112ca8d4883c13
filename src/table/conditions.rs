//! Whether two tables were measured on the same device, with the same driver and under the same conditions.

use std::collections::BTreeSet;

use super::{MergeError, Table};

/// What a device's description says of a moment or of one specimen, and not of how it is measured.
const PASSING: [&str; 7] = [
    "uuid",
    "burn_in_seconds",
    "launch_seconds",
    "sm_mhz",
    "memory_mhz",
    "temperature_celsius",
    "persistence",
];

/// Conditions that rows carry among their flags.
const OF_ROWS: [&str; 2] = ["cache", "policy"];

/// One thing that differs between two tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// `driver`, `memory_bytes`, `cache`.
    pub what: String,
    /// What the first table says.
    pub first: String,
    /// What the second table says.
    pub second: String,
}

impl Table {
    /// What both tables say of their device and conditions, and say differently. What one of them leaves out
    /// is no difference.
    pub fn differences(&self, other: &Table) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what: &str, first: Option<String>, second: Option<String>| {
            if let (Some(first), Some(second)) = (first, second)
                && first != second
            {
                found.push(Difference { what: what.to_owned(), first, second });
            }
        };
        if let (Some(one), Some(two)) = (&self.device, &other.device) {
            compare("device", Some(one.name.clone()), Some(two.name.clone()));
            let memory = |bytes: Option<u64>| bytes.map(|bytes| bytes.to_string());
            compare("memory_bytes", memory(one.memory_bytes), memory(two.memory_bytes));
            for (key, value) in one.details.iter().filter(|(key, _)| !PASSING.contains(&key.as_str())) {
                compare(key, Some(plain(value)), two.details.get(key).map(plain));
            }
        }
        for key in OF_ROWS {
            compare(key, self.words(key), other.words(key));
        }
        found
    }

    /// # Errors
    /// The first difference, by name.
    pub fn under_same_conditions(&self, other: &Table) -> Result<(), MergeError> {
        match self.differences(other).into_iter().next() {
            None => Ok(()),
            Some(Difference { what, first, second }) => Err(MergeError::Conditions { what, first, second }),
        }
    }

    /// The values of `key=value` among the flags of all rows; `None` where no row has the key.
    fn words(&self, key: &str) -> Option<String> {
        let of_row = |flags: &str| {
            let word =
                |word: &str| word.split_once('=').filter(|(name, _)| *name == key).map(|(_, v)| v.to_owned());
            flags.split_whitespace().find_map(word)
        };
        let values: BTreeSet<String> =
            self.records.iter().filter_map(|record| of_row(&record.flags)).collect();
        (!values.is_empty()).then(|| values.into_iter().collect::<Vec<_>>().join(" and "))
    }
}

/// A value as a person writes it: texts without quotes.
fn plain(value: &toml::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
