//! The words of a formula, each with its place.

use super::place::Place;

/// A kind of bracket; an opening one is closed by its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bracket {
    Round,
    Square,
    Curly,
}

impl Bracket {
    pub(super) const fn opened_by(c: char) -> Option<Self> {
        match c {
            '(' => Some(Bracket::Round),
            '[' => Some(Bracket::Square),
            '{' => Some(Bracket::Curly),
            _ => None,
        }
    }

    pub(super) const fn closed_by(c: char) -> Option<Self> {
        match c {
            ')' => Some(Bracket::Round),
            ']' => Some(Bracket::Square),
            '}' => Some(Bracket::Curly),
            _ => None,
        }
    }

    pub(super) const fn open(self) -> char {
        match self {
            Bracket::Round => '(',
            Bracket::Square => '[',
            Bracket::Curly => '{',
        }
    }

    pub(super) const fn close(self) -> char {
        match self {
            Bracket::Round => ')',
            Bracket::Square => ']',
            Bracket::Curly => '}',
        }
    }
}

/// What can be called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Max,
    Min,
    GetTime,
    GetTimeBatched,
}

impl Function {
    /// The function that `word` names, whatever its case.
    pub(super) fn named(word: &str) -> Option<Self> {
        match word.to_lowercase().as_str() {
            "max" => Some(Function::Max),
            "min" => Some(Function::Min),
            "get_time" | "gettime" => Some(Function::GetTime),
            "get_time_batched" | "gettimebatched" => Some(Function::GetTimeBatched),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Function::Max => "max",
            Function::Min => "min",
            Function::GetTime => "Get_Time",
            Function::GetTimeBatched => "Get_Time_batched",
        }
    }

    /// The names of the arguments; none for `max` and `min`, which take any number from 1.
    pub(super) const fn parameters(self) -> &'static [&'static str] {
        match self {
            Function::Max | Function::Min => &[],
            Function::GetTime => &["m", "k", "n"],
            Function::GetTimeBatched => &["b", "m", "k", "n"],
        }
    }
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Number(f64),
    /// A time in seconds.
    Time(f64),
    /// One or more words, with single blanks between them.
    Name(String),
    /// A function with an opening bracket behind it.
    Function(Function),
    Plus,
    Minus,
    Times,
    Divide,
    Open(Bracket),
    Close(Bracket),
    Comma,
    /// `=`, `:` or `:=`.
    Assign,
    /// `**` of Markdown.
    Bold,
    /// `•`, or `1.` at the start of a line: never part of an expression.
    Bullet,
    /// The end of a line outside of brackets.
    Newline,
    /// A line outside of brackets with nothing on it, or the fence of a code block.
    EmptyLine,
    Unknown(char),
}

impl TokenKind {
    pub(super) const fn is_operator(&self) -> bool {
        matches!(self, TokenKind::Plus | TokenKind::Minus | TokenKind::Times | TokenKind::Divide)
    }

    /// Whether an operand may end here, so that an operator may follow.
    pub(super) const fn ends_operand(&self) -> bool {
        matches!(self, TokenKind::Number(_) | TokenKind::Time(_) | TokenKind::Name(_) | TokenKind::Close(_))
    }
}

/// One word of a formula.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) place: Place,
    /// The bytes of the source that it covers.
    pub(super) start: usize,
    pub(super) end: usize,
}
