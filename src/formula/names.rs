//! Which name means what: definitions and settings brought together, in an order to evaluate them in.

use std::collections::{HashMap, HashSet};

use super::ast::Expr;
use super::error::Fault;
use super::kind::FormulaErrorKind as Kind;
use super::nearest;
use super::place::Place;
use super::setting::Setting;
use super::statement::Statement;

/// A formula of the text or a setting.
#[derive(Debug)]
pub(super) struct Definition {
    pub(super) name: Option<String>,
    /// Where the name stands, or else the expression.
    pub(super) place: Place,
    pub(super) expr: Expr,
    pub(super) is_setting: bool,
    /// Whether another definition names it.
    pub(super) is_used: bool,
}

/// Every definition, and what each name stands for. No name is open and none needs itself.
#[derive(Debug)]
pub(super) struct Names {
    /// The formulas in the order of the text, then the settings.
    pub(super) definitions: Vec<Definition>,
    /// Every definition after those that it needs.
    pub(super) order: Vec<usize>,
    by_name: HashMap<String, usize>,
}

impl Names {
    /// The definition of `name`.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Joins the formulas of a text and the settings for it.
    pub(super) fn resolve(statements: Vec<Statement>, settings: &[Setting]) -> Result<Self, Fault> {
        let mut names = Names { definitions: Vec::new(), order: Vec::new(), by_name: HashMap::new() };
        for Statement { name, place, expr } in statements {
            names.define(Definition { name, place, expr, is_setting: false, is_used: false })?;
        }
        for (i, setting) in settings.iter().enumerate() {
            let expr = setting.parsed(i + 1)?;
            let name = Some(setting.name().to_owned());
            let place = Place { length: setting.name().chars().count(), ..Place::start_of(i + 1) };
            names.define(Definition { name, place, expr, is_setting: true, is_used: false })?;
        }
        let needs = names.link()?;
        names.sort(&needs)?;
        Ok(names)
    }

    fn define(&mut self, definition: Definition) -> Result<(), Fault> {
        if let Some(name) = definition.name.clone() {
            if let Some(first) = self.index(&name).and_then(|i| self.definitions.get(i)) {
                let line = first.place.line;
                let kind = match (first.is_setting, definition.is_setting) {
                    (false, false) => Kind::DefinedTwice { name, line },
                    (false, true) => Kind::SettingOfDefined { name, line },
                    _ => Kind::SetTwice { name },
                };
                return Err(Fault::new(definition.place, kind));
            }
            self.by_name.insert(name, self.definitions.len());
        }
        self.definitions.push(definition);
        Ok(())
    }

    /// The definitions that each definition needs, and where it names them.
    fn link(&mut self) -> Result<Vec<Vec<(usize, Place)>>, Fault> {
        let mut needs = Vec::new();
        let mut open: Vec<(&str, Place)> = Vec::new();
        let mut seen = HashSet::new();
        for definition in &self.definitions {
            let mut needed = Vec::new();
            definition.expr.each_name(&mut |name, place| match self.by_name.get(name) {
                Some(&index) => needed.push((index, place)),
                None if seen.insert(name) => open.push((name, place)),
                None => {}
            });
            needs.push(needed);
        }
        let mut is_used = vec![false; self.definitions.len()];
        for (i, needed) in needs.iter().enumerate() {
            needed.iter().filter(|&&(index, _)| index != i).for_each(|&(index, _)| is_used[index] = true);
        }
        let unused = self.definitions.iter().zip(&is_used).find(|(d, used)| d.is_setting && !**used);
        if let Some((Definition { name: Some(name), place, .. }, _)) = unused {
            let nearest = nearest::to(name, open.iter().map(|&(name, _)| name));
            return Err(Fault::new(*place, Kind::UnknownSetting { name: name.clone(), nearest }));
        }
        if let Some(&(_, place)) = open.first() {
            let names = open.iter().map(|&(name, _)| name.to_owned()).collect();
            return Err(Fault::new(place, Kind::Open { names }));
        }
        for (definition, is_used) in self.definitions.iter_mut().zip(is_used) {
            definition.is_used = is_used;
        }
        Ok(needs)
    }

    /// Orders the definitions, depth first; a loop instead of recursion, since a chain of names has no limit.
    fn sort(&mut self, needs: &[Vec<(usize, Place)>]) -> Result<(), Fault> {
        let mut states = vec![State::New; needs.len()];
        for root in 0..needs.len() {
            if states[root] != State::New {
                continue;
            }
            states[root] = State::Open;
            let mut path = vec![(root, 0)]; // a definition and how many of its needs were followed
            while let Some((current, followed)) = path.last_mut() {
                let current = *current;
                let Some(&(next, place)) = needs[current].get(*followed) else {
                    states[current] = State::Done;
                    self.order.push(current);
                    path.pop();
                    continue;
                };
                *followed += 1;
                match states[next] {
                    State::Done => {}
                    State::New => {
                        states[next] = State::Open;
                        path.push((next, 0));
                    }
                    State::Open => {
                        let cycle = path.iter().map(|&(i, _)| i).skip_while(|&i| i != next).chain([next]);
                        let names = cycle.filter_map(|i| self.definitions[i].name.clone()).collect();
                        return Err(Fault::new(place, Kind::Cycle { names }));
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}
