//! Tokens to statements: which lines belong together, and which of their words are a label.

use super::ast::Expr;
use super::error::Fault;
use super::kind::FormulaErrorKind as Kind;
use super::lexer;
use super::parser;
use super::place::Place;
use super::token::{Token, TokenKind};

/// `NAME = expression`, or only an expression.
#[derive(Debug)]
pub(super) struct Statement {
    pub(super) name: Option<String>,
    /// Where the name stands, or else the expression.
    pub(super) place: Place,
    pub(super) expr: Expr,
}

/// Reads the statements of `text`.
pub(super) fn statements(text: &str) -> Result<Vec<Statement>, Fault> {
    let tokens = lexer::tokens(text, 0, 0);
    split(&tokens).into_iter().map(|draft| draft.parse(text)).collect()
}

/// Reads `text`, the source of index `source`, from byte `start` of its first line on, as one expression
/// without a label.
pub(super) fn expression(text: &str, start: usize, source: usize) -> Result<Expr, Fault> {
    let mut tokens = lexer::tokens(text, start, source);
    tokens.retain(|token| !matches!(token.kind, TokenKind::Newline | TokenKind::EmptyLine));
    let column = text.chars().take_while(|&c| c != '=').count() + 1;
    parser::expression(&tokens, Place { column, ..Place::start_of(source) })
}

/// The tokens of a statement before they are parsed.
struct Draft<'a> {
    /// The operator that the first line began with: a bullet, if it stands before a label.
    bullet: Option<&'a TokenKind>,
    label: Option<Label<'a>>,
    body: Vec<Token>,
}

struct Label<'a> {
    name: &'a str,
    place: Place,
    /// Where `=` or `:` stands.
    assign: Place,
}

/// Joins lines: an expression goes on while it is incomplete, and in a line that starts with an operator,
/// but neither in a line with a label nor, once it is complete, beyond an empty line or the next item of its list.
fn split(tokens: &[Token]) -> Vec<Draft<'_>> {
    let mut drafts: Vec<Draft<'_>> = Vec::new();
    let mut after_gap = false;
    for line in tokens.split_inclusive(|t| matches!(t.kind, TokenKind::Newline | TokenKind::EmptyLine)) {
        let line = match line.split_last() {
            Some((Token { kind: TokenKind::EmptyLine, .. }, _)) => {
                after_gap = true;
                continue;
            }
            Some((Token { kind: TokenKind::Newline, .. }, line)) => line,
            _ => line,
        };
        let Some(first) = line.first() else { continue }; // only a comment
        let (label, body) = match label(line) {
            Some((label, body)) => (Some(label), body),
            None if first.kind == TokenKind::Bullet => (None, &line[1..]),
            None => (None, line),
        };
        match drafts.last_mut() {
            Some(draft) if label.is_none() && draft.goes_on(first, after_gap) => {
                draft.body.extend_from_slice(line)
            }
            _ => drafts.push(Draft {
                bullet: first.kind.is_operator().then_some(&first.kind),
                label,
                body: body.to_vec(),
            }),
        }
        after_gap = false;
    }
    drafts
}

/// Splits the label off a line: perhaps a bullet, a name, perhaps in bold, and `=` or `:`.
fn label(line: &[Token]) -> Option<(Label<'_>, &[Token])> {
    let skip = |tokens: &mut &[Token], fits: fn(&TokenKind) -> bool| {
        if let Some((first, rest)) = tokens.split_first()
            && fits(&first.kind)
        {
            *tokens = rest;
        }
    };
    let mut rest = line;
    skip(&mut rest, |kind| *kind == TokenKind::Bullet || kind.is_operator());
    skip(&mut rest, |kind| *kind == TokenKind::Bold);
    let (name, behind) = rest.split_first()?;
    let TokenKind::Name(words) = &name.kind else { return None };
    rest = behind;
    skip(&mut rest, |kind| *kind == TokenKind::Bold);
    let (assign, behind) = rest.split_first()?;
    if assign.kind != TokenKind::Assign {
        return None;
    }
    rest = behind;
    skip(&mut rest, |kind| *kind == TokenKind::Bold);
    Some((Label { name: words, place: name.place, assign: assign.place }, rest))
}

impl Draft<'_> {
    fn goes_on(&self, first: &Token, after_gap: bool) -> bool {
        let incomplete = self.body.last().is_none_or(|last| last.kind.is_operator());
        let next_item = self.bullet == Some(&first.kind);
        incomplete || (first.kind.is_operator() && !after_gap && !next_item)
    }

    fn parse(self, text: &str) -> Result<Statement, Fault> {
        let first = self.body.first();
        let start = first.map_or(Place::start_of(0), |token| token.place);
        if let (None, Some(Token { kind, place, end, .. })) = (&self.label, first)
            && kind.is_operator()
            && text[*end..].starts_with(char::is_whitespace)
        {
            return Err(Fault::new(*place, Kind::Bullet));
        }
        let before = self.label.as_ref().map_or(start, |label| label.assign);
        let expr = parser::expression(&self.body, before)?;
        Ok(match self.label {
            Some(Label { name, place, .. }) => Statement { name: Some(name.to_owned()), place, expr },
            None => Statement { name: None, place: start, expr },
        })
    }
}
