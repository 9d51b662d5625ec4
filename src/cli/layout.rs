//! Text that fits the terminal: tables in as many blocks as it takes, sentences broken at spaces.
//!
//! Nothing is left out to make room. A word that is longer than a line (a path, a command) stays whole. What another
//! program reads (JSON, CSV, scripts) does not come here.

use comfy_table::presets;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Where nobody says how wide the terminal is [columns].
const WIDTH: usize = 80;
/// Narrower than this nothing is readable, and a number is hardly meant [columns].
const LEAST: usize = 40;

/// Between two columns of a table.
const GAP: u16 = 2;
/// Before every line of one.
const MARGIN: usize = 2;

/// Farthest that a line goes on under the value of `  name  value` [columns].
const DEEPEST: usize = 24;

/// Width of the terminal as `COLUMNS` says it.
fn width() -> usize {
    let said = std::env::var("COLUMNS").ok();
    said.and_then(|c| c.trim().parse().ok()).filter(|w| *w >= LEAST).unwrap_or(WIDTH)
}

/// `text` with every line broken at spaces that is longer than the terminal is wide.
pub(super) fn wrapped(text: &str) -> String {
    wrapped_to(text, width())
}

fn wrapped_to(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| broken(line, width)).collect();
    lines.join("\n")
}

/// The same, but for lines that quote a file (`  --> file:3:1`, `   3 | key = 1`): those stay as they are.
pub(super) fn quoting(text: &str) -> String {
    quoting_to(text, width())
}

fn quoting_to(text: &str, width: usize) -> String {
    let quoted = |line: &str| {
        let line = line.trim_start();
        let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with("--> ") || number.trim_start().starts_with('|')
    };
    let told = |line| if quoted(line) { line.to_owned() } else { broken(line, width) };
    text.split('\n').map(told).collect::<Vec<String>>().join("\n")
}

/// One line, broken; it goes on under its value, or two columns further in.
fn broken(line: &str, width: usize) -> String {
    if length(line) <= width {
        return line.to_owned();
    }
    let indent = length(line) - length(line.trim_start());
    let under = hanging(line, indent);
    let (mut out, mut at) = (" ".repeat(indent), indent);
    let mut begun = false;
    for word in line[indent..].split_inclusive(' ') {
        let bare = word.trim_end();
        if begun && at + length(bare) > width && !bare.is_empty() {
            out.truncate(out.trim_end().len());
            out += &format!("\n{}", " ".repeat(under));
            at = under;
        }
        out += word;
        at += length(word);
        begun |= !bare.is_empty();
    }
    out.truncate(out.trim_end().len());
    out
}

/// The column under the value of `  name  value`, where the name is short; else two beyond the indent.
fn hanging(line: &str, indent: usize) -> usize {
    let rest = &line[indent..];
    let value = rest.find("  ").map(|gap| {
        let before = length(&rest[..gap]);
        indent + before + length(&rest[gap..]) - length(rest[gap..].trim_start())
    });
    value.filter(|column| indent > 0 && *column <= DEEPEST).unwrap_or(indent + MARGIN)
}

fn length(text: &str) -> usize {
    text.chars().count()
}

/// A table with a header; columns from `left` on are numbers and sit right. One that is too wide is given in blocks,
/// each with the first column.
pub(super) fn table(header: &[&str], left: usize, rows: &[Vec<String>]) -> String {
    table_to(header, left, rows, width())
}

fn table_to(header: &[&str], left: usize, rows: &[Vec<String>], width: usize) -> String {
    let cell = |row: &Vec<String>, column: usize| row.get(column).map_or(0, |c| length(c));
    let widths: Vec<usize> = (0..header.len())
        .map(|c| rows.iter().map(|row| cell(row, c)).fold(length(header[c]), usize::max))
        .collect();
    let blocks = blocks(&widths, width.saturating_sub(MARGIN));
    let texts: Vec<String> = blocks
        .iter()
        .map(|columns| {
            let head: Vec<&str> = columns.iter().map(|c| header[*c]).collect();
            let rows = rows.iter().map(|row| columns.iter().map(|c| row[*c].clone()).collect());
            let left = columns.iter().filter(|c| **c < left).count();
            let all: usize = columns.iter().map(|c| widths[*c] + usize::from(GAP)).sum();
            let narrow = (all - usize::from(GAP) + MARGIN > width).then(|| width - MARGIN);
            block(&head, left, rows.collect(), narrow)
        })
        .collect();
    texts.join("\n")
}

/// Columns of each block: the first of all, and as many others as have room.
fn blocks(widths: &[usize], room: usize) -> Vec<Vec<usize>> {
    let gap = usize::from(GAP);
    let mut out = vec![vec![0]];
    let mut used = widths[0];
    for (column, width) in widths.iter().enumerate().skip(1) {
        let block = out.last_mut().expect("there is a first block");
        if used + gap + width > room && block.len() > 1 {
            out.push(vec![0, column]);
            used = widths[0] + gap + width;
        } else {
            block.push(column);
            used += gap + width;
        }
    }
    out
}

/// One block; its cells are broken where even two columns are wider than `narrow`.
fn block(header: &[&str], left: usize, rows: Vec<Vec<String>>, narrow: Option<usize>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if let Some(room) = narrow {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(room).unwrap_or(u16::MAX));
    }
    table.set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, GAP));
        if i >= left {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let margin = " ".repeat(MARGIN);
    let text: Vec<String> = table.lines().map(|l| format!("{margin}{}", l.trim_end())).collect();
    text.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_the_lines_that_it_quotes() {
        let text = "error: one two three\n  --> a/long/path.toml:3:1\n   3 | a long line of it\n     | ^^^^^^^^^^^^^^\nhint: x";
        let want = "error: one two\n  three\n  --> a/long/path.toml:3:1\n   3 | a long line of it\n     | ^^^^^^^^^^^^^^\nhint: x";
        assert_eq!(quoting_to(text, 14), want);
    }

    fn widest(text: &str) -> usize {
        text.lines().map(length).max().unwrap_or(0)
    }

    #[test]
    fn sentences_break_at_spaces_and_go_on_under_their_value() {
        let line = "  loss      2.0024 (1.9703..2.0424) nats/token; prediction interval of one run";
        let text = wrapped_to(line, 50);
        assert_eq!(
            text,
            "  loss      2.0024 (1.9703..2.0424) nats/token;\n            prediction interval of one run"
        );
        assert_eq!(
            text.split_whitespace().collect::<Vec<_>>(),
            line.split_whitespace().collect::<Vec<_>>()
        );
        assert_eq!(wrapped_to("warning: one two three", 14), "warning: one\n  two three");
        assert_eq!(wrapped_to("short\n\n  lines stay\n", 40), "short\n\n  lines stay\n");
    }

    #[test]
    fn a_word_longer_than_a_line_stays_whole() {
        let path = "x".repeat(60);
        assert_eq!(wrapped_to(&format!("wrote {path}"), 40), format!("wrote\n  {path}"));
    }

    #[test]
    fn a_wide_table_comes_in_blocks_that_all_name_their_rows() {
        let header = ["method", "N*", "D*", "loss"];
        let row =
            |name: &str| vec![name.to_owned(), "1".repeat(20), "2".repeat(20), "3".repeat(20)];
        let rows = [row("lse-huber"), row("varpro")];
        let wide = table_to(&header, 1, &rows, 100);
        assert_eq!(wide.lines().count(), 3);
        let text = table_to(&header, 1, &rows, 60);
        assert!(widest(&text) <= 60, "{text}");
        for (what, times) in [("method", 2), ("lse-huber", 2), ("varpro", 2), (&"3".repeat(20), 2)]
        {
            assert_eq!(text.matches(what).count(), times, "{text}");
        }
    }

    #[test]
    fn a_cell_longer_than_a_line_is_broken_inside_its_column() {
        let why = "a reason that takes more room than there is in one line of this terminal";
        let rows = [vec!["cell".to_owned(), why.to_owned()]];
        let text = table_to(&["", "why"], 2, &rows, 50);
        assert!(widest(&text) <= 50 && text.lines().count() > 2, "{text}");
        let words: Vec<&str> = text.split_whitespace().skip(2).collect();
        assert_eq!(words.join(" "), why);
    }
}
