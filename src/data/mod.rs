//! Token ids for training and for evaluation, from text or from a generator whose entropy is known.
//!
//! A batch is a pure function of (seed, step): nothing to save, nothing to restore, the same for any
//! number of workers. Held-out documents are chosen by their hash and never trained on.

mod ahead;
mod aside;
pub mod dataset;
pub mod encode;
mod files;
mod kept;
mod learn;
pub(crate) mod noise;
mod older;
mod plain;
mod prose;
mod synthetic;
pub mod take;
mod text;
mod tokenizer;
pub mod tokenizer_json;

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::documents::ReadError;
use crate::error::{FileError, InputError};
use crate::plan::{Corpus, DataFacts, Draw, Recipe, hex};
use crate::random::{Permutation, Stream};
use crate::spec::{DataSpec, Source, Spec};
pub use ahead::Batches;
use dataset::Prepared;
use synthetic::Generator;
pub use tokenizer::{Learner, kept_bpe};

/// Where trained tokenizers are kept.
#[derive(Debug, Clone, Copy)]
pub struct Cache<'a> {
    /// A directory.
    pub dir: &'a Path,
    /// Whether to add one that is not there.
    pub keep: bool,
}

/// One step's tokens, row-major `[sequences, context]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What the model reads.
    pub inputs: Vec<i32>,
    /// What it must say: `targets[b, t]` follows `inputs[b, t]`.
    pub targets: Vec<i32>,
    /// Sequences B.
    pub sequences: usize,
    /// Tokens of one sequence T.
    pub context: usize,
}

impl Batch {
    /// Of windows of `context + 1` ids, split into what is read and what follows.
    fn of_windows(windows: &[i32], context: usize) -> Self {
        let sequences = windows.len() / (context + 1);
        let mut inputs = Vec::with_capacity(sequences * context);
        let mut targets = Vec::with_capacity(sequences * context);
        for window in windows.chunks_exact(context + 1) {
            inputs.extend_from_slice(&window[..context]);
            targets.extend_from_slice(&window[1..]);
        }
        Self { inputs, targets, sequences, context }
    }
}

/// Everything a sweep trains and evaluates on.
#[derive(Debug)]
pub struct Dataset {
    /// What the plan needs to know.
    pub facts: DataFacts,
    /// Hash of the documents, which was the identity of token ids before 28 November 2026; none where ids may be
    /// others than then.
    pub documents: Option<String>,
    /// What was read of files and what of it is held out.
    pub corpus: Option<Corpus>,
    /// What a person should know of the data before compute is spent on it.
    pub notes: Vec<String>,
    context: usize,
    tokens: Tokens,
}

/// Where windows of tokens come from.
#[derive(Debug)]
enum Tokens {
    /// Ids in memory; windows are cut without overlap.
    Stored { train: Vec<u16>, held_out: Vec<u16> },
    /// Ids made on demand.
    Generated(Generator),
    /// Shards of a prepared dataset.
    Prepared(Arc<Prepared>),
}

/// Data that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The data does not fit the sweep.
    #[error(transparent)]
    Input(#[from] InputError),
}

impl From<ReadError> for DataError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(error) => error.into(),
            ReadError::Input(error) => error.into(),
        }
    }
}

impl Dataset {
    /// Loads or generates what a sweep asks for. A trained tokenizer is found in `cache`, if given.
    ///
    /// # Errors
    ///
    /// [`DataError`] names the file and what is wrong with it.
    pub fn load(spec: &Spec, cache: Option<Cache<'_>>) -> Result<Self, DataError> {
        let context = spec.model.context;
        let source = spec.data.source.get_ref();
        match source {
            Source::PdProse => Self::text(&prose::documents()?, &spec.data, context, cache),
            Source::Files(files) => plain::load(files, spec, cache),
            Source::Dataset(dir) => {
                let prepared = Prepared::open(Path::new(dir), &spec.data, context)?;
                let unique = spec.data.most_unique();
                let facts = prepared.facts(source, unique);
                let asked = spec.eval.tokens.get_ref().0 as u64;
                let corpus = prepared.corpus(asked, facts.held_out_tokens);
                let notes = corpus.held_out.warnings();
                let corpus = Some(corpus);
                let tokens = Tokens::Prepared(Arc::new(prepared));
                Ok(Self { facts, documents: None, corpus, notes, context, tokens })
            }
            Source::ZipfFact(z) => Ok(Self::generated(source, Generator::zipf_fact(z), context)),
            Source::GraphWalk(g) => Ok(Self::generated(source, Generator::graph_walk(g), context)),
        }
    }

    /// The same files as they were read and held out before 28 November 2026, for a study that was begun then. Nothing
    /// for other sources, and for files that could not be read then.
    ///
    /// # Errors
    ///
    /// [`DataError`] names the file and what is wrong with it.
    pub fn older(spec: &Spec, cache: Option<Cache<'_>>) -> Result<Option<Self>, DataError> {
        match spec.data.source.get_ref() {
            Source::Files(files) if spec.data.held_out.is_none() => older::load(files, spec, cache),
            _ => Ok(None),
        }
    }

    fn generated(source: &Source, generator: Generator, context: usize) -> Self {
        let facts = DataFacts {
            source: source.identity(),
            vocab: generator.vocab(),
            train_tokens: None,
            held_out_tokens: u64::MAX,
            sha256: generator.sha256(),
            bytes_per_token: None,
            entropy: Some(generator.entropy()),
            mixture: None,
        };
        let (corpus, notes, tokens) = (None, Vec::new(), Tokens::Generated(generator));
        Self { facts, documents: None, corpus, notes, context, tokens }
    }

    /// The embedded prose.
    fn text(
        documents: &[Vec<u8>],
        spec: &DataSpec,
        context: usize,
        cache: Option<Cache<'_>>,
    ) -> Result<Self, DataError> {
        let split = text::split(documents);
        let (encoder, kept) = tokenizer::Encoder::new(spec.tokenizer.get_ref(), &split, cache)?;
        let mut data = Self::encoded(&encoder, &split, spec, context)?;
        if matches!(encoder, tokenizer::Encoder::Bytes) {
            data.facts.sha256.clone_from(&split.sha256);
        }
        data.documents = kept.then(|| split.sha256.clone());
        Ok(data)
    }

    /// Documents as ids.
    fn encoded(
        encoder: &tokenizer::Encoder,
        split: &text::Split<'_>,
        spec: &DataSpec,
        context: usize,
    ) -> Result<Self, DataError> {
        let (train, held_out) = (encoder.encode(&split.train)?, encoder.encode(&split.held_out)?);
        for (what, ids) in [("training", &train), ("held-out", &held_out)] {
            if ids.len() <= context {
                return Err(InputError::new(
                    format!(
                        "the {what} text has {} tokens, a window needs {}",
                        ids.len(),
                        context + 1
                    ),
                    "add text to data.source, or lower model.context",
                )
                .into());
            }
        }
        let bytes: usize = split.held_out.iter().map(|d| d.len()).sum();
        let facts = DataFacts {
            vocab: encoder.vocab(),
            train_tokens: Some(train.len() as u64),
            held_out_tokens: ((held_out.len() - 1) / context * context) as u64,
            source: spec.source.get_ref().identity(),
            sha256: hash(&train, &held_out),
            bytes_per_token: Some(bytes as f64 / held_out.len() as f64),
            entropy: None,
            mixture: None,
        };
        let (documents, corpus, notes) = (None, None, Vec::new());
        let tokens = Tokens::Stored { train, held_out };
        Ok(Self { facts, documents, corpus, notes, context, tokens })
    }

    /// The batches of a run from a step on, read ahead where they come from a disk.
    pub fn batches(&self, recipe: &Recipe, from: u64) -> Batches<'_> {
        Batches::new(self, recipe, from)
    }

    /// The batch of one step.
    ///
    /// Text: windows of `context` tokens in the order of a keyed permutation, a new one each epoch. A dataset: the same
    /// in each of its domains (`corpus::order`).
    ///
    /// # Errors
    ///
    /// [`DataError`] where a dataset cannot be read or is damaged; never for other sources.
    pub fn batch(&self, draw: Draw, step: u64, sequences: usize) -> Result<Batch, DataError> {
        let stream = Stream::new(draw.seed, "data order");
        let first = step * sequences as u64;
        match &self.tokens {
            Tokens::Stored { train, .. } => self.collect(sequences, |i, out| {
                let windows = ((train.len() - 1) / self.context) as u64;
                let (epoch, place) = ((first + i) / windows, (first + i) % windows);
                let window = Permutation::new(stream.child(epoch), windows).at(place) as usize;
                copy(train, window * self.context, out);
                Ok(())
            }),
            Tokens::Generated(generator) => self.collect(sequences, |i, out| {
                generator.window(stream, first + i, out);
                Ok(())
            }),
            Tokens::Prepared(prepared) => prepared.batch(draw, step, sequences, false),
        }
    }

    /// Held-out batches, the same for every cell: `tokens / context` windows spread evenly; of a mixture each domain has
    /// its weight of them, so that their mean loss is the mixture's.
    ///
    /// # Errors
    ///
    /// As of [`Dataset::batch`], in the place of a batch.
    pub fn held_out(
        &self,
        tokens: u64,
        sequences: usize,
    ) -> impl Iterator<Item = Result<Batch, DataError>> + '_ {
        let wanted = (tokens / self.context as u64).max(1);
        let held_out_stream = Stream::new(0, "held out");
        (0..wanted).step_by(sequences).map(move |first| {
            let size = sequences.min((wanted - first) as usize);
            self.collect(size, |i, out| {
                match &self.tokens {
                    Tokens::Stored { held_out, .. } => {
                        let windows = ((held_out.len() - 1) / self.context) as u64;
                        let window = (first + i) * windows / wanted.max(1);
                        copy(held_out, window.min(windows - 1) as usize * self.context, out);
                    }
                    Tokens::Generated(generator) => {
                        generator.window(held_out_stream, first + i, out);
                    }
                    Tokens::Prepared(prepared) => prepared.held_out(first + i, wanted, out)?,
                }
                Ok(())
            })
        })
    }

    /// Fills windows of `context + 1` ids and splits them into inputs and targets.
    fn collect(
        &self,
        sequences: usize,
        mut fill: impl FnMut(u64, &mut [i32]) -> Result<(), DataError>,
    ) -> Result<Batch, DataError> {
        let mut windows = vec![0_i32; sequences * (self.context + 1)];
        for (i, window) in windows.chunks_mut(self.context + 1).enumerate() {
            fill(i as u64, window)?;
        }
        Ok(Batch::of_windows(&windows, self.context))
    }
}

/// SHA-256 of both streams of ids, each behind its length, as little-endian numbers of 8 and of 2 bytes.
fn hash(train: &[u16], held_out: &[u16]) -> String {
    let mut all = Sha256::new();
    for ids in [train, held_out] {
        all.update((ids.len() as u64).to_le_bytes());
        for some in ids.chunks(1 << 15) {
            let bytes: Vec<u8> = some.iter().flat_map(|id| id.to_le_bytes()).collect();
            all.update(bytes);
        }
    }
    hex(&all.finalize())
}

fn copy(ids: &[u16], start: usize, out: &mut [i32]) {
    let len = out.len();
    for (to, from) in out.iter_mut().zip(&ids[start..start + len]) {
        *to = i32::from(*from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(n: u16, context: usize) -> Dataset {
        let facts = crate::plan::DataFacts {
            vocab: 60_000,
            train_tokens: Some(u64::from(n)),
            held_out_tokens: 100,
            source: Source::PdProse,
            sha256: String::new(),
            bytes_per_token: None,
            entropy: None,
            mixture: None,
        };
        let held_out = (50_000..50_101).collect();
        Dataset {
            facts,
            documents: None,
            corpus: None,
            notes: Vec::new(),
            context,
            tokens: Tokens::Stored { train: (0..n).collect(), held_out },
        }
    }

    fn batch(data: &Dataset, seed: u64, step: u64, sequences: usize) -> Batch {
        data.batch(Draw::of(seed), step, sequences).unwrap()
    }

    #[test]
    fn an_epoch_visits_every_window_once_in_another_order_each_time() {
        let data = stored(1001, 10);
        let epoch = |e: u64| -> Vec<i32> {
            (0..10)
                .flat_map(|s| batch(&data, 1, 10 * e + s, 10).inputs.into_iter().step_by(10))
                .collect()
        };
        let (first, second) = (epoch(0), epoch(1));
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..1000).step_by(10).collect::<Vec<_>>());
        assert_ne!(first, sorted, "the order must not be the identity");
        assert_ne!(first, second, "another epoch has another order");
    }

    #[test]
    fn a_batch_depends_on_seed_and_step_alone_and_targets_follow_inputs() {
        let data = stored(1001, 10);
        assert_eq!(batch(&data, 1, 7, 4), batch(&data, 1, 7, 4));
        assert_ne!(batch(&data, 1, 7, 4), batch(&data, 2, 7, 4));
        assert_ne!(batch(&data, 1, 7, 4), batch(&data, 1, 8, 4));
        let batch = batch(&data, 1, 7, 4);
        assert!(batch.inputs.iter().zip(&batch.targets).all(|(i, t)| i + 1 == *t));
    }

    #[test]
    fn held_out_batches_are_fixed_and_distinct_from_training() {
        let data = stored(1001, 10);
        let ids = |n| data.held_out(100, n).flat_map(|b| b.unwrap().inputs).collect::<Vec<_>>();
        assert_eq!(ids(3), ids(10), "the same windows for any batch size");
        assert_eq!(ids(4).len(), 100);
        assert!(ids(4).iter().all(|id| *id >= 50_000));
    }
}
