//! The lines with `#` above the rows: device, cluster and run as TOML.

use std::io;

use serde::{Deserialize, Serialize};

use super::column::nearest;
use super::error::{TableError, TableErrorKind, excerpt};
use super::{FORMAT, Table};
use crate::device::{Cluster, Device};

/// The header as TOML.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    format: Option<String>,
    pub device: Option<Device>,
    #[serde(default)]
    pub cluster: Cluster,
    #[serde(default)]
    pub run: toml::Table,
    /// Keys that are not ours.
    #[serde(skip)]
    others: toml::Table,
}

/// The comments that a file begins with.
#[derive(Default)]
pub(super) struct Comments {
    text: String,
    /// The line of the file that each line of `text` is from.
    lines: Vec<u64>,
}

const TABLES: [&str; 3] = ["device", "cluster", "run"];

impl Header {
    /// Whether the file must end with the closing line.
    pub fn has_format(&self) -> bool {
        self.format.as_deref() == Some(FORMAT)
    }
}

impl Comments {
    /// Adds the text behind the `#` of a line.
    pub fn push(&mut self, text: &str, line: u64) {
        self.text.push_str(text);
        self.text.push('\n');
        self.lines.push(line);
    }

    /// Reads the header. Comments that are neither TOML nor meant to be are no header, and no error.
    ///
    /// # Errors
    /// When the comments hold a line of ours and do not make a header, or name a table or a format that looks
    /// like ours and is not.
    pub fn read(&self) -> Result<Header, TableError> {
        let header = match self.parse() {
            Ok(header) => header,
            Err(_) if !self.means_toml() => return Ok(Header::default()),
            Err(error) => {
                let message = error.message().replace('\n', "; ");
                let start = error.span().map_or(0, |span| span.start);
                return Err(TableError::at(self.line_at(start), None, TableErrorKind::BadHeader { message }));
            }
        };
        if let Some(found) = header.format.as_deref()
            && found.starts_with("gettime-table-")
            && found != FORMAT
        {
            let kind = TableErrorKind::UnknownFormat { found: excerpt(found) };
            return Err(TableError::at(self.line_of(|line| line.starts_with("format")), None, kind));
        }
        if header.cluster.gpus_per_node == Some(0) {
            let message = "gpus_per_node must be at least 1".to_owned();
            let line = self.line_of(|line| line.trim().starts_with("gpus_per_node"));
            return Err(TableError::at(line, None, TableErrorKind::BadHeader { message }));
        }
        // `[devcie]` would otherwise be lost without a word.
        for name in header.others.iter().filter(|(_, value)| value.is_table()).map(|(name, _)| name) {
            if let Some(nearest) = nearest(name, TABLES) {
                let kind = TableErrorKind::UnknownHeaderTable { found: excerpt(name), nearest };
                let line = self.line_of(|line| table_name(line) == Some(name));
                return Err(TableError::at(line, None, kind));
            }
        }
        Ok(header)
    }

    fn parse(&self) -> Result<Header, toml::de::Error> {
        // Twice, and not with the others flattened into the struct: that would lose the places of errors.
        let mut header: Header = toml::from_str(&self.text)?;
        header.others = toml::from_str(&self.text)?;
        header.others.retain(|name, _| name != "format" && !TABLES.contains(&name));
        Ok(header)
    }

    fn means_toml(&self) -> bool {
        self.text.lines().any(|line| {
            let ours = |name| TABLES.contains(&name);
            table_name(line).is_some_and(ours)
                || (line.starts_with("format") && line.contains("gettime-table-"))
        })
    }

    fn line_of(&self, is_meant: impl Fn(&str) -> bool) -> u64 {
        let index = self.text.lines().position(is_meant).unwrap_or(0);
        self.lines.get(index).copied().unwrap_or(1)
    }

    fn line_at(&self, byte: usize) -> u64 {
        let above = self.text.bytes().take(byte).filter(|byte| *byte == b'\n').count();
        // A text that ends too early is at fault behind its last line.
        self.lines.get(above).or(self.lines.last()).copied().unwrap_or(1)
    }
}

/// `device` of the line `[device]`.
fn table_name(line: &str) -> Option<&str> {
    line.trim().strip_prefix('[')?.strip_suffix(']')
}

/// The header of `table` in lines that begin with `#`.
///
/// # Errors
/// When a value does not fit into TOML: a count above 2⁶³−1.
pub(super) fn render(table: &Table) -> io::Result<String> {
    let mut text = format!("format = \"{FORMAT}\"\n");
    if let Some(device) = &table.device {
        text += &section("device", device)?;
    }
    if table.cluster != Cluster::default() {
        text += &section("cluster", &table.cluster)?;
    }
    if !table.run.is_empty() {
        text += &section("run", &table.run)?;
    }
    let comment = |line: &str| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") };
    // Only `\n` ends a line here: `lines` would take a `\r` away that belongs to a text.
    Ok(text.trim_end_matches('\n').split('\n').map(comment).collect())
}

fn section(name: &str, value: &impl Serialize) -> io::Result<String> {
    let invalid = |error: toml::ser::Error| io::Error::new(io::ErrorKind::InvalidInput, error);
    // By way of a value: a free key of the same name as a fixed one would otherwise be written twice.
    let value = toml::Value::try_from(value).map_err(invalid)?;
    toml::to_string(&toml::Table::from_iter([(name.to_owned(), value)])).map_err(invalid)
}
