//! The models that are timed.

use crate::data::Batch;
use crate::error::InputError;
use crate::plan::Recipe;
use crate::random::Stream;
use crate::shape::Shape;

/// Name, width, layers, heads, ff, context, sequences of a batch.
const SIZES: [(&str, [usize; 6]); 8] = [
    ("30k", [32, 3, 2, 88, 128, 64]),
    ("300k", [96, 3, 3, 256, 256, 32]),
    ("3M", [256, 4, 4, 688, 256, 16]),
    ("10M", [384, 6, 6, 1024, 256, 16]),
    ("30M", [512, 8, 8, 1376, 1024, 16]),
    ("50M", [640, 10, 10, 1728, 1024, 16]),
    ("124M", [768, 12, 12, 2048, 1024, 16]),
    ("350M", [1024, 24, 16, 2752, 1024, 16]),
];
/// As many of them are for a CPU.
const ON_CPU: usize = 4;
/// Largest vocabulary.
const MOST_IDS: usize = 1 << 20;
/// Batches that steps take in turn.
pub(super) const BATCHES: usize = 4;

/// A model and what it trains on.
#[derive(Debug, Clone)]
pub struct Job {
    /// `SIZE:VOCAB`.
    pub name: String,
    /// Shape, batch and optimiser.
    pub recipe: Recipe,
    /// Taken in turn.
    pub(super) batches: Vec<Batch>,
}

impl Job {
    /// From `SIZE:VOCAB`.
    ///
    /// # Errors
    ///
    /// [`InputError`] for a size that is not there or a vocabulary that is no number.
    pub fn parse(word: &str) -> Result<Self, InputError> {
        let names = SIZES.map(|s| s.0).join(", ");
        let wrong = || {
            InputError::new(
                format!("no job `{word}`"),
                format!("a job is SIZE:VOCAB, as 300k:256, of the sizes {names}"),
            )
        };
        let (size, vocab) = word.split_once(':').ok_or_else(wrong)?;
        let (_, dims) = SIZES.iter().find(|s| s.0 == size).ok_or_else(wrong)?;
        let vocab = vocab.parse().ok().filter(|v| (2..=MOST_IDS).contains(v)).ok_or_else(|| {
            InputError::new(
                format!("no job `{word}`: the vocabulary is `{vocab}`"),
                format!("give a whole number from 2 to {MOST_IDS}"),
            )
        })?;
        let [width, layers, heads, ff, context, sequences] = *dims;
        let shape = Shape { vocab, context, width, layers, heads, ff, qk_norm: false, tied: false };
        let recipe = Recipe {
            steps: u64::from(u32::MAX),
            batch_sequences: sequences as u64,
            ..Recipe::bare(shape)
        };
        let batches = (0..BATCHES).map(|i| batch(&shape, sequences, i as u64)).collect();
        Ok(Self { name: word.to_owned(), recipe, batches })
    }

    /// Model FLOPs of a token, forward and backward [FLOP/token].
    pub fn flops_per_token(&self) -> f64 {
        self.recipe.shape.flops_per_token().total()
    }

    /// The batch of a step.
    pub(super) fn batch(&self, step: u64) -> &Batch {
        &self.batches[step as usize % BATCHES]
    }
}

/// A model of every size that suits a CPU, of bytes.
///
/// # Panics
///
/// Never: their names are known.
pub fn cpu_jobs() -> Vec<Job> {
    let job = |(name, _): &(&str, _)| Job::parse(&format!("{name}:256")).expect("a known size");
    SIZES[..ON_CPU].iter().map(job).collect()
}

/// Uniform random ids: the least a model could learn from, and the same work for any trainer.
fn batch(shape: &Shape, sequences: usize, index: u64) -> Batch {
    let (context, stream) = (shape.context, Stream::new(0, "bench tokens").child(index));
    let id = |n: usize| {
        let below = stream.below(n as u64, shape.vocab as u64);
        i32::try_from(below).expect("a vocabulary fits i32")
    };
    // Windows of `context + 1` ids, as everywhere.
    let ids = |shift: usize| -> Vec<i32> {
        (0..sequences * context).map(|n| id(n + n / context + shift)).collect()
    };
    Batch { inputs: ids(0), targets: ids(1), sequences, context }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_a_size_and_a_vocabulary() {
        let job = Job::parse("30k:256").unwrap();
        assert_eq!((job.recipe.shape.vocab, job.batches.len()), (256, BATCHES));
        assert_eq!(job.batch(0).inputs.len(), 64 * 128);
        for wrong in ["30k", "31k:256", "30k:many", "30k:0", "30k:99999999"] {
            let error = Job::parse(wrong).unwrap_err();
            assert!(error.message.contains(wrong), "{error}");
        }
    }

    /// The names are about the parameters, the embedding left out, with a vocabulary of its usual size.
    #[test]
    fn sizes_are_named_for_their_parameters() {
        for (name, vocab) in [("3M", 256), ("10M", 256), ("124M", 50304), ("350M", 50304)] {
            let counts = Job::parse(&format!("{name}:{vocab}")).unwrap().recipe.shape.counts();
            let said: f64 = name.trim_end_matches('M').parse::<f64>().unwrap() * 1e6;
            let share = counts.total / said;
            assert!((0.7..1.4).contains(&share), "{name}: {} in all", counts.total);
        }
    }
}
