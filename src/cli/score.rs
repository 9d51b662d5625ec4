//! `isoflop score`: a forecast beside its run, and all of them for the report.

use std::path::Path;

use serde::Serialize;

use super::args::ScoreArgs;
use super::{print, print_json};
use crate::error::exit;
use crate::forecast::{Claim, Forecast, Score};
use crate::ledger::{State, StateName};
use crate::plan::short;
use crate::predict::FormShare;
use crate::study::score::{look, scored, verified};
use crate::study::sweep::SWEEP;
use crate::study::{Dirs, Failure};
use crate::units::{NATS_PER_TOKEN, count, digits3, flops, moment};

pub(super) fn execute(args: &ScoreArgs) -> Result<u8, Failure> {
    let forecast = verified(&args.forecast)?;
    show(&forecast, &args.forecast, &args.dirs, args.json)
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
        _ => u8::from(StateName::FAILURES.contains(&state.name())),
    };
    if json {
        print_json(&Told { state: state.name().word(), why: state.why(), score, forecast });
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
    let named = f.forms.iter().filter(|s| s.weight >= 0.005);
    format!("averaged over {}", named.map(one).collect::<Vec<_>>().join(", "))
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
    let name = |kind: &str, s: &Claim| match &s.speaks_for {
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
