//! Byte-level BPE, learned from the words of a text and how often each is there. Words are split by hand as GPT-2's
//! pattern splits them and counted here; the `tokenizers` crate is given each word once, and what it learns is what it
//! would learn from the text.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::LazyLock;

use tokenizers::AddedToken;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use super::encode::{EncodeError, Xxh3, gpt2_words};

/// Separates documents; id 0.
pub(super) const END: &str = "<|endoftext|>";

/// Bytes that the crate needs for each byte of a word, and for each word beside, while it learns [bytes].
const PER_BYTE: usize = 64;
const PER_WORD: usize = 256;

/// The words of a text, and how often each is there.
#[derive(Default)]
pub(super) struct Words {
    counts: HashMap<Box<str>, u64, BuildHasherDefault<Xxh3>>,
    /// What learning from all of them needs [bytes].
    needed: usize,
}

impl Words {
    /// Counts the words of a text.
    pub(super) fn add(&mut self, text: &str) {
        for word in gpt2_words(text) {
            if let Some(count) = self.counts.get_mut(word) {
                *count += 1;
            } else {
                self.needed += needed(word);
                self.counts.insert(word.into(), 1);
            }
        }
    }

    /// Forgets the rarest words until learning from the others needs at most `memory` [bytes]: all that are there
    /// once, then all that are there twice, and so on.
    pub(super) fn keep_within(&mut self, memory: usize) {
        let mut rarest = 1;
        while self.needed > memory {
            let left = &mut self.needed;
            self.counts.retain(|word, count| {
                let stays = *count > rarest;
                *left -= if stays { 0 } else { needed(word) };
                stays
            });
            rarest += 1;
        }
    }

    /// Are there none?
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Learns merges, and says which tokens are special.
    pub(super) fn learn(self, vocab: u32) -> Result<(BPE, Vec<AddedToken>), EncodeError> {
        let mut bpe = BPE::default();
        let counts = self.counts.into_iter().map(|(word, count)| (spelled(&word).into(), count));
        let special = trainer(vocab).do_train(&counts.collect(), &mut bpe)?;
        Ok((bpe, special))
    }
}

/// How merges are learned.
fn trainer(vocab: u32) -> BpeTrainer {
    BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocab as usize)
        .min_frequency(2)
        .special_tokens(vec![AddedToken::from(END, true)])
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .build()
}

fn needed(word: &str) -> usize {
    PER_WORD + PER_BYTE * word.len()
}

/// A word in the characters that stand for its bytes: GPT-2's.
fn spelled(word: &str) -> String {
    static CHARS: LazyLock<[char; 256]> = LazyLock::new(|| {
        let mut next = '\u{100}'..;
        std::array::from_fn(|byte| match byte as u8 {
            plain @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(plain),
            _ => next.next().unwrap_or_default(),
        })
    });
    word.bytes().map(|byte| CHARS[usize::from(byte)]).collect()
}

#[cfg(test)]
mod tests {
    use tokenizers::normalizers::NFC;
    use tokenizers::{TokenizerBuilder, TokenizerImpl};

    use super::*;

    fn crates(vocab: u32, texts: &[&str]) -> BPE {
        let split = ByteLevel::new(false, false, true);
        let mut whole: TokenizerImpl<BPE, NFC, ByteLevel, ByteLevel, ByteLevel> =
            TokenizerBuilder::new()
                .with_model(BPE::default())
                .with_normalizer(None)
                .with_pre_tokenizer(Some(split))
                .with_post_processor(Some(split))
                .with_decoder(Some(split))
                .build()
                .unwrap();
        whole.train(&mut trainer(vocab), texts.iter()).unwrap();
        whole.get_model().clone()
    }

    fn ours(vocab: u32, texts: &[&str]) -> BPE {
        let mut words = Words::default();
        for text in texts {
            words.add(text);
        }
        words.learn(vocab).unwrap().0
    }

    #[test]
    fn what_is_learned_is_what_the_crate_learns_from_the_text() {
        let texts = [
            include_str!("learn.rs"),
            "Élan ١٢٣ don't  DON'T\u{a0}x\n\n\t y 東京東京東京\u{0}\u{7f}\u{ad} 🙂🙂 ½",
            "",
        ];
        for vocab in [0, 300, 800] {
            let [ours, want] = [ours, crates].map(|train| train(vocab, &texts));
            let [ours, want] = [&ours, &want].map(|bpe| serde_json::to_string(bpe).unwrap());
            assert_eq!(ours, want, "{vocab}");
        }
    }

    #[test]
    fn the_rarest_words_are_forgotten_first_and_no_more_than_must_be() {
        let mut words = Words::default();
        words.add(" a a a a b b c c d");
        let [one, all] = [needed(" a"), words.needed];
        assert_eq!(all, 4 * one);
        words.keep_within(all);
        assert_eq!(words.counts.len(), 4);
        words.keep_within(all - 1);
        assert_eq!((words.counts.len(), words.needed), (3, 3 * one));
        words.keep_within(2 * one);
        assert_eq!((words.counts.len(), words.needed), (1, one));
        words.keep_within(0);
        assert!(words.is_empty());
    }
}
