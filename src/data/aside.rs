//! What of files is held out: whole documents by their hash, as many as tell the loss to 0.2%.
//!
//! The share is the smallest of [`SHARES`] whose documents tell the loss so well; smaller shares nest in larger ones.
//! Where a tenth of the documents is too few, pieces of them are held out instead, of 32 kB or of 4 kB, by the hash
//! of the piece: what is trained on then continues what is held out, and the plan says so. Copies of a text have one hash
//! and so are on one side.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use xxhash_rust::xxh3::xxh3_128;

use super::files::{DOCUMENT, Whole, key};
use super::noise::{Cluster, Contexts, Sums};
use super::text::Split;
use crate::documents::pieces;
use crate::plan::{HeldOutText, WELL_KNOWN, hex};

/// Shares that are held out.
const SHARES: [f64; 5] = [0.005, 0.01, 0.02, 0.05, 0.1];
/// Smallest pieces that are held out [bytes].
const SMALL: usize = 4 << 10;
/// Fewest units that are held out, if there are so many: the scatter of fewer is not known.
const FEWEST: f64 = 100.0;
/// Text that the scatter of documents is estimated from [bytes].
pub(super) const SAMPLE: u64 = 16 << 20;

/// What is held out or trained on as a whole.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    Document,
    Piece(usize),
}

/// Documents on one side and the other, in the order of the files.
pub(super) struct Aside<'t> {
    pub(super) train: Vec<&'t [u8]>,
    pub(super) held_out: Vec<(u64, &'t [u8])>,
    by: String,
    share: Option<f64>,
}

/// Holds out a share. `None` where all of the text is one unit, or copies of one.
pub(super) fn aside<'t>(wholes: &'t [Whole], contexts: &Contexts) -> Option<Aside<'t>> {
    let mut chosen = None;
    for unit in [Unit::Document, Unit::Piece(DOCUMENT), Unit::Piece(SMALL)] {
        let (count, variance) = scatter(wholes, unit, contexts);
        let wanted = variance / (WELL_KNOWN * WELL_KNOWN);
        // Not a number is never enough.
        let enough =
            SHARES.into_iter().find(|share| share * count >= wanted && share * count >= FEWEST);
        chosen = Some((unit, enough.unwrap_or(SHARES[SHARES.len() - 1])));
        if enough.is_some() {
            break;
        }
    }
    let (unit, share) = chosen?;
    let held = held_out(wholes, unit, share)?;
    let mut out =
        Aside { train: Vec::new(), held_out: Vec::new(), by: named(unit), share: Some(share) };
    for whole in wholes {
        match unit {
            Unit::Document if held.contains(&whole.key) => {
                out.held_out.extend(whole.documents.iter().map(|d| (whole.key, d.as_bytes())));
            }
            Unit::Document => out.train.extend(whole.documents.iter().map(String::as_bytes)),
            Unit::Piece(size) => {
                for document in &whole.documents {
                    out.part(document, size, &held);
                }
            }
        }
    }
    Some(out)
}

/// The hashes that are held out: so large a share of all there can be, from 0. Where chance makes that no text or most of
/// it, as where a few texts occur many times, the smallest hash whose texts are at most half of all; `None` if there is
/// none.
fn held_out(wholes: &[Whole], unit: Unit, share: f64) -> Option<Range<u64>> {
    let mut lengths: BTreeMap<u64, u64> = BTreeMap::new();
    for (key, text) in units(wholes, unit) {
        *lengths.entry(key).or_default() += text.len() as u64;
    }
    let half = lengths.values().sum::<u64>() / 2;
    let below = (share * 2_f64.powi(64)) as u64;
    let held: u64 = lengths.range(..below).map(|(_, bytes)| bytes).sum();
    if held > 0 && held <= half {
        return Some(0..below);
    }
    let one = lengths.into_iter().find(|(_, bytes)| *bytes <= half);
    one.map(|(key, _)| key..key.saturating_add(1))
}

fn named(unit: Unit) -> String {
    match unit {
        Unit::Document => "documents".to_owned(),
        Unit::Piece(size) => format!("pieces of {} kB", size >> 10),
    }
}

/// All units: their hash, and a text of theirs. Of a document in several texts there are so many with one hash.
fn units(wholes: &[Whole], unit: Unit) -> impl Iterator<Item = (u64, &[u8])> {
    wholes.iter().flat_map(move |whole| {
        whole.documents.iter().flat_map(move |document| {
            let size = if let Unit::Piece(size) = unit { size } else { document.len() };
            let whole_key = (unit == Unit::Document).then_some(whole.key);
            pieces(document, size).map(move |text| {
                let text = text.as_bytes();
                (whole_key.unwrap_or_else(|| key(&Sha256::digest(text))), text)
            })
        })
    })
}

/// The number of different units, and how much the loss differs between them ([`Sums::variance`]), from a sample of them.
fn scatter(wholes: &[Whole], unit: Unit, contexts: &Contexts) -> (f64, f64) {
    let all: u64 = wholes.iter().flat_map(|w| &w.documents).map(|d| d.len() as u64).sum();
    let every = all.div_ceil(SAMPLE).max(1);
    let mut keys = HashSet::new();
    let mut sampled: Vec<(u64, &[u8])> = Vec::new();
    for (key, text) in units(wholes, unit) {
        keys.insert(key);
        if key.is_multiple_of(every) {
            sampled.push((key, text));
        }
    }
    (keys.len() as f64, Sums::of(clusters(&sampled, contexts)).variance())
}

/// Sums over texts of one hash.
fn clusters(texts: &[(u64, &[u8])], contexts: &Contexts) -> Vec<Cluster> {
    let each: Vec<(u64, f64, f64)> = texts
        .par_iter()
        .map(|(key, text)| (*key, contexts.nats(text), text.len() as f64))
        .collect();
    let mut sums: BTreeMap<u64, Cluster> = BTreeMap::new();
    for (key, nats, bytes) in each {
        let sum = sums.entry(key).or_default();
        *sum = (sum.0 + nats, sum.1 + bytes);
    }
    sums.into_values().collect()
}

impl<'t> Aside<'t> {
    /// What a person named as held out.
    pub(super) fn named(wholes: &'t [Whole], held_out: &'t [Whole]) -> Self {
        let documents = |w: &'t Whole| w.documents.iter().map(|d| (w.key, d.as_bytes()));
        Self {
            train: wholes.iter().flat_map(documents).map(|(_, text)| text).collect(),
            held_out: held_out.iter().flat_map(documents).collect(),
            by: "files".to_owned(),
            share: None,
        }
    }

    /// The pieces of a document, those that are neighbours on one side as one.
    fn part(&mut self, document: &'t str, size: usize, held: &Range<u64>) {
        let bytes = document.as_bytes();
        let (mut from, mut at) = (0, 0);
        for piece in pieces(document, size) {
            let key = key(&Sha256::digest(piece));
            let end = at + piece.len();
            if held.contains(&key) {
                if from < at {
                    self.train.push(&bytes[from..at]);
                }
                self.held_out.push((key, &bytes[at..end]));
                from = end;
            }
            at = end;
        }
        if from < at {
            self.train.push(&bytes[from..at]);
        }
    }

    /// The sides as a tokenizer takes them, with a hash of what is on which.
    pub(super) fn split(&self) -> Split<'t> {
        let mut all = Sha256::new();
        let held_out: Vec<&[u8]> = self.held_out.iter().map(|(_, text)| *text).collect();
        for side in [&self.train, &held_out] {
            all.update((side.len() as u64).to_le_bytes());
            for text in side {
                all.update(Sha256::digest(text));
            }
        }
        Split { train: self.train.clone(), held_out, sha256: hex(&all.finalize()) }
    }

    /// Hash of what is held out.
    fn held_out_sha256(&self) -> String {
        let mut all = Sha256::new();
        self.held_out.iter().for_each(|(_, text)| all.update(Sha256::digest(text)));
        hex(&all.finalize())
    }

    /// What is said of the held-out text; `tokens` of it there are, and `evaluated` of them in windows of `context` are
    /// what losses are measured on.
    pub(super) fn facts(
        &self,
        tokens: u64,
        evaluated: u64,
        context: usize,
        contexts: &Contexts,
    ) -> HeldOutText {
        let bytes: u64 = self.held_out.iter().map(|(_, text)| text.len() as u64).sum();
        let documents: HashSet<u64> = self.held_out.iter().map(|(key, _)| *key).collect();
        let evaluated = evaluated.min(tokens);
        let wanted = (evaluated / context as u64).max(1);
        let span = (bytes as f64 / tokens.max(1) as f64 * context as f64).max(2.0);
        let windows = self.windows(bytes, wanted, span);
        let told = |texts: &[_]| Sums::of(clusters(texts, contexts)).error();
        HeldOutText {
            by: self.by.clone(),
            share: self.share,
            documents: Some(documents.len() as u64),
            bytes: Some(bytes),
            evaluated_tokens: evaluated,
            noise: told(&windows),
            noise_of_all: told(&self.held_out),
            tokens,
            sha256: Some(self.held_out_sha256()),
        }
    }

    /// About the texts of the windows that are evaluated: so many, evenly spread, of so many bytes each.
    fn windows(&self, bytes: u64, wanted: u64, span: f64) -> Vec<(u64, &'t [u8])> {
        let mut out = Vec::new();
        let (mut begin, mut n) = (0_u64, 0_u64);
        let step = bytes as f64 / wanted as f64;
        for (key, text) in &self.held_out {
            let end = begin + text.len() as u64;
            while n < wanted && ((n as f64 * step) as u64) < end {
                let from = (n as f64 * step) as usize - begin as usize;
                let to = (from + span.min(step) as usize).min(text.len());
                out.push((*key, &text[from..to]));
                n += 1;
            }
            begin = end;
        }
        out
    }

    /// What a person should know of copies: of held-out text in what is trained on, and of texts that occur often.
    pub(super) fn copies(&self) -> Vec<String> {
        let hash = |text: &[u8]| xxh3_128(text.trim_ascii());
        let mut trained: HashMap<u128, u64> = HashMap::with_capacity(self.train.len());
        let (mut again, mut all) = (0_u64, 0_u64);
        for text in &self.train {
            let seen = trained.entry(hash(text)).or_default();
            *seen += 1;
            all += text.len() as u64;
            again += if *seen > 1 { text.len() as u64 } else { 0 };
        }
        let both =
            self.held_out.iter().filter(|(_, text)| trained.contains_key(&hash(text))).count();
        let mut out = Vec::new();
        if both > 0 {
            out.push(format!(
                "{both} of {} held-out documents also lie in the training text, letter by letter: the loss on them is that of text learned by heart; take them out of one or the other",
                self.held_out.len()
            ));
        }
        if again > all / 20 {
            out.push(format!(
                "{:.0}% of the training text are copies of other documents in it: as many epochs as copies, which the plan's count of epochs does not know",
                100.0 * again as f64 / all as f64
            ));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Stream;

    /// Wholes of one document each, of `words` words that differ.
    fn wholes(n: u64, words: u64) -> Vec<Whole> {
        let stream = Stream::new(3, "words");
        (0..n)
            .map(|i| {
                let word = |w: u64| stream.below(i * words + w, 5000);
                let text = (0..words).fold(String::new(), |s, w| {
                    s + &format!("{}{}", word(w), if w % 10 == 9 { '\n' } else { ' ' })
                });
                Whole { key: key(&Sha256::digest(&text)), documents: vec![text] }
            })
            .collect()
    }

    fn of(wholes: &[Whole]) -> (Aside<'_>, Contexts) {
        let contexts = Contexts::of(units(wholes, Unit::Document).map(|(_, text)| text));
        (aside(wholes, &contexts).unwrap(), contexts)
    }

    #[test]
    fn many_documents_are_held_out_whole_and_as_many_as_are_needed() {
        let many = wholes(20_000, 30);
        let (aside, contexts) = of(&many);
        assert_eq!(aside.by, "documents");
        assert_eq!(aside.train.len() + aside.held_out.len(), 20_000);
        let facts = aside.facts(1_000_000, 1_000_000, 64, &contexts);
        assert!(facts.noise_of_all.unwrap() < 1.2 * WELL_KNOWN, "{facts:?}");
        assert!(facts.warnings().iter().all(|w| !w.contains("pieces")), "{facts:?}");
        // A document keeps its side when others come, whatever the share: shares nest.
        let held: HashSet<&[u8]> = aside.held_out.iter().map(|(_, text)| *text).collect();
        let more = wholes(40_000, 30);
        let (more, _) = of(&more);
        let (small, large) =
            if more.share > aside.share { (&aside, &more) } else { (&more, &aside) };
        let large: HashSet<u64> = large.held_out.iter().map(|(key, _)| *key).collect();
        let known: HashSet<u64> = many.iter().map(|w| w.key).collect();
        assert!(
            small
                .held_out
                .iter()
                .filter(|(k, _)| known.contains(k))
                .all(|(k, _)| large.contains(k))
        );
        assert!(aside.train.iter().all(|text| !held.contains(text)));
    }

    #[test]
    fn few_long_documents_are_held_out_in_pieces_and_it_is_said() {
        let few = wholes(2, 300_000);
        let (aside, contexts) = of(&few);
        assert_eq!(aside.by, "pieces of 4 kB");
        let text: usize = few.iter().flat_map(|w| &w.documents).map(String::len).sum();
        let held: usize = aside.held_out.iter().map(|(_, text)| text.len()).sum();
        let trained: usize = aside.train.iter().map(|text| text.len()).sum();
        assert_eq!(held + trained, text);
        assert!((0.05..0.16).contains(&(held as f64 / text as f64)), "{held} of {text}");
        let facts = aside.facts(held as u64, 131_072, 128, &contexts);
        assert!(facts.noise > facts.noise_of_all, "{facts:?}");
        assert!(facts.warnings()[0].contains("pieces of 4 kB"));
    }

    #[test]
    fn copies_are_on_one_side_and_one_text_alone_is_none() {
        let mut thrice = wholes(40, 200);
        thrice.extend(wholes(40, 200));
        thrice.extend(wholes(40, 200));
        let (aside, _) = of(&thrice);
        let held: HashSet<&[u8]> = aside.held_out.iter().map(|(_, text)| *text).collect();
        assert!(!held.is_empty() && aside.train.iter().all(|text| !held.contains(text)));
        let said = aside.copies();
        assert!(
            said.len() == 1 && said[0].contains("67% of the training text are copies"),
            "{said:?}"
        );
        // A text that is most of all is trained on, whatever its hash.
        for words in 50..60 {
            let few: Vec<Whole> =
                (0..40).flat_map(|_| wholes(1, words)).chain(wholes(2, 9).split_off(1)).collect();
            let contexts = Contexts::of(std::iter::empty());
            let sides = super::aside(&few, &contexts).unwrap();
            assert_eq!((sides.train.len(), sides.held_out.len()), (40, 1), "{words}");
        }
        let one = [wholes(1, 50), wholes(1, 50)].concat();
        let contexts = Contexts::of(std::iter::empty());
        assert!(super::aside(&one, &contexts).is_none());
    }

    #[test]
    fn held_out_text_that_is_trained_on_is_told() {
        let (train, mut held) = (wholes(30, 50), wholes(3, 50));
        held.extend(wholes(35, 50).split_off(33));
        let aside = Aside::named(&train, &held);
        let said = aside.copies();
        assert!(said[0].starts_with("3 of 5 held-out documents"), "{said:?}");
    }
}
