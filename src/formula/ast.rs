//! The tree of an expression.

use super::place::Place;
use super::token::Function;

/// A part of a formula and the text it stands for.
#[derive(Debug)]
pub(super) struct Expr {
    pub(super) node: Node,
    pub(super) place: Place,
    /// The bytes of the source that it covers.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Sums and products hold all their operands side by side: a chain of any length is one level deep, so
/// only brackets nest, and those have a limit.
#[derive(Debug)]
pub(super) enum Node {
    Number(f64),
    Time(f64),
    Name(String),
    Negative(Box<Expr>),
    Sum(Box<Expr>, Vec<Step>),
    Product(Box<Expr>, Vec<Step>),
    Call(Function, Vec<Expr>),
}

/// One more operand of a sum or a product.
#[derive(Debug)]
pub(super) struct Step {
    /// Whether it is subtracted, or divided by.
    pub(super) inverse: bool,
    /// Where the operator stands.
    pub(super) operator: Place,
    pub(super) operand: Expr,
}

impl Expr {
    /// Whether the first operand has a minus before it.
    pub(super) fn starts_with_minus(&self) -> bool {
        match &self.node {
            Node::Negative(_) => true,
            Node::Sum(first, _) | Node::Product(first, _) => first.starts_with_minus(),
            _ => false,
        }
    }

    /// Calls `visit` with each name in it, in order.
    pub(super) fn each_name<'a>(&'a self, visit: &mut impl FnMut(&'a str, Place)) {
        match &self.node {
            Node::Number(_) | Node::Time(_) => {}
            Node::Name(name) => visit(name, self.place),
            Node::Negative(operand) => operand.each_name(visit),
            Node::Sum(first, rest) | Node::Product(first, rest) => {
                first.each_name(visit);
                rest.iter().for_each(|step| step.operand.each_name(visit));
            }
            Node::Call(_, arguments) => arguments.iter().for_each(|argument| argument.each_name(visit)),
        }
    }
}
