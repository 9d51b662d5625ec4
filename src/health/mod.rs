//! Whether a run's loss curve is one that a law may be fitted to.
//!
//! A final loss is evidence of N and D only if the run got there undisturbed. Four rules, stated here
//! before any run is seen, find the runs that did not: a spike they had not got over, a learning rate that
//! was still high, a loss that rose at the end, a warmup that was most of the run. A run that breaks a rule of the sweep's `[fit] exclude`
//! is left out of the fit by name. A fifth look, the collapse of normalised curves, warns only.
//!
//! Pure functions of slices.

mod collapse;
mod ending;
mod gap;
mod spike;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::points::{Exclusion, Table};
use crate::units::count;
pub use collapse::{Collapse, Shape, collapse};
pub use ending::{Rise, rising_end};
pub use gap::gaps;
pub use spike::{Spikes, spikes};

/// Runs of fewer steps are not judged by their losses [steps]: a tenth of them says nothing.
pub const MIN_STEPS: usize = 50;
/// The end of a run, in which nothing may be amiss, as a share of its steps.
const END: f64 = 0.1;
/// Highest last learning rate of a decayed run, as a share of the peak.
const DECAYED: f64 = 0.3;
/// Longest warmup, as a share of the run: beyond it the loss says more of warmup than of scale
/// (Porian et al. 2024, 2406.19146, section 3.2).
const WARMUP: f64 = 0.5;

/// A rule for the loss curve of a run whose final loss is fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// A spike that the loss had not come back from by the end of the run.
    UnhealedSpike,
    /// The run ended with a learning rate above 0.3 of its peak.
    Undecayed,
    /// The loss of the last tenth lies above that of the tenth before it.
    RisingEnd,
    /// Most of the run was warmup.
    LongWarmup,
}

impl Rule {
    /// Every rule; the default of `[fit] exclude`.
    pub const ALL: [Self; 4] =
        [Self::UnhealedSpike, Self::Undecayed, Self::RisingEnd, Self::LongWarmup];

    /// The rule in full, with its constants.
    pub fn text(self) -> &'static str {
        match self {
            Self::UnhealedSpike => {
                "a spike (the median of 7 steps more than 5 robust standard deviations above the median of the 50 \
                 before) must be over by the end of the run: a median of 7 within 2 of them"
            }
            Self::Undecayed => "the last learning rate may be at most 0.3 of the peak",
            Self::RisingEnd => {
                "the mean loss of the last tenth may not exceed that of the tenth before by both 5 standard errors \
                 and 0.2%"
            }
            Self::LongWarmup => "the warmup may be at most half of the run",
        }
    }
}

/// As people call it; the files' name has dashes.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnhealedSpike => "unhealed spike",
            Self::Undecayed => "undecayed end",
            Self::RisingEnd => "rising end",
            Self::LongWarmup => "long warmup",
        })
    }
}

/// A trained run as its curve is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Cell id.
    pub id: String,
    /// Model size N [parameters].
    pub params: f64,
    /// Training loss of every step's batch, before its update [nats/token]. Empty where a completed run's
    /// steps are not kept.
    pub losses: Vec<f32>,
    /// Learning rate of the last step over the peak [0, 1].
    pub last_rate: f64,
    /// Steps of the warmup over those of the run [-].
    pub warmup: f64,
    /// Held-out loss at the end, and its standard error over windows [nats/token].
    pub held_out: (f64, f64),
    /// Times that each training token is seen, where it is known [-].
    pub epochs: Option<f64>,
}

/// What was found in the loss curves of a sweep: `health` in `fit.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// Runs whose every step was looked at.
    pub checked: usize,
    /// Runs of fewer than [`MIN_STEPS`] recorded steps, of which the learning rate alone was looked at.
    pub short: usize,
    /// Runs whose steps are not kept: judged like the short ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub archived: usize,
    /// The rules of `[fit] exclude`.
    pub exclude: Vec<Rule>,
    /// Runs with spikes, healed or not.
    pub spikes: Vec<Spiked>,
    /// Every rule that a run breaks.
    pub broken: Vec<Broken>,
    /// How well normalised curves collapse. Nothing without E, or with too few comparable runs.
    #[serde(default)]
    pub collapse: Option<Collapse>,
}

// By reference, as serde asks for.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &usize) -> bool {
    *n == 0
}

/// The spikes of one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spiked {
    /// Cell id.
    pub id: String,
    /// Steps of the run.
    pub steps: usize,
    /// What they are.
    #[serde(flatten)]
    pub spikes: Spikes,
}

/// A rule that a run breaks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Broken {
    /// Cell id.
    pub id: String,
    /// Which.
    pub rule: Rule,
    /// By how much, and the rule in full.
    pub reason: String,
    /// Whether the run is left out of the fit for it.
    pub excluded: bool,
}

/// Looks at every run. `exclude`: rules whose breach leaves a run out of the fit.
pub fn check(runs: &[Run], exclude: &[Rule]) -> Health {
    let long = |run: &&Run| run.losses.len() >= MIN_STEPS;
    let checked = runs.iter().filter(long).count();
    let archived = runs.iter().filter(|run| run.losses.is_empty()).count();
    let mut health = Health {
        checked,
        short: runs.len() - checked - archived,
        archived,
        exclude: Rule::ALL.into_iter().filter(|r| exclude.contains(r)).collect(),
        spikes: Vec::new(),
        broken: Vec::new(),
        collapse: None,
    };
    for run in runs {
        let mut found = Vec::new();
        if let Some(run) = Some(run).filter(long) {
            let steps = run.losses.len();
            if let Some(spikes) = spikes(&run.losses) {
                if !spikes.healed() {
                    found.push((Rule::UnhealedSpike, spikes.told(steps)));
                }
                health.spikes.push(Spiked { id: run.id.clone(), steps, spikes });
            }
            if let Some(rise) = rising_end(&run.losses) {
                found.push((Rule::RisingEnd, rise.told()));
            }
        }
        if run.last_rate > DECAYED {
            let told = format!("the last learning rate is {:.2} of the peak", run.last_rate);
            found.push((Rule::Undecayed, told));
        }
        if run.warmup > WARMUP {
            let told = format!("the warmup takes {:.2} of the run's steps", run.warmup);
            found.push((Rule::LongWarmup, told));
        }
        health.broken.extend(found.into_iter().map(|(rule, told)| Broken {
            id: run.id.clone(),
            rule,
            reason: format!("{rule}: {told}; the rule: {}", rule.text()),
            excluded: health.exclude.contains(&rule),
        }));
    }
    health
}

impl Health {
    /// Takes the runs that are to be left out from a table's points to its exclusions.
    pub fn screen(&self, table: &mut Table) {
        let points = std::mem::take(&mut table.points);
        let (gone, kept): (Vec<_>, Vec<_>) = points.into_iter().partition(|p| self.excludes(&p.id));
        table.points = kept;
        table.excluded.extend(gone.into_iter().map(|p| Exclusion {
            what: format!("N {}, D {}", count(p.params), count(p.tokens)),
            reason: self.reasons(&p.id),
            id: p.id,
        }));
    }

    /// Whether a run is left out.
    pub fn excludes(&self, id: &str) -> bool {
        self.broken.iter().any(|b| b.excluded && b.id == id)
    }

    /// What was found, in one line: `Curves: 84 checked, 2 with spikes (healed), none excluded`.
    pub fn line(&self) -> String {
        let mut parts = vec![format!("{} checked", self.checked)];
        if self.short > 0 {
            parts.push(format!("{} too short to judge", self.short));
        }
        if self.archived > 0 {
            parts.push(format!("{} whose steps are not kept", self.archived));
        }
        match self.spikes.iter().filter(|s| s.spikes.healed()).count() {
            0 if self.spikes.is_empty() && self.checked > 0 => parts.push("no spikes".to_owned()),
            0 => {}
            n => parts.push(format!("{n} with spikes (healed)")),
        }
        for (excluded, what) in [(true, "excluded"), (false, "kept against a rule")] {
            let mut named: Vec<(&str, Vec<String>)> = Vec::new();
            let fits = |b: &&Broken| self.excludes(&b.id) == excluded;
            for broken in self.broken.iter().filter(fits) {
                match named.last_mut() {
                    Some((id, rules)) if *id == broken.id => rules.push(broken.rule.to_string()),
                    _ => named.push((&broken.id, vec![broken.rule.to_string()])),
                }
            }
            let each = |(id, rules): &(&str, Vec<String>)| format!("{id} ({})", rules.join(", "));
            match (named.len(), excluded) {
                (0, true) => parts.push("none excluded".to_owned()),
                (0, false) => {}
                (n, _) => {
                    let list: Vec<String> = named.iter().map(each).collect();
                    parts.push(format!("{n} {what}: {}", list.join(", ")));
                }
            }
        }
        format!("Curves: {}", parts.join(", "))
    }

    fn reasons(&self, id: &str) -> String {
        let broken = self.broken.iter().filter(|b| b.excluded && b.id == id);
        broken.map(|b| b.reason.as_str()).collect::<Vec<_>>().join("; ")
    }
}

/// The middle of some values; `NaN` among them counts as larger than any number. 0 for none.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n => 0.5 * (values[(n - 1) / 2] + values[n / 2]),
    }
}

/// Standard deviation of normal values by their median absolute deviation from `centre`.
fn robust_sd(values: &[f64], centre: f64) -> f64 {
    1.4826 * median(&mut values.iter().map(|v| (v - centre).abs()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests;
