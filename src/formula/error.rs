//! An error of a formula: where, what, and what to do.

use std::fmt;

use super::kind::FormulaErrorKind;
use super::place::{Place, Source};

/// What is wrong with a formula and where.
///
/// Prints the place, the line with a caret, and a remedy, without a line end:
/// ```text
/// formula, line 1, column 25: a time and a number cannot be added
///   16 × [Get_Time(8, 8, 8) + 3]
///                           ^
///   give the number a unit, as in 3 ms, or multiply the two
/// ```
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub struct FormulaError(Box<Detail>);

/// On the heap, since the parser hands results up through many calls.
#[derive(Clone, Debug, PartialEq)]
struct Detail {
    kind: FormulaErrorKind,
    source_name: String,
    line: usize,
    column: usize,
    excerpt: Option<String>,
}

impl FormulaError {
    /// What is wrong.
    pub fn kind(&self) -> &FormulaErrorKind {
        &self.0.kind
    }

    /// Which text it is wrong in: `formula`, or `--set NAME`.
    pub fn source_name(&self) -> &str {
        &self.0.source_name
    }

    /// The line in that text, from 1.
    pub fn line(&self) -> usize {
        self.0.line
    }

    /// The character in that line, from 1.
    pub fn column(&self) -> usize {
        self.0.column
    }
}

impl fmt::Display for FormulaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Detail { kind, source_name, line, column, excerpt } = &*self.0;
        writeln!(f, "{source_name}, line {line}, column {column}: {kind}")?;
        if let Some(excerpt) = excerpt {
            writeln!(f, "{excerpt}")?;
        }
        write!(f, "  {}", kind.remedy())
    }
}

/// An error before its place is turned into lines: small, because every step of the parser may return one.
#[derive(Debug)]
pub(super) struct Fault(Box<(Place, FormulaErrorKind)>);

impl Fault {
    pub(super) fn new(place: Place, kind: FormulaErrorKind) -> Self {
        Fault(Box::new((place, kind)))
    }

    /// Adds the line it stands in.
    pub(super) fn in_sources(self, sources: &[Source<'_>]) -> FormulaError {
        let (place, kind) = *self.0;
        let source = sources.get(place.source);
        FormulaError(Box::new(Detail {
            kind,
            source_name: source.map_or_else(|| "formula".to_owned(), |source| source.name.clone()),
            line: place.line,
            column: place.column,
            excerpt: source.and_then(|source| source.excerpt(&place)),
        }))
    }
}
