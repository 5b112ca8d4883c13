//! What to do about each thing that can be wrong with a table.

use std::io;

use super::column::TableColumn;
use super::error::TableErrorKind;
use crate::op::OpError;

impl TableErrorKind {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        use TableErrorKind as Kind;
        let fixed = match self {
            Kind::UnknownColumn { nearest: Some(nearest), .. } => {
                return format!("did you mean \"{nearest}\"?");
            }
            Kind::UnknownColumn { nearest: None, .. } => {
                let known: Vec<_> = TableColumn::all().map(TableColumn::name).collect();
                return format!("the columns are, separated by commas: {}", known.join(", "));
            }
            Kind::UnknownHeaderTable { nearest, .. } => return format!("did you mean [{nearest}]?"),
            Kind::NotAnOp { error } => op_remedy(error),
            Kind::Unreadable { source } if source.kind() == io::ErrorKind::NotFound => {
                "there is no such file; is the path right?"
            }
            Kind::Unreadable { source } if source.kind() == io::ErrorKind::FileTooLarge => {
                "a table of a million rows is shorter: take out what no plan asks for"
            }
            Kind::Unreadable { .. } => "is it a file, and may you read it?",
            Kind::Unwritable { source } if source.kind() == io::ErrorKind::InvalidInput => {
                "the table would not read back as it is; an older file was left as it was"
            }
            Kind::Unwritable { .. } => {
                "is the folder there, and may you write to it? An older file was left as it was"
            }
            Kind::Empty | Kind::NoRows => "was the measurement stopped before its first result?",
            Kind::NotUtf8 { .. } => "save the file as UTF-8 text",
            Kind::UnknownFormat { .. } => "a newer version wrote it: read it with that one",
            Kind::BadHeader { .. } => {
                "lines with \"#\" above the columns are TOML behind the \"#\"; begin a free remark with \"##\""
            }
            Kind::NoColumns => {
                "name the columns in a line above the rows, such as \"op,dtype,m,k,n,batch,seconds\""
            }
            Kind::MissingColumn { .. } => "a table needs at least the columns \"op\" and \"seconds\"",
            Kind::DuplicateColumn { .. } => "remove one of the two",
            Kind::FieldCount { .. } => "was the file cut off here, or is a comma too many or too few?",
            Kind::OpenQuote => {
                "was the file cut off? Otherwise close the quote, or double it within a quoted field"
            }
            Kind::TextAfterQuote { .. } => "double every quote that is part of a quoted field",
            Kind::UnknownDtype { .. } => "known are f32, tf32, f16, bf16, f8e4m3, f8e5m2, i8",
            Kind::NotACount { .. } => "a count is written with digits alone: 1000, not 1e3, 1_000 or 1000.0",
            Kind::CountTooLarge { .. } => {
                "the largest count is 18446744073709551615; are two fields run together?"
            }
            Kind::MissingTime | Kind::NotATime { .. } => {
                "a time is a positive number of seconds; was the row edited by hand?"
            }
            Kind::HalfInterval => "give both seconds_low and seconds_high, or leave both empty",
            Kind::ReversedInterval { .. } => "exchange seconds_low and seconds_high",
            Kind::OutsideInterval { .. } => {
                "seconds_low <= seconds <= seconds_high; was the row edited by hand?"
            }
            Kind::TwoTimes { .. } => "keep the row that is right; were two measurements put into one file?",
            Kind::MissingEnd => {
                "copy or measure it again; \"# [end]\" may be added by hand if every row is there"
            }
            Kind::MissingNewline => "end the file with a newline if it is complete",
        };
        fixed.to_owned()
    }
}

fn op_remedy(error: &OpError) -> &'static str {
    match error {
        OpError::UnknownOp(_) => {
            "is the line a row of a table, and are its columns in the order of the first line?"
        }
        OpError::UnknownKind { .. } => "correct the kind, or remove the row",
        OpError::Missing { .. } => "fill the field, or remove the row",
        OpError::TooLarge { .. } => "correct the count, or remove the row",
        OpError::TooSmall { .. } => "an op of no size takes no time: remove the row, or correct the count",
    }
}
