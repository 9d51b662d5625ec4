//! Published mixtures of text, beside which a dataset is held. None of them is a goal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::TextKind;

/// A published mixture.
struct Mixture {
    /// Whose.
    name: &'static str,
    /// Where it was published, and what its shares are of.
    source: &'static str,
    /// Kinds of text with their shares [percent], as printed there.
    shares: &'static [(TextKind, f64)],
}

/// Mixtures whose tables name kinds of text, oldest last.
const MIXTURES: [Mixture; 3] = [
    Mixture {
        name: "LLaMA 1",
        source: "arXiv 2302.13971, table 1: share of the tokens that are drawn; CommonCrawl and C4 are web",
        shares: &[
            (TextKind::Web, 67.0 + 15.0),
            (TextKind::Books, 4.5),
            (TextKind::Code, 4.5),
            (TextKind::Encyclopedia, 4.5),
            (TextKind::Papers, 2.5),
            (TextKind::Questions, 2.0),
        ],
    },
    Mixture {
        name: "The Pile",
        source: "arXiv 2101.00027, table 1: weight of 22 parts, in bytes; OpenWebText2 is web, PubMed abstracts and \
                 NIH ExPorter are papers, patents are law, IRC, Hacker News, EuroParl, subtitles and mail are talk",
        shares: &[
            (TextKind::Web, 18.11 + 10.01),
            (TextKind::Books, 12.07 + 2.17 + 0.75),
            (TextKind::Code, 7.59),
            (TextKind::Encyclopedia, 1.53),
            (TextKind::Papers, 14.40 + 8.96 + 3.07 + 0.38 + 0.30),
            (TextKind::Questions, 5.13),
            (TextKind::Talk, 1.55 + 0.88 + 0.73 + 0.62 + 0.60 + 0.14),
            (TextKind::Law, 6.12 + 3.65),
            (TextKind::Math, 1.24),
        ],
    },
    Mixture {
        name: "GPT-3",
        source: "arXiv 2005.14165, table 2.2: share of the tokens that are drawn, rounded there to a sum of 101%; \
                 WebText2 is web",
        shares: &[
            (TextKind::Web, 60.0 + 22.0),
            (TextKind::Books, 8.0 + 8.0),
            (TextKind::Encyclopedia, 3.0),
        ],
    },
];

/// A dataset by kinds of text, beside published mixtures.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mix {
    /// Share of the tokens that are trained on, by kind.
    pub shares: BTreeMap<String, f64>,
    /// Kinds that it lacks and some reference has.
    pub lacks: Vec<String>,
    /// What it is held beside. No goal: which text helps depends on what is to be predicted.
    pub references: Vec<Reference>,
}

/// A published mixture, as the card has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// Whose.
    pub name: String,
    /// Where it was published, and what its shares are of.
    pub source: String,
    /// Share by kind, of 1.
    pub shares: BTreeMap<String, f64>,
}

impl Mix {
    /// Of domains by their kind and the tokens of them that are trained on.
    pub fn of(domains: impl Iterator<Item = (TextKind, u64)>) -> Self {
        let mut tokens: BTreeMap<TextKind, u64> = BTreeMap::new();
        for (kind, of) in domains.filter(|(_, tokens)| *tokens > 0) {
            *tokens.entry(kind).or_default() += of;
        }
        let all = tokens.values().sum::<u64>().max(1) as f64;
        let known = |kind: &TextKind| {
            MIXTURES.iter().any(|mixture| mixture.shares.iter().any(|(of, _)| of == kind))
        };
        let lacks = TextKind::ALL.iter().filter(|kind| known(kind) && !tokens.contains_key(kind));
        let lacks = lacks.map(|kind| kind.name().to_owned()).collect();
        let references = MIXTURES.iter().map(|mixture| Reference {
            name: mixture.name.to_owned(),
            source: mixture.source.to_owned(),
            shares: mixture
                .shares
                .iter()
                .map(|(kind, percent)| (kind.name().to_owned(), percent / 100.0))
                .collect(),
        });
        let shares =
            tokens.iter().map(|(kind, of)| (kind.name().to_owned(), *of as f64 / all)).collect();
        Self { shares, lacks, references: references.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_that_were_printed() {
        let sums = MIXTURES.map(|m| m.shares.iter().map(|(_, percent)| percent).sum::<f64>());
        for (sum, want) in sums.into_iter().zip([100.0, 100.0, 101.0]) {
            assert!((sum - want).abs() < 1e-9, "{sums:?}");
        }
    }

    #[test]
    fn a_mix_adds_up_and_names_what_it_lacks() {
        let domains =
            [(TextKind::Code, 30), (TextKind::Web, 40), (TextKind::Code, 30), (TextKind::Books, 0)];
        let mix = Mix::of(domains.into_iter());
        assert_eq!(mix.shares, BTreeMap::from([("code".into(), 0.6), ("web".into(), 0.4)]));
        assert_eq!(
            mix.lacks,
            ["books", "encyclopedia", "papers", "questions", "talk", "law", "math"]
        );
        assert_eq!(mix.references[0].shares["web"], 0.82);
    }
}
