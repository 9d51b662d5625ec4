//! Each rule on both sides of its limit, by documents made for it: all other rules are off.

use super::*;
use crate::spec::{C4, C4Paragraphs, Fineweb, GopherQuality, GopherRepetition, Lines};

/// What a filter measures, where it removes.
fn removes(filter: &Filter, text: &str) -> Option<(&'static str, f64, f64)> {
    match filter.judge(&Text::new(text)) {
        Verdict::Remove(Removed { rule, value, limit }) => Some((rule, value, limit)),
        Verdict::Keep | Verdict::Edit(_) => None,
    }
}

/// `stays` is on the limit or within it, and `goes` with this value.
#[track_caller]
fn limit(filter: &Filter, rule: &str, stays: &str, goes: &str, value: f64) {
    assert_eq!(removes(filter, stays), None, "{rule}: stays");
    let (name, got, limit) = removes(filter, goes).unwrap_or_else(|| panic!("{rule}: goes"));
    assert_eq!(name, rule, "{got} against {limit}");
    assert!((got - value).abs() < 1e-12, "{rule}: {got}, want {value}, limit {limit}");
    assert!(code(rule).is_some(), "{rule} has no code");
}

fn repetition(set: impl FnOnce(&mut GopherRepetition)) -> Filter {
    let mut off = GopherRepetition {
        duplicate_lines: 1.0,
        duplicate_paragraphs: 1.0,
        duplicate_line_characters: 1.0,
        duplicate_paragraph_characters: 1.0,
        top_ngrams: vec![],
        duplicate_ngrams: vec![],
    };
    set(&mut off);
    Filter::GopherRepetition(off)
}

/// Different words of four letters.
fn words(from: usize, count: usize) -> String {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    let word = |n: usize| [letter(n / 676), letter(n / 26), letter(n), 'x'].iter().collect();
    (from..from + count).map(word).collect::<Vec<String>>().join(" ")
}

#[test]
fn repeated_lines_and_paragraphs() {
    // 3 of 10, then 4 of 10, stood before.
    let lines = |same: usize| {
        let other = (0..10 - same).map(|i| words(i, 1));
        other.chain((0..same).map(|_| words(0, 1))).collect::<Vec<_>>()
    };
    let filter = repetition(|n| n.duplicate_lines = 0.3);
    limit(&filter, "duplicate-lines", &lines(3).join("\n"), &lines(4).join("\n"), 0.4);
    let filter = repetition(|n| n.duplicate_paragraphs = 0.3);
    limit(&filter, "duplicate-paragraphs", &lines(3).join("\n\n"), &lines(4).join("\n\n\n"), 0.4);
    // Of 100 characters 20, then 24, in lines that stood before.
    let text = |long: usize, end: &str| {
        let copy = "c".repeat(long);
        let rest = 100 - 2 * long - 2 * end.len();
        format!("{copy}{end}{}{end}{copy}", "r".repeat(rest))
    };
    let filter = repetition(|n| n.duplicate_line_characters = 0.2);
    limit(&filter, "duplicate-line-characters", &text(20, "\n"), &text(24, "\n"), 0.24);
    let filter = repetition(|n| n.duplicate_paragraph_characters = 0.2);
    limit(&filter, "duplicate-paragraph-characters", &text(20, "\n\n"), &text(24, "\n\n"), 0.24);
    // A line end in front and one behind leave two empty lines, of three.
    let filter = repetition(|n| n.duplicate_lines = 0.33);
    assert_eq!(removes(&filter, "\n\na\n\n"), Some(("duplicate-lines", 1.0 / 3.0, 0.33)));
    assert_eq!(removes(&filter, ""), Some(("empty", 0.0, 1.0)));
}

#[test]
fn the_most_frequent_ngram() {
    for (n, share, stays, goes) in [(2, 0.2, 2, 3), (3, 0.18, 1, 2), (4, 0.16, 1, 2)] {
        // Each n-gram is 5n - 1 characters; each text has 100 words, 499 characters.
        let times = |copies: usize| {
            let copy = words(600, n);
            let copies = copies * 2;
            let mut parts: Vec<String> = (0..copies).map(|_| copy.clone()).collect();
            parts.push(words(0, 100 - copies * n));
            parts.join(" ")
        };
        let filter = repetition(|f| f.top_ngrams = vec![(n, share)]);
        let rule = RULES[TOP_1 + n - 1];
        let value = |copies: usize| (copies * 2 * (5 * n - 1)) as f64 / 499.0;
        // As many copies as stay, and twice the step above.
        let most = (1..30).take_while(|c| value(*c) <= share).last().unwrap();
        assert!(most + 1 > stays && goes > stays, "{most}");
        limit(&filter, rule, &times(most), &times(most + 1), value(most + 1));
    }
}

#[test]
fn repeated_ngrams_are_counted_once_where_they_overlap() {
    for (n, share) in [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)] {
        // A passage of n words stands 1 + k times in 200 words: 4nk of 999 characters.
        let text = |copies: usize| {
            let copy = words(600, n);
            let mut parts: Vec<String> =
                (0..=copies).flat_map(|i| [copy.clone(), words(i, 1)]).collect();
            parts.push(words(100, 200 - (copies + 1) * (n + 1)));
            parts.join(" ")
        };
        let value = |copies: usize| (4 * n * copies) as f64 / 999.0;
        let filter = repetition(|f| f.duplicate_ngrams = vec![(n, share)]);
        let most = (1..30).take_while(|c| value(*c) <= share).last().unwrap();
        let rule = RULES[DUPLICATE_1 + n - 1];
        limit(&filter, rule, &text(most), &text(most + 1), value(most + 1));
    }
    // "a a a a a a": the 2-gram at 0 is new, at 1 known, so 3 to 5: at 3 known.
    let filter = repetition(|f| f.duplicate_ngrams = vec![(2, 0.1)]);
    assert_eq!(removes(&filter, "a a a a a a"), Some(("duplicate-2-grams", 4.0 / 11.0, 0.1)));
}

/// What stands in a repeated n-gram of n + 1 words is looked for among those of n only, also out of order.
#[test]
fn narrowing_finds_what_all_places_hold() {
    let stream = crate::random::Stream::new(1, "narrow");
    for case in 0..200 {
        let pick = |i| ["a", "b", "cc", "d"][stream.child(case).below(i, 4) as usize];
        let text: Vec<&str> = (0..60).map(pick).collect();
        for n in [2, 3, 4, 5, 7, 3, 10] {
            let measured = |all: &[(usize, f64)], top: bool| {
                let filter = repetition(|f| {
                    *(if top { &mut f.top_ngrams } else { &mut f.duplicate_ngrams }) = all.to_vec();
                });
                removes(&filter, &text.join(" ")).map(|(rule, value, _)| (rule, value))
            };
            for top in [true, false] {
                let alone = measured(&[(n, 0.0)], top);
                let after = measured(&[(2, 9.0), (4, 9.0), (5, 9.0), (n, 0.0)], top);
                assert_eq!(alone, after, "{case}, {n}-grams");
            }
        }
    }
}

fn quality(set: impl FnOnce(&mut GopherQuality)) -> Filter {
    let mut off = GopherQuality {
        words: [0, usize::MAX],
        word_length: [0.0, 1e9],
        symbols: 1e9,
        bullets: 1.0,
        ellipses: 1.0,
        alphabetic: 0.0,
        stop_words_least: 0,
        ..GopherQuality::default()
    };
    set(&mut off);
    Filter::GopherQuality(off)
}

#[test]
fn words_of_a_document() {
    let filter = quality(|n| n.words = [50, 100_000]);
    // Punctuation is no word.
    let most = format!("{} !", words(0, 100_000));
    limit(&filter, "too-few-words", &words(0, 50), &format!("{} , .", words(0, 49)), 49.0);
    limit(&filter, "too-many-words", &most, &words(0, 100_001), 100_001.0);
    let filter = quality(|n| n.word_length = [3.0, 10.0]);
    limit(&filter, "short-words", "aaa bbb , . !", "aaa bbb cc dd", 2.5);
    limit(
        &filter,
        "long-words",
        "aaaaaaaaaa ééééééééé eleven_char",
        "aaaaaaaaaaaa bbbbbbbbb",
        10.5,
    );
    let filter = quality(|n| n.alphabetic = 0.8);
    limit(&filter, "non-alphabetic-words", "a b c 4d 5", "a b c 4 5", 0.6);
}

#[test]
fn symbols_and_lines_of_a_document() {
    let filter = quality(|n| n.symbols = 0.1);
    limit(
        &filter,
        "hashes",
        &format!("{} #", words(0, 9)),
        &format!("{} # #", words(0, 14)),
        0.125,
    );
    let goes = format!("{} ... …", words(0, 14));
    limit(&filter, "ellipses", &format!("{} ...", words(0, 9)), &goes, 0.125);
    let lines = |with: usize, mark: &dyn Fn(usize) -> String| {
        let line = |i| if i < with { mark(i) } else { "plain".to_owned() };
        (0..10).map(line).collect::<Vec<_>>().join("\n")
    };
    let bullet =
        |i: usize| if i.is_multiple_of(2) { " - item".to_owned() } else { "• item".to_owned() };
    let filter = quality(|n| n.bullets = 0.9);
    limit(&filter, "bullets", &lines(9, &bullet), &lines(10, &bullet), 1.0);
    let end =
        |i: usize| if i.is_multiple_of(2) { "more... ".to_owned() } else { "more…".to_owned() };
    let filter = quality(|n| n.ellipses = 0.3);
    limit(&filter, "ellipsis-lines", &lines(3, &end), &lines(4, &end), 0.4);
}

#[test]
fn stop_words_of_a_document() {
    let filter = quality(|n| n.stop_words_least = 2);
    limit(&filter, "stop-words", "the cat of mine", "the cat, the dog, The Of", 1.0);
}

fn c4(set: impl FnOnce(&mut C4)) -> Filter {
    let mut off = C4 {
        terminal_punctuation: false,
        words_per_line: 0,
        longest_word: usize::MAX,
        sentences: 0,
        citations: false,
        javascript: false,
        policy: false,
        lorem_ipsum: false,
        curly_bracket: false,
    };
    set(&mut off);
    Filter::C4(off)
}

/// What is left of a text.
fn left(filter: &Filter, text: &str) -> Option<String> {
    match filter.judge(&Text::new(text)) {
        Verdict::Keep => Some(text.to_owned()),
        Verdict::Edit(edited) => Some(edited),
        Verdict::Remove(_) => None,
    }
}

/// Turns rules on.
type Set<'a> = &'a dyn Fn(&mut C4);

#[test]
fn lines_that_c4_drops() {
    let long = "w".repeat(1000);
    let (stays, goes) = (format!("a {long}"), format!("a {long}é"));
    let all: [(Set<'_>, &str, &str); 6] = [
        (&|n| n.terminal_punctuation = true, "He said \"no.\"", "To be continued..."),
        (&|n| n.terminal_punctuation = true, "Is it?", "It is"),
        (&|n| n.words_per_line = 3, "one two three", "one two"),
        (&|n| n.longest_word = 1000, &stays, &goes),
        (&|n| n.javascript = true, "Java script is on", "Please turn JavaScript on"),
        (&|n| n.policy = true, "No cookies for you", "This site uses Cookies to"),
    ];
    for (set, stays, goes) in all {
        let text = format!("{stays}\n{goes}\n{stays}");
        assert_eq!(left(&c4(set), &text), Some(format!("{stays}\n{stays}")), "{goes}");
        assert_eq!(left(&c4(|_| ()), &text), Some(text), "with the rule off");
    }
}

#[test]
fn documents_that_c4_removes() {
    let filter = c4(|n| n.sentences = 5);
    limit(
        &filter,
        "too-few-sentences",
        "One. Two! Three?\nFour\nFive",
        "One. Two! Three?\nFour",
        4.0,
    );
    limit(&c4(|n| n.lorem_ipsum = true), "lorem-ipsum", "ipsum lorem", "a Lorem Ipsum b", 1.0);
    limit(&c4(|n| n.curly_bracket = true), "curly-bracket", "a } b", "a\nb {", 1.0);
    // A line that goes takes its bracket along.
    let filter = c4(|n| (n.curly_bracket, n.words_per_line) = (true, 2));
    assert_eq!(left(&filter, "a b\n{\nc d"), Some("a b\nc d".to_owned()));
    assert_eq!(removes(&c4(|n| n.words_per_line = 3), "a b\nc"), Some(("empty", 0.0, 1.0)));
    let filter = Filter::C4Paragraphs(C4Paragraphs::default());
    let lines =
        |count: usize| vec!["é".repeat(200); count].join("\n") + "\nshort\n" + &"x".repeat(199);
    limit(&filter, "paragraphs", &lines(3), &lines(2), 2.0);
}

#[test]
fn citations_go_and_other_brackets_stay() {
    let filter = c4(|n| n.citations = true);
    for (line, want) in [
        ("as shown [1] and [23], [], [edit].", "as shown  and , , ."),
        ("true[citation needed] [a] [1a] [12", "true [a] [1a] [12"),
        ("[[1]] [é] plain", "[] [é] plain"),
    ] {
        assert_eq!(left(&filter, line).as_deref(), Some(want));
    }
    assert_eq!(left(&c4(|_| ()), "a [1]"), Some("a [1]".to_owned()));
}

fn fineweb(set: impl FnOnce(&mut Fineweb)) -> Filter {
    let mut off = Fineweb {
        terminal_punctuation: 0.0,
        short_lines: 1.0,
        duplicate_line_characters: 1.0,
        line_ends: 1e9,
        ..Fineweb::default()
    };
    set(&mut off);
    Filter::Fineweb(off)
}

#[test]
fn lines_that_fineweb_counts() {
    let lines = |all: &[(usize, &str)]| {
        let all = all.iter().flat_map(|(count, line)| vec![*line; *count]);
        all.collect::<Vec<_>>().join("\n")
    };
    // 3 of 25 is 0.12; blank lines do not count.
    let filter = fineweb(|n| n.terminal_punctuation = 0.12);
    let (stays, goes) = ([(3, "end."), (22, "none")], [(2, "end。"), (23, "none"), (9, " ")]);
    limit(&filter, "terminal-punctuation", &lines(&stays), &lines(&goes), 0.08);
    // 67 of 100 lines of 30 characters; 68 go.
    let filter = fineweb(|n| n.short_lines = 0.67);
    let (short, long) = ("é".repeat(30), "x".repeat(31));
    let text = |count| lines(&[(count, &short), (100 - count, &long)]);
    limit(&filter, "short-lines", &text(67), &text(68), 0.68);
    // 1 of 100 characters, then 2, in a line that stood before; line ends do not count.
    let filter = fineweb(|n| n.duplicate_line_characters = 0.01);
    let text = |copy: &str, rest: usize| format!("{copy}\n{}\n{copy}\n", "r".repeat(rest));
    limit(&filter, "repeated-lines", &text("c", 98), &text("cc", 96), 0.02);
    // 3 line ends for 10 words, then 4.
    let filter = fineweb(|n| n.line_ends = 0.3);
    let text = |ends: usize| words(0, 10) + &"\n".repeat(ends);
    limit(&filter, "line-ends", &text(3), &text(4), 0.4);
    assert_eq!(removes(&filter, " \n\t\n"), Some(("empty", 0.0, 1.0)));
}

#[test]
fn lines_of_code() {
    let off = Lines { longest: usize::MAX, mean: 1e9, alphanumeric: 0.0 };
    let filter = Filter::Lines(Lines { longest: 1000, ..off.clone() });
    limit(&filter, "longest-line", &"é".repeat(1000), &"x".repeat(1001), 1001.0);
    let filter = Filter::Lines(Lines { mean: 100.0, ..off.clone() });
    let text = |long: usize| format!("{}\n{}\n", "x".repeat(long), "x".repeat(80));
    limit(&filter, "mean-line", &text(120), &text(121), 100.5);
    let filter = Filter::Lines(Lines { alphanumeric: 0.25, ..off });
    limit(&filter, "alphanumeric", "a é1_-+*/=!.", "ab--------", 0.2);
}

#[test]
fn filters_judge_in_turn_what_is_left() {
    let list: Vec<Filter> = ["c4", "gopher-quality"].map(|n| Filter::named(n).unwrap()).to_vec();
    let lines: Vec<String> =
        (0..6).map(|i| format!("{} the of {}.", words(i * 10, 5), words(i * 10 + 5, 5))).collect();
    let text = lines.join("\n");
    assert_eq!(judge(&list, &text), Judgement::Keep(None));
    let edited = format!("{text}\nno end");
    assert_eq!(judge(&list, &edited), Judgement::Keep(Some(text.clone())));
    // C4 leaves 35 words of 55: too few for the filter after it.
    let short: Vec<String> = (0..5).map(|i| format!("{} the of.\n", words(i * 5, 5))).collect();
    let short = short.concat() + &words(500, 20);
    assert_eq!(removes(&list[1], &short), None, "before C4's edit");
    let Judgement::Remove(1, removed) = judge(&list[..2], &short) else { panic!("stays") };
    assert!(removed.rule == "too-few-words" && removed.value < removed.limit, "{removed:?}");
    assert_eq!(judge(&[], "x"), Judgement::Keep(None));
    assert!(
        RULES.len() < 256 && RULES.iter().all(|r| RULES.iter().filter(|o| *o == r).count() == 1)
    );
}
