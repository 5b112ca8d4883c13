//! The tables `gemm_perf` and `nccl_perf` of aiconfigurator (github.com/ai-dynamo/aiconfigurator): times in ms, and
//! messages in elements, as its collectors write them.

use super::error::ImportErrorKind;
use super::rows::{Imported, LeftOut, Times, check_group};
use crate::dtype::Dtype;
use crate::nccl_log::Told;
use crate::op::{Collective, CollectiveKind, Gemm, Op};
use crate::units::Seconds;

/// A node of one of its systems has no more GPUs than this; what has more must say on how many nodes it stood.
const MOST_ON_A_NODE: u64 = 8;

/// Its rows say in the column `source`.
const SOURCE: &str = "aiconfigurator";

/// A table as its file holds it: names of columns, and the text of each row's cells with the row's line.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    pub names: Vec<String>,
    pub rows: Vec<(u64, Vec<String>)>,
}

/// The cells of a file in the older form, text with commas.
pub(super) fn text(text: &str) -> Result<Cells, ImportErrorKind> {
    if text.starts_with("version https://git-lfs") {
        return Err(ImportErrorKind::LfsPointer);
    }
    let mut reader =
        csv::ReaderBuilder::new().flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let not_csv = |error: csv::Error| ImportErrorKind::NotCsv { message: error.to_string() };
    let names = reader.headers().map_err(not_csv)?.iter().map(str::to_owned).collect();
    let mut rows = Vec::new();
    for record in reader.records() {
        let record = record.map_err(not_csv)?;
        let line = record.position().map_or(0, csv::Position::line);
        rows.push((line, record.iter().map(str::to_owned).collect()));
    }
    Ok(Cells { names, rows })
}

/// The rows of a table; `nodes` is what the user says of it.
pub(super) fn records(cells: &Cells, nodes: Option<u64>) -> Result<Imported, ImportErrorKind> {
    let has = |name: &str| cells.names.iter().any(|known| known == name);
    let read: Read = match (has("gemm_dtype"), has("nccl_dtype")) {
        (true, false) => gemm,
        (false, true) => nccl,
        _ => return Err(ImportErrorKind::OtherTable),
    };
    if cells.rows.is_empty() {
        return Err(ImportErrorKind::NoResults);
    }
    let mut left_out = LeftOut::default();
    let mut times = Times::default();
    let mut devices: Vec<&str> = Vec::new();
    for (line, values) in &cells.rows {
        let row = Row { names: &cells.names, values, line: *line };
        devices.extend(row.text("device").or_else(|| row.text("device_name")));
        let Some(op) = read(&row, nodes, &mut left_out)? else { continue };
        let text = row.cell("latency")?;
        let Ok(milliseconds) = text.parse::<f64>() else { return Err(row.bad("latency", text)) };
        match Seconds::new(milliseconds / 1e3) {
            Ok(seconds) if seconds > Seconds::ZERO => times.add(op, seconds, true, Told::default()),
            _ => left_out.without_time += 1,
        }
    }
    devices.sort_unstable();
    devices.dedup();
    let device = if let [one] = devices.as_slice() { Some((*one).to_owned()) } else { None };
    times.imported(SOURCE, device, left_out, cells.rows.len())
}

/// Reads the op of a row, or counts why it is left out.
type Read = fn(&Row<'_>, Option<u64>, &mut LeftOut) -> Result<Option<Op>, ImportErrorKind>;

/// A row of cells.
struct Row<'a> {
    names: &'a [String],
    values: &'a [String],
    line: u64,
}

impl<'a> Row<'a> {
    fn text(&self, name: &str) -> Option<&'a str> {
        let place = self.names.iter().position(|known| known == name)?;
        self.values.get(place).map(String::as_str).filter(|text| !text.is_empty())
    }

    fn cell(&self, name: &'static str) -> Result<&'a str, ImportErrorKind> {
        self.text(name).ok_or(ImportErrorKind::NoCell { line: self.line, column: name })
    }

    fn count(&self, name: &'static str) -> Result<u64, ImportErrorKind> {
        let text = self.cell(name)?;
        // a table that went through pandas may hold whole numbers as 16.0
        let digits = text.strip_suffix(".0").unwrap_or(text);
        digits.parse().map_err(|_| self.bad(name, text))
    }

    fn bad(&self, column: &'static str, text: &str) -> ImportErrorKind {
        ImportErrorKind::BadCell { line: self.line, column, text: text.chars().take(40).collect() }
    }
}

fn gemm(row: &Row<'_>, _: Option<u64>, left_out: &mut LeftOut) -> Result<Option<Op>, ImportErrorKind> {
    let [m, k, n] = [row.count("m")?, row.count("k")?, row.count("n")?];
    let dtype = match row.cell("gemm_dtype")? {
        "bfloat16" => Dtype::Bf16,
        "float16" => Dtype::F16,
        "float32" => Dtype::F32,
        "fp8" => Dtype::F8E4m3,
        "int8" => Dtype::I8,
        // scaled by blocks, or of weights alone: no op of ours
        _ => {
            left_out.other_dtype += 1;
            return Ok(None);
        }
    };
    if m == 0 || k == 0 || n == 0 {
        left_out.empty += 1;
        return Ok(None);
    }
    Ok(Some(Op::Gemm(Gemm { m, k, n, batch: 1, dtype })))
}

fn nccl(row: &Row<'_>, nodes: Option<u64>, left_out: &mut LeftOut) -> Result<Option<Op>, ImportErrorKind> {
    let (ranks, elements) = (row.count("num_gpus")?, row.count("message_size")?);
    let kind = match row.cell("op_name")? {
        "all_reduce" => CollectiveKind::AllReduce,
        "all_gather" => CollectiveKind::AllGather,
        "reduce_scatter" => CollectiveKind::ReduceScatter,
        "alltoall" | "all_to_all" => CollectiveKind::AllToAll,
        "broadcast" => CollectiveKind::Broadcast,
        other => return Err(ImportErrorKind::OtherTest { name: other.chars().take(40).collect() }),
    };
    let dtype = match row.cell("nccl_dtype")? {
        "half" | "float16" => Dtype::F16,
        "bfloat16" => Dtype::Bf16,
        "float" | "float32" => Dtype::F32,
        "int8" => Dtype::I8,
        _ => {
            left_out.other_dtype += 1;
            return Ok(None);
        }
    };
    let nodes = match nodes {
        Some(nodes) => nodes,
        // its collector runs the ranks as threads of one process
        None if ranks <= MOST_ON_A_NODE => 1,
        None => return Err(ImportErrorKind::HowMany { what: "nodes" }),
    };
    check_group(ranks, nodes)?;
    let Some(bytes) = elements.checked_mul(dtype.bytes()).filter(|bytes| *bytes > 0) else {
        left_out.empty += 1;
        return Ok(None);
    };
    Ok(Some(Op::Collective(Collective { kind, bytes, ranks, nodes, dtype })))
}
