//! A request as windows of token ids: the scoring rule of lm-evaluation-harness 0.4.13.
//!
//! * Blanks at the end of the context move to the continuation.
//! * Both are tokenised together and split at the number of tokens of the context alone.
//! * An empty context is the separator, unless the continuation begins with it.
//! * What exceeds the model's window is cut from the left.
//! * A text is scored whole: window after window, the first after the separator, each later one after the token before
//!   it. The same is done with a continuation that is longer than the window, which the harness refuses.

use super::{Kind, Request};
use crate::error::InputError;

/// The id that parts documents of isoflop's own models.
pub const SEPARATOR: i32 = 0;

/// What of a model decides the windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// Tokens that it reads at once [tokens].
    pub window: usize,
    /// The id before a text that has no context.
    pub separator: i32,
}

/// Tokens that a model reads at once, and those of them whose log-likelihood is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Ids, at most one more than the model's window: nothing follows the last one.
    pub ids: Vec<i32>,
    /// The first one that is scored, 1 or later; all after it are too.
    pub from: usize,
}

/// A request as a model reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokenised {
    /// What the model reads; each token of the continuation is scored in one of them.
    pub windows: Vec<Window>,
    /// Whether all of the context and the continuation fit into one.
    pub whole: bool,
}

/// The windows of a request.
///
/// # Errors
///
/// Those of `encode`; [`InputError`] where no token is left to score.
pub fn windows(
    request: &Request,
    kind: Kind,
    Reader { window, separator }: Reader,
    encode: &mut dyn FnMut(&str) -> Result<Vec<i32>, InputError>,
) -> Result<Tokenised, InputError> {
    let (context, continuation) = ids(request, kind, separator, encode)?;
    if continuation.is_empty() {
        let text: String = request.continuation.chars().take(40).collect();
        return Err(InputError::new(
            format!("{text:?} has no token of its own after its context"),
            "the tokenizer joins it with the context: another delimiter or template parts them",
        ));
    }
    let whole = context.len() + continuation.len() <= window + 1;
    Ok(Tokenised { windows: cut(&context, &continuation, window), whole })
}

/// Context and continuation; the context has one token at least.
fn ids(
    request: &Request,
    kind: Kind,
    separator: i32,
    encode: &mut dyn FnMut(&str) -> Result<Vec<i32>, InputError>,
) -> Result<(Vec<i32>, Vec<i32>), InputError> {
    if request.context.is_empty() {
        let mut all = encode(&request.continuation)?;
        if kind != Kind::Text && all.first() == Some(&separator) {
            let rest = all.split_off(1);
            return Ok((all, rest));
        }
        return Ok((vec![separator], all));
    }
    let context = request.context.trim_end_matches(is_blank);
    let mut all = encode(&format!("{}{}", request.context, request.continuation))?;
    // A context of blanks alone, at which the harness stops, is as good as none.
    if context.is_empty() {
        return Ok((vec![separator], all));
    }
    let before = encode(context)?;
    let continuation = all.split_off(before.len().min(all.len()));
    Ok((before, continuation))
}

/// What Python's `str.rstrip` takes away: white space, and four separators of ASCII.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

/// Pieces of the continuation of at most `window` tokens, each after as much of what is before it as there is room for.
fn cut(context: &[i32], continuation: &[i32], window: usize) -> Vec<Window> {
    let all = [context, continuation].concat();
    let mut begin = context.len();
    let mut out = Vec::new();
    while begin < all.len() {
        let end = all.len().min(begin + window);
        let first = end.saturating_sub(window + 1);
        out.push(Window { ids: all[first..end].to_vec(), from: begin - first });
        begin = end;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::Length;
    use super::*;

    const READER: Reader = Reader { window: 8, separator: SEPARATOR };

    /// One id a byte, but "ab" is one token and a blank is part of the word after it, as byte-level BPE has it.
    #[expect(clippy::unnecessary_wraps, reason = "as an encoder does")]
    fn encode(text: &str) -> Result<Vec<i32>, InputError> {
        let (mut out, mut rest) = (Vec::new(), text);
        while let Some(first) = rest.chars().next() {
            let joined = ["ab", " a", " b"].iter().position(|t| rest.starts_with(t));
            let (id, len) = match joined {
                Some(n) => (1000 + i32::try_from(n).unwrap(), 2),
                None if rest.starts_with("<|endoftext|>") => (SEPARATOR, 13),
                None => (first as i32, first.len_utf8()),
            };
            out.push(id);
            rest = &rest[len..];
        }
        Ok(out)
    }

    fn request(context: &str, continuation: &str) -> Request {
        let (bytes, choice) = (continuation.len(), Length { characters: 0, bytes: 0 });
        Request { context: context.into(), continuation: continuation.into(), bytes, choice }
    }

    fn split(context: &str, continuation: &str) -> (Vec<i32>, Vec<i32>) {
        ids(&request(context, continuation), Kind::Choices, SEPARATOR, &mut encode).unwrap()
    }

    /// What `_encode_pair` and `loglikelihood` of lm-evaluation-harness 0.4.13 give for the same tokenizer.
    #[test]
    fn context_and_continuation_part_as_in_the_harness() {
        let (x, y, colon) = ('x' as i32, 'y' as i32, ':' as i32);
        assert_eq!(split("x:", " a"), (vec![x, colon], vec![1001]));
        // Blanks move, and are then part of the continuation's tokens.
        assert_eq!(split("x: ", "a"), (vec![x, colon], vec![1001]));
        assert_eq!(split("x:\u{a0}\n", "y"), (vec![x, colon], vec![0xa0, 10, y]));
        // Tokens that join over the border belong to the context, where it ends in one.
        assert_eq!(split("xa", "by"), (vec![x, 'a' as i32], vec![y]));
        assert_eq!(split("", " a"), (vec![SEPARATOR], vec![1001]));
        assert_eq!(split("", "<|endoftext|>y"), (vec![SEPARATOR], vec![y]));
        assert_eq!(split(" ", "y"), (vec![SEPARATOR], vec![32, y]));
        let nothing = windows(&request("a", "b"), Kind::Choices, READER, &mut encode).unwrap_err();
        assert!(nothing.message.contains("no token of its own"), "{nothing}");
    }

    #[test]
    fn a_text_keeps_a_separator_that_it_begins_with() {
        let made =
            windows(&request("", "<|endoftext|>y"), Kind::Text, READER, &mut encode).unwrap();
        assert!(made.whole);
        assert_eq!(made.windows, [Window { ids: vec![0, 0, 'y' as i32], from: 1 }]);
    }

    /// What `get_rolling_token_windows` with `context_len` 1 and `make_disjoint_window` give, and the cut of
    /// `_loglikelihood_tokens`.
    #[test]
    fn long_contexts_are_cut_and_long_texts_roll() {
        let ids = |n: i32| (1..=n).collect::<Vec<i32>>();
        let window = |ids: &[i32], from: usize| Window { ids: ids.to_vec(), from };
        // inp = (context + continuation)[-(T + 1):][:-1].
        assert_eq!(cut(&ids(6), &[7, 8], 4), [window(&[4, 5, 6, 7, 8], 3)]);
        assert_eq!(cut(&ids(2), &[7, 8], 4), [window(&[1, 2, 7, 8], 2)]);
        // Ten tokens at T = 4: 0 1 2 3 | 4, then 4 5 6 7 | 8, then the last two after all that fits before them.
        let rolled = [
            window(&[0, 1, 2, 3, 4], 1),
            window(&[4, 5, 6, 7, 8], 1),
            window(&[6, 7, 8, 9, 10], 3),
        ];
        assert_eq!(cut(&[0], &ids(10), 4), rolled);
        let scored: usize = rolled.iter().map(|w| w.ids.len() - w.from).sum();
        assert_eq!(scored, 10);
    }
}
