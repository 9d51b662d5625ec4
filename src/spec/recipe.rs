//! The recipe of a dataset: what is read, what is thrown away, how text becomes ids. One TOML file a dataset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::filter::{Filter, Language, Near};
use super::kind::TextKind;
use super::scalar::Scalar;
use crate::error::SpecError;
use crate::units::parse_quantity;

/// Largest recipe that is read [bytes].
pub const MAX_RECIPE: usize = 1 << 20;
/// Most domains of one dataset.
const MAX_DOMAINS: usize = 1000;

/// How a dataset is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataRecipe {
    /// Name of the dataset; becomes a directory under `datasets/`.
    pub name: Spanned<String>,
    /// How text becomes ids.
    #[serde(default)]
    pub tokenizer: RecipeTokenizer,
    /// Share of documents set aside, by the hash of their raw text (0, 0.5].
    #[serde(default = "half_percent")]
    pub held_out: Spanned<f64>,
    /// Which copies are dropped.
    #[serde(default)]
    pub dedup: Dedup,
    /// What must not be in the training documents.
    #[serde(default)]
    pub decontaminate: Decontaminate,
    /// Named parts of the dataset.
    #[serde(rename = "domain")]
    domains: BTreeMap<Spanned<String>, DomainRecipe>,
}

fn half_percent() -> Spanned<f64> {
    super::spanned::unspanned(0.005)
}

/// How text becomes ids.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecipeTokenizer {
    /// One id a byte; V = 256.
    #[default]
    Bytes,
    /// Byte-level BPE trained on a sample of the training documents.
    Bpe {
        /// Number of ids.
        vocab: u32,
        /// Text that it is trained on.
        #[serde(default)]
        sample: ByteSize,
    },
    /// A `tokenizer.json` as Hugging Face writes it.
    File(String),
    /// That of another dataset, so that both have the same ids.
    Of(String),
}

/// An amount of text, as `"1GB"` or a number [bytes].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText")]
pub struct ByteSize(pub u64);

impl Default for ByteSize {
    fn default() -> Self {
        Self(100_000_000)
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl TryFrom<NumberOrText> for ByteSize {
    type Error = String;

    fn try_from(size: NumberOrText) -> Result<Self, String> {
        let (value, shown) = match size {
            NumberOrText::Number(value) => (Some(value), value.to_string()),
            NumberOrText::Text(text) => {
                let number = text.trim().strip_suffix(['B', 'b']).unwrap_or(text.trim());
                (parse_quantity(number), text)
            }
        };
        match value {
            Some(v) if (1.0..=1e15).contains(&v) => Ok(Self(v as u64)),
            _ => Err(format!("{shown:?} is no amount of text: want bytes, such as \"100MB\"")),
        }
    }
}

/// Which copies are dropped. One document of a set of copies stays: a held-out one, else one of the first domain in
/// the recipe, else the one with the smallest key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dedup {
    /// Documents of the same words, whatever their case and spacing.
    pub exact: bool,
    /// Near-duplicates by MinHash; `false` keeps them.
    pub near: NearOrNot,
    /// Over all domains, not within each.
    pub across: bool,
}

impl Default for Dedup {
    fn default() -> Self {
        Self { exact: true, near: NearOrNot::With(Near::default()), across: true }
    }
}

/// The numbers of MinHash, or `false`; `true` takes the default ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NearOrNot {
    /// Whether at all.
    Plain(bool),
    /// With these numbers.
    With(Near),
}

impl NearOrNot {
    /// The numbers, where near-duplicates are dropped.
    pub fn numbers(self) -> Option<Near> {
        match self {
            Self::Plain(false) => None,
            Self::Plain(true) => Some(Near::default()),
            Self::With(near) => Some(near),
        }
    }
}

/// What must not be in the training documents: n-grams of items and of held-out documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decontaminate {
    /// Files of items: text, or JSON lines with a field `text`. Held-out documents are always in.
    pub against: Vec<String>,
    /// Words of an n-gram.
    pub ngram: usize,
    /// What happens to a training document that shares one.
    pub action: OnContact,
}

impl Default for Decontaminate {
    fn default() -> Self {
        Self { against: Vec::new(), ngram: 12, action: OnContact::Drop }
    }
}

/// What happens to a training document that shares an n-gram with what must not be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnContact {
    /// It is dropped.
    Drop,
    /// It stays and is counted.
    Report,
    /// It is not looked for.
    Ignore,
}

/// One domain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DomainRecipe {
    /// Files, folders and patterns, relative to the recipe.
    pub read: Read,
    /// What kind of text it is; without it, what its name says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TextKind>,
    /// Field, or column, of the text.
    #[serde(default = "text", skip_serializing_if = "is_text")]
    pub text: String,
    /// That of a document's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// That of what is held out together, such as a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Only documents whose fields have these values.
    #[serde(default, rename = "where", skip_serializing_if = "BTreeMap::is_empty")]
    pub filter: BTreeMap<String, Scalar>,
    /// Which languages stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// Which documents stay, filter after filter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<Filter>,
    /// Long documents become ones of about so many words, at blank lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paragraphs: Option<u64>,
    /// Share of the documents that may be trained on, by another hash of their raw text than the one that holds out.
    #[serde(default = "all", skip_serializing_if = "is_all")]
    pub share: f64,
    /// How often each document is written: what copies cost can be measured.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub copies: u32,
    /// Whether it is trained on; else it is only measured.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub train: bool,
}

fn text() -> String {
    "text".to_owned()
}

fn is_text(text: &str) -> bool {
    text == "text"
}

fn all() -> f64 {
    1.0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_all(share: &f64) -> bool {
    *share == 1.0
}

fn once() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_once(copies: &u32) -> bool {
    *copies == 1
}

fn yes() -> bool {
    true
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives references")]
fn is_yes(yes: &bool) -> bool {
    *yes
}

/// What is read, by how it holds documents.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Read {
    /// As the ending of each file says.
    Files(Vec<String>),
    /// Text files.
    Text(Vec<String>),
    /// JSON lines.
    Jsonl(Vec<String>),
    /// Parquet.
    Parquet(Vec<String>),
}

impl Read {
    /// The files, folders and patterns.
    pub fn names(&self) -> &[String] {
        let (Self::Files(names) | Self::Text(names) | Self::Jsonl(names) | Self::Parquet(names)) =
            self;
        names
    }
}

impl DataRecipe {
    /// Parses and checks a recipe.
    ///
    /// # Errors
    ///
    /// [`SpecError`], which points into `text` and says what to try.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::spec::DataRecipe;
    ///
    /// let text = r#"
    /// name = "speeches"
    /// tokenizer = { bpe = { vocab = 8192, sample = "10MB" } }
    /// [domain.speeches]
    /// read = { text = ["sotu/*.txt"] }
    /// paragraphs = 512
    /// "#;
    /// assert_eq!(DataRecipe::parse(text)?.domains()[0].0, "speeches");
    /// let error = DataRecipe::parse(&text.replace("paragraphs", "paragraph")).unwrap_err();
    /// assert!(error.render("speeches.toml", text).contains("unknown field `paragraph`"));
    /// # Ok::<(), isoflop::error::SpecError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        if text.len() > MAX_RECIPE {
            return Err(SpecError::TooLong { bytes: text.len(), max: MAX_RECIPE });
        }
        let recipe: Self = toml::from_str(text).map_err(|e| SpecError::Syntax(Box::new(e)))?;
        recipe.check()?;
        Ok(recipe)
    }

    /// The domains in the order of the file.
    pub fn domains(&self) -> Vec<(&str, &DomainRecipe)> {
        let mut all: Vec<_> = self.domains.iter().collect();
        all.sort_by_key(|(name, _)| name.span().start);
        all.into_iter().map(|(name, domain)| (name.get_ref().as_str(), domain)).collect()
    }

    fn check(&self) -> Result<(), SpecError> {
        super::check::name(&self.name)?;
        let refuse = |field: &'static str, span, got: String, want, hint| {
            Err(SpecError::OutOfRange { field, span, got, want, hint })
        };
        let share = *self.held_out.get_ref();
        if !(share > 0.0 && share <= 0.5) {
            let hint = "0.005 is usual; losses need about 1,000 held-out documents";
            return refuse(
                "held_out",
                self.held_out.span(),
                share.to_string(),
                "a share above 0 and up to 0.5",
                hint,
            );
        }
        if self.domains.is_empty() || self.domains.len() > MAX_DOMAINS {
            let got = format!("{} domains", self.domains.len());
            let hint = "a dataset has at least one [domain.NAME] with `read`";
            return refuse("domain", self.name.span(), got, "1 to 1000 domains", hint);
        }
        if let RecipeTokenizer::Bpe { vocab, .. } = self.tokenizer
            && !(257..=1 << 20).contains(&vocab)
        {
            let hint = "256 bytes, the separator and the merges; 8192 to 65536 is usual";
            let (span, got) = (self.name.span(), vocab.to_string());
            return refuse("tokenizer.bpe.vocab", span, got, "257 to 1048576", hint);
        }
        for (name, domain) in &self.domains {
            let fault = domain.fault(name.get_ref());
            if let Some(got) = fault {
                let hint = "docs/FORMATS.md lists the keys of a domain and their ranges";
                return refuse("domain", name.span(), got, "a domain that can be read", hint);
            }
        }
        let near = self.dedup.near.numbers().map(|near| near.check());
        if let Some(Err(got)) = near {
            let hint = "{ ngram = 5, buckets = 14, hashes = 8 } is usual";
            return refuse("dedup.near", self.name.span(), got, "numbers of MinHash", hint);
        }
        if !(3..=64).contains(&self.decontaminate.ngram) {
            let (span, got) = (self.name.span(), self.decontaminate.ngram.to_string());
            return refuse("decontaminate.ngram", span, got, "3 to 64 words", "12 is usual");
        }
        Ok(())
    }
}

impl DomainRecipe {
    /// What kind of text it is, of a domain that is called so.
    pub fn kind(&self, name: &str) -> TextKind {
        self.kind.unwrap_or_else(|| TextKind::called(name))
    }

    /// What is wrong with it, if something is.
    fn fault(&self, name: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
            return Some(format!(
                "the name {name:?}; want up to 64 lower-case letters, digits, `-` and `_`"
            ));
        }
        if self.read.names().is_empty() {
            return Some(format!("nothing to read for `{name}`"));
        }
        if self.paragraphs.is_some_and(|words| !(16..=1 << 24).contains(&words)) {
            return Some(format!(
                "paragraphs = {:?} for `{name}`; want 16 to 16777216 words",
                self.paragraphs
            ));
        }
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Some(format!(
                "share = {} for `{name}`; want above 0 and at most 1",
                self.share
            ));
        }
        if !(1..=1000).contains(&self.copies) {
            return Some(format!("copies = {} for `{name}`; want 1 to 1000", self.copies));
        }
        let fault = self.filters.iter().find_map(|filter| filter.check().err());
        fault.map(|why| format!("{why} for `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
name = "everyday"
tokenizer = { bpe = { vocab = 8192, sample = "10MB" } }
held_out = 0.01
[dedup]
near = { ngram = 5, buckets = 14, hashes = 8 }
[domain.web]
read = { jsonl = ["web/*.jsonl.zst"] }
language = { keep = ["en"], at_least = 0.65 }
filters = ["gopher-quality", { c4 = { terminal_punctuation = false } }]
[domain.books]
read = { text = ["books/**/*.txt"] }
paragraphs = 4096
where = { redirect = false }
[domain.wiki]
kind = "encyclopedia"
read = { text = ["wiki"] }
"#;

    #[test]
    fn a_recipe_keeps_the_order_of_its_domains() {
        let recipe = DataRecipe::parse(TEXT).unwrap();
        let names: Vec<&str> = recipe.domains().iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["web", "books", "wiki"]);
        let kinds: Vec<TextKind> =
            recipe.domains().iter().map(|(name, domain)| domain.kind(name)).collect();
        assert_eq!(kinds, [TextKind::Web, TextKind::Books, TextKind::Encyclopedia]);
        assert_eq!(TextKind::called("web-2"), TextKind::Other);
        assert_eq!(recipe.domains()[0].1.filters.len(), 2);
        let want = RecipeTokenizer::Bpe { vocab: 8192, sample: ByteSize(10_000_000) };
        assert_eq!(recipe.tokenizer, want);
    }

    #[test]
    fn what_cannot_be_made_is_refused_with_its_place() {
        for (from, to, want) in [
            ("held_out = 0.01", "held_out = 0.0", "`held_out`"),
            ("vocab = 8192", "vocab = 20", "`tokenizer.bpe.vocab`"),
            ("10MB", "ten", "no amount of text"),
            ("[domain.web]", "[domain.Web]", "lower-case"),
            ("[\"web/*.jsonl.zst\"]", "[]", "nothing to read"),
            ("paragraphs = 4096", "paragraphs = 1", "16 to 16777216"),
            ("ngram = 5", "ngram = 0", "`dedup.near`"),
            ("gopher-quality", "gopher", "no filter `gopher`"),
            ("kind = \"encyclopedia\"", "kind = \"wiki\"", "`encyclopedia`"),
            ("name = \"everyday\"", "name = \"a/b\"", "name"),
        ] {
            let text = TEXT.replace(from, to);
            assert_ne!(text, TEXT);
            let error = DataRecipe::parse(&text).unwrap_err().render("r.toml", &text);
            assert!(error.contains(want) && error.contains("r.toml"), "{error}");
        }
    }
}
