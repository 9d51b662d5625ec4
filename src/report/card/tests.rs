use std::collections::BTreeMap;

use super::*;
use crate::prepare::stages::{Copies, CopySet, Example, Member, Mix, Rule};
use crate::spec::TextKind;

fn card() -> Card {
    let example = Example {
        id: "<b>raw</b>/1.txt".into(),
        value: 12.0,
        limit: 50.0,
        begins: "A line\nof <script>text</script> \u{202e}".into(),
    };
    let rule = Rule { documents: 700, bytes: 9_000, examples: vec![example] };
    let web = DomainCard {
        name: "web".into(),
        kind: "web".into(),
        files: 2,
        documents: 1_234,
        bytes: 1_000_000,
        train_documents: 500,
        train_bytes: 600_000,
        train_tokens: 200_000,
        held_out_documents: 4,
        held_out_bytes: 3_000,
        held_out_tokens: 1_000,
        held_out_noise: Some(0.051),
        removed: BTreeMap::from([("too-few-words".into(), rule)]),
        copies: BTreeMap::from([("near-copy".into(), 20)]),
        contaminated: 10,
        contacts: BTreeMap::from([("held-out web".into(), 10)]),
        languages: BTreeMap::from([("en".into(), [1_200, 990_000]), ("fr".into(), [34, 10_000])]),
        lengths: BTreeMap::from([(5, 1_000), (10, 200), (20, 34)]),
        unread: [3, 0, 0],
    };
    let member = Member { id: "1".into(), begins: "copied".into() };
    let set = CopySet {
        documents: 21,
        domains: BTreeMap::from([("web".into(), 21)]),
        members: vec![member.clone(), member],
    };
    Card {
        name: "small".into(),
        id: "0123456789abcdef".into(),
        mix: Mix::of([(TextKind::Web, web.train_tokens)].into_iter()),
        domains: vec![web],
        copies: Copies {
            clusters: 1,
            largest: 21,
            left_alone: vec![(120, 0.31)],
            examples: vec![set],
        },
    }
}

#[test]
fn a_card_says_what_to_know_and_obeys_nothing_that_a_document_says() {
    let card = card();
    let tokenizer = crate::corpus::Tokenizer {
        kind: "bpe".into(),
        file: None,
        vocab: 4096,
        separator: Some(0),
    };
    let mut manifest = Manifest::new(tokenizer, Vec::new());
    manifest.recipe = toml::from_str("name = \"small\"\n[domain.web]\nread.text = [\"a\"]\n").ok();
    let page = html(Input { card: &card, manifest: &manifest });
    if let Ok(folder) = std::env::var("ISOFLOP_FIGURES") {
        std::fs::write(format!("{folder}/card.html"), &page).unwrap();
    }
    for part in [
        "Dataset small",
        "1,234",
        "3.00", // bytes/token
        "56.7%",
        "words, at least",
        "12 against 50",
        "known to about 5%",
        "rules remove 57%",
        "held-out web",
        "21 in web",
        "1 MiB",
        "97.2%",
        "books, code, encyclopedia",
        "82.0%",
        "[domain.web.read]",
        "What not to believe",
    ] {
        assert!(page.contains(part), "{part} is missing in\n{page}");
    }
    for raw in ["<script", "<b>raw", "\u{202e}"] {
        assert!(!page.contains(raw), "{raw}");
    }
}

#[test]
fn numbers_are_shown_as_people_read_them() {
    let all = [0, 999, 1_000, 1_234_567].map(grouped);
    assert_eq!(all, ["0", "999", "1,000", "1,234,567"]);
    assert_eq!([share(0, 0), share(1, 10_000), share(1, 3)], ["–", "<0.1%", "33.3%"]);
}
