//! Where times come from: tables and data sheets, joined into one `Cost`, with what they say of the machine.

mod correction;

use std::collections::BTreeMap;
use std::path::Path;

pub use self::correction::Correction;

use crate::bounded;
use crate::cost::{Basis, Cost, CostError, Estimate, Fallback};
use crate::dtype::Dtype;
use crate::fit::Fit;
use crate::op::{Chained, Op};
use crate::roofline::{self, Roofline};
use crate::slowdown::Slowdowns;
use crate::spec::{Sheet, SpecError};
use crate::table::{MergeError, Table, TableError};

/// A table, a data sheet, or a table with a sheet behind it.
pub struct Source {
    cost: Box<dyn Cost>,
    /// By how much measured times grow in a layer, where layers were run.
    corrections: BTreeMap<Chained, Correction>,
    /// For headlines: the device, and whether it was measured.
    pub headline: String,
    /// Whether every time comes from a data sheet.
    pub modelled: bool,
    /// The name of the tables or the sheet, for messages.
    pub name: String,
    /// Memory of one device.
    pub memory_bytes: Option<u64>,
    /// Devices on one node.
    pub gpus_per_node: Option<u64>,
    /// Element types of the products it knows; empty where a sheet knows several.
    pub dtypes: Vec<Dtype>,
    /// The data sheet that it rests on, or falls back on.
    pub sheet: Option<Sheet>,
    /// What it says of ops that run at the same time.
    pub slowdowns: Slowdowns,
}

/// As part of a layer: corrected by what layers showed, where any was run.
impl Cost for Source {
    fn cost(&self, op: &Op) -> Result<Estimate, CostError> {
        let alone = self.alone(op)?;
        let correction = Chained::of(op).and_then(|family| self.corrections.get(&family));
        match correction.filter(|_| alone.basis != Basis::Modelled) {
            None => Ok(alone),
            Some(correction) => correction.of(alone, op, &self.name),
        }
    }
}

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A table cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
    /// Two tables contradict each other.
    #[error("{before} and {file}: {why}")]
    Merge {
        /// The tables that were joined already.
        before: String,
        /// The one that does not go with them.
        file: String,
        /// What is wrong.
        why: Box<MergeError>,
    },
    /// A sheet is not what it should be.
    #[error(transparent)]
    Sheet(#[from] SpecError),
    /// There is no such sheet.
    #[error("no data sheet \"{name}\": neither built in ({built_in}) nor a readable file ({why})")]
    NoSheet {
        /// What was asked for.
        name: String,
        /// The ones there are.
        built_in: String,
        /// What the operating system says.
        why: std::io::Error,
    },
}

/// Reads a data sheet by its built-in name or from a file.
///
/// # Errors
/// When there is none, or it is not valid.
pub fn sheet(name: &str) -> Result<Roofline, SourceError> {
    if let Some((name, text)) = roofline::BUILT_IN.iter().find(|(n, _)| *n == name) {
        return Ok(Roofline::parse(name, text)?);
    }
    let text =
        bounded::text(Path::new(name), bounded::WRITTEN_BY_PEOPLE).map_err(|why| SourceError::NoSheet {
            name: name.to_owned(),
            built_in: roofline::BUILT_IN.map(|(name, _)| name).join(", "),
            why,
        })?;
    Ok(Roofline::parse(name, &text)?)
}

impl Source {
    /// What an op takes by itself.
    ///
    /// # Errors
    /// A typed miss where the source does not cover the op.
    pub fn alone(&self, op: &Op) -> Result<Estimate, CostError> {
        self.cost.cost(op)
    }

    /// By how much times of each family grow in a layer.
    pub fn corrections(&self) -> impl Iterator<Item = (&Chained, &Correction)> {
        self.corrections.iter()
    }

    /// The roofline of a data sheet.
    pub fn from_sheet(name: &str, roofline: Roofline) -> Self {
        let sheet = roofline.sheet();
        Source {
            headline: format!("{}, modelled from the data sheet {name}: nothing was measured", sheet.name),
            modelled: true,
            name: format!("the data sheet {name}"),
            memory_bytes: finite_bytes(sheet.memory_bytes),
            gpus_per_node: Some(sheet.gpus_per_node),
            dtypes: sheet.flops_per_s.keys().copied().collect(),
            sheet: Some(sheet.clone()),
            slowdowns: Slowdowns::default(),
            cost: Box::new(roofline),
            corrections: BTreeMap::new(),
        }
    }

    /// What was measured, and a sheet for the ops that were not.
    ///
    /// # Errors
    /// When a table cannot be read, or two of them contradict each other.
    pub fn from_tables(paths: &[&Path], fallback: Option<(&str, Roofline)>) -> Result<Self, SourceError> {
        let mut joined: Option<(Table, String)> = None;
        for path in paths {
            let (table, file) = (Table::read(path)?, path.display().to_string());
            joined = Some(match joined {
                None => (table, file),
                Some((first, before)) => match first.merge(table) {
                    Ok(both) => (both, format!("{before} + {file}")),
                    Err(why) => return Err(SourceError::Merge { before, file, why: why.into() }),
                },
            });
        }
        let (table, names) = joined.unwrap_or_default();
        Ok(Source::from_table(&table, &names, fallback))
    }

    /// As [`Source::from_tables`], of a table that is in memory.
    pub fn from_table(table: &Table, name: &str, fallback: Option<(&str, Roofline)>) -> Self {
        let mut dtypes: Vec<Dtype> = (table.records.iter())
            .filter_map(|record| match record.op {
                Op::Gemm(gemm) => Some(gemm.dtype),
                _ => None,
            })
            .collect();
        dtypes.sort_unstable();
        dtypes.dedup();
        let device = table.device.as_ref();
        let mut headline = match device {
            Some(device) => format!("{}, measured ({name}", device.name),
            None => format!("measured ({name}"),
        };
        if let Some(date) = table.run.get("date").and_then(toml::Value::as_str) {
            headline += &format!(", {date}");
        }
        headline += ")";
        let corrections = correction::of(table);
        for (i, (family, correction)) in corrections.iter().enumerate() {
            headline += if i == 0 { ", as in layers: " } else { ", " };
            headline += &format!("{} {correction}", family.family);
        }
        let fit = Fit::new(table, name);
        let measured = Source {
            headline,
            modelled: false,
            name: name.to_owned(),
            memory_bytes: device.and_then(|device| device.memory_bytes),
            gpus_per_node: table.cluster.gpus_per_node,
            dtypes,
            sheet: None,
            slowdowns: Slowdowns::of(table),
            cost: Box::new(fit),
            corrections,
        };
        match fallback {
            None => measured,
            Some((name, roofline)) => measured.before(name, roofline),
        }
    }

    /// Asks the sheet for what this source does not know.
    fn before(self, name: &str, roofline: Roofline) -> Self {
        let sheet = roofline.sheet();
        let known = sheet.flops_per_s.keys().copied();
        Source {
            headline: format!("{}, gaps modelled from {name}", self.headline),
            memory_bytes: self.memory_bytes.or(finite_bytes(sheet.memory_bytes)),
            gpus_per_node: self.gpus_per_node.or(Some(sheet.gpus_per_node)),
            dtypes: if self.dtypes.is_empty() { known.collect() } else { self.dtypes },
            sheet: Some(sheet.clone()),
            cost: Box::new(Fallback { first: self.cost, second: roofline }),
            ..self
        }
    }
}

/// `None` for a device whose memory is without end.
fn finite_bytes(bytes: f64) -> Option<u64> {
    bytes.is_finite().then_some(bytes as u64)
}
