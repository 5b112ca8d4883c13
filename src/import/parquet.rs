//! Cells of a table in parquet.

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use super::aiconfigurator::Cells;
use super::error::ImportErrorKind;

/// Reads the names of the columns and the text of each cell; rows count as lines, from 1.
pub(super) fn cells(bytes: &[u8]) -> Result<Cells, ImportErrorKind> {
    let bad =
        |error: parquet::errors::ParquetError| ImportErrorKind::BadParquet { message: error.to_string() };
    let reader = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(bad)?;
    let schema = reader.metadata().file_metadata().schema_descr_ptr();
    let names = schema.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut rows = Vec::new();
    for (number, row) in reader.get_row_iter(None).map_err(bad)?.enumerate() {
        let row = row.map_err(bad)?;
        rows.push((number as u64 + 1, row.get_column_iter().map(|(_, field)| text(field)).collect()));
    }
    Ok(Cells { names, rows })
}

fn text(field: &Field) -> String {
    match field {
        Field::Null => String::new(),
        Field::Str(text) => text.clone(),
        Field::Double(number) => number.to_string(),
        Field::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}
