//! Forecasts beside their runs: each is verified, and so is that the run was begun after it.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::error::{FileError, InputError, exit};
use crate::forecast::{Entry, Forecast, ForecastError, Outcome, Score};
use crate::fs::{Disk as _, Os};
use crate::ledger::event::Event;
use crate::ledger::log::Attempt;
use crate::ledger::{self, State, cell_dir};

/// Where a sweep's forecasts are kept in its directory of analyses.
pub const FORECASTS: &str = "forecasts";
/// Longest forecast that is read [bytes].
const MAX_FORECAST: u64 = 16 << 20;

/// Reads a forecast and verifies its lock. What cannot be read may be sound, what was read and is not is void.
///
/// # Errors
///
/// [`FileError`] where it cannot be read.
pub fn read(path: &Path) -> Result<Result<Forecast, ForecastError>, FileError> {
    match Os.read(path, MAX_FORECAST) {
        Ok(bytes) => Ok(Forecast::read(&bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            Ok(Err(ForecastError::Damaged(e.to_string())))
        }
        Err(e) => Err(FileError::new("read", path)(e)),
    }
}

/// The same, where only a sound one will do.
///
/// # Errors
///
/// [`Failure`] where it is void.
pub fn verified(path: &Path) -> Result<Forecast, Failure> {
    read(path)?.map_err(|e| {
        let failure = Failure::from(e);
        Failure { message: format!("`{}`: {}", path.display(), failure.message), ..failure }
    })
}

/// The files of a directory of forecasts, by name; none where it is not there.
///
/// # Errors
///
/// [`FileError`] where the directory cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let found = match Os.list(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("read", dir)(e)),
    };
    Ok(found.into_iter().filter(|p| p.extension().is_some_and(|e| e == "json")).collect())
}

/// How far the run of a forecast is, in `results/<sweep>`; refused where an attempt does not name it.
///
/// # Errors
///
/// [`Failure`] where an attempt does not name the forecast.
pub fn look(forecast: &Forecast, results: &Path) -> Result<State, Failure> {
    let (attempts, state) = ledger::look(&cell_dir(results, &forecast.cell.id))?;
    proven(forecast, &attempts)?;
    Ok(state)
}

/// Refuses a forecast that an attempt at its run does not name.
fn proven(forecast: &Forecast, attempts: &[Attempt]) -> Result<(), Failure> {
    let mut begun = Vec::new();
    for attempt in attempts {
        match attempt.events.first() {
            Some(Event::Started { cell, forecast: hash, .. }) => {
                if cell.recipe != forecast.cell.recipe {
                    let why = format!("`{}` trained another recipe", attempt.dir.display());
                    return Err(ForecastError::Damaged(why).into());
                }
                begun.push((attempt.number, hash.as_deref()));
            }
            _ => match &attempt.damage {
                // Cut before its first line, hence before its first step.
                None => {}
                Some(why) => {
                    let message =
                        format!("nothing proves that the forecast was there first: {why}");
                    let hint = "restore the record of the run from a copy";
                    return Err(InputError::new(message, hint).with_code(exit::DAMAGED).into());
                }
            },
        }
    }
    Ok(forecast.precedes(&begun)?)
}

/// A forecast against the loss of its run; nothing where there is none.
pub fn scored(forecast: &Forecast, state: &State) -> Option<Score> {
    match state {
        State::Completed { loss, loss_se, .. } => Some(forecast.score(*loss, *loss_se)),
        _ => None,
    }
}

/// Every forecast of a sweep with what came of it, by the time it was locked.
///
/// # Errors
///
/// [`Failure`] where a file cannot be read.
pub fn card(analysis: &Path, results: &Path, sweep: &str) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for path in files(&analysis.join(FORECASTS))? {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let forecast = match read(&path)? {
            Ok(forecast) => forecast,
            Err(e) => {
                let outcome = Outcome::Void(e.to_string());
                entries.push(Entry { file, forecast: None, outcome });
                continue;
            }
        };
        let outcome = if forecast.sweep == sweep {
            let (attempts, state) = ledger::look(&cell_dir(results, &forecast.cell.id))?;
            match (proven(&forecast, &attempts), scored(&forecast, &state)) {
                (Err(e), _) => {
                    Outcome::Void(e.message.lines().next().unwrap_or_default().to_owned())
                }
                (Ok(()), Some(score)) => Outcome::Scored(score),
                (Ok(()), None) => Outcome::Open(state.why().unwrap_or_default()),
            }
        } else {
            Outcome::Void(format!("it is a forecast of sweep `{}`", forecast.sweep))
        };
        entries.push(Entry { file, forecast: Some(forecast), outcome });
    }
    let locked = |e: &Entry| e.forecast.as_ref().map(|f| f.locked.clone());
    entries.sort_by_key(locked);
    Ok(entries)
}
