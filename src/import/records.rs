//! JSON as tables come in it: a list of records, one record a line, or columns by name.
//!
//! Objects inside a record become columns of dotted names, `config.lr`.

use serde_json::{Map, Value};

use super::grid::{Grid, Row};
use crate::error::InputError;

/// How deep records are looked into; deeper values are none of a table's.
const DEPTH: usize = 4;

/// Whether a text is JSON rather than a table of cells.
pub(super) fn is_json(text: &str) -> bool {
    let start = text.trim_start();
    start.starts_with('{')
        || start.starts_with("[{")
        || start.starts_with('[') && start[1..].trim_start().starts_with(['{', '['])
}

/// The records of a JSON or JSON-lines text.
///
/// # Errors
///
/// [`InputError`]: not JSON (by its line), or JSON that holds no records.
pub(super) fn read(text: &str, source: &str) -> Result<Grid, InputError> {
    let records = match serde_json::from_str::<Value>(text) {
        Ok(value) => of_value(value, source)?,
        Err(whole) => {
            let mut out = Vec::new();
            for (i, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
                let line = line.trim().trim_end_matches(',');
                let record: Value = serde_json::from_str(line).map_err(|e| {
                    // A file of one value is told of as a whole.
                    let (at, why) = if i == 0 { (whole.line(), &whole) } else { (i + 1, &e) };
                    let nan = text.contains("NaN") || text.contains("Infinity");
                    InputError::new(
                        format!("{source}: line {at} is no JSON: {why}"),
                        if nan {
                            "NaN and Infinity are no JSON: write null, and the row is left out by name"
                        } else {
                            "a table in JSON is a list of records, [{\"params\": 1e8, ...}], or one record a line"
                        },
                    )
                })?;
                out.push((i as u64 + 1, record));
            }
            out
        }
    };
    let mut header: Vec<String> = Vec::new();
    let mut flat: Vec<(u64, Map<String, Value>)> = Vec::new();
    for (line, record) in records {
        let Value::Object(record) = record else { return Err(no_records(source)) };
        let mut row = Map::new();
        flatten("", record, 0, &mut row);
        for name in row.keys() {
            if !header.contains(name) {
                header.push(name.clone());
            }
        }
        flat.push((line, row));
    }
    let cell = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.trim().to_owned(),
        Some(other) => other.to_string(),
    };
    let rows = flat
        .iter()
        .map(|(line, row)| Row {
            line: *line,
            cells: header.iter().map(|name| cell(row.get(name))).collect(),
        })
        .collect();
    Ok(Grid { header, rows, notes: Vec::new(), place: "line" })
}

fn no_records(source: &str) -> InputError {
    InputError::new(
        format!("{source} is JSON, but holds no records"),
        "a table in JSON is a list of records, [{\"params\": 1e8, \"tokens\": 2e9, \"loss\": 3.1}, ...]",
    )
}

/// The records of one value, each with its number from 1.
fn of_value(value: Value, source: &str) -> Result<Vec<(u64, Value)>, InputError> {
    let number = |records: Vec<Value>| (1..).zip(records).collect();
    match value {
        Value::Array(records) => Ok(number(records)),
        Value::Object(mut object) => {
            // pandas' orient="split".
            if let (Some(Value::Array(names)), Some(Value::Array(rows))) =
                (object.get("columns"), object.get("data"))
            {
                let record = |row: &Value| {
                    let cells = row.as_array().into_iter().flatten();
                    let pairs = names.iter().zip(cells);
                    let named =
                        pairs.filter_map(|(n, c)| Some((n.as_str()?.to_owned(), c.clone())));
                    Value::Object(named.collect())
                };
                return Ok(number(rows.iter().map(record).collect()));
            }
            // Columns by name: lists, or maps from the row's index.
            let columns: Option<Vec<(String, Vec<Value>)>> = object
                .iter()
                .map(|(name, column)| match column {
                    Value::Array(cells) if !cells.iter().any(Value::is_object) => {
                        Some((name.clone(), cells.clone()))
                    }
                    Value::Object(cells) if cells.keys().all(|k| k.parse::<u64>().is_ok()) => {
                        let mut cells: Vec<(u64, Value)> = cells
                            .iter()
                            .map(|(k, v)| (k.parse().unwrap_or(u64::MAX), v.clone()))
                            .collect();
                        cells.sort_by_key(|(k, _)| *k);
                        Some((name.clone(), cells.into_iter().map(|(_, v)| v).collect()))
                    }
                    _ => None,
                })
                .collect();
            if let Some(columns) = columns.filter(|c| c.len() > 1) {
                let length = columns[0].1.len();
                if let Some((name, other)) = columns.iter().find(|(_, c)| c.len() != length) {
                    return Err(InputError::new(
                        format!(
                            "{source}: column `{name}` has {} values, `{}` has {length}",
                            other.len(),
                            columns[0].0
                        ),
                        "every column needs one value a run; null where there is none",
                    ));
                }
                let record = |i: usize| {
                    Value::Object(columns.iter().map(|(n, c)| (n.clone(), c[i].clone())).collect())
                };
                return Ok(number((0..length).map(record).collect()));
            }
            // {"runs": [{...}, ...]}: the one list of records inside.
            let lists: Vec<String> = object
                .iter()
                .filter(|(_, v)| v.as_array().is_some_and(|a| a.iter().any(Value::is_object)))
                .map(|(name, _)| name.clone())
                .collect();
            match lists.as_slice() {
                [one] => match object.remove(one) {
                    Some(Value::Array(records)) => Ok(number(records)),
                    _ => Err(no_records(source)),
                },
                [] if object.values().any(Value::is_number) => Ok(vec![(1, Value::Object(object))]),
                _ => Err(no_records(source)),
            }
        }
        _ => Err(no_records(source)),
    }
}

fn flatten(prefix: &str, object: Map<String, Value>, depth: usize, out: &mut Map<String, Value>) {
    for (name, value) in object {
        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Object(inner) if depth < DEPTH => flatten(&name, inner, depth + 1, out),
            Value::Array(_) | Value::Object(_) => {}
            value => {
                out.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_shape_of_json_gives_the_same_cells() {
        let want = [["2e7", "1e6", "4.2"], ["3e7", "1e6", "4.0"]];
        for text in [
            r#"[{"N": "1e6", "D": "2e7", "loss": 4.2}, {"N": "1e6", "D": "3e7", "loss": "4.0"}]"#,
            "{\"N\": \"1e6\", \"D\": \"2e7\", \"loss\": 4.2}\n{\"N\": \"1e6\", \"D\": \"3e7\", \"loss\": \"4.0\"}\n",
            r#"{"N": ["1e6", "1e6"], "D": ["2e7", "3e7"], "loss": [4.2, "4.0"]}"#,
            r#"{"N": {"0": "1e6", "1": "1e6"}, "D": {"0": "2e7", "1": "3e7"}, "loss": {"0": 4.2, "1": "4.0"}}"#,
            r#"{"columns": ["D", "N", "loss"], "index": [0, 1], "data": [["2e7", "1e6", 4.2], ["3e7", "1e6", "4.0"]]}"#,
            r#"{"runs": [{"N": "1e6", "D": "2e7", "loss": 4.2}, {"N": "1e6", "D": "3e7", "loss": "4.0"}], "note": "x"}"#,
        ] {
            assert!(is_json(text));
            let grid = read(text, "t").unwrap();
            assert_eq!(grid.header, ["D", "N", "loss"], "{text}");
            let rows: Vec<_> = grid.rows.iter().map(|r| r.cells.clone()).collect();
            assert_eq!(rows, want, "{text}");
        }
        let nested = read(r#"[{"config": {"lr": 1e-3}, "summary": {"val": {"loss": 2}}}]"#, "t");
        assert_eq!(nested.unwrap().header, ["config.lr", "summary.val.loss"]);
    }

    #[test]
    fn json_that_is_no_table_is_refused_with_its_line() {
        for (text, word) in [
            ("[1, 2]", "no records"),
            ("{\"a\": 1}\n{\"a\": }\n", "line 2"),
            ("[{\"a\": NaN}]", "null"),
            ("[{\"a\": 1},", "line 1"),
            ("{\"N\": [1, 2], \"D\": [1]}", "has 2 values"),
        ] {
            let error = read(text, "t").unwrap_err();
            let all = format!("{error} {}", error.hint.as_deref().unwrap_or_default());
            assert!(all.contains(word), "{text}: {all}");
        }
    }
}
