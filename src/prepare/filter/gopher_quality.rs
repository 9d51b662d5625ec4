//! MassiveText's rules on words and symbols (Rae et al. 2021, arXiv:2112.11446, appendix A), as datatrove counts.

use super::{Removed, above, below, ratio};
use crate::prepare::text::{Text, all_lines};
use crate::prepare::unicode::{self, SPACE};
use crate::spec::GopherQuality;

pub(super) fn judge(text: &Text<'_>, numbers: &GopherQuality) -> Option<Removed> {
    let words = text.words();
    let counted = words.iter().filter(|w| !w.symbol);
    let (count, characters) =
        counted.fold((0, 0), |(count, sum), w| (count + 1, sum + w.characters as usize));
    let [fewest, most] = numbers.words.map(|n| n as f64);
    let [shortest, longest] = numbers.word_length;
    let mean = if count == 0 { f64::NAN } else { ratio(characters, count) };
    let all = text.as_str();
    below("too-few-words", count as f64, fewest)
        .or_else(|| above("too-many-words", count as f64, most))
        .or_else(|| below("short-words", mean, shortest))
        .or_else(|| above("long-words", mean, longest))
        .or_else(|| {
            let hashes = all.bytes().filter(|b| *b == b'#').count();
            above("hashes", ratio(hashes, words.len()), numbers.symbols)
        })
        .or_else(|| {
            let ellipses = dots(all) + all.matches('…').count();
            above("ellipses", ratio(ellipses, words.len()), numbers.symbols)
        })
        .or_else(|| lines(all, numbers))
        .or_else(|| {
            let letters = words.iter().filter(|w| w.letter).count();
            below("non-alphabetic-words", ratio(letters, words.len()), numbers.alphabetic)
        })
        .or_else(|| {
            let found = stop_words(text, numbers);
            below("stop-words", found as f64, numbers.stop_words_least as f64)
        })
}

/// How often three dots stand, none of them twice.
fn dots(all: &str) -> usize {
    let (mut count, mut run) = (0, 0);
    for byte in all.bytes() {
        run = if byte == b'.' { run + 1 } else { 0 };
        if run == 3 {
            (count, run) = (count + 1, 0);
        }
    }
    count
}

fn lines(all: &str, numbers: &GopherQuality) -> Option<Removed> {
    let (mut count, mut bullets, mut ellipses) = (0, 0, 0);
    let space = |c| unicode::is(Some(c), SPACE);
    for line in all_lines(all) {
        count += 1;
        bullets += usize::from(line.trim_start_matches(space).starts_with(['•', '-']));
        let end = line.trim_end_matches(space);
        ellipses += usize::from(end.ends_with("...") || end.ends_with('…'));
    }
    above("bullets", ratio(bullets, count), numbers.bullets)
        .or_else(|| above("ellipsis-lines", ratio(ellipses, count), numbers.ellipses))
}

/// How many different stop words there are; no more than are needed are looked for.
fn stop_words(text: &Text<'_>, numbers: &GopherQuality) -> usize {
    let longest = numbers.stop_words.iter().map(String::len).max().unwrap_or(0);
    let mut found: Vec<&str> = Vec::new();
    for word in text.words() {
        if found.len() >= numbers.stop_words_least {
            break;
        }
        let word = text.word(word);
        if word.len() <= longest
            && numbers.stop_words.iter().any(|stop| stop == word)
            && !found.contains(&word)
        {
            found.push(word);
        }
    }
    found.len()
}
