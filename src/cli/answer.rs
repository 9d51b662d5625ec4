//! Descriptions of answers and of fits, on the terminal.
//!
//! Warnings stand beside the numbers, not on stderr: whoever keeps the output keeps the warning.

use super::show::table;
use crate::describe::{self, Answer, Scale, Table};
use crate::fit::{Analysis, Warning};
use crate::predict::Prediction;
use crate::predict::hardware::{DEFAULT_MFU, DEVICES};
use crate::units::digits3;

/// An answer: its lines, what each method says, and what not to believe of it.
pub(super) fn text(answer: &Answer) -> String {
    let mut out = format!("{}:\n", answer.heading);
    for line in &answer.lines {
        out += &format!("  {:<10}{}\n", line.name, line.value.line());
    }
    out += &sentences(&answer.notes);
    out += &answer.methods.as_ref().map_or_else(String::new, rows);
    out + &doubts(&answer.warnings)
}

/// What the terminal shows of a fit, and of what is predicted from it.
pub(super) fn fit(analysis: &Analysis, predictions: &[Prediction]) -> String {
    let methods = describe::methods(analysis);
    let mut out = across(&methods) + &sentences(&methods.notes);
    out += &sentences(&describe::reading(analysis));
    let forms = describe::forms(analysis);
    if !forms.rows.is_empty() {
        out += &format!("\n{}", rows(&forms));
    }
    if let Some(health) = &analysis.health {
        out += &format!("\n{}\n", health.line());
    }
    let scale = Scale::of(analysis);
    for prediction in predictions {
        out += &format!("\n{}", text(&describe::optimal(prediction, &scale)));
    }
    out
}

/// A table, and how to read it.
fn rows(of: &Table) -> String {
    let shown: Vec<usize> = (0..of.columns.len()).filter(|c| !of.columns[*c].page_only).collect();
    let header: Vec<&str> = shown.iter().map(|c| of.columns[*c].name).collect();
    let left = shown.iter().take_while(|c| !of.columns[**c].numeric).count();
    let cell = |row: &[describe::Value], c: usize| row[c].clone().then("").line();
    let rows: Vec<Vec<String>> =
        of.rows.iter().map(|row| shown.iter().map(|c| cell(row, *c)).collect()).collect();
    table(&header, left, &rows) + &sentences(&of.notes)
}

/// The same with rows as columns: few methods of many quantities are compared along a line.
fn across(of: &Table) -> String {
    let header: Vec<&str> =
        std::iter::once("").chain(of.rows.iter().map(|row| row[0].text.as_str())).collect();
    let quantities = of.columns.iter().enumerate().skip(1).filter(|(_, column)| !column.page_only);
    let rows = quantities.map(|(c, column)| {
        let label = match column.unit {
            "" => column.name.to_owned(),
            unit => format!("{}: {unit}", column.name),
        };
        let values = of.rows.iter().map(|row| row[c].clone().then("").line());
        std::iter::once(label).chain(values).collect()
    });
    table(&header, 1, &rows.collect::<Vec<_>>())
}

fn sentences(of: &[String]) -> String {
    of.iter().fold(String::new(), |out, sentence| out + &format!("  {sentence}\n"))
}

fn doubts<'a>(warnings: impl IntoIterator<Item = &'a Warning>) -> String {
    warnings.into_iter().fold(String::new(), |out, w| out + &format!("  ! {w}\n"))
}

/// What the fit itself warned of that bears on every answer, once for all of them.
pub(super) fn of_the_fit(warnings: &[&Warning]) -> String {
    let head = "Of the fit that this is predicted from (`isoflop fit` has all its warnings):\n";
    let lines = doubts(warnings.iter().copied());
    if lines.is_empty() { lines } else { head.to_owned() + &lines }
}

/// The table of devices.
pub(super) fn devices() -> String {
    let rows = DEVICES
        .iter()
        .map(|d| vec![d.name.to_owned(), d.source.to_owned(), digits3(d.peak / 1e12)]);
    table(&["device", "source", "TFLOP/s"], 2, &rows.collect::<Vec<_>>())
        + &format!(
            "\n  Dense bf16 peak, without sparsity. Training gets a share of it, the MFU: {:.0}% unless --mfu says \
             otherwise. Other devices: --gpu custom --peak-tflops X.\n",
            100.0 * DEFAULT_MFU
        )
}
