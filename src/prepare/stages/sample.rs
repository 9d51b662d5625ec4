//! A look at a domain before it is prepared: what its rules do to some of its documents.

use std::time::Instant;

use super::card::few_held_out;
use super::judge::{Found, Judge};
use super::work::fields;
use super::{DataError, Work};
use crate::documents;
use crate::spec::DomainRecipe;

/// Units that a sample is taken from.
const UNITS: usize = 8;

/// What was found in a sample of a domain.
#[derive(Debug, Clone)]
pub struct Sample {
    /// What became of its documents.
    pub(super) found: Found,
    /// What was read of the files, as they lie on disk [bytes].
    pub consumed: u64,
    /// How long judging took [s].
    pub seconds: f64,
}

/// A sample by the numbers that a plan shows.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Forecast {
    /// Name of the domain.
    pub name: String,
    /// Files that will be read.
    pub files: u64,
    /// Their length on disk [bytes].
    pub bytes: u64,
    /// What was found and will not be read.
    pub left_out: String,
    /// Documents, extrapolated from the sample.
    pub documents: f64,
    /// Their text [bytes].
    pub text: f64,
    /// Share of the text that stays and is trained on, before copies go.
    pub kept: f64,
    /// Documents set aside.
    pub held_out: f64,
    /// That they are too few for a loss, if they are.
    pub few: Option<String>,
    /// Of the sample: documents, and for each rule the documents that it removes.
    pub sampled: u64,
    /// See `sampled`.
    pub removed: Vec<(String, u64)>,
    /// Reading and judging all of it, on one core [s].
    pub seconds: f64,
}

impl Work {
    /// Judges some `budget` bytes of text of a domain, from all over its files.
    ///
    /// # Errors
    ///
    /// [`DataError`]: a file that cannot be read.
    pub fn sample(&self, domain: usize, budget: u64) -> Result<Sample, DataError> {
        let units = self.units_of(domain);
        let picked: Vec<usize> = match units.len() {
            n if n <= UNITS => units.collect(),
            n => (0..UNITS).map(|i| units.start + i * n / UNITS).collect(),
        };
        let share = budget / picked.len().max(1) as u64;
        let (_, recipe): (&str, &DomainRecipe) = self.recipe.domains()[domain];
        let judge = Judge::new(self, recipe)?;
        let began = Instant::now();
        let (mut found, mut consumed) = (Found::default(), 0);
        for unit in picked {
            // As much of every part: a folder may hold one long file and a thousand short ones.
            let unit = &self.units[unit];
            let rate = share as f64 / unit.bytes.max(1) as f64;
            let (mut text, mut passed) = (0, 0);
            for part in &unit.parts {
                passed += if unit.parts.len() == 1 { unit.bytes } else { part.file.bytes };
                let due = (rate * passed as f64) as u64;
                if text >= due {
                    continue;
                }
                let mut reader = documents::read(part, &fields(recipe))?;
                while text < due
                    && let Some(document) = reader.next()
                {
                    let document = document?;
                    text += document.text.len() as u64;
                    judge.count(&mut found, &document);
                }
                consumed += reader.consumed();
                found.tally.add(reader.tally());
            }
        }
        Ok(Sample { found, consumed, seconds: began.elapsed().as_secs_f64() })
    }

    /// What a domain will come to, by a sample of it.
    ///
    /// # Errors
    ///
    /// [`DataError`]: a file that cannot be read.
    pub fn forecast(&self, domain: usize, budget: u64) -> Result<Forecast, DataError> {
        let Sample { found, consumed, seconds } = self.sample(domain, budget)?;
        let bytes: u64 = self.units[self.units_of(domain)].iter().map(|unit| unit.bytes).sum();
        let scale = bytes as f64 / (consumed.max(1)) as f64;
        let sampled = found.tally.bytes.max(1) as f64;
        let mut removed: Vec<(String, u64)> =
            found.removed.iter().map(|(rule, r)| (rule.clone(), r.documents)).collect();
        removed.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        let name = self.recipe.domains()[domain].0.to_owned();
        let passing = scale * (found.kept[0] + found.held_out[0]) as f64;
        let few = few_held_out(&name, passing, scale * found.held_out[0] as f64, None);
        Ok(Forecast {
            name,
            files: self.files_of(domain),
            bytes,
            left_out: self.left_out[domain].clone(),
            documents: scale * found.tally.documents as f64,
            text: scale * sampled,
            kept: found.kept[1] as f64 / sampled,
            held_out: scale * found.held_out[0] as f64,
            few,
            sampled: found.tally.documents,
            removed,
            seconds: scale * seconds,
        })
    }
}

impl Sample {
    /// What each rule removed, with examples.
    pub fn removed(&self) -> impl Iterator<Item = (&str, &super::Rule)> {
        self.found.removed.iter().map(|(rule, removed)| (rule.as_str(), removed))
    }

    /// Documents that were looked at.
    pub fn documents(&self) -> u64 {
        self.found.tally.documents
    }
}
