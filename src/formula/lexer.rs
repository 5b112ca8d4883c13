//! Text to tokens. Nothing fails here: what cannot be read becomes a token that the parser refuses.

use super::number;
use super::place::Place;
use super::token::{Bracket, Function, Token, TokenKind};

/// Splits `text`, the source of index `source`, into tokens, from byte `start` of its first line on.
pub(super) fn tokens(text: &str, start: usize, source: usize) -> Vec<Token> {
    let mut lexer = Lexer {
        text,
        at: 0,
        place: Place::start_of(source),
        tokens: Vec::new(),
        brackets: Vec::new(),
        line: Line::Empty,
    };
    lexer.skip(start);
    while let Some(c) = lexer.rest().chars().next() {
        lexer.next(c);
    }
    lexer.tokens
}

/// What the line holds so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Line {
    Empty,
    /// Only a comment.
    Comment,
    Tokens,
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    place: Place,
    tokens: Vec<Token>,
    /// Open brackets; whether a comma in them separates arguments.
    brackets: Vec<bool>,
    line: Line,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn next(&mut self, c: char) {
        let rest = self.rest();
        if c == '\n' {
            self.end_line();
        } else if c == '`' && self.line == Line::Empty && is_fence(rest) {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
        } else if is_blank(c) || c == '`' {
            self.skip(c.len_utf8());
        } else if c == '#' || rest.starts_with("//") {
            self.skip(rest.find('\n').unwrap_or(rest.len()));
            if self.line == Line::Empty {
                self.line = Line::Comment;
            }
        } else if let Some(bytes) = self.bullet(c) {
            self.push(TokenKind::Bullet, bytes);
        } else if let Some(literal) = number::number(rest, self.brackets.last() != Some(&true)) {
            self.number(&literal);
        } else if !word(rest).is_empty() {
            self.word();
        } else {
            self.sign(c);
        }
    }

    fn end_line(&mut self) {
        if self.brackets.is_empty() {
            let kind = if self.line == Line::Empty { TokenKind::EmptyLine } else { TokenKind::Newline };
            self.push(kind, 1);
        } else {
            self.at += 1;
        }
        self.line = Line::Empty;
        self.place.line += 1;
        self.place.column = 1;
    }

    /// The length of a bullet that no expression can begin with.
    fn bullet(&self, c: char) -> Option<usize> {
        if c == '•' {
            return Some(c.len_utf8());
        }
        if self.line != Line::Empty || !self.brackets.is_empty() {
            return None;
        }
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let mut behind = rest[digits..].chars();
        let ordinal =
            digits > 0 && matches!(behind.next(), Some('.' | ')')) && behind.next().is_some_and(is_blank);
        ordinal.then_some(digits + 1)
    }

    fn number(&mut self, literal: &number::Literal) {
        let behind = &self.rest()[literal.bytes..];
        let blank = behind.chars().next().filter(|&c| is_blank(c)).map_or(0, char::len_utf8);
        let unit = word(&behind[blank..]);
        let after = &behind[blank + unit.len()..];
        // Behind a blank, `s` may be the first word of a name, and `min` the function.
        let alone = blank == 0 || !joins_name(after);
        match number::in_seconds(literal.value, unit) {
            Some(seconds) if alone && !is_call(unit, after) => {
                self.push(TokenKind::Time(seconds), literal.bytes + blank + unit.len());
            }
            _ => self.push(TokenKind::Number(literal.value), literal.bytes),
        }
    }

    fn word(&mut self) {
        let rest = self.rest();
        let first = word(rest);
        let previous = self.tokens.last();
        let is_operator = is_times(first) && previous.is_some_and(|t| t.kind.ends_operand());
        if is_operator || self.is_times_in_number(first) {
            self.push(TokenKind::Times, 1);
        } else if let Some(function) = Function::named(first).filter(|_| is_call(first, &rest[first.len()..]))
        {
            self.push(TokenKind::Function(function), first.len());
        } else {
            let mut name = first.to_owned();
            let mut bytes = first.len();
            while joins_name(&rest[bytes..]) {
                let behind = rest[bytes..].trim_start_matches(is_blank);
                let next = word(behind);
                name.push(' ');
                name.push_str(next);
                bytes = rest.len() - behind.len() + next.len();
            }
            self.push(TokenKind::Name(name), bytes);
        }
    }

    /// Whether `x10000` in `1024x10000` is a product; `0x10` is none, since it may be meant as hexadecimal.
    fn is_times_in_number(&self, word: &str) -> bool {
        word.strip_prefix(['x', 'X']).is_some_and(|behind| behind.starts_with(|c: char| c.is_ascii_digit()))
            && self.tokens.last().is_some_and(|previous| {
                matches!(previous.kind, TokenKind::Number(_))
                    && previous.end == self.at
                    && &self.text[previous.start..previous.end] != "0"
            })
    }

    fn sign(&mut self, c: char) {
        let kind = match c {
            '*' if self.rest().starts_with("**") => return self.push(TokenKind::Bold, 2),
            ':' if self.rest().starts_with(":=") => return self.push(TokenKind::Assign, 2),
            '+' => TokenKind::Plus,
            '-' | '−' => TokenKind::Minus,
            '*' | '×' | '·' | '⋅' | '∙' => TokenKind::Times,
            '/' | '÷' => TokenKind::Divide,
            ',' => TokenKind::Comma,
            '=' | ':' => TokenKind::Assign,
            _ => match (Bracket::opened_by(c), Bracket::closed_by(c)) {
                (Some(bracket), _) => TokenKind::Open(bracket),
                (_, Some(bracket)) => TokenKind::Close(bracket),
                _ => TokenKind::Unknown(c),
            },
        };
        match kind {
            TokenKind::Open(_) => {
                let calls = matches!(self.tokens.last().map(|t| &t.kind), Some(TokenKind::Function(_)));
                self.brackets.push(calls);
            }
            TokenKind::Close(_) => {
                self.brackets.pop();
            }
            _ => {}
        }
        self.push(kind, c.len_utf8());
    }

    fn push(&mut self, kind: TokenKind, bytes: usize) {
        let start = self.at;
        let mut place = self.place;
        self.skip(bytes);
        self.line = Line::Tokens;
        place.length = self.place.column - place.column;
        self.tokens.push(Token { kind, place, start, end: self.at });
    }

    fn skip(&mut self, bytes: usize) {
        self.place.column += self.text[self.at..self.at + bytes].chars().count();
        self.at += bytes;
    }
}

/// Blanks inside a line: also the byte order mark that some editors leave.
pub(super) fn is_blank(c: char) -> bool {
    c != '\n' && (c.is_whitespace() || c == '\u{feff}')
}

/// The word that `text` starts with; empty when there is none.
pub(super) fn word(text: &str) -> &str {
    if !text.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return "";
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

fn is_times(word: &str) -> bool {
    matches!(word, "x" | "X")
}

fn is_call(word: &str, after: &str) -> bool {
    Function::named(word).is_some()
        && after.trim_start_matches(is_blank).starts_with(|c| Bracket::opened_by(c).is_some())
}

/// Whether the name that ends before `behind` goes on: blanks and one more word, no operator and no call.
fn joins_name(behind: &str) -> bool {
    let text = behind.trim_start_matches(is_blank);
    let next = word(text);
    text.len() < behind.len() && !next.is_empty() && !is_times(next) && !is_call(next, &text[next.len()..])
}

/// Whether `text` starts with a line of three backticks and at most the name of a language.
fn is_fence(text: &str) -> bool {
    let line = text.split('\n').next().unwrap_or(text);
    line.strip_prefix("```").is_some_and(|tag| {
        let tag = tag.trim_start_matches('`').trim();
        tag.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '+' | '-'))
    })
}
