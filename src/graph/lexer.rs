//! Tokens of Graphviz text.
//!
//! Read here and not by a crate: those that are published report no line, or have a licence that a library under
//! MIT cannot take in, or call Graphviz itself.

use super::error::DotError;

/// A token and the line it stands on, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub line: usize,
    pub kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name, a number or a quoted text; whether it was quoted: `"subgraph"` is no keyword.
    Text(String, bool),
    /// `->`
    Arrow,
    /// One of `{ } [ ] = ; , :`
    Sign(char),
}

/// Splits the text into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, DotError> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let start = line;
        let (kind, taken) = match c {
            '\n' => {
                line += 1;
                (None, 1)
            }
            c if c.is_whitespace() => (None, c.len_utf8()),
            '#' => (None, to_end_of_line(rest)),
            '/' if rest.starts_with("//") => (None, to_end_of_line(rest)),
            '/' if rest.starts_with("/*") => {
                let end = rest.find("*/").ok_or_else(|| DotError::at(start, "the comment has no end: */"))?;
                line += newlines(&rest[..end]);
                (None, end + 2)
            }
            '-' if rest.starts_with("->") => (Some(TokenKind::Arrow), 2),
            '-' if rest.starts_with("--") => {
                return Err(DotError::at(line, "edges of a plan have a direction: write -> for --"));
            }
            '{' | '}' | '[' | ']' | '=' | ';' | ',' | ':' => (Some(TokenKind::Sign(c)), 1),
            '"' => {
                let (text, taken) =
                    quoted(rest).ok_or_else(|| DotError::at(start, "the quotation mark is not closed"))?;
                line += newlines(&rest[..taken]);
                (Some(TokenKind::Text(text, true)), taken)
            }
            '<' => {
                let taken = html(rest).ok_or_else(|| DotError::at(start, "the bracket < is not closed"))?;
                line += newlines(&rest[..taken]);
                (Some(TokenKind::Text(rest[..taken].to_owned(), true)), taken)
            }
            _ => {
                let end = rest.find(|c: char| !is_part_of_name(c)).unwrap_or(rest.len());
                if end == 0 {
                    let message = format!("`{}` does not belong here", c.escape_debug());
                    return Err(DotError::at(line, &message));
                }
                (Some(TokenKind::Text(rest[..end].to_owned(), false)), end)
            }
        };
        tokens.extend(kind.map(|kind| Token { line: start, kind }));
        rest = &rest[taken..];
    }
    Ok(tokens)
}

fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '.'
}

fn to_end_of_line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

fn newlines(text: &str) -> usize {
    text.bytes().filter(|b| *b == b'\n').count()
}

/// The text in quotation marks at the start, and how many bytes it takes with them. Only the quotation mark is
/// escaped in Graphviz; other escapes belong to labels and stay.
fn quoted(text: &str) -> Option<(String, usize)> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, at + 1)),
            '\\' if chars.peek().is_some_and(|(_, next)| *next == '"') => {
                out.push('"');
                chars.next();
            }
            c => out.push(c),
        }
    }
    None
}

/// Bytes of a label in angle brackets, which nest.
fn html(text: &str) -> Option<usize> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}
