//! Scoring: what a model says of the items of a task, whatever the model is.
//!
//! [`Prepared`] has the items of a task as windows of token ids, for one tokenizer and one window; [`Prepared::score`]
//! asks a [`Scorer`] for them in batches of like length.

use crate::error::InputError;
use crate::model::{Scored, Transformer};
use crate::ops::Likelihood;
use crate::task::metric::Score;
use crate::task::tokens::{Reader, Tokenised, Window, windows};
use crate::task::{Item, Task};

/// Tokens that are given to a model at once [tokens].
const BATCH: usize = 1 << 14;

/// A model that can be asked.
pub trait Scorer {
    /// What it says of each token of a window that is scored.
    fn said(&mut self, windows: &[&Window]) -> Vec<Vec<Likelihood>>;
}

impl Scorer for Transformer {
    fn said(&mut self, windows: &[&Window]) -> Vec<Vec<Likelihood>> {
        let scored = windows.iter().map(|w| Scored { ids: &w.ids, from: w.from });
        self.log_likelihoods(&scored.collect::<Vec<_>>())
    }
}

/// The items of a task as a tokenizer cuts them.
#[derive(Debug, Clone)]
pub struct Prepared<'a> {
    /// The task.
    pub task: &'a Task,
    /// Of every request of every item.
    items: Vec<Vec<Tokenised>>,
}

impl<'a> Prepared<'a> {
    /// Tokenises a task for a model.
    ///
    /// # Errors
    ///
    /// [`InputError`] with task and line: a text that cannot be tokenised, or has no token of its own.
    pub fn new(
        task: &'a Task,
        reader: Reader,
        encode: &mut dyn FnMut(&str) -> Result<Vec<i32>, InputError>,
    ) -> Result<Self, InputError> {
        let mut item = |item: &Item| {
            let of = item.requests.iter().map(|r| windows(r, task.kind, reader, encode));
            of.collect::<Result<Vec<_>, _>>().map_err(|e| InputError {
                message: format!("task `{}`, line {} of its items: {e}", task.name, item.line),
                ..e
            })
        };
        let items = task.items.iter().map(&mut item).collect::<Result<_, _>>()?;
        Ok(Self { task, items })
    }

    /// Tokens that a model reads for it [tokens].
    pub fn tokens(&self) -> usize {
        let windows = self.items.iter().flatten().flat_map(|request| &request.windows);
        windows.map(|w| w.ids.len() - 1).sum()
    }

    /// Requests that are longer than the window: their context was cut, or they were scored in pieces.
    pub fn long(&self) -> usize {
        self.items.iter().flatten().filter(|request| !request.whole).count()
    }

    /// What a model says of every request of every item; `told` hears how many of [`Prepared::tokens`] are done, and may
    /// end it.
    ///
    /// # Errors
    ///
    /// Those of `told`; [`InputError`] for a log-likelihood that is no number.
    pub fn score<E: From<InputError>>(
        &self,
        scorer: &mut dyn Scorer,
        told: &mut dyn FnMut(usize) -> Result<(), E>,
    ) -> Result<Vec<Vec<Score>>, E> {
        let none = Score { log_likelihood: 0.0, greedy: true, tokens: 0 };
        let mut scores: Vec<Vec<Score>> =
            self.items.iter().map(|item| vec![none; item.len()]).collect();
        let mut places: Vec<(usize, usize, &Window)> = Vec::new();
        for (i, item) in self.items.iter().enumerate() {
            for (r, request) in item.iter().enumerate() {
                places.extend(request.windows.iter().map(|window| (i, r, window)));
            }
        }
        // Stable: windows of one request stay in their order, and so do the sums.
        places.sort_by_key(|(.., window)| std::cmp::Reverse(window.ids.len()));
        let (mut rest, mut done) = (places.as_slice(), 0);
        while let [(.., longest), ..] = rest {
            let (batch, later) = rest.split_at((BATCH / longest.ids.len()).clamp(1, rest.len()));
            let windows: Vec<&Window> = batch.iter().map(|place| place.2).collect();
            for ((i, r, window), said) in batch.iter().zip(scorer.said(&windows)) {
                let score = &mut scores[*i][*r];
                for token in said {
                    score.log_likelihood += token.log;
                    score.greedy &= token.is_argmax;
                    score.tokens += 1;
                }
                done += window.ids.len() - 1;
            }
            told(done)?;
            rest = later;
        }
        self.numbers(&scores)?;
        Ok(scores)
    }

    fn numbers(&self, scores: &[Vec<Score>]) -> Result<(), InputError> {
        let odd = |item: &&Vec<Score>| item.iter().any(|s| !s.log_likelihood.is_finite());
        match scores.iter().position(|item| odd(&item)) {
            None => Ok(()),
            Some(i) => Err(InputError::new(
                format!(
                    "task `{}`, line {} of its items: the log-likelihood is no finite number",
                    self.task.name, self.task.items[i].line
                ),
                "the weights may hold numbers that are none: `isoflop check` verifies those of a cell",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::spec::TaskSpec;

    /// Says of a token its id over a thousand, below zero, and that ids above 100 are not the likeliest.
    struct Fake(usize);

    impl Scorer for Fake {
        fn said(&mut self, windows: &[&Window]) -> Vec<Vec<Likelihood>> {
            let said =
                |id: &i32| Likelihood { log: f64::from(-id) / 1000.0, is_argmax: *id <= 100 };
            self.0 += windows.iter().map(|w| w.ids.len() - 1).sum::<usize>();
            windows.iter().map(|w| w.ids[w.from..].iter().map(said).collect()).collect()
        }
    }

    #[expect(clippy::unnecessary_wraps, reason = "as an encoder does")]
    fn bytes(text: &str) -> Result<Vec<i32>, InputError> {
        Ok(text.bytes().map(i32::from).collect())
    }

    #[test]
    fn every_token_of_a_continuation_is_scored_once_whatever_the_window() {
        let spec = "name = \"a\"\nkind = \"choices\"\nitems = \"a\"\ncontext = \"{q}\"\nchoices = \"{c}\"\ngold = \"0\"";
        let spec = TaskSpec::parse(spec).unwrap();
        let items = "{\"q\": \"Where?\", \"c\": [\"here\", \"over there\"]}\n{\"q\": \"\", \"c\": [\"ab\", \"zz\"]}";
        let task = Task::new(&spec, items, "a").unwrap();
        let scored = |window: usize| {
            let reader = Reader { window, separator: 0 };
            let prepared = Prepared::new(&task, reader, &mut bytes).unwrap();
            let (mut fake, mut done) = (Fake(0), 0);
            let mut told = |n| -> Result<(), InputError> {
                done = n;
                Ok(())
            };
            let scores = prepared.score(&mut fake, &mut told).unwrap();
            assert_eq!((done, fake.0), (prepared.tokens(), prepared.tokens()));
            (scores, prepared.long())
        };
        let want = |text: &str| Score {
            log_likelihood: text.bytes().map(|b| -f64::from(b) / 1000.0).sum(),
            greedy: text.bytes().all(|b| b <= 100),
            tokens: text.len() as u64,
        };
        let (whole, long) = scored(64);
        assert_eq!(long, 0);
        let texts = [[" here", " over there"], [" ab", " zz"]];
        for (scores, texts) in whole.iter().zip(texts) {
            for (score, text) in scores.iter().zip(texts) {
                let want = want(text);
                assert!((score.log_likelihood - want.log_likelihood).abs() < 1e-12, "{text}");
                assert_eq!((score.greedy, score.tokens), (want.greedy, want.tokens), "{text}");
            }
        }
        // Contexts are cut, and what is longer than the window is scored in pieces.
        for (window, want_long) in [(12, 1), (6, 2), (1, 4)] {
            let (scores, long) = scored(window);
            assert_eq!(long, want_long, "{window}");
            for (l, r) in scores.iter().flatten().zip(whole.iter().flatten()) {
                assert!((l.log_likelihood - r.log_likelihood).abs() < 1e-12, "{window}");
                assert_eq!((l.greedy, l.tokens), (r.greedy, r.tokens), "{window}");
            }
        }
    }

    #[test]
    fn what_is_no_number_and_what_has_no_token_are_named_by_line() {
        struct Broken;
        impl Scorer for Broken {
            fn said(&mut self, windows: &[&Window]) -> Vec<Vec<Likelihood>> {
                let said = Likelihood { log: f64::NAN, is_argmax: true };
                windows.iter().map(|w| vec![said; w.ids.len() - w.from]).collect()
            }
        }
        let spec = "name = \"a\"\nkind = \"text\"\nitems = \"a\"\ntext = \"{t}\"";
        let spec = TaskSpec::parse(spec).unwrap();
        let task = Task::new(&spec, "\n{\"t\": \"x\"}", "a").unwrap();
        let reader = Reader { window: 8, separator: 0 };
        let prepared = Prepared::new(&task, reader, &mut bytes).unwrap();
        let error = prepared.score::<InputError>(&mut Broken, &mut |_| Ok(())).unwrap_err();
        assert!(error.message.contains("task `a`, line 2"), "{error}");
        let error = Prepared::new(&task, reader, &mut |_| Ok(Vec::new())).unwrap_err();
        assert!(error.message.contains("task `a`, line 2"), "{error}");
    }
}
