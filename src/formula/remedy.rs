//! What to do about each error.

use super::kind::FormulaErrorKind;

impl FormulaErrorKind {
    /// One line for the reader: what to change.
    pub fn remedy(&self) -> String {
        use FormulaErrorKind as Kind;
        let fixed = match self {
            Kind::UnknownSetting { nearest, .. } if nearest.is_empty() => {
                "no name is open: leave the setting out"
            }
            Kind::UnknownSetting { nearest, .. } => return format!("did you mean {}?", quoted(nearest)),
            Kind::Open { names } => return set_all(names),
            Kind::Unclosed { open } => return format!("close it with `{}`", closing(*open)),
            Kind::WrongClose { open, .. } => return format!("close it with `{}`", closing(*open)),
            Kind::Empty => "write one such as T = 16 × [Get_Time(1024×10000, 8192, 8192) × 3 + 12 ms]",
            Kind::UnexpectedCharacter { .. } => "operators are + - × /, comments begin with // or #",
            Kind::Bold => "bold goes around the label only; write a power as a product",
            Kind::NumberTooLarge => "the largest number is 1.8e308",
            Kind::StrayClose { .. } => "take it out, or open it further to the left",
            Kind::MissingOperand => "complete it, or take out what stands before it",
            Kind::MissingOperator => {
                "write + - × or / between the two, or begin a new line for a new formula"
            }
            Kind::Prose { .. } => {
                "move words behind //, or put an operator between them and the rest; units are ns us ms s min h"
            }
            Kind::UnknownFunction { .. } => {
                "functions are Get_Time, Get_Time_batched, max and min; a product needs its ×"
            }
            Kind::Arguments { .. } => {
                "a comma always separates arguments: write a large number as 10240000, 10_240_000 or (10,240,000)"
            }
            Kind::StrayComma => "write decimals with a point: 1.5; take other commas out",
            Kind::TooDeep { .. } => "take out brackets, or name a part on a line of its own",
            Kind::Label => {
                "begin a new line for each formula; a name is words of letters, digits and underscores"
            }
            Kind::Bullet => {
                "take it out, or put a label behind it: - T: 2 × …; an empty line ends the formula before it"
            }
            Kind::NotASetting { .. } => {
                "write --set NAME=VALUE, where the value is a number, a time such as 12ms, or a formula"
            }
            Kind::DefinedTwice { .. } => "rename one of the two, or take one out",
            Kind::SettingOfDefined { .. } => {
                "leave the setting out, or take the definition out of the formula"
            }
            Kind::SetTwice { .. } => "leave one of the two out",
            Kind::Cycle { .. } => "define one of them without the others",
            Kind::Mixed { .. } => "give the number a unit, as in 3 ms, or multiply the two",
            Kind::TimeTimesTime => "multiply a time by a number; was a + meant?",
            Kind::NumberOverTime => "divide the time by the number, or a time by a time",
            Kind::DivisionByZero => "divide by something else",
            Kind::NotFinite => "use smaller factors, and divisors whose interval does not hold 0",
            Kind::DimensionIsATime { .. } => "arguments are numbers of rows and columns",
            Kind::Dimension { .. } => "arguments are whole numbers from 1 to 2^53: check what divides them",
            Kind::NotATime { .. } => {
                "multiply it by a call or a time, give it a unit, or use it in another formula"
            }
            Kind::Negative { leading_minus: true, .. } => {
                "is the minus at its start a list bullet? then take it out"
            }
            Kind::Negative { .. } => "what is subtracted takes longer than what it is subtracted from",
            Kind::Cost { .. } => {
                "measure this call with calibrate, or fall back on a data sheet: the answer then says modelled"
            }
        };
        fixed.to_owned()
    }
}

fn closing(open: char) -> char {
    match open {
        '(' => ')',
        '[' => ']',
        _ => '}',
    }
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(" or ")
}

fn set_all(names: &[String]) -> String {
    let settings: Vec<String> = names.iter().map(|name| format!("--set '{name}=…'")).collect();
    format!(
        "set each to a number, a time such as 12ms or a formula (0 is both); words that are no name belong behind //\n  {}",
        settings.join(" ")
    )
}
