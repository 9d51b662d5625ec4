//! What a screen says of a fit and of its answers, before it is a screen: lines, tables and sentences.
//!
//! The terminal (`cli`) and the page (`report`) show the same description, each in its own way. JSON has the same
//! results with all their digits. So no two screens can disagree about a number, its unit or its interval.

mod answer;
mod fit;
mod forms;
mod number;

pub use answer::{Scale, chosen, inverse, limited, optimal, serving};
pub use fit::{budgets, choices, disagreement, holdout, method_title, methods, noise, reading};
pub use forms::{forms, irreducible};
pub use number::{counted, estimate, loss, number, percent, share};

use crate::fit::Warning;

/// One value: its text, the ends of its interval, and what is said after it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Value {
    /// The number, or words. Empty where there is nothing to say.
    pub text: String,
    /// The ends of its interval, where it has one.
    pub interval: Option<[String; 2]>,
    /// What follows: the unit, and what the interval is of. In a table a page alone has room for it.
    pub after: String,
    /// The number with all its digits, where it is one.
    pub exact: Option<f64>,
}

impl Value {
    /// Words without a number.
    pub fn words(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    /// The same with something after it.
    #[must_use]
    pub fn then(self, after: impl Into<String>) -> Self {
        Self { after: after.into(), ..self }
    }

    /// In one line: `1.23 (1.20..1.30) nats/token`.
    pub fn line(&self) -> String {
        let interval = self.interval.as_ref().map(|[lo, hi]| format!(" ({lo}..{hi})"));
        format!("{}{}{}", self.text, interval.unwrap_or_default(), self.after)
    }
}

/// A named value.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Such as `N*`.
    pub name: &'static str,
    /// What it is.
    pub value: Value,
    /// Its unit alone; empty for words.
    pub unit: String,
}

/// A column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Such as `N*`.
    pub name: &'static str,
    /// The unit, or what the column is of; a page has room for it.
    pub unit: &'static str,
    /// Whether it holds numbers.
    pub numeric: bool,
    /// Whether only a page has room for it.
    pub page_only: bool,
}

/// A column of numbers.
const fn numbers(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit, numeric: true, page_only: false }
}

/// A column of words.
const fn words(name: &'static str, unit: &'static str) -> Column {
    Column { name, unit, numeric: false, page_only: false }
}

impl Column {
    /// The same, on a page alone.
    const fn on_a_page(self) -> Self {
        Self { page_only: true, ..self }
    }
}

/// Rows under heads, with what must be known to read them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The heads.
    pub columns: Vec<Column>,
    /// One value for each column.
    pub rows: Vec<Vec<Value>>,
    /// The row that stands out, if one does.
    pub leading: Option<usize>,
    /// How to read it, a sentence each.
    pub notes: Vec<String>,
}

/// An answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What was asked, how far from the runs, and by whom it is answered.
    pub heading: String,
    /// The answer.
    pub lines: Vec<Line>,
    /// Sentences about it.
    pub notes: Vec<String>,
    /// What each method says.
    pub methods: Option<Table>,
    /// What not to believe of it.
    pub warnings: Vec<Warning>,
}
