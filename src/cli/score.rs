//! `isoflop score`: a forecast beside its run, and all of them for the report.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::{Dirs, ScoreArgs};
use super::study::SWEEP;
use super::{Failure, print, print_json};
use crate::error::{FileError, InputError, exit};
use crate::forecast::{Entry, Forecast, ForecastError, Outcome, Said, Score};
use crate::fs::{Disk as _, Os};
use crate::ledger::event::Event;
use crate::ledger::log::Attempt;
use crate::ledger::{self, FAILURES, State, cell_dir};
use crate::plan::short;
use crate::predict::FormShare;
use crate::units::{NATS_PER_TOKEN, count, digits3, flops, moment};

/// Longest forecast that is read [bytes].
const MAX_FORECAST: u64 = 16 << 20;

pub(super) fn execute(args: &ScoreArgs) -> Result<u8, Failure> {
    let forecast = verified(&args.forecast)?;
    show(&forecast, &args.forecast, &args.dirs, args.json)
}

/// Reads a forecast and verifies its lock. What cannot be read may be sound, what was read and is not is void.
pub(super) fn read(path: &Path) -> Result<Result<Forecast, ForecastError>, FileError> {
    match Os.read(path, MAX_FORECAST) {
        Ok(bytes) => Ok(Forecast::read(&bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => {
            Ok(Err(ForecastError::Damaged(e.to_string())))
        }
        Err(e) => Err(FileError::new("read", path)(e)),
    }
}

/// The same, where only a sound one will do.
pub(super) fn verified(path: &Path) -> Result<Forecast, Failure> {
    read(path)?.map_err(|e| {
        let failure = Failure::from(e);
        Failure { message: format!("`{}`: {}", path.display(), failure.message), ..failure }
    })
}

/// The files of a directory of forecasts, by name; none where it is not there.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, FileError> {
    let found = match Os.list(dir) {
        Ok(found) => found,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(FileError::new("read", dir)(e)),
    };
    Ok(found.into_iter().filter(|p| p.extension().is_some_and(|e| e == "json")).collect())
}

/// How far the run of a forecast is, in `results/<sweep>`; refused where an attempt does not name it.
pub(super) fn look(forecast: &Forecast, results: &Path) -> Result<State, Failure> {
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

/// A score with what it is of, as JSON.
#[derive(Serialize)]
struct Told<'a> {
    state: &'a str,
    why: Option<String>,
    score: Option<Score>,
    forecast: &'a Forecast,
}

/// Prints a forecast beside its run. The exit code is 1 where the run ended without a loss, 3 where its
/// record is damaged.
pub(super) fn show(
    forecast: &Forecast,
    path: &Path,
    dirs: &Dirs,
    json: bool,
) -> Result<u8, Failure> {
    let results = dirs.results.join(&forecast.sweep);
    let state = look(forecast, &results)?;
    let score = scored(forecast, &state);
    let code = match state {
        State::Damaged { .. } => exit::DAMAGED,
        _ => u8::from(FAILURES.contains(&state.name())),
    };
    if json {
        print_json(&Told { state: state.name(), why: state.why(), score, forecast });
        return Ok(code);
    }
    let Some(score) = score else {
        print(&foretold(forecast));
        let why = state.why().unwrap_or_default();
        let command =
            format!("isoflop run {} --forecast {}", results.join(SWEEP).display(), path.display());
        print(&format!("  measured  not yet: {why}\n  run it    {command}\n"));
        return Ok(code);
    };
    print(&(foretold(forecast) + &beside(forecast, &score)));
    Ok(code)
}

fn scored(forecast: &Forecast, state: &State) -> Option<Score> {
    match state {
        State::Completed { loss, loss_se, .. } => Some(forecast.score(*loss, *loss_se)),
        _ => None,
    }
}

/// What a forecast says, in a few lines.
pub(super) fn foretold(f: &Forecast) -> String {
    format!(
        "Forecast of cell {} of sweep {}, locked {}, seal {} (its SHA-256)\n  run       {} FLOP, N {}, D {}, D/N {}\n  predicted {:.4} {NATS_PER_TOKEN} \
         ({:.4}..{:.4}, {:.0}% prediction interval of one run), {}\n  reach     {} times the largest compute that was fitted\n",
        f.cell.short(),
        f.sweep,
        moment(&f.locked),
        short(&f.sha256),
        flops(f.flops),
        count(f.params),
        count(f.tokens),
        digits3(f.tokens_per_param),
        f.loss.value,
        f.loss.lo,
        f.loss.hi,
        100.0 * f.level,
        by(f),
        digits3(f.extrapolation)
    )
}

/// Who foretold: one surface, or the average of several forms.
fn by(f: &Forecast) -> String {
    if f.forms.is_empty() {
        return format!("by {}", f.method);
    }
    let one = |s: &FormShare| format!("{} {:.0}%", s.law, 100.0 * s.weight);
    // What rounds to 0% is not named.
    let heard = f.forms.iter().filter(|s| s.weight >= 0.005);
    format!("averaged over {}", heard.map(one).collect::<Vec<_>>().join(", "))
}

fn beside(f: &Forecast, score: &Score) -> String {
    let percent = |share: f64| format!("{}%", super::show::signed(100.0 * share, 2));
    let z = score.z.map_or_else(String::new, |z| format!(", {:.2} predicted sd of ln L", z.abs()));
    let place = if score.inside { "inside" } else { "outside" };
    let mut out = format!(
        "  measured  {:.4} (standard error over evaluation batches {:.4}, which all cells share)\n  error     {} (predicted / measured - 1){z}, \
         {place} the interval\n\n",
        score.measured,
        score.measured_se,
        percent(score.error)
    );
    // A form that a method speaks for has a fit of its own too, which is not in the average.
    let spoken: Vec<&str> = score.methods.iter().filter_map(|s| s.speaks_for.as_deref()).collect();
    let name = |kind: &str, s: &Said| match &s.speaks_for {
        Some(form) if kind == "method" => format!("{}, as {form}", s.by),
        None if kind == "law" && spoken.contains(&s.by.as_str()) => format!("{}, own fit", s.by),
        _ => s.by.clone(),
    };
    let rows = score.methods.iter().map(|s| ("method", s));
    let rows = rows.chain(score.laws.iter().map(|s| ("law", s)));
    let rows = rows.map(|(kind, s)| {
        let counts = s.weight.map_or_else(String::new, |w| match w {
            w if w > 0.0 && w < 0.005 => "<1%".to_owned(),
            w => format!("{:.0}%", 100.0 * w),
        });
        vec![
            kind.to_owned(),
            name(kind, s),
            format!("{:.4}", s.predicted),
            percent(s.error),
            counts,
        ]
    });
    out += &super::show::table(
        &["", "by", "predicted", "error", "counts"],
        2,
        &rows.collect::<Vec<_>>(),
    );
    out += "  error: predicted / measured - 1. counts: part of a form in the average that was locked; what has none is not \
            in it.\n";
    if f.weighed_by_evidence() {
        out += "  Locked by an older isoflop, which weighed the forms by AICc (how well they fit). A fit made now weighs them by \
                how well they predict the larger runs from the smaller, so its forecast of this run is another.\n";
    }
    out
}

/// Every forecast of a sweep with what came of it, by the time it was locked.
pub(super) fn card(analysis: &Path, results: &Path, sweep: &str) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    for path in files(&analysis.join(super::forecast::FORECASTS))? {
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
