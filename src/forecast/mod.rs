//! Locked forecasts: what a fit says of one run that has not begun, sealed by a hash.
//!
//! The hash stands in the first line of every attempt at the run, in a log with checksums. So the
//! record of the run says that the forecast was there first, and no clock has to be believed. A forecast
//! that was changed has another hash, and one whose run began without it is none.
//!
//! Pure: values and bytes in, values and bytes out. Reads `plan`, `fit`'s result and `predict`; read by
//! `report`, `cli`.

mod score;
mod seal;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::exit;
use crate::fit::{self, Analysis, Code, Warning};
use crate::plan::{Cell, possible};
use crate::predict::{
    Estimate, FormShare, LawLoss, MethodLoss, PredictError, Repetition, at_flops, by_law,
    by_method, chosen, repeating,
};
use crate::sound::{Refused, above, level, not_negative};

use seal::seal;

pub use score::{Claim, Entry, Outcome, Score};
pub use seal::sha256;

/// Version of the file. Raised when a field changes its meaning.
pub const FORECAST_VERSION: u32 = 2;

/// The compute-optimal run at the compute that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Optimum {
    /// Compute C that was asked for [FLOP].
    pub flops: f64,
    /// N* [parameters].
    pub params: Estimate,
    /// D* [tokens].
    pub tokens: Estimate,
}

/// What was foretold of one run: the content of `forecasts/<cell>.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forecast {
    /// [`FORECAST_VERSION`] at the time of writing.
    pub version: u32,
    /// Version of isoflop.
    pub isoflop: String,
    /// When it was locked, for people only: nothing is proven by it.
    pub locked: String,
    /// Name of the sweep whose recipe the cell follows.
    pub sweep: String,
    /// The run, to its last step.
    pub cell: Cell,
    /// N of the cell [parameters].
    pub params: f64,
    /// D of the cell [tokens].
    pub tokens: f64,
    /// C of the cell, exact [FLOP].
    pub flops: f64,
    /// D/N [tokens/parameter].
    pub tokens_per_param: f64,
    /// Loss: a prediction interval of one run (form, parameters and residual noise) [nats/token].
    pub loss: Estimate,
    /// Standard deviation of ln L that goes with it [-].
    pub sd: f64,
    /// The forms of law that it is averaged over, the weightiest first; none where `method` speaks alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forms: Vec<FormShare>,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Method of N* and D*.
    pub method: String,
    /// C over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// The best run of the compute that was asked for.
    pub optimum: Optimum,
    /// Every method with a loss surface.
    pub methods: Vec<MethodLoss>,
    /// Every other form of law that was fitted.
    pub laws: Vec<LawLoss>,
    /// SHA-256 of `fit.json`.
    pub fit_sha256: String,
    /// SHA-256 of `ledger.csv`.
    pub ledger_sha256: String,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
    /// The lock: SHA-256 of all of the above as JSON without spaces, keys in alphabetical order.
    pub sha256: String,
}

/// What a forecast is made from.
#[derive(Debug, Clone, Copy)]
pub struct Basis<'a> {
    /// Name of the sweep.
    pub sweep: &'a str,
    /// Its fit.
    pub analysis: &'a Analysis,
    /// SHA-256 of the file it was read from.
    pub fit_sha256: &'a str,
    /// SHA-256 of the ledger it was made from.
    pub ledger_sha256: &'a str,
    /// Distinct training tokens, where the text has an end [tokens].
    pub train_tokens: Option<u64>,
    /// Whether the cell is the compute-optimal one, as near as shapes allow.
    pub optimal: bool,
    /// The time, for people.
    pub now: &'a str,
}

/// Why a forecast does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ForecastError {
    /// Not as it was locked.
    #[error("the forecast is not as it was locked: {0}")]
    Damaged(String),
    /// Of a newer isoflop.
    #[error("the forecast has version {0}, this isoflop reads up to {FORECAST_VERSION}")]
    Newer(u32),
    /// An attempt at the run does not name it.
    #[error("attempt {attempt} of cell {cell} was begun {how}: {because}")]
    Unproven {
        /// Number of the attempt.
        attempt: u32,
        /// Id of the cell.
        cell: String,
        /// `without this forecast` ...
        how: &'static str,
        /// What follows.
        because: &'static str,
    },
}

impl ForecastError {
    /// One of [`exit`].
    pub fn code(&self) -> u8 {
        match self {
            Self::Damaged(_) => exit::DAMAGED,
            Self::Newer(_) | Self::Unproven { .. } => exit::INPUT,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Damaged(_) => {
                "restore the file as `isoflop predict --lock` wrote it; an edited forecast is void"
            }
            Self::Newer(_) => "update isoflop",
            Self::Unproven { .. } => {
                "lock a forecast of a run that has not begun: another --flops, --params or --seed"
            }
        }
    }
}

/// Makes a forecast of `cell` and locks it.
///
/// # Errors
///
/// [`PredictError`]: no loss surface, or a run that it says nothing of.
///
/// # Example
///
/// `examples/predict_lock.rs` makes the cell by a sweep's own recipe.
///
/// ```
/// use isoflop::fit::Analysis;
/// use isoflop::forecast::{Basis, Forecast, lock, sha256};
/// # use isoflop::plan::{Cell, Recipe};
///
/// let fit = std::fs::read("analysis/prose/fit.json")?;
/// let analysis = Analysis::read(&fit)?;
/// # let plan: Vec<Cell> = serde_json::from_slice(&std::fs::read("results/prose/plan.json")?)?;
/// # let recipe = Recipe { steps: 100_000, ..plan[0].recipe.clone() };
/// # let cell = Cell::new(None, recipe);
/// let forecast = lock(
///     Basis {
///         sweep: "prose",
///         analysis: &analysis,
///         fit_sha256: &sha256(&fit),
///         ledger_sha256: &sha256(&std::fs::read("results/prose/ledger.csv")?),
///         train_tokens: None,
///         optimal: false,
///         now: "2026-11-28T12:00:00Z",
///     },
///     &cell,
/// )?;
/// // What is read is what was locked, to the last digit.
/// assert_eq!(Forecast::read(&forecast.bytes())?, forecast);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn lock(basis: Basis<'_>, cell: &Cell) -> Result<Forecast, PredictError> {
    let analysis = basis.analysis;
    let (params, tokens) = (cell.params(), cell.recipe.tokens() as f64);
    let flops = cell.recipe.flops();
    let asked = cell.budget.unwrap_or(flops);
    let mut run = chosen(analysis, params, tokens)?;
    let corpus = basis.train_tokens.map(|u| u as f64).filter(|u| *u < tokens);
    if let Some(unique) = corpus {
        run = repeating(analysis, run, unique, &Repetition::known(analysis))?;
    }
    let best = at_flops(analysis, asked)?;
    let methods = by_method(analysis, params, tokens)?;
    let unique = basis.train_tokens.map(|u| (u as f64).min(tokens));
    let mut warnings = run.warnings;
    let told: Vec<Code> = warnings.iter().map(|w| w.code).collect();
    warnings.extend(best.warnings.into_iter().filter(|w| !told.contains(&w.code)));
    warnings.extend(repeats(analysis, tokens, unique));
    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let mut forecast = Forecast {
        version: FORECAST_VERSION,
        isoflop: env!("CARGO_PKG_VERSION").to_owned(),
        locked: basis.now.to_owned(),
        sweep: basis.sweep.to_owned(),
        cell: cell.clone(),
        params,
        tokens,
        flops,
        tokens_per_param: tokens / params,
        loss: run.loss,
        sd: run.sd,
        forms: run.forms,
        level: run.level,
        method: run.method,
        extrapolation: flops / largest,
        optimum: Optimum { flops: asked, params: best.params, tokens: best.tokens },
        methods,
        laws: by_law(analysis, (params, tokens, flops), unique, basis.optimal),
        fit_sha256: basis.fit_sha256.to_owned(),
        ledger_sha256: basis.ledger_sha256.to_owned(),
        warnings,
        sha256: String::new(),
    };
    forecast.sha256 = seal(&serde_json::to_value(&forecast).unwrap_or_default());
    Ok(forecast)
}

/// Whether a run repeats its tokens more often than any run that was fitted.
fn repeats(analysis: &Analysis, tokens: f64, unique: Option<f64>) -> Option<Warning> {
    let passes = tokens / unique?;
    let most =
        analysis.points.iter().chain(&analysis.repeated).map(fit::epochs).fold(1.0, f64::max);
    (passes > 1.001 * most).then(|| {
        Warning::new(
            Code::RepeatsTokens,
            format!(
                "the run sees its tokens {passes:.2} times, the runs of the fit at most {most:.2} times: what \
                 that costs is not measured on them"
            ),
        )
    })
}

impl Forecast {
    /// Reads a forecast and verifies its lock.
    ///
    /// # Errors
    ///
    /// [`ForecastError`]: changed since it was locked, or not a forecast.
    pub fn read(bytes: &[u8]) -> Result<Self, ForecastError> {
        let damaged = |why: String| ForecastError::Damaged(why);
        let value: Value =
            serde_json::from_slice(bytes).map_err(|e| damaged(format!("not JSON: {e}")))?;
        if let Some(version) = value["version"].as_u64().and_then(|v| u32::try_from(v).ok())
            && version > FORECAST_VERSION
            && value["sha256"].as_str() == Some(&seal(&value))
        {
            return Err(ForecastError::Newer(version));
        }
        let (said, is) = (value["sha256"].as_str().unwrap_or_default().to_owned(), seal(&value));
        if said != is {
            return Err(damaged(format!("its content has the hash {is}, it says `{said}`")));
        }
        let forecast: Self =
            serde_json::from_value(value).map_err(|e| damaged(format!("not a forecast: {e}")))?;
        let id = forecast.cell.recipe.id();
        if id != forecast.cell.id {
            let own = &forecast.cell.id;
            return Err(damaged(format!("its cell is called {own}, its recipe makes it {id}")));
        }
        forecast.check().map_err(damaged)?;
        Ok(forecast)
    }

    /// Numbers that [`lock`] cannot have made.
    fn check(&self) -> Refused {
        possible(&self.cell)?;
        let cell = &self.cell;
        let (params, tokens) = (cell.params(), cell.recipe.tokens() as f64);
        for (name, said, is) in [
            ("params", self.params, params),
            ("tokens", self.tokens, tokens),
            ("flops", self.flops, cell.recipe.flops()),
            ("tokens_per_param", self.tokens_per_param, tokens / params),
        ] {
            if (said / is - 1.0).abs() > 1e-9 {
                return Err(format!("{name} is {said}, its cell has {is}"));
            }
        }
        level("level", self.level)?;
        not_negative("sd", self.sd)?;
        above("loss", self.loss.lo)?;
        self.loss.check("loss")?;
        self.optimum.params.check("optimum.params")?;
        self.optimum.tokens.check("optimum.tokens")?;
        self.methods.iter().try_for_each(|m| m.loss.check(&m.method))?;
        self.laws.iter().try_for_each(|l| above(&l.law, l.loss))
    }

    /// The file.
    ///
    /// # Panics
    ///
    /// Never: a forecast has no map with keys other than text.
    pub fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("a forecast has no map with other keys than text")
    }

    /// Whether both say the same of the same run, whenever and by whichever version they were locked.
    pub fn agrees(&self, other: &Self) -> bool {
        let plain = |f: &Self| Self {
            isoflop: String::new(),
            locked: String::new(),
            sha256: String::new(),
            ..f.clone()
        };
        plain(self) == plain(other)
    }

    /// Whether every attempt at the run, as (number, the hash in its first line), names this forecast.
    ///
    /// # Errors
    ///
    /// [`ForecastError::Unproven`] with the first that does not.
    pub fn precedes(&self, attempts: &[(u32, Option<&str>)]) -> Result<(), ForecastError> {
        match attempts.iter().find(|(_, hash)| *hash != Some(&self.sha256)) {
            None => Ok(()),
            Some((attempt, hash)) => Err(ForecastError::Unproven {
                attempt: *attempt,
                cell: self.cell.id.clone(),
                how: if hash.is_some() { "for another forecast" } else { "without this forecast" },
                because: "nothing proves that the forecast was there first",
            }),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
