//! The quick way gives the crate's ids, on any text.

use proptest::prelude::*;
use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerBuilder};

use super::*;

const END: &str = "<|endoftext|>";
const GPT2: &str = "gpt2";

/// Text that a tokenizer of a few hundred merges is trained on.
fn corpus() -> String {
    let words = [
        "the whale ",
        "was a White whale",
        ", and  the sea's\n",
        "we'll 123 4567 — naïve\n\n",
        "語 の é ",
    ];
    let lines: Vec<String> =
        (0..300).map(|i| format!("{}{i} {}", words[i % 5], words[(i + 2) % 5])).collect();
    lines.concat()
}

/// A tokenizer that splits by this pattern.
fn tokenizer(pattern: &str) -> Tokenizer {
    let bytes = ByteLevel::new(false, false, true);
    let mut plain = TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None::<tokenizers::normalizers::NFC>)
        .with_pre_tokenizer(Some(bytes))
        .with_post_processor(Some(bytes))
        .with_decoder(Some(bytes))
        .build()
        .unwrap();
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(500)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build();
    plain.train(&mut trainer, [corpus()].into_iter()).unwrap();
    let mut file = serde_json::to_value(&plain).unwrap();
    if pattern != GPT2 {
        file["pre_tokenizer"] = json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false },
        ]});
    }
    file.to_string().parse().unwrap()
}

fn patterns() -> [&'static str; 3] {
    [GPT2, CL100K[0].0, CL100K[1].0]
}

fn quick() -> Vec<Quick<Tokenizer>> {
    let all: Vec<_> = patterns().iter().map(|p| Quick::of(tokenizer(p)).unwrap()).collect();
    assert!(all.iter().all(Quick::is_quick));
    all
}

#[track_caller]
fn same(quick: &Quick<Tokenizer>, text: &str) {
    let mut ids = Vec::new();
    quick.encode(text, &mut ids).unwrap();
    assert_eq!(ids, quick.slow().ids(text).unwrap(), "{:?} {text:?}", quick.pattern);
}

#[test]
fn ids_are_the_crates_where_spaces_letters_and_signs_meet() {
    let parts = [
        "a", "B", " ", "  ", "\n", "\r\n", "\t", "'s", "'S", "'ſ", "'LL", "'", "é", "ǅ", "語", "1",
        "23", "²", "Ⅳ", "٣", "-", "!?", "\u{3000}", "\u{a0}", "\u{85}", "\u{1c}", "\u{200b}",
        "\u{301}", "😀", "<", END,
    ];
    let stream = crate::random::Stream::new(1, "encode");
    for quick in &quick() {
        for n in 0..20_000 {
            let part = |i| parts[stream.child(n).below(i, parts.len() as u64) as usize];
            let text: String = (0..=stream.child(n).below(99, 9)).map(part).collect();
            same(quick, &text);
        }
        same(quick, "");
        same(quick, &corpus());
        same(quick, &"x".repeat(3 * LONGEST));
    }
}

#[test]
fn every_character_has_the_class_that_the_crate_splits_by() {
    let quick = Quick::of(tokenizer(GPT2)).unwrap();
    // All planes with letters, and the ends of those without. Between letters, digits and signs each class shows.
    let planes = ('\0'..'\u{33480}').chain('\u{e0000}'..'\u{e0200}');
    let others = ['\u{3ffff}', '\u{40000}', '\u{e0fff}', '\u{e1000}', '\u{f0000}', char::MAX];
    let all: Vec<char> = planes.chain(others).collect();
    for block in all.chunks(4096) {
        let text: String = block.iter().flat_map(|c| ['a', *c, '1', *c, ' ', *c, '!']).collect();
        same(&quick, &text);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn ids_are_the_crates_on_random_text(text in "\\PC{0,24}|[ \\t\\r\\n'a-zA-Z0-9\u{80}-\u{2ff}]{0,40}") {
        static QUICK: LazyLock<Vec<Quick<Tokenizer>>> = LazyLock::new(quick);
        QUICK.iter().for_each(|quick| same(quick, &text));
    }
}

#[test]
fn a_full_cache_begins_anew() {
    let mut cache = Cache::default();
    for n in 0..MOST as u32 + 3 {
        cache.put(&n.to_string(), &[n, n + 1]);
    }
    assert_eq!(cache.places.len(), 3);
    assert_eq!(cache.ids.len(), 6);
    assert_eq!(cache.get(&MOST.to_string()), Some(&[MOST as u32, MOST as u32 + 1][..]));
    assert_eq!(cache.get("0"), None);
}

#[test]
fn what_might_give_other_ids_goes_to_the_crate() {
    let file = serde_json::to_value(tokenizer(GPT2)).unwrap();
    assert_eq!(pattern_of(&file), Some(Pattern::Gpt2));
    let with = |key: &str, value: Value| {
        let mut file = file.clone();
        *file.pointer_mut(key).unwrap() = value;
        pattern_of(&file)
    };
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
    let split = json!({ "type": "Split", "pattern": { "Regex": "." }, "behavior": "Isolated", "invert": false });
    for (key, value) in [
        ("/normalizer", json!({ "type": "NFC" })),
        ("/truncation", json!({ "max_length": 8 })),
        ("/padding", json!({})),
        ("/model/type", json!("Unigram")),
        ("/model/dropout", json!(0.1)),
        ("/pre_tokenizer", bytes),
        ("/pre_tokenizer", Value::Null),
        (
            "/pre_tokenizer",
            json!({ "type": "Sequence", "pretokenizers": [split, file["pre_tokenizer"]] }),
        ),
    ] {
        assert_eq!(with(key, value.clone()), None, "{key} = {value}");
    }
    let mut odd = file.clone();
    odd["normalizer"] = json!({ "type": "Lowercase" });
    let quick = Quick::of(odd.to_string().parse().unwrap()).unwrap();
    assert!(!quick.is_quick());
    same(&quick, "The WHALE");
}
