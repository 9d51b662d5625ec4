//! What a recipe says of judging text: filters with their numbers, language, near-duplicates.
//!
//! Every number has the default of datatrove 0.10.1 (MassiveText, C4, FineWeb), so a filter is a name, or a name with
//! the numbers that differ:
//!
//! ```toml
//! filters = ["gopher-repetition", { gopher-quality = { words = [20, 100000] } }, { c4 = { terminal_punctuation = false } }]
//! ```

use std::fmt;

use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// Longest n-gram that a repetition rule may count [words].
pub const MAX_NGRAM: usize = 13;

/// One filter with its numbers. What each does is in `prepare/filter`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// MassiveText's rules on repetition (Rae et al. 2021, table A1).
    GopherRepetition(GopherRepetition),
    /// MassiveText's rules on words and symbols (ibid.).
    GopherQuality(GopherQuality),
    /// C4's rules by line, which edit the text (Raffel et al. 2020).
    C4(C4),
    /// mC4's rule: some long lines.
    C4Paragraphs(C4Paragraphs),
    /// FineWeb's own rules (Penedo et al. 2024).
    Fineweb(Fineweb),
    /// Rules for code, by the length of lines (StarCoder, Li et al. 2023).
    Lines(Lines),
}

/// A struct of numbers, all of which have a default.
macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }
    };
}

numbers! {
    /// Shares at or below which a document stays; 1 turns the share of a rule off.
    GopherRepetition {
        /// Lines that stood before, of all lines.
        duplicate_lines: f64 = 0.3,
        /// Paragraphs that stood before, of all paragraphs.
        duplicate_paragraphs: f64 = 0.3,
        /// Characters in lines that stood before.
        duplicate_line_characters: f64 = 0.2,
        /// Characters in paragraphs that stood before.
        duplicate_paragraph_characters: f64 = 0.2,
        /// Characters in all copies of the most frequent n-gram of words: pairs of n and share.
        top_ngrams: Vec<(usize, f64)> = vec![(2, 0.2), (3, 0.18), (4, 0.16)],
        /// Characters in n-grams of words that stood before: pairs of n and share.
        duplicate_ngrams: Vec<(usize, f64)> =
            vec![(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)],
    }
}

numbers! {
    /// Bounds within which a document stays, both ends included.
    GopherQuality {
        /// Words that are not only punctuation.
        words: [usize; 2] = [50, 100_000],
        /// Mean length of these [characters].
        word_length: [f64; 2] = [3.0, 10.0],
        /// Most `#`, and most ellipses, for each word.
        symbols: f64 = 0.1,
        /// Most lines that begin with a bullet, of all lines.
        bullets: f64 = 0.9,
        /// Most lines that end in an ellipsis, of all lines.
        ellipses: f64 = 0.3,
        /// Fewest words with a letter, of all words.
        alphabetic: f64 = 0.8,
        /// Fewest different words of `stop_words`.
        stop_words_least: usize = 2,
        /// Words of every text in the language.
        stop_words: Vec<String> =
            ["the", "be", "to", "of", "and", "that", "have", "with"].map(str::to_owned).to_vec(),
    }
}

numbers! {
    /// Which lines stay, and which documents.
    C4 {
        /// A line must end in `. ? ! " '`, and not in an ellipsis.
        terminal_punctuation: bool = true,
        /// Fewest words of a line.
        words_per_line: usize = 3,
        /// Longest word of a line [characters].
        longest_word: usize = 1000,
        /// Fewest sentences of what is left.
        sentences: usize = 5,
        /// Drops `[1]`, `[edit]`, `[citation needed]`.
        citations: bool = true,
        /// Drops lines that name JavaScript.
        javascript: bool = true,
        /// Drops lines on cookies, privacy and terms of use.
        policy: bool = true,
        /// Removes documents with `lorem ipsum`.
        lorem_ipsum: bool = true,
        /// Removes documents with `{`.
        curly_bracket: bool = true,
    }
}

numbers! {
    /// Which documents have paragraphs.
    C4Paragraphs {
        /// Fewest lines of that length.
        lines: usize = 3,
        /// Length of such a line [characters].
        length: usize = 200,
    }
}

numbers! {
    /// Shares of lines that are not blank.
    Fineweb {
        /// Fewest lines that end in terminal punctuation.
        terminal_punctuation: f64 = 0.12,
        /// Most short lines.
        short_lines: f64 = 0.67,
        /// Longest short line [characters].
        short_line: usize = 30,
        /// Most characters in lines that stood before, of all characters but line ends.
        duplicate_line_characters: f64 = 0.01,
        /// Most line ends for each word.
        line_ends: f64 = 0.3,
    }
}

numbers! {
    /// Lengths in characters.
    Lines {
        /// Longest line.
        longest: usize = 1000,
        /// Largest mean of all lines.
        mean: f64 = 100.0,
        /// Fewest letters and digits, of all characters.
        alphanumeric: f64 = 0.25,
    }
}

/// Which languages stay, by a model or by `whatlang`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Language {
    /// Codes of ISO 639-1, or as the model names them.
    pub keep: Vec<String>,
    /// Least probability of one of these.
    #[serde(default = "at_least")]
    pub at_least: f64,
    /// A fastText model, such as `lid.176.bin`. Without one, whatlang guesses from the first 4 kB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

fn at_least() -> f64 {
    0.65
}

/// Near-duplicates by MinHash: documents that agree in all minima of one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Near {
    /// Length of what is compared [words].
    pub ngram: usize,
    /// Number of buckets.
    pub buckets: usize,
    /// Minima in each bucket.
    pub hashes: usize,
}

impl Default for Near {
    fn default() -> Self {
        Self { ngram: 5, buckets: 14, hashes: 8 }
    }
}

impl Near {
    /// Probability that two documents of this Jaccard similarity meet in a bucket.
    pub fn found(&self, jaccard: f64) -> f64 {
        let bucket = jaccard.powf(self.hashes as f64);
        1.0 - (1.0 - bucket).powf(self.buckets as f64)
    }

    /// Can these numbers be used?
    ///
    /// # Errors
    ///
    /// The first that cannot, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, most) in
            [("ngram", self.ngram, 64), ("buckets", self.buckets, 256), ("hashes", self.hashes, 64)]
        {
            within(name, value, 1, most)?;
        }
        Ok(())
    }
}

impl Filter {
    /// Name in a recipe.
    pub fn name(&self) -> &'static str {
        match self {
            Self::GopherRepetition(_) => "gopher-repetition",
            Self::GopherQuality(_) => "gopher-quality",
            Self::C4(_) => "c4",
            Self::C4Paragraphs(_) => "c4-paragraphs",
            Self::Fineweb(_) => "fineweb",
            Self::Lines(_) => "lines",
        }
    }

    /// The filter of that name with all its defaults.
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::GopherRepetition(GopherRepetition::default()),
            Self::GopherQuality(GopherQuality::default()),
            Self::C4(C4::default()),
            Self::C4Paragraphs(C4Paragraphs::default()),
            Self::Fineweb(Fineweb::default()),
            Self::Lines(Lines::default()),
        ];
        all.into_iter().find(|filter| filter.name() == name)
    }

    /// Can these numbers be used?
    ///
    /// # Errors
    ///
    /// The first that cannot, and what it may be.
    pub fn check(&self) -> Result<(), String> {
        match self {
            Self::GopherRepetition(n) => {
                share("duplicate_lines", n.duplicate_lines)?;
                share("duplicate_paragraphs", n.duplicate_paragraphs)?;
                share("duplicate_line_characters", n.duplicate_line_characters)?;
                share("duplicate_paragraph_characters", n.duplicate_paragraph_characters)?;
                for (name, pairs) in
                    [("top_ngrams", &n.top_ngrams), ("duplicate_ngrams", &n.duplicate_ngrams)]
                {
                    for (n, limit) in pairs {
                        within(name, *n, 1, MAX_NGRAM)?;
                        share(name, *limit)?;
                    }
                }
                Ok(())
            }
            Self::GopherQuality(n) => {
                order("words", n.words[0] as f64, n.words[1] as f64)?;
                order("word_length", n.word_length[0], n.word_length[1])?;
                least("symbols", n.symbols)?;
                share("bullets", n.bullets)?;
                share("ellipses", n.ellipses)?;
                share("alphabetic", n.alphabetic)?;
                within("stop_words_least", n.stop_words_least, 0, n.stop_words.len())
            }
            Self::C4(_) | Self::C4Paragraphs(_) => Ok(()),
            Self::Fineweb(n) => {
                share("terminal_punctuation", n.terminal_punctuation)?;
                share("short_lines", n.short_lines)?;
                share("duplicate_line_characters", n.duplicate_line_characters)?;
                least("line_ends", n.line_ends)
            }
            Self::Lines(n) => {
                least("mean", n.mean)?;
                share("alphanumeric", n.alphanumeric)
            }
        }
    }
}

fn share(name: &str, value: f64) -> Result<(), String> {
    let fits = (0.0..=1.0).contains(&value);
    if fits { Ok(()) } else { Err(format!("`{name}` is {value}, want a share from 0 to 1")) }
}

fn least(name: &str, value: f64) -> Result<(), String> {
    let fits = value >= 0.0 && value.is_finite();
    if fits { Ok(()) } else { Err(format!("`{name}` is {value}, want a finite number from 0")) }
}

fn order(name: &str, low: f64, high: f64) -> Result<(), String> {
    let fits = 0.0 <= low && low <= high && high.is_finite();
    if fits {
        Ok(())
    } else {
        Err(format!("`{name}` is [{low}, {high}], want [least, most] from 0"))
    }
}

fn within(name: &str, value: usize, low: usize, high: usize) -> Result<(), String> {
    let fits = (low..=high).contains(&value);
    if fits { Ok(()) } else { Err(format!("`{name}` is {value}, want {low} to {high}")) }
}

const NAMES: &str = "one of gopher-repetition, gopher-quality, c4, c4-paragraphs, fineweb, lines";

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrNumbers)
    }
}

/// `"fineweb"`, or `{ fineweb = { short_line = 20 } }`.
struct NameOrNumbers;

impl<'de> Visitor<'de> for NameOrNumbers {
    type Value = Filter;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the name of a filter, or a name with numbers: { gopher-quality = { words = [20, 100000] } }",
        )
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Filter, E> {
        Filter::named(name).ok_or_else(|| E::custom(format!("no filter `{name}`, want {NAMES}")))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Filter, M::Error> {
        let name: Option<String> = map.next_key()?;
        let Some(name) = name else {
            return Err(de::Error::custom(format!("a filter without a name, want {NAMES}")));
        };
        let filter = match name.as_str() {
            "gopher-repetition" => Filter::GopherRepetition(map.next_value()?),
            "gopher-quality" => Filter::GopherQuality(map.next_value()?),
            "c4" => Filter::C4(map.next_value()?),
            "c4-paragraphs" => Filter::C4Paragraphs(map.next_value()?),
            "fineweb" => Filter::Fineweb(map.next_value()?),
            "lines" => Filter::Lines(map.next_value()?),
            _ => return Err(de::Error::custom(format!("no filter `{name}`, want {NAMES}"))),
        };
        if let Some(more) = map.next_key::<String>()? {
            return Err(de::Error::custom(format!(
                "`{name}` and `{more}` in one table: one filter each, in the order in which they judge"
            )));
        }
        filter.check().map_err(|why| de::Error::custom(format!("filter `{name}`: {why}")))?;
        Ok(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Domain {
        filters: Vec<Filter>,
    }

    fn read(text: &str) -> Result<Vec<Filter>, String> {
        let domain: Result<Domain, _> = toml::from_str(text);
        domain.map(|domain| domain.filters).map_err(|e| e.to_string())
    }

    #[test]
    fn a_filter_is_a_name_or_a_name_with_the_numbers_that_differ() {
        let text = r#"filters = ["gopher-repetition", { gopher-quality = { words = [20, 100000] } },
            { c4 = { terminal_punctuation = false } }, "fineweb",
            { lines = { longest = 1000, mean = 100, alphanumeric = 0.25 } }, "c4-paragraphs"]"#;
        let want = [
            Filter::GopherRepetition(GopherRepetition::default()),
            Filter::GopherQuality(GopherQuality { words: [20, 100_000], ..Default::default() }),
            Filter::C4(C4 { terminal_punctuation: false, ..Default::default() }),
            Filter::Fineweb(Fineweb::default()),
            Filter::Lines(Lines::default()),
            Filter::C4Paragraphs(C4Paragraphs::default()),
        ];
        assert_eq!(read(text).unwrap(), want);
        // As written with every number, in a manifest, it reads the same.
        let json = serde_json::to_string(&want.to_vec()).unwrap();
        assert_eq!(serde_json::from_str::<Vec<Filter>>(&json).unwrap(), want);
        assert!(json.contains(r#""word_length":[3.0,10.0]"#), "{json}");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (text, why) in [
            (r#"["gopher"]"#, "no filter `gopher`, want one of gopher-repetition"),
            ("[{ gopher = {} }]", "no filter `gopher`, want one of gopher-repetition"),
            ("[{}]", "a filter without a name"),
            ("[{ c4 = {}, fineweb = {} }]", "`c4` and `fineweb` in one table"),
            ("[{ fineweb = { short = 3 } }]", "unknown field `short`, expected one of"),
            ("[3]", "the name of a filter, or a name with numbers"),
            (
                "[{ fineweb = { short_lines = 1.5 } }]",
                "`short_lines` is 1.5, want a share from 0 to 1",
            ),
            ("[{ fineweb = { line_ends = nan } }]", "`line_ends` is NaN"),
            ("[{ gopher-quality = { words = [50, 20] } }]", "`words` is [50, 20], want [least"),
            (
                "[{ gopher-quality = { stop_words_least = 9 } }]",
                "`stop_words_least` is 9, want 0 to 8",
            ),
            ("[{ gopher-repetition = { top_ngrams = [[14, 0.1]] } }]", "`top_ngrams` is 14, want"),
        ] {
            let error = read(&format!("filters = {text}")).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn two_documents_meet_as_often_as_datatrove_says() {
        let near = Near::default();
        for (jaccard, want) in [(0.5, 0.053), (0.7, 0.565), (0.8, 0.924)] {
            let found = near.found(jaccard);
            assert!((found - want).abs() < 6e-4, "Jaccard {jaccard}: {found}, want {want}");
        }
        assert!(near.check().is_ok());
        assert!(Near { hashes: 0, ..near }.check().unwrap_err().contains("`hashes` is 0"));
    }
}
