//! Values for names that a formula leaves open.

use super::ast::Expr;
use super::error::{Fault, FormulaError};
use super::kind::FormulaErrorKind as Kind;
use super::lexer;
use super::place::{Place, Source};
use super::statement;
use super::token::{Token, TokenKind};

/// A name and the expression that it stands for, as in `--set 'Communication overhead=12ms'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// All of it, so that columns are those of what was typed.
    text: String,
    name: String,
    /// The byte behind the `=`.
    start: usize,
}

impl Setting {
    /// Splits `NAME=EXPRESSION` at the first `=`; the expression is read by [`evaluate`](super::evaluate).
    ///
    /// # Errors
    /// When there is no `=`, or what stands before it is not a name.
    pub fn parse(text: &str) -> Result<Self, FormulaError> {
        let text = text.trim();
        let fault = || {
            let sources = [Source { name: "--set".into(), text }];
            let shown: String = text.chars().take(60).collect();
            Fault::new(Place::start_of(0), Kind::NotASetting { text: shown }).in_sources(&sources)
        };
        let (name, expression) = text.split_once('=').ok_or_else(fault)?;
        let name = match lexer::tokens(name, 0, 0).as_slice() {
            [Token { kind: TokenKind::Name(name), .. }] => name.clone(),
            _ => return Err(fault()),
        };
        Ok(Setting { text: text.to_owned(), name, start: text.len() - expression.len() })
    }

    /// The name, with single blanks between its words.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What stands behind the `=`.
    pub fn expression(&self) -> &str {
        &self.text[self.start..]
    }

    pub(super) fn source(&self) -> Source<'_> {
        Source { name: format!("--set {}", self.name), text: &self.text }
    }

    /// Reads the expression; the setting is the source of index `source`.
    pub(super) fn parsed(&self, source: usize) -> Result<Expr, Fault> {
        statement::expression(&self.text, self.start, source)
    }
}
