use super::*;

fn split_all(text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    words(text, |t| all.push(&text[t.start as usize..t.end as usize]));
    all
}

/// The words that spaCy 3.8.18 finds, parted here by spaces.
#[test]
fn words_are_those_of_spacy() {
    for (text, want) in [
        ("The quick brown fox.", "The quick brown fox ."),
        ("  (Hello, \"world\")!  ", "( Hello , \" world \" ) !"),
        ("don't DON'T can’t cannot Cannot", "do n't DON'T ca n’t can not Can not"),
        ("I'm he'll they've it's James's", "I 'm he 'll they 've it 's James 's"),
        ("well-known up-to-date 3-4 a--b", "well - known up - to - date 3 - 4 a -- b"),
        ("U.S. U.S.A. e.g. Mr. end. 5. NATO.", "U.S. U.S.A. e.g. Mr. end . 5 . NATO ."),
        ("10km 5% $5 US$20 20°C. 3pm 10GB", "10 km 5 % $ 5 US$ 20 20 ° C . 3 pm 10 GB"),
        ("wait... really…what ..", "wait ... really … what .."),
        ("see https://example.org/a?b=c, now", "see https://example.org/a?b=c , now"),
        (
            "me@example.org python.org 8.8.8.8/x a.B end.Start",
            "me@example.org python.org 8.8.8.8/x a. B end . Start",
        ),
        ("http://10.0.0.1/x", "http://10.0.0.1 / x"),
        ("a/b key=value x:y 1:2 <tag> and/or", "a / b key = value x : y 1:2 < tag > and/or"),
        ("f(x): g() :) :-( 8)", "f(x ): g ( ) :) :-( 8)"),
        ("+5 +x C++ a+b 5+", "+5 + x C++ a+b 5 +"),
        ("→ right ☃snow", "→ right ☃ snow"),
        ("l'été naïve «mot»", "l'été naïve « mot »"),
        ("漢字。仮名", "漢字。仮名"),
        ("one\u{a0}two\u{1c}three", "one two three"),
        ("", ""),
        ("\n \t", ""),
    ] {
        assert_eq!(split_all(text).join(" "), want, "{text:?}");
    }
}

#[test]
fn words_cover_all_but_white_space() {
    let stream = crate::random::Stream::new(1, "words");
    let parts = [
        "a", "B", "don't", " ", "\n", ".", "...", "…", "'s", "5", "km", "-", "(", ":)", "é", "語",
        "$", "x.org", "/",
    ];
    for n in 0..2000 {
        let at = |i| parts[stream.child(n).below(i, parts.len() as u64) as usize];
        let text: String = (0..12).map(at).collect();
        let want: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        assert_eq!(split_all(&text).concat(), want, "{text:?}");
    }
}

/// As many as spaCy's sentencizer finds.
#[test]
fn sentences_end_with_a_word_of_punctuation() {
    for (line, want) in [
        ("", 1),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ("One.\" Two.", 2),
        ("At 5 p.m. Mr. Smith left the U.S. again.", 1),
        ("Wait... what? Yes.", 2),
        ("One.  Two", 2),
        ("One. ", 1),
        ("One.  ", 2),
        ("語 。 東京", 2),
    ] {
        assert_eq!(sentences(line), want, "{line:?}");
    }
}
