//! The value of each definition, against a source of costs.

use std::collections::HashMap;

use super::ast::{Expr, Node, Step};
use super::error::Fault;
use super::kind::FormulaErrorKind as Kind;
use super::names::Names;
use super::number::shown;
use super::place::Source;
use super::token::Function;
use super::value::{Unit, Value};
use crate::cost::{Cost, Estimate};
use crate::dtype::Dtype;
use crate::op::{Gemm, Op};

/// 2^53: from here on a 64-bit float skips whole numbers.
const LARGEST_DIMENSION: f64 = 9_007_199_254_740_992.0;

/// Evaluates definitions, and asks for the cost of each distinct product once.
pub(super) struct Evaluator<'a> {
    pub(super) names: &'a Names,
    pub(super) sources: &'a [Source<'a>],
    pub(super) dtype: Dtype,
    pub(super) cost: &'a dyn Cost,
    /// The values of the definitions so far, by index.
    pub(super) values: Vec<Option<Value>>,
    /// Every distinct product so far.
    pub(super) calls: Vec<(Gemm, Estimate)>,
    /// Where each product stands in `calls`.
    pub(super) known: HashMap<Gemm, usize>,
}

impl Evaluator<'_> {
    /// Evaluates every definition, each after those it needs.
    pub(super) fn run(&mut self) -> Result<(), Fault> {
        let names = self.names;
        self.values.resize(names.definitions.len(), None);
        for &index in &names.order {
            self.values[index] = Some(self.value(&names.definitions[index].expr)?);
        }
        Ok(())
    }

    fn value(&mut self, expr: &Expr) -> Result<Value, Fault> {
        match &expr.node {
            Node::Number(number) => Ok(Value::exactly(Unit::Number, *number)),
            Node::Time(seconds) => Ok(Value::exactly(Unit::Time, *seconds)),
            Node::Name(name) => {
                let value = self.names.index(name).and_then(|index| self.values.get(index)?.clone());
                value.ok_or_else(|| Fault::new(expr.place, Kind::Open { names: vec![name.clone()] }))
            }
            Node::Negative(operand) => Ok(self.value(operand)?.negated()),
            Node::Sum(first, rest) => self.chain(first, rest, |sum, operand, inverse| match inverse {
                false => sum.add(operand, "added"),
                true => sum.add(operand.negated(), "subtracted"),
            }),
            Node::Product(first, rest) => {
                self.chain(first, rest, |product, operand, inverse| match inverse {
                    false => product.times(operand),
                    true => product.over(operand),
                })
            }
            Node::Call(Function::Max, arguments) => self.extreme(expr, arguments, true),
            Node::Call(Function::Min, arguments) => self.extreme(expr, arguments, false),
            Node::Call(function, arguments) => self.call(expr, *function, arguments),
        }
    }

    fn chain(
        &mut self,
        first: &Expr,
        rest: &[Step],
        apply: fn(Value, Value, bool) -> Result<Value, Kind>,
    ) -> Result<Value, Fault> {
        let mut value = self.value(first)?;
        for Step { inverse, operator, operand } in rest {
            let operand = self.value(operand)?;
            value = apply(value, operand, *inverse).map_err(|kind| Fault::new(*operator, kind))?;
        }
        Ok(value)
    }

    fn extreme(&mut self, call: &Expr, arguments: &[Expr], largest: bool) -> Result<Value, Fault> {
        let mut best: Option<Value> = None;
        for argument in arguments {
            let value = self.value(argument)?;
            best = Some(match best {
                None => value,
                Some(best) => {
                    best.extreme(value, largest).map_err(|kind| Fault::new(argument.place, kind))?
                }
            });
        }
        best.ok_or_else(|| Fault::new(call.place, Kind::MissingOperand))
    }

    fn call(&mut self, call: &Expr, function: Function, arguments: &[Expr]) -> Result<Value, Fault> {
        let parameters = function.parameters();
        let mut dimensions = Vec::with_capacity(parameters.len());
        for (&parameter, argument) in parameters.iter().zip(arguments) {
            dimensions.push(self.dimension(parameter, argument)?);
        }
        let (batch, m, k, n) = match *dimensions.as_slice() {
            [m, k, n] => (1, m, k, n),
            [b, m, k, n] => (b, m, k, n),
            _ => return Err(Fault::new(call.place, Kind::MissingOperand)), // the parser counts arguments
        };
        let gemm = Gemm { m, k, n, batch, dtype: self.dtype };
        let index = match self.known.get(&gemm) {
            Some(&index) => index,
            None => {
                let estimate = self.cost.cost(&Op::Gemm(gemm)).map_err(|error| {
                    Fault::new(call.place, Kind::Cost { call: self.text_of(call), error })
                })?;
                self.calls.push((gemm, estimate));
                self.known.insert(gemm, self.calls.len() - 1);
                self.calls.len() - 1
            }
        };
        Ok(Value::call(index, &self.calls[index].1))
    }

    fn dimension(&mut self, parameter: &'static str, argument: &Expr) -> Result<u64, Fault> {
        let value = self.value(argument)?;
        let text = self.text_of(argument);
        if !value.is_number() {
            return Err(Fault::new(argument.place, Kind::DimensionIsATime { parameter, text }));
        }
        let value = value.middle;
        let whole = value.round();
        // 30 × 0.1 is not exactly 3 in binary; a few units in the last place are rounding, not a fraction.
        let demand = match () {
            () if (value - whole).abs() > 4.0 * f64::EPSILON * value.abs() => "a whole number",
            () if whole < 1.0 => "at least 1",
            () if whole > LARGEST_DIMENSION => "at most 2^53",
            () => return Ok(whole as u64),
        };
        let equation = match (&argument.node, shown(value)) {
            (Node::Number(_), _) => format!("{parameter} = {text}"),
            (_, value) if value == text => format!("{parameter} = {text}"),
            (_, value) => format!("{parameter} = {text} = {value}"),
        };
        Err(Fault::new(argument.place, Kind::Dimension { equation, demand }))
    }

    /// The text that an expression was read from, on one line.
    fn text_of(&self, expr: &Expr) -> String {
        let source = self.sources.get(expr.place.source).map_or("", |source| source.text);
        let words: Vec<&str> = source.get(expr.start..expr.end).unwrap_or("").split_whitespace().collect();
        let text = words.join(" ");
        match text.char_indices().nth(80) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}
