//! Values of attributes as text, both ways: tensors, ops, GPUs.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::shape::MOST;
use super::{Shape, Tensor};
use crate::op::{Cells, Column, Op};

/// Values by name.
pub(super) type Attributes = BTreeMap<String, String>;

/// Reads the whole number of that name, where there is one.
pub(super) fn number<T: FromStr>(attributes: &Attributes, key: &str) -> Result<Option<T>, String> {
    let Some(text) = attributes.get(key) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| format!("{key} = \"{text}\" is not a whole number"))
}

/// `q 1024x10000x2x512; k …`.
pub(super) fn tensors_text(tensors: &[Tensor]) -> String {
    let all: Vec<String> = tensors.iter().map(|t| format!("{} {}", t.name, t.shape)).collect();
    all.join("; ")
}

/// Reads what [`tensors_text`] wrote.
pub(super) fn tensors(text: &str) -> Result<Vec<Tensor>, String> {
    let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
    let tensor = |part: &str| {
        let (name, shape) =
            part.split_once(' ').ok_or_else(|| format!("\"{part}\" is not a name and a shape"))?;
        let shape: Shape = shape.trim().parse().map_err(|e: super::NotAShape| e.to_string())?;
        Ok(Tensor { name: name.to_owned(), shape })
    };
    parts.map(tensor).collect()
}

/// `0-7` or `0-3 8 12-15`.
pub(super) fn gpus_text(gpus: &[u32]) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut i = 0;
    while i < gpus.len() {
        let run = (i + 1..gpus.len()).take_while(|j| gpus[*j] == gpus[*j - 1] + 1).count();
        parts.push(match run {
            0 => gpus[i].to_string(),
            _ => format!("{}-{}", gpus[i], gpus[i + run]),
        });
        i += run + 1;
    }
    parts.join(" ")
}

/// The most GPUs that ranges may name: a slip of the hand shall not fill the memory.
const MOST_GPUS: u32 = 1 << 20;

/// Reads what [`gpus_text`] wrote.
pub(super) fn gpus(text: &str) -> Result<Vec<u32>, String> {
    let mut all = Vec::new();
    for part in text.split_whitespace() {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) if first <= last && last < MOST_GPUS => all.extend(first..=last),
            _ => return Err(format!("\"{part}\" is not a GPU, nor a range of them such as 0-7")),
        }
        if all.len() > MOST_GPUS as usize {
            return Err("more than 1,048,576 GPUs are named".to_owned());
        }
    }
    Ok(all)
}

/// `gemm m=10240000 k=8192 n=3072 batch=1 dtype=bf16 count=3; …`: the cells of a table row.
pub(super) fn ops_text(ops: &[(Op, u64)]) -> String {
    let text = |(op, count): &(Op, u64)| {
        let cells = op.cells();
        let mut words = vec![cells.op.clone()];
        if !cells.kind.is_empty() {
            words.push(format!("kind={}", cells.kind));
        }
        words.extend(cells.dtype.map(|dtype| format!("dtype={dtype}")));
        let number = |column: Column| cells.count(column).map(|n| format!("{column}={n}"));
        words.extend(Column::ALL.into_iter().filter_map(number));
        if *count != 1 {
            words.push(format!("count={count}"));
        }
        words.join(" ")
    };
    ops.iter().map(text).collect::<Vec<_>>().join("; ")
}

/// Reads what [`ops_text`] wrote.
pub(super) fn ops(text: &str) -> Result<Vec<(Op, u64)>, String> {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(op).collect()
}

fn op(text: &str) -> Result<(Op, u64), String> {
    let mut words = text.split_whitespace();
    let mut cells = Cells { op: words.next().unwrap_or_default().to_owned(), ..Cells::default() };
    let mut count = 1;
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!("\"{word}\" is not of the form m=8192"));
        };
        let number = || value.parse::<u64>().map_err(|_| format!("{key}: \"{value}\" is not a whole number"));
        match key {
            "count" => count = number()?,
            "kind" => cells.kind = value.to_owned(),
            "dtype" => cells.dtype = Some(value.parse().map_err(|e| format!("{e}"))?),
            _ => match Column::ALL.into_iter().find(|column| column.name() == key) {
                Some(column) => cells.set_count(column, Some(number()?)),
                None => return Err(format!("\"{key}\" is not a size of an op")),
            },
        }
    }
    let sizes = Column::ALL.into_iter().filter(|column| *column != Column::Bytes);
    let sizes = sizes.filter_map(|column| cells.count(column)).chain([count]);
    let product = sizes.fold(1u128, |product, size| product.saturating_mul(u128::from(size)));
    if product > MOST {
        return Err(format!("the sizes of {} are too large", cells.op));
    }
    Op::from_cells(&cells).map(|op| (op, count)).map_err(|e| e.to_string())
}
