//! C4's rules by line (Raffel et al. 2020, arXiv:1910.10683, section 2.2), as datatrove applies them: lines go, and a
//! document of which too little is left. And mC4's rule on paragraphs (Xue et al. 2021, arXiv:2010.11934).

use std::borrow::Cow;

use super::{Removed, Verdict, below};
use crate::prepare::text::{Text, all_lines};
use crate::prepare::unicode::{self, SPACE};
use crate::prepare::words;
use crate::spec::{C4, C4Paragraphs};

/// Lines with one of these are about the page.
const POLICY: [&str; 6] = [
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
];

pub(super) fn judge(text: &Text<'_>, numbers: &C4) -> Verdict {
    let mut kept: Vec<Cow<'_, str>> = Vec::new();
    let mut sentences = 0;
    for line in all_lines(text.as_str()) {
        match judge_line(unicode::strip(line), numbers) {
            Line::Drop => {}
            Line::Remove(rule) => {
                return Verdict::Remove(Removed { rule, value: 1.0, limit: 0.0 });
            }
            Line::Keep(line) => {
                if numbers.sentences > 0 {
                    sentences += words::sentences(&line);
                }
                kept.push(line);
            }
        }
    }
    let removed = below("too-few-sentences", sentences as f64, numbers.sentences as f64);
    if let Some(removed) = removed {
        return Verdict::Remove(removed);
    }
    let edited = kept.join("\n");
    let edited = unicode::strip(&edited);
    if edited.is_empty() {
        return Verdict::Remove(Removed { rule: "empty", value: 0.0, limit: 1.0 });
    }
    if edited == text.as_str() { Verdict::Keep } else { Verdict::Edit(edited.to_owned()) }
}

enum Line<'a> {
    Keep(Cow<'a, str>),
    Drop,
    /// With the rule that removes the document.
    Remove(&'static str),
}

fn judge_line<'a>(line: &'a str, numbers: &C4) -> Line<'a> {
    let mut count = 0;
    for word in line.split(|c| unicode::is(Some(c), SPACE)).filter(|w| !w.is_empty()) {
        count += 1;
        let long = word.len() > numbers.longest_word && word.chars().count() > numbers.longest_word;
        if long {
            return Line::Drop;
        }
    }
    let line = if numbers.citations { without_citations(line) } else { Cow::Borrowed(line) };
    let ended = line.ends_with(['.', '?', '!', '"', '\'']) && !line.ends_with("...");
    if numbers.terminal_punctuation && !ended || count < numbers.words_per_line {
        return Line::Drop;
    }
    if numbers.lorem_ipsum && contains(&line, "lorem ipsum") {
        return Line::Remove("lorem-ipsum");
    }
    if numbers.javascript && contains(&line, "javascript") {
        return Line::Drop;
    }
    if numbers.curly_bracket && line.contains('{') {
        return Line::Remove("curly-bracket");
    }
    if numbers.policy && POLICY.iter().any(|phrase| contains(&line, phrase)) {
        return Line::Drop;
    }
    Line::Keep(line)
}

/// Does it hold this phrase of ASCII letters and spaces, in either case?
fn contains(line: &str, phrase: &str) -> bool {
    let (line, phrase) = (line.as_bytes(), phrase.as_bytes());
    let first = phrase[0];
    let Some(starts) = (line.len() + 1).checked_sub(phrase.len()) else { return false };
    (0..starts)
        .any(|i| line[i] | 0x20 == first && line[i..i + phrase.len()].eq_ignore_ascii_case(phrase))
}

/// Without `[1]`, `[]`, `[edit]` and `[citation needed]`.
fn without_citations(line: &str) -> Cow<'_, str> {
    let mut out: Option<String> = None;
    let (mut from, mut at) = (0, 0);
    while let Some(found) = line[at..].find('[') {
        let open = at + found;
        let inside = &line[open + 1..];
        let digits = inside.len() - inside.trim_start_matches(unicode::is_digit).len();
        let len = [digits, "edit".len(), "citation needed".len()].into_iter().find(|len| {
            let word = inside.get(..*len).unwrap_or("");
            let known = *len == digits || word == "edit" || word == "citation needed";
            known && inside.get(*len..).is_some_and(|rest| rest.starts_with(']'))
        });
        at = open + 1;
        if let Some(len) = len {
            out.get_or_insert_default().push_str(&line[from..open]);
            at = open + len + 2;
            from = at;
        }
    }
    match out {
        None => Cow::Borrowed(line),
        Some(mut out) => {
            out.push_str(&line[from..]);
            Cow::Owned(out)
        }
    }
}

pub(super) fn paragraphs(text: &Text<'_>, numbers: &C4Paragraphs) -> Option<Removed> {
    let long = text.lines().iter().filter(|line| line.characters as usize >= numbers.length);
    below("paragraphs", long.count() as f64, numbers.lines as f64)
}
