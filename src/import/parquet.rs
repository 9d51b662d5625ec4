//! A Parquet file as a table: each row a run, each value the text that a CSV would hold.
//!
//! Nulls are empty cells. Numbers are written by the fewest digits that read back to the same bits, so that roles,
//! units and magnitudes are found as in any other table. What is no number and no text is named and left out.

use std::fmt::{Display, LowerExp};

use bytes::Bytes;

use super::MAX_BYTES;
use super::grid::{Grid, Row};
use crate::columnar::{Budget, Column, Parquet, Unread, Value};
use crate::error::InputError;

/// What an empty cell takes of memory [bytes].
const CELL: u64 = size_of::<String>() as u64;

/// Whether bytes begin as a Parquet file does.
pub(super) fn is_parquet(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PAR1") || bytes.starts_with(b"PARE")
}

/// The rows of a Parquet file; `source` names it in errors.
///
/// # Errors
///
/// [`InputError`]: a damaged file, a codec or an encoding that is not read, more than is read, or no column.
pub(super) fn read(bytes: &[u8], source: &str) -> Result<Grid, InputError> {
    let refused = |why| refused(why, source);
    let file = Parquet::open(Bytes::copy_from_slice(bytes)).map_err(refused)?;
    let (unpacked, held) = (Budget::new(MAX_BYTES), Budget::new(MAX_BYTES));
    let mut left_out: Vec<(&str, &str)> =
        file.left_out.iter().map(|(name, what)| (name.as_str(), *what)).collect();
    let mut header = Vec::new();
    let mut columns: Vec<Vec<String>> = Vec::new();
    for column in &file.columns {
        match cells(&file, column, &unpacked, &held) {
            Ok(cells) => {
                header.push(name(&column.name));
                columns.push(cells);
            }
            Err(Unread::NoText) => left_out.push((&column.name, "bytes")),
            Err(why) => return Err(refused(why)),
        }
    }
    let told: Vec<String> =
        left_out.iter().map(|(name, what)| format!("`{name}` ({what})")).collect();
    if columns.is_empty() {
        return Err(InputError::new(
            format!("{source}: no column of numbers or text; it has {}", or_none(&told)),
            "a table of runs has one row a run, with columns for params, tokens (or budget) and loss",
        ));
    }
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    let rows = (1..)
        .map_while(|line| {
            let cells: Vec<String> = columns.iter_mut().filter_map(Iterator::next).collect();
            (!cells.is_empty()).then_some(Row { line, cells })
        })
        .collect();
    let notes = match told.len() {
        0 => Vec::new(),
        n => vec![format!(
            "{} not read: {}",
            if n == 1 { "a column is" } else { "some columns are" },
            told.join(", ")
        )],
    };
    Ok(Grid { header, rows, notes, place: "row" })
}

fn or_none(told: &[String]) -> String {
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

/// The cells of one column, over all row groups.
fn cells(
    file: &Parquet<Bytes>,
    column: &Column,
    unpacked: &Budget,
    held: &Budget,
) -> Result<Vec<String>, Unread> {
    let mut out = Vec::new();
    for group in 0..file.groups() {
        file.read(group, column, unpacked, |value| {
            let text = value.map_or_else(String::new, text);
            if !held.take(CELL + text.len() as u64) {
                return Err(Unread::TooLarge);
            }
            out.push(text);
            Ok(())
        })?;
    }
    Ok(out)
}

/// The name of a column; pandas' index without a name has none, as in a CSV by pandas.
fn name(name: &str) -> String {
    if name.starts_with("__index_level_") { String::new() } else { name.trim().to_owned() }
}

/// A value as text.
fn text(value: Value<'_>) -> String {
    match value {
        Value::Bool(v) => v.to_string(),
        Value::Int(v) => v.to_string(),
        Value::Unsigned(v) => v.to_string(),
        Value::Float(v) => number(v, v.into()),
        Value::Double(v) => number(v, v),
        Value::Text(v) => v.trim().to_owned(),
    }
}

/// A number by the fewest digits that read back to it.
fn number<T: Display + LowerExp>(value: T, size: f64) -> String {
    let plain = size == 0.0 || (1e-5..1e16).contains(&size.abs());
    let text = if plain { format!("{value}") } else { format!("{value:e}") };
    // `2.345` in a column beside `7,09` could be read as two thousand and some; `2.3450` cannot.
    let (digits, power) = text.find('e').map_or((text.as_str(), ""), |at| text.split_at(at));
    match digits.split_once('.') {
        Some((_, fraction)) if fraction.len() == 3 => format!("{digits}0{power}"),
        _ => text,
    }
}

fn refused(why: Unread, source: &str) -> InputError {
    match why {
        Unread::Damaged(why) => InputError::new(
            format!("{source} is a Parquet file, and cannot be read: {why}"),
            "the file may be cut short: fetch it again; if another program reads it, write it as CSV: in Python, \
             pandas.read_parquet(FILE).to_csv('runs.csv', index=False)",
        ),
        Unread::Unsupported(what) => InputError::new(
            format!("{source} is a Parquet file in a way that is not read: {what}"),
            "write it again: in Python, pandas.read_parquet(FILE).to_parquet('runs.parquet', compression='snappy'), \
             or .to_csv('runs.csv', index=False)",
        ),
        Unread::TooLarge | Unread::NoText => InputError::new(
            format!("{source}: more than {MAX_BYTES} bytes when unpacked"),
            "a table of runs has one row a run",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::number::{Evidence, Style};

    #[test]
    fn a_number_reads_back_to_the_same_bits_and_never_as_thousands() {
        for value in [
            0.1,
            1.0 / 3.0,
            2.345,
            -2.345,
            0.512,
            7085551.0,
            1e16,
            1.234e18,
            9007199254740993.0,
            1e-7,
            5e-324,
            f64::MAX,
            123.456,
            3.0999999046325684,
        ] {
            let text = number(value, value);
            assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{text}");
            let read = crate::import::number::number(&text, Style::Point);
            assert_eq!(read.map(|n| n.value.to_bits()), Some(value.to_bits()), "{text}");
            if value.fract() != 0.0 && value > 0.01 {
                assert_eq!(Evidence::of([text.as_str()].into_iter()).point, 1, "{text}");
            }
        }
        assert_eq!(number(3.1_f32, 3.1_f32.into()), "3.1");
        assert_eq!(number(f64::NAN, f64::NAN), "NaN");
    }
}
