//! FineWeb's own rules on lines (Penedo et al. 2024, arXiv:2406.17557, section 3.6), as datatrove counts.

use super::{Removed, above, below, duplicates, ratio};
use crate::prepare::text::{Line, Text};
use crate::prepare::unicode::{self, SPACE};
use crate::spec::Fineweb;

pub(super) fn judge(text: &Text<'_>, numbers: &Fineweb) -> Option<Removed> {
    let blank = |line: &&Line<'_>| line.text.chars().all(|c| unicode::is(Some(c), SPACE));
    let lines: Vec<&Line<'_>> = text.lines().iter().filter(|line| !blank(line)).collect();
    if lines.is_empty() {
        return Some(Removed { rule: "empty", value: 0.0, limit: 1.0 });
    }
    let ends = text.lines().len() - 1;
    let ended = lines.iter().filter(|line| line.text.ends_with(unicode::is_terminal)).count();
    let limit = numbers.terminal_punctuation;
    below("terminal-punctuation", ratio(ended, lines.len()), limit)
        .or_else(|| {
            let short =
                lines.iter().filter(|line| line.characters as usize <= numbers.short_line).count();
            above("short-lines", ratio(short, lines.len()), numbers.short_lines)
        })
        .or_else(|| {
            let (_, characters) = duplicates(lines.iter().map(|line| (line.hash, line.characters)));
            let share = ratio(characters, text.characters() - ends);
            above("repeated-lines", share, numbers.duplicate_line_characters)
        })
        .or_else(|| above("line-ends", ratio(ends, text.word_count()), numbers.line_ends))
}
