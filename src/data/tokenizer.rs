//! Text to ids: raw bytes, or byte-level BPE trained on the training documents (`tokenizers` crate).

use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use sha2::{Digest as _, Sha256};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, TokenizerBuilder, TokenizerImpl};

use super::text::Split;
use super::{Cache, DataError, kept};
use crate::error::{FileError, InputError, exit};
use crate::fs::{Disk as _, Os};
use crate::plan::hex;
use crate::spec::Tokenizer;

/// Longest file of a tokenizer that is read [bytes].
const MAX_FILE: u64 = 64 << 20;
/// Longest file of its hash [bytes].
const MAX_HASH: u64 = 1 << 10;

/// A document is given to the library in pieces of about this size [bytes].
const PIECE: usize = 32 << 10;
/// Longest stretch beyond that without a space between words [bytes].
const MAX_STRETCH: usize = 1 << 20;

/// Separates documents under BPE; id 0. Under raw bytes the zero byte does, also id 0.
const END: &str = "<|endoftext|>";

type ByteLevelBpe = TokenizerImpl<BPE, NFC, ByteLevel, ByteLevel, ByteLevel>;

/// Turns documents into one stream of ids.
pub(super) enum Encoder {
    /// One id a byte.
    Bytes,
    /// Merges learned from the training documents.
    Bpe(Box<ByteLevelBpe>),
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
            Tokenizer::Bytes => Ok((Self::Bytes, true)),
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
                Ok((Self::Bpe(Box::new(bpe)), kept))
            }
        }
    }

    /// Number of ids.
    pub(super) fn vocab(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Bpe(bpe) => bpe.get_vocab_size(true),
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

fn encode_one(bpe: &ByteLevelBpe, document: &[u8]) -> Result<Vec<u16>, DataError> {
    let text = String::from_utf8_lossy(document);
    let mut ids = Vec::new();
    for piece in pieces(&text) {
        let encoding = bpe.encode_fast(piece?, false).map_err(|e| failed("encode with", &*e))?;
        for id in encoding.get_ids() {
            ids.push(u16::try_from(*id).map_err(|e| failed("encode with", &e))?);
        }
    }
    ids.push(0);
    Ok(ids)
}

/// A document in pieces that a tokenizer can be given one by one, with the ids that all of it would have: each but
/// the first begins with a space after a word, where pre-tokens end whatever stands around. The library holds
/// some 200 bytes for each byte of what it is given at once. Text without a space for [`MAX_STRETCH`] is
/// refused.
fn pieces(text: &str) -> impl Iterator<Item = Result<&str, InputError>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let from = rest.floor_char_boundary(PIECE);
        let mut before = rest[..from].chars().next_back();
        let mut end = rest.len();
        for (at, c) in rest[from..].char_indices() {
            if at > MAX_STRETCH {
                rest = "";
                return Some(Err(InputError::new(
                    format!(
                        "the text has a stretch of more than {MAX_STRETCH} bytes without a space between words"
                    ),
                    "BPE looks at a word as a whole: break the line, or use tokenizer = \"bytes\"",
                )));
            }
            if c.is_whitespace() && before.is_some_and(|b| !b.is_whitespace()) {
                end = from + at;
                break;
            }
            before = Some(c);
        }
        let (piece, later) = rest.split_at(end);
        rest = later;
        Some(Ok(piece))
    })
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> DataError {
    InputError::new(
        format!("cannot {what} the BPE tokenizer: {error}"),
        "try tokenizer = \"bytes\"",
    )
    .into()
}

fn trainer(vocab: u32) -> BpeTrainer {
    BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab as usize)
        .min_frequency(2)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build()
}

/// What training begins with. No normalisation and no added space: ids must spell the bytes that were read.
fn untrained() -> Result<ByteLevelBpe, DataError> {
    let byte_level = ByteLevel::new(false, false, true);
    TokenizerBuilder::new()
        .with_model(BPE::default())
        .with_normalizer(None)
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(byte_level))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(|e| failed("build", &*e))
}

/// Trains a tokenizer and keeps it in `file`, if given.
fn train(vocab: u32, text: &Split<'_>, file: Option<PathBuf>) -> Result<ByteLevelBpe, DataError> {
    let mut bpe = untrained()?;
    for document in &text.train {
        pieces(&String::from_utf8_lossy(document)).try_for_each(|piece| piece.map(|_| ()))?;
    }
    let documents = text.train.iter().flat_map(|document| {
        let text = String::from_utf8_lossy(document);
        pieces(&text).flatten().map(str::to_owned).collect::<Vec<_>>()
    });
    bpe.train(&mut trainer(vocab), documents).map_err(|e| failed("train", &*e))?;
    if let Some(file) = file {
        let json = serde_json::to_vec(&bpe).map_err(|e| failed("write", &e))?;
        Os.write_atomic(&file, &json)?;
        Os.write_atomic(&hash_file(&file), sha256(&json).as_bytes())?;
    }
    Ok(bpe)
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
    let untrained = serde_json::to_value(untrained()?).map_err(|e| failed("build", &e))?;
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
        assert_eq!(bpe.decode(&ids32, false).unwrap().into_bytes(), documents[3]);
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
        let cut: Vec<&str> = pieces(&text).map(Result::unwrap).collect();
        assert!(cut.len() > 2 && cut.concat() == text, "{}", cut.len());
        assert!(cut.iter().all(|piece| piece.len() < PIECE + 100));
        let document = text.clone().into_bytes();
        let split = Split { train: vec![&document], held_out: vec![], sha256: "0".repeat(64) };
        let (encoder, _) = Encoder::new(&Tokenizer::Bpe { vocab: 300 }, &split, None).unwrap();
        let Encoder::Bpe(bpe) = &encoder else { panic!() };
        let whole = bpe.encode_fast(text.as_str(), false).unwrap();
        let ids = encoder.encode(&[&document]).unwrap();
        assert_eq!(ids.len(), whole.get_ids().len() + 1);
        assert!(ids.iter().zip(whole.get_ids()).all(|(l, r)| u32::from(*l) == *r));
        // Trained on pieces as on the whole.
        let mut trained = untrained().unwrap();
        trained.train(&mut trainer(300), [text].into_iter()).unwrap();
        assert_eq!(trained.get_vocab(true), bpe.get_vocab(true));
    }

    #[test]
    fn a_stretch_without_spaces_is_refused_before_the_library_sees_it() {
        let long = "x".repeat(PIECE + MAX_STRETCH + 2);
        let error = pieces(&long).collect::<Result<Vec<_>, _>>().unwrap_err();
        assert!(error.to_string().contains("without a space"), "{error}");
        let (train, held_out) = (vec![long.as_bytes()], vec![]);
        let split = Split { train, held_out, sha256: "0".repeat(64) };
        let made = Encoder::new(&Tokenizer::Bpe { vocab: 300 }, &split, None);
        assert!(matches!(made, Err(DataError::Input(_))));
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
