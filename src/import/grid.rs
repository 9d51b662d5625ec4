//! From text to cells: which separator, where the header is, which lines are none of the table's.
//!
//! Knows nothing of what columns mean.

use crate::error::InputError;

/// A table as text: a header and rows of as many cells.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Grid {
    pub(super) header: Vec<String>,
    pub(super) rows: Vec<Row>,
    /// What a reader may want to know of its shape.
    pub(super) notes: Vec<String>,
    /// What [`Row::line`] counts: lines of a text, or rows.
    pub(super) place: &'static str,
}

/// One row, and where it is in the file.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) line: u64,
    pub(super) cells: Vec<String>,
}

/// The separators that are looked for, the likeliest first.
const SEPARATORS: [char; 5] = [',', '\t', ';', '|', ' '];

/// A header is looked for in so many lines.
const HEADER_WITHIN: usize = 10;

/// So many rows below a header tell whether it is one.
const LOOK_AT: usize = 20;

/// Splits a text into cells.
///
/// The separator and the header line are those under which most rows have as many cells as the header.
///
/// # Errors
///
/// [`InputError`]: no such separator, or a row with another number of cells than the header (by its line).
pub(super) fn read(text: &str, source: &str) -> Result<Grid, InputError> {
    let start = text.trim_start().to_lowercase();
    if start.starts_with("<!doctype") || start.starts_with("<html") || start.starts_with("<table") {
        return Err(InputError::new(
            format!("{source} is HTML, perhaps an error page that was saved for a table"),
            "export the table as CSV",
        ));
    }
    let (forced, text, skipped) = match sep_line(text) {
        Some((c, rest)) => (Some(c), rest, 1),
        None => (None, text, 0),
    };
    let mut best: Option<(f64, char, usize)> = None;
    for separator in SEPARATORS {
        if forced.is_some_and(|f| f != separator) {
            continue;
        }
        let rows = split(text, separator, HEADER_WITHIN + LOOK_AT);
        for at in 0..rows.len().min(HEADER_WITHIN) {
            if let Some(score) = score(&rows, at, separator)
                && best.is_none_or(|(most, ..)| score > most + 0.05)
            {
                best = Some((score, separator, at));
            }
        }
    }
    let (_, separator, at) = best.unwrap_or((0.0, forced.unwrap_or(','), 0));
    let mut rows = split(text, separator, usize::MAX);
    if rows.is_empty() {
        return Err(InputError::new(
            format!("{source} is empty"),
            "a table of runs has a header line, and one row a run",
        ));
    }
    let mut below = rows.split_off(at + 1);
    let header = rows.pop().expect("the header was found among the rows");
    let mut notes = Vec::new();
    if at > 0 {
        notes.push(format!(
            "the header is line {}; what is above it is not read",
            header.line + skipped
        ));
    }
    let mut header = uncommented(header.cells, separator);
    // A table that pandas printed has no name over its index.
    if separator == ' '
        && below.iter().all(|r| r.cells.len() == header.len() + 1)
        && !below.is_empty()
    {
        header.insert(0, String::new());
    }
    for row in &mut below {
        row.line += skipped;
    }
    let rows = fitted(below, &header, source)?;
    Ok(Grid { header, rows, notes, place: "line" })
}

/// The separator of a first line `sep=;`, as spreadsheets write it, and the text below.
fn sep_line(text: &str) -> Option<(char, &str)> {
    let (line, rest) = text.split_once('\n')?;
    let value = line.trim_end_matches('\r').trim_matches('"').strip_prefix("sep=")?;
    let separator = value.chars().next().unwrap_or('\t');
    Some((separator, rest)).filter(|_| SEPARATORS.contains(&separator))
}

/// The first rows of a text under one separator; empty lines are none.
fn split(text: &str, separator: char, most: usize) -> Vec<Row> {
    let trimmed = |cells: Vec<&str>| cells.iter().map(|c| c.trim().to_owned()).collect();
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    match separator {
        ' ' => lines
            .take(most)
            .map(|(i, line)| Row {
                line: i as u64 + 1,
                cells: trimmed(line.split_whitespace().collect()),
            })
            .collect(),
        '|' => lines
            .filter(|(_, line)| !line.chars().all(|c| "|-+: \t".contains(c)))
            .take(most)
            .map(|(i, line)| {
                let line = line.trim();
                let inner = line.strip_prefix('|').unwrap_or(line);
                let inner = inner.strip_suffix('|').unwrap_or(inner);
                Row { line: i as u64 + 1, cells: trimmed(inner.split('|').collect()) }
            })
            .collect(),
        _ => {
            let mut reader = csv::ReaderBuilder::new()
                .has_headers(false)
                .flexible(true)
                .trim(csv::Trim::All)
                .delimiter(separator as u8)
                .from_reader(text.as_bytes());
            reader
                .records()
                .filter_map(Result::ok)
                .filter(|r| r.iter().any(|c| !c.is_empty()))
                .take(most)
                .map(|r| Row {
                    line: r.position().map_or(0, csv::Position::line),
                    cells: r.iter().map(str::to_owned).collect(),
                })
                .collect()
        }
    }
}

/// How well the row `at` heads those below it [0, 1]; `None` where it cannot.
fn score(rows: &[Row], at: usize, separator: char) -> Option<f64> {
    let header = uncommented(rows[at].cells.clone(), separator);
    let named = header.iter().filter(|c| !c.is_empty()).count();
    let numbers = header.iter().filter(|c| c.parse::<f64>().is_ok()).count();
    if named < 2 || numbers == named {
        return None;
    }
    let below = &rows[at + 1..rows.len().min(at + 1 + LOOK_AT)];
    let fits = below.iter().filter(|r| width(&r.cells, header.len()) == header.len()).count();
    // Without rows below, a header is as good as its names.
    let share = if below.is_empty() { 0.5 } else { fits as f64 / below.len() as f64 };
    Some(share - 0.1 * at as f64)
}

/// How many cells a row has beside a header of `want`: empty ones behind the last name are none.
fn width(cells: &[String], want: usize) -> usize {
    let mut n = cells.len();
    while n > want && cells[n - 1].is_empty() {
        n -= 1;
    }
    n
}

/// The header without the mark of a comment before it: `# N D loss`. `#,N,D` names a column of row numbers.
fn uncommented(mut header: Vec<String>, separator: char) -> Vec<String> {
    if separator == ' ' && header[0] == "#" {
        header.remove(0);
    } else if let Some(rest) = header[0].strip_prefix('#')
        && !rest.is_empty()
    {
        let name = rest.trim().to_owned();
        header[0] = name;
    }
    header
}

/// Rows of as many cells as the header; comments between them are left out.
fn fitted(rows: Vec<Row>, header: &[String], source: &str) -> Result<Vec<Row>, InputError> {
    let want = header.len();
    // A line that ends in a separator throughout has one empty name more.
    let named = width(header, 0);
    let mut out = Vec::with_capacity(rows.len());
    for mut row in rows {
        let have = width(&row.cells, want);
        if have < want && row.cells[0].starts_with('#') {
            continue;
        }
        if have != want && !(have >= named && have < want) {
            return Err(InputError::new(
                format!("{source}: line {} has {have} cells, the header has {want}", row.line),
                if have > want {
                    "put text that holds the separator into quotes; a number with a comma too"
                } else {
                    "every row must have as many cells as the header; a file cut short ends in the middle of a line"
                },
            ));
        }
        row.cells.resize(want, String::new());
        out.push(row);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
        let grid = read(text, "t").unwrap();
        (grid.header, grid.rows.into_iter().map(|r| r.cells).collect())
    }

    #[test]
    fn every_usual_separator_and_first_line_gives_the_same_cells() {
        let want = cells("N,D,loss\n1,2,3.5\n4,5,6.5\n");
        for text in [
            "N;D;loss\n1;2;3.5\n4;5;6.5\n",
            "N\tD\tloss\n1\t2\t3.5\n4\t5\t6.5\n",
            "N D loss\n1 2 3.5\n4 5 6.5\n",
            "  N   D  loss\n1 2    3.5\n\n4  5 6.5",
            "| N | D | loss |\n|---|---|:-:|\n| 1 | 2 | 3.5 |\n| 4 | 5 | 6.5 |\n",
            "sep=;\r\nN;D;loss\r\n1;2;3.5\r\n4;5;6.5\r\n",
            "# from the sweep, March\nN,D,loss\n1,2,3.5\n# a note\n4,5,6.5\n",
            "The sweep of March\n\nN,D,loss\n1,2,3.5\n4,5,6.5\n",
            "# N D loss\n1 2 3.5\n4 5 6.5\n",
            "N,D,loss\n1,2,3.5,\n4,5,6.5,\n",
        ] {
            let (header, rows) = cells(text);
            assert_eq!((header, rows), want, "{text}");
        }
        let (header, _) = cells("N,D,loss,\n1,2,3.5,\n");
        assert_eq!(header, ["N", "D", "loss", ""]);
    }

    #[test]
    fn a_decimal_comma_does_not_look_like_a_separator() {
        let (header, rows) = cells("N;D;loss\n1;2;3,5\n4;5;6,5\n");
        assert_eq!(header, ["N", "D", "loss"]);
        assert_eq!(rows[1], ["4", "5", "6,5"]);
    }

    #[test]
    fn lines_are_those_of_the_file() {
        let grid = read("sep=;\na title\n\nN;D\n\"x\ny\";2\n3;4\n", "t").unwrap();
        let lines: Vec<u64> = grid.rows.iter().map(|r| r.line).collect();
        assert_eq!(lines, [5, 7]);
        let error = read("N,D\n1,2\n1,2,3\n", "t").unwrap_err();
        assert!(error.message.contains("line 3 has 3 cells"), "{error}");
        assert!(read("", "t").unwrap_err().message.contains("empty"));
        assert!(read("<html><table>", "t").unwrap_err().message.contains("HTML"));
    }
}
