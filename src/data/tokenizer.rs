//! Text to ids: raw bytes, or byte-level BPE trained on the training documents (`tokenizers` crate).

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{TokenizerBuilder, TokenizerImpl};

use super::encode::Quick;
use super::learn::{END, Words};
use super::text::Split;
use super::{Cache, DataError, kept};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::plan::hex;
use crate::spec::Tokenizer;
use crate::terminal::{self, note};
use crate::units;

/// Longest file of a tokenizer that is read [bytes].
const MAX_FILE: u64 = 64 << 20;
/// Longest file of its hash [bytes].
const MAX_HASH: u64 = 1 << 10;

/// A document is given to the library in pieces of about this size [bytes].
const PIECE: usize = 32 << 10;
/// Longest stretch beyond that without a space between words that is given to it at once [bytes].
const MAX_STRETCH: usize = 1 << 20;
/// Longest run of letters, of digits, of white space or of other characters that is one word to BPE [bytes]. The
/// library's time grows with the square of a word's length: one of 200,000 letters takes 39 s, the same letters in
/// words of 4096 take 0.7 s. No word of the embedded prose comes near.
const MAX_WORD: usize = 4096;

/// Memory for learning from texts whose number of words nobody knows [bytes].
const LEARNING: usize = 320 << 20;

/// How often a training says how far it is.
const SAID_EVERY: Duration = Duration::from_secs(3);
/// A training on so much text takes long [bytes].
const LONG: usize = 8 << 20;

type ByteLevelBpe = TokenizerImpl<BPE, NFC, ByteLevel, ByteLevel, ByteLevel>;

/// Turns documents into one stream of ids.
pub(super) enum Encoder {
    /// One id a byte; the zero byte, id 0, separates documents.
    Bytes,
    /// Merges learned from the training documents.
    Bpe(Box<Quick<ByteLevelBpe>>),
}

impl Encoder {
    /// The encoder a sweep asks for; BPE is trained, or read from `cache` where it was trained before. And whether
    /// it gives the ids that it always gave for this text.
    pub(super) fn new(
        spec: &Tokenizer,
        text: &Split<'_>,
        cache: Option<Cache<'_>>,
    ) -> Result<(Self, bool), DataError> {
        match spec {
            // A dataset's text was tokenised when it was prepared.
            Tokenizer::Bytes | Tokenizer::Dataset => Ok((Self::Bytes, true)),
            Tokenizer::Bpe { vocab } => {
                let name = format!("tokenizer-{vocab}-{}.json", &text.sha256[..12]);
                let file = cache.map(|cache| cache.dir.join(name));
                // The hash is written last: without it the file may be half of one, and is made again.
                let (bpe, kept) = match &file {
                    Some(file) if hash_file(file).exists() => (read(file)?, true),
                    _ => {
                        let keep = cache.is_some_and(|cache| cache.keep);
                        (train(*vocab, text, file.filter(|_| keep))?, false)
                    }
                };
                let quick = Quick::gpt2(bpe, vec![END.to_owned()]);
                Ok((Self::Bpe(Box::new(quick)), kept))
            }
        }
    }

    /// Number of ids.
    pub(super) fn vocab(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Bpe(bpe) => bpe.slow().get_vocab_size(true),
        }
    }

    /// All documents as one stream, each followed by the separator, id 0.
    pub(super) fn encode(&self, documents: &[&[u8]]) -> Result<Vec<u16>, DataError> {
        match self {
            Self::Bytes => Ok(documents
                .iter()
                .flat_map(|d| d.iter().map(|b| u16::from(*b)).chain([0]))
                .collect()),
            Self::Bpe(bpe) => {
                let parts: Result<Vec<Vec<u16>>, _> =
                    documents.par_iter().map(|d| encode_one(bpe, d)).collect();
                Ok(parts?.concat())
            }
        }
    }
}

fn encode_one(bpe: &Quick<ByteLevelBpe>, document: &[u8]) -> Result<Vec<u16>, DataError> {
    let text = String::from_utf8_lossy(document);
    let mut ids = Vec::new();
    for piece in pieces(&text) {
        bpe.encode(piece, &mut ids).map_err(|e| failed("encode with", &*e))?;
    }
    // Id 0 ends a document.
    let ids = ids.into_iter().chain([0]).map(u16::try_from);
    ids.collect::<Result<_, _>>().map_err(|e| failed("encode with", &e))
}

/// A document in pieces that a tokenizer can be given one by one, with the ids that all of it would have: each but
/// the first begins with a space after a word, where pre-tokens end whatever stands around. The library holds
/// some 200 bytes for each byte of what it is given at once. Only words of more than [`MAX_WORD`] are cut otherwise,
/// and stretches of more than [`MAX_STRETCH`] without a space.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    let stretches = std::iter::from_fn(move || {
        let (stretch, later) = rest.split_at(stretch(rest));
        rest = later;
        (!stretch.is_empty()).then_some(stretch)
    });
    stretches.flat_map(|mut rest| {
        std::iter::from_fn(move || {
            let (piece, later) = rest.split_at(long_word(rest).unwrap_or(rest.len()));
            rest = later;
            (!piece.is_empty()).then_some(piece)
        })
    })
}

/// Where the first piece ends, at a space if there is one.
fn stretch(text: &str) -> usize {
    let from = text.floor_char_boundary(PIECE);
    let mut before = text[..from].chars().next_back();
    for (at, c) in text[from..].char_indices() {
        if at > MAX_STRETCH || (c.is_whitespace() && before.is_some_and(|b| !b.is_whitespace())) {
            return from + at;
        }
        before = Some(c);
    }
    text.len()
}

/// Where the first word that is too long is cut.
fn long_word(text: &str) -> Option<usize> {
    let kind = |c: char| match c {
        c if c.is_whitespace() => 0,
        c if c.is_numeric() => 1,
        c if c.is_alphabetic() => 2,
        _ => 3,
    };
    let (mut begin, mut of) = (0, None);
    for (at, c) in text.char_indices() {
        if of != Some(kind(c)) {
            (begin, of) = (at, Some(kind(c)));
        } else if at + c.len_utf8() - begin > MAX_WORD {
            return Some(at);
        }
    }
    None
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> DataError {
    InputError::new(
        format!("cannot {what} the BPE tokenizer: {error}"),
        "try tokenizer = \"bytes\"",
    )
    .into()
}

/// A tokenizer around merges. No normalisation and no added space: ids must spell the bytes that were read.
fn around(bpe: BPE) -> Result<ByteLevelBpe, DataError> {
    let byte_level = ByteLevel::new(false, false, true);
    TokenizerBuilder::new()
        .with_model(bpe)
        .with_normalizer(None)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(byte_level))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(|e| failed("build", &*e))
}

/// One that learned from these words.
fn learned(vocab: u32, words: Words) -> Result<ByteLevelBpe, DataError> {
    let (bpe, special) = words.learn(vocab).map_err(|e| failed("train", &*e))?;
    let mut built = around(bpe)?;
    built.add_special_tokens(special).map_err(|e| failed("build", &*e))?;
    Ok(built)
}

/// Trains a tokenizer and keeps it in `file`, if given.
fn train(vocab: u32, text: &Split<'_>, file: Option<PathBuf>) -> Result<ByteLevelBpe, DataError> {
    let mut progress = Progress::new(vocab, text);
    let mut words = Words::default();
    for document in &text.train {
        pieces(&String::from_utf8_lossy(document)).for_each(|piece| words.add(piece));
        progress.given(document.len());
    }
    let bpe = learned(vocab, words)?;
    if let Some(file) = file {
        let json = serde_json::to_vec(&bpe).map_err(|e| failed("write", &e))?;
        Os.write_atomic(&file, &json)?;
        Os.write_atomic(&hash_file(&file), sha256(&json).as_bytes())?;
    }
    Ok(bpe)
}

/// Learns byte-level BPE from texts that come one after another, in bounded memory.
#[derive(Default)]
pub struct Learner(Words);

impl Learner {
    /// Takes a text. Where there are more different words than memory for them, the rarest ones are forgotten.
    pub fn add(&mut self, text: &str) {
        pieces(text).for_each(|piece| self.0.add(piece));
        self.0.keep_within(LEARNING);
    }

    /// Was no text given?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The `tokenizer.json` of so many ids.
    ///
    /// # Errors
    ///
    /// [`DataError`] with what the library says.
    pub fn finish(self, vocab: u32) -> Result<Vec<u8>, DataError> {
        let bpe = learned(vocab, self.0)?;
        serde_json::to_vec(&bpe).map_err(|e| failed("write", &e))
    }
}

/// The `tokenizer.json` that a sweep on text keeps in its results directory, for a sweep whose `tokenizer` asks for
/// so many ids; `None` where there is none.
///
/// # Errors
///
/// [`DataError`]: it is damaged (exit code 3), or there are several, of several texts.
pub fn kept_bpe(results: &Path, vocab: u32) -> Result<Option<Vec<u8>>, DataError> {
    let begin = format!("tokenizer-{vocab}-");
    let own = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let json = file.extension().is_some_and(|e| e == "json");
        json && name.starts_with(&begin) && hash_file(file).exists()
    };
    let mut files: Vec<PathBuf> = Os.list(results).unwrap_or_default();
    files.retain(own);
    match files.as_slice() {
        [] => Ok(None),
        [file] => {
            read(file)?;
            Os.read(file, MAX_FILE).map(Some).map_err(|e| FileError::new("read", file)(e).into())
        }
        [one, other, ..] => Err(InputError::new(
            format!(
                "`{}` and `{}` are tokenizers of two texts, and nothing says which one a cell has",
                one.display(),
                other.display()
            ),
            "move the one away whose text is no longer that of the sweep",
        )
        .into()),
    }
}

/// Says on a terminal how far a training that takes long has come.
struct Progress {
    vocab: u32,
    given: usize,
    all: usize,
    next: Instant,
}

impl Progress {
    fn new(vocab: u32, text: &Split<'_>) -> Self {
        let all = text.train.iter().map(|d| d.len()).sum();
        Self { vocab, given: 0, all, next: Instant::now() + SAID_EVERY }
    }

    fn given(&mut self, bytes: usize) {
        self.given += bytes;
        let (last, now) = (self.given >= self.all, Instant::now());
        // Merging follows the last document, and the library says nothing of it.
        let long = self.all >= LONG;
        if (now < self.next && !(last && long)) || !terminal::is_watched() {
            return;
        }
        self.next = now + SAID_EVERY;
        let (vocab, all) = (self.vocab, units::bytes(self.all as f64));
        if last {
            note!(
                "training a tokenizer of {vocab} ids on {all} of text: all words counted, merging them"
            );
        } else {
            let part = 100 * self.given / self.all;
            note!(
                "training a tokenizer of {vocab} ids on {all} of text: {part}% of the words counted"
            );
        }
    }
}

fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Where the hash of a tokenizer's file is kept.
fn hash_file(file: &Path) -> PathBuf {
    file.with_extension("json.sha256")
}

fn read(file: &Path) -> Result<ByteLevelBpe, DataError> {
    let json = Os.read(file, MAX_FILE).map_err(FileError::new("read", file))?;
    let hash = hash_file(file);
    let written = Os.read(&hash, MAX_HASH).map_err(FileError::new("read", hash))?;
    let damaged = |why: &dyn std::fmt::Display| {
        InputError::new(
            format!("`{}` is not the tokenizer written there: {why}", file.display()),
            "delete it: it is trained again from the same text",
        )
        .with_code(exit::DAMAGED)
    };
    // Other ids under the same cells would be a wrong result without a sign.
    if sha256(&json).as_bytes() != written {
        return Err(damaged(&"its hash does not match").into());
    }
    let untrained =
        serde_json::to_value(around(BPE::default())?).map_err(|e| failed("build", &e))?;
    kept::check(&json, &untrained, END).map_err(|why| damaged(&why))?;
    // The library panics on merges that it has not made.
    let bpe = catch_unwind(|| serde_json::from_slice::<ByteLevelBpe>(&json));
    let bpe = bpe.map_err(|_| damaged(&"its merges do not follow from its vocabulary"))?;
    bpe.map_err(|e| damaged(&e).into())
}

#[cfg(test)]
mod tests {
    use super::super::text::split;
    use super::*;

    #[test]
    fn bytes_spell_the_text_with_a_separator_after_each_document() {
        let ids = Encoder::Bytes.encode(&[b"ab", b"c"]).unwrap();
        assert_eq!(ids, [97, 98, 0, 99, 0]);
    }

    #[test]
    fn bpe_shortens_the_text_and_decodes_to_the_same_bytes() {
        let words = ["the whale ", "was a white whale", ", and the sea ", "rolled on — naïve\n"];
        let documents: Vec<Vec<u8>> = (0..60)
            .map(|i| format!("{}{i} {}", words[i % 4], words[(i + 1) % 4]).into_bytes())
            .collect();
        let split = split(&documents);
        let dir = tempfile::tempdir().unwrap();
        let spec = Tokenizer::Bpe { vocab: 300 };
        let cache = Some(Cache { dir: dir.path(), keep: true });
        let (encoder, kept) = Encoder::new(&spec, &split, cache).unwrap();
        assert!(!kept);
        assert!((258..=300).contains(&encoder.vocab()), "{}", encoder.vocab());
        let ids = encoder.encode(&[&documents[3]]).unwrap();
        assert!(ids.len() < documents[3].len());
        assert_eq!(ids.last(), Some(&0));
        let Encoder::Bpe(bpe) = &encoder else { panic!() };
        let ids32: Vec<u32> = ids[..ids.len() - 1].iter().map(|i| u32::from(*i)).collect();
        assert_eq!(bpe.slow().decode(&ids32, false).unwrap().into_bytes(), documents[3]);
        let (again, kept) = Encoder::new(&spec, &split, cache).unwrap();
        assert!(kept);
        assert_eq!(again.encode(&split.train).unwrap(), encoder.encode(&split.train).unwrap());
    }

    /// Text whose spaces, apostrophes and letters meet in every way, longer than several pieces.
    fn mixed() -> String {
        let parts =
            ["a", " ", "  ", "\n", "'s", "é", "12", "\u{3000}", "-", "\t ", "語", END, " x"];
        let stream = crate::random::Stream::new(1, "mixed");
        (0..60_000).map(|n| parts[stream.below(n, parts.len() as u64) as usize]).collect()
    }

    #[test]
    fn a_document_in_pieces_has_the_ids_of_the_whole() {
        let text = mixed();
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.len() > 2 && cut.concat() == text, "{}", cut.len());
        assert!(cut.iter().all(|piece| piece.len() < PIECE + 100));
        let document = text.clone().into_bytes();
        let split = Split { train: vec![&document], held_out: vec![], sha256: "0".repeat(64) };
        let (encoder, _) = Encoder::new(&Tokenizer::Bpe { vocab: 300 }, &split, None).unwrap();
        let Encoder::Bpe(bpe) = &encoder else { panic!() };
        let whole = bpe.slow().encode_fast(text.as_str(), false).unwrap();
        let ids = encoder.encode(&[&document]).unwrap();
        assert_eq!(ids.len(), whole.get_ids().len() + 1);
        assert!(ids.iter().zip(whole.get_ids()).all(|(l, r)| u32::from(*l) == *r));
        // Trained on pieces as on the whole.
        let mut words = Words::default();
        words.add(&text);
        let learned = learned(300, words).unwrap();
        assert_eq!(learned.get_vocab(true), bpe.slow().get_vocab(true));
    }

    #[test]
    fn words_of_200_000_letters_are_cut_and_decode_to_themselves() {
        let stream = crate::random::Stream::new(2, "letters");
        let letter = |n: u64| char::from(b'a' + stream.below(n, 26) as u8);
        let word: String = (0..200_000).map(letter).collect();
        let text = format!("{word} {}{}1{word}", "é".repeat(100_000), " ".repeat(100_000));
        let cut: Vec<&str> = pieces(&text).collect();
        assert!(cut.concat() == text && cut.iter().all(|piece| piece.len() <= 3 * MAX_WORD));
        let split =
            Split { train: vec![text.as_bytes()], held_out: vec![], sha256: "0".repeat(64) };
        // Whole, they would take minutes.
        let (encoder, _) = Encoder::new(&Tokenizer::Bpe { vocab: 400 }, &split, None).unwrap();
        let ids = encoder.encode(&split.train).unwrap();
        let Encoder::Bpe(bpe) = &encoder else { panic!() };
        let ids: Vec<u32> = ids[..ids.len() - 1].iter().map(|id| u32::from(*id)).collect();
        assert_eq!(bpe.slow().decode(&ids, false).unwrap(), text);
        // Shorter words are left alone, whatever they are made of.
        let short = format!("{} {}", "x".repeat(MAX_WORD), "7".repeat(MAX_WORD));
        assert_eq!(pieces(&short).count(), 1);
    }

    #[test]
    fn a_changed_tokenizer_is_refused_and_a_half_written_one_made_again() {
        let documents: Vec<Vec<u8>> =
            (0..40).map(|i| format!("the whale and the sea {i} the whale").into_bytes()).collect();
        let split = split(&documents);
        let dir = tempfile::tempdir().unwrap();
        let spec = Tokenizer::Bpe { vocab: 290 };
        let ids = |dir: &Path| {
            let cache = Some(Cache { dir, keep: true });
            Encoder::new(&spec, &split, cache).and_then(|(e, _)| e.encode(&split.train))
        };
        let want = ids(dir.path()).unwrap();
        let files = Os.list(dir.path()).unwrap();
        let [json, hash] = &files[..] else { panic!("{files:?}") };
        let whole = std::fs::read(json).unwrap();
        for n in 0..200 {
            let mut bytes = whole.clone();
            let at = n * 7919 % bytes.len();
            bytes[at] ^= 1 << (n % 8);
            std::fs::write(json, &bytes).unwrap();
            let Err(DataError::Input(error)) = ids(dir.path()) else { panic!("byte {at}") };
            assert_eq!(error.code, exit::DAMAGED);
        }
        std::fs::write(json, &whole[..whole.len() / 2]).unwrap();
        std::fs::remove_file(hash).unwrap();
        assert_eq!(ids(dir.path()).unwrap(), want);
        assert_eq!(std::fs::read(json).unwrap(), whole);
    }
}
