//! Everything that can be wrong with a formula.

use super::number::shown;
use crate::cost::CostError;

/// What is wrong; [`FormulaError`](super::FormulaError) adds where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FormulaErrorKind {
    /// No formula at all.
    #[error("there is no formula here")]
    Empty,
    /// A character that belongs to no formula.
    #[error("`{}` does not belong in a formula", .character.escape_debug())]
    UnexpectedCharacter {
        /// The character.
        character: char,
    },
    /// Two asterisks that are not around a label.
    #[error("`**` is no operator")]
    Bold,
    /// A number beyond 1.8e308.
    #[error("this number is too large")]
    NumberTooLarge,
    /// An opening bracket without its end.
    #[error("`{open}` is not closed")]
    Unclosed {
        /// The bracket.
        open: char,
    },
    /// A closing bracket of another kind than the opening one.
    #[error("`{open}` of line {line}, column {column}, is closed by `{close}`")]
    WrongClose {
        /// The opening bracket.
        open: char,
        /// The closing bracket.
        close: char,
        /// Line of the opening bracket.
        line: usize,
        /// Column of the opening bracket.
        column: usize,
    },
    /// A closing bracket that nothing opened.
    #[error("`{close}` closes nothing")]
    StrayClose {
        /// The bracket.
        close: char,
    },
    /// An operator without a right-hand side, empty brackets, a label without a formula.
    #[error("a number, a time, a name or a call is missing here")]
    MissingOperand,
    /// Two operands in a row.
    #[error("an operator is missing before this")]
    MissingOperator,
    /// Words where a formula would go on with an operator.
    #[error("\"{words}\" reads as prose, not as a formula")]
    Prose {
        /// The words.
        words: String,
    },
    /// A word directly before an opening bracket that names no function.
    #[error("`{name}` is not a function")]
    UnknownFunction {
        /// The word.
        name: String,
    },
    /// A call with too many arguments or too few.
    #[error("{function} takes {expected}, not {found}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What it takes, in words.
        expected: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A comma outside of the arguments of a call.
    #[error("a comma stands only between the arguments of a call, or between groups of three digits")]
    StrayComma,
    /// More brackets inside each other than a person writes.
    #[error("brackets are nested deeper than {limit}")]
    TooDeep {
        /// The most that are read.
        limit: usize,
    },
    /// A second `=` or `:` in one formula.
    #[error("only a single name stands before `=` or `:`")]
    Label,
    /// A formula without a label that begins with an operator and a blank.
    #[error(
        "a formula cannot start like this: is it a list bullet? as a sign, a minus makes the time negative"
    )]
    Bullet,
    /// A setting that is not `NAME=EXPRESSION`.
    #[error("\"{}\" is not a setting", .text.escape_debug())]
    NotASetting {
        /// The setting.
        text: String,
    },
    /// Two formulas of one name.
    #[error("`{name}` is already defined in line {line}")]
    DefinedTwice {
        /// The name.
        name: String,
        /// Line of the first definition.
        line: usize,
    },
    /// A setting for a name that the text defines.
    #[error("`{name}` is already defined in line {line} of the formula")]
    SettingOfDefined {
        /// The name.
        name: String,
        /// Line of the definition.
        line: usize,
    },
    /// Two settings for one name.
    #[error("`{name}` is set twice")]
    SetTwice {
        /// The name.
        name: String,
    },
    /// A setting for a name that occurs nowhere.
    #[error("`{name}` occurs nowhere in the formula")]
    UnknownSetting {
        /// The name.
        name: String,
        /// Names that do occur, nearest first.
        nearest: Vec<String>,
    },
    /// Names that neither the text nor a setting defines.
    #[error("left open: {}", .names.join(", "))]
    Open {
        /// The names, in order of appearance.
        names: Vec<String>,
    },
    /// Names that need each other.
    #[error("`{}` needs itself: {}", .names.first().map_or("", String::as_str), .names.join(" → "))]
    Cycle {
        /// The names; the last is the first again.
        names: Vec<String>,
    },
    /// A sum, difference or maximum of a time and a number.
    #[error("a time and a number cannot be {operation}")]
    Mixed {
        /// `added`, `subtracted` or `compared`.
        operation: &'static str,
    },
    /// A product of two times.
    #[error("two times cannot be multiplied")]
    TimeTimesTime,
    /// A number over a time.
    #[error("a number cannot be divided by a time")]
    NumberOverTime,
    /// Anything over 0.
    #[error("this divides by 0")]
    DivisionByZero,
    /// A result beyond 1.8e308, or an interval of a divisor that holds 0.
    #[error("the result is not finite")]
    NotFinite,
    /// A dimension that is a time.
    #[error("{parameter} = {text} is a time, not a number")]
    DimensionIsATime {
        /// The name of the argument.
        parameter: &'static str,
        /// The argument.
        text: String,
    },
    /// A dimension that is not a whole number from 1 to 2^53.
    #[error("{equation} is not {demand}")]
    Dimension {
        /// The name of the argument, its text, its value: `m = 10/3 = 3.33`.
        equation: String,
        /// What it should be.
        demand: &'static str,
    },
    /// A final result that is a number.
    #[error("{label} is the number {}, not a time", shown(*.value))]
    NotATime {
        /// The name of the formula, or `the formula`.
        label: String,
        /// Its value.
        value: f64,
    },
    /// A final result below 0.
    #[error("{label} is negative: {} s", shown(*.seconds))]
    Negative {
        /// The name of the formula, or `the formula`.
        label: String,
        /// Its value.
        seconds: f64,
        /// Whether the formula begins with a minus.
        leading_minus: bool,
    },
    /// A call whose time is not known.
    #[error("{call}: {error}")]
    Cost {
        /// The call.
        call: String,
        /// Why there is no time.
        error: CostError,
    },
}
