//! Tokens to the tree of one expression.

use super::ast::{Expr, Node, Step};
use super::error::Fault;
use super::kind::FormulaErrorKind as Kind;
use super::place::Place;
use super::token::{Bracket, Function, Token, TokenKind};

/// Brackets inside each other that are read. Unoptimized, a level takes up to 10 kB of stack, and the
/// smallest usual stack has 1 MiB.
pub(super) const NESTING_LIMIT: usize = 100;

/// Reads all of `tokens` as one expression; `before` is the place to blame when there are none.
pub(super) fn expression(tokens: &[Token], before: Place) -> Result<Expr, Fault> {
    let mut parser = Parser { tokens, at: 0, depth: 0, before };
    let expr = parser.sum()?;
    match parser.peek() {
        None => Ok(expr),
        Some(token) => Err(parser.unexpected(token)),
    }
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: usize,
    before: Place,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.at)
    }

    fn kind(&self) -> Option<&'a TokenKind> {
        self.peek().map(|token| &token.kind)
    }

    /// The token before the current one.
    fn previous(&self) -> Option<&'a Token> {
        self.tokens.get(self.at.checked_sub(1)?)
    }

    fn sum(&mut self) -> Result<Expr, Fault> {
        let first = self.product()?;
        let mut rest = Vec::new();
        while let Some(operator) = self.peek()
            && matches!(operator.kind, TokenKind::Plus | TokenKind::Minus)
        {
            self.at += 1;
            let inverse = operator.kind == TokenKind::Minus;
            rest.push(Step { inverse, operator: operator.place, operand: self.product()? });
        }
        Ok(self.chain(first, rest, Node::Sum))
    }

    fn product(&mut self) -> Result<Expr, Fault> {
        let first = self.signed()?;
        let mut rest = Vec::new();
        while let Some(operator) = self.peek()
            && matches!(operator.kind, TokenKind::Times | TokenKind::Divide)
        {
            self.at += 1;
            let inverse = operator.kind == TokenKind::Divide;
            rest.push(Step { inverse, operator: operator.place, operand: self.signed()? });
        }
        Ok(self.chain(first, rest, Node::Product))
    }

    fn chain(&self, first: Expr, rest: Vec<Step>, node: fn(Box<Expr>, Vec<Step>) -> Node) -> Expr {
        if rest.is_empty() {
            return first;
        }
        let (place, start) = (first.place, first.start);
        Expr { node: node(Box::new(first), rest), place, start, end: self.end() }
    }

    /// An operand behind any number of signs, taken in a loop: a row of minuses nests nothing.
    fn signed(&mut self) -> Result<Expr, Fault> {
        let first = self.peek();
        let mut negative = false;
        while matches!(self.kind(), Some(TokenKind::Minus)) {
            negative = !negative;
            self.at += 1;
        }
        let operand = self.operand()?;
        match first {
            Some(sign) if negative => {
                let end = operand.end;
                Ok(Expr {
                    node: Node::Negative(Box::new(operand)),
                    place: sign.place,
                    start: sign.start,
                    end,
                })
            }
            _ => Ok(operand),
        }
    }

    fn operand(&mut self) -> Result<Expr, Fault> {
        let Some(token) = self.peek() else {
            let place = self.previous().map_or(self.before, |operator| operator.place);
            return Err(Fault::new(place, Kind::MissingOperand));
        };
        let node = match &token.kind {
            TokenKind::Number(value) | TokenKind::Time(value) if value.is_infinite() => {
                return Err(Fault::new(token.place, Kind::NumberTooLarge));
            }
            TokenKind::Number(value) => Node::Number(*value),
            TokenKind::Time(seconds) => Node::Time(*seconds),
            TokenKind::Name(name) => Node::Name(name.clone()),
            TokenKind::Open(bracket) => return self.group(token, *bracket),
            TokenKind::Function(function) => return self.call(token, *function),
            TokenKind::Bold => return Err(Fault::new(token.place, Kind::Bold)),
            TokenKind::Unknown(character) => {
                return Err(Fault::new(token.place, Kind::UnexpectedCharacter { character: *character }));
            }
            _ => return Err(Fault::new(token.place, Kind::MissingOperand)),
        };
        self.at += 1;
        Ok(Expr { node, place: token.place, start: token.start, end: token.end })
    }

    fn group(&mut self, open: &Token, bracket: Bracket) -> Result<Expr, Fault> {
        self.enter(open)?;
        let inner = self.sum()?;
        self.close(open, bracket)?;
        Ok(Expr { node: inner.node, place: inner.place, start: open.start, end: self.end() })
    }

    fn call(&mut self, name: &Token, function: Function) -> Result<Expr, Fault> {
        self.at += 1;
        let Some(open) = self.peek() else { return Err(Fault::new(name.place, Kind::MissingOperand)) };
        let TokenKind::Open(bracket) = open.kind else {
            return Err(Fault::new(open.place, Kind::MissingOperand));
        };
        self.enter(open)?;
        let mut arguments = Vec::new();
        if !matches!(self.kind(), Some(TokenKind::Close(_))) {
            arguments.push(self.sum()?);
            while matches!(self.kind(), Some(TokenKind::Comma)) {
                self.at += 1;
                arguments.push(self.sum()?);
            }
        }
        self.close(open, bracket)?;
        let (fits, expected) = match function {
            Function::Max | Function::Min => (!arguments.is_empty(), "at least 1 argument"),
            Function::GetTime => (arguments.len() == 3, "3 arguments (m, k, n)"),
            Function::GetTimeBatched => (arguments.len() == 4, "4 arguments (b, m, k, n)"),
        };
        if !fits {
            let found = arguments.len();
            return Err(Fault::new(
                name.place,
                Kind::Arguments { function: function.name(), expected, found },
            ));
        }
        let node = Node::Call(function, arguments);
        Ok(Expr { node, place: name.place, start: name.start, end: self.end() })
    }

    fn enter(&mut self, open: &Token) -> Result<(), Fault> {
        self.depth += 1;
        self.at += 1;
        match self.depth {
            1..=NESTING_LIMIT => Ok(()),
            _ => Err(Fault::new(open.place, Kind::TooDeep { limit: NESTING_LIMIT })),
        }
    }

    fn close(&mut self, open: &Token, bracket: Bracket) -> Result<(), Fault> {
        let Some(token) = self.peek() else {
            return Err(Fault::new(open.place, Kind::Unclosed { open: bracket.open() }));
        };
        match token.kind {
            TokenKind::Close(other) if other == bracket => {
                self.depth -= 1;
                self.at += 1;
                Ok(())
            }
            TokenKind::Close(other) => {
                let Place { line, column, .. } = open.place;
                let (open, close) = (bracket.open(), other.close());
                Err(Fault::new(token.place, Kind::WrongClose { open, close, line, column }))
            }
            _ => Err(self.unexpected(token)),
        }
    }

    /// Why `token` cannot follow a complete operand.
    fn unexpected(&self, token: &Token) -> Fault {
        let kind = match &token.kind {
            TokenKind::Close(bracket) => Kind::StrayClose { close: bracket.close() },
            TokenKind::Comma => Kind::StrayComma,
            TokenKind::Assign => Kind::Label,
            TokenKind::Bold => Kind::Bold,
            TokenKind::Unknown(character) => Kind::UnexpectedCharacter { character: *character },
            kind => {
                if let Some(Token { kind: TokenKind::Name(words), place, end, .. }) = self.previous() {
                    let touches = *end == token.start && matches!(kind, TokenKind::Open(_));
                    let words = words.clone();
                    return Fault::new(
                        *place,
                        if touches { Kind::UnknownFunction { name: words } } else { Kind::Prose { words } },
                    );
                }
                match kind {
                    TokenKind::Name(words) => Kind::Prose { words: words.clone() },
                    _ => Kind::MissingOperator,
                }
            }
        };
        Fault::new(token.place, kind)
    }

    /// Where the text read so far ends.
    fn end(&self) -> usize {
        self.previous().map_or(0, |token| token.end)
    }
}
