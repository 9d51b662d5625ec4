//! What is looked for in a document that must not hold what is measured: n-grams of normalised words, by their hash.

use xxhash_rust::xxh64::xxh64;

use super::normal::Words;

/// XXH64 of every n-gram of so many words of a normalised text, joined by spaces; none of a shorter text.
pub fn hashes(normalised: &str, ngram: usize) -> impl Iterator<Item = u64> + use<> {
    let words = Words::new(normalised);
    let mut at = 0;
    std::iter::from_fn(move || {
        let hash = xxh64(words.ngram(at, ngram)?, 0);
        at += 1;
        Some(hash)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn words(from: usize, to: usize) -> String {
        (from..to).map(|i| format!("w{}", "x".repeat(i))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn texts_share_ngrams_where_as_many_words_in_a_row_are_equal() {
        let of = |text: &str| hashes(text, 12).collect::<HashSet<u64>>();
        let item = of(&words(0, 20));
        assert_eq!((item.len(), of(&words(30, 41)).len()), (9, 0));
        let shared = |text: &str| of(text).intersection(&item).count();
        assert_eq!(shared(&format!("{} y", words(3, 14))), 0, "11 words are no 12-gram");
        assert_eq!(shared(&format!("before {} after", words(3, 17))), 3);
    }
}
