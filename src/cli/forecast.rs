//! `isoflop predict --lock` and `isoflop run --forecast`: a forecast before its run, and the run.

use std::path::Path;

use super::args::{Launcher, PredictArgs, RunArgs};
use super::predict::bearing;
use super::watch::Stderr;
use super::{answer, print, print_json, score, show};
use crate::error::{InputError, exit};
use crate::study::Failure;
use crate::study::forecast::{self, Request, Run};
use crate::study::sweep::SWEEP;
use crate::terminal::note;

/// Locks a forecast of the cell at a compute, and shows it.
pub(super) fn lock(args: &PredictArgs, fit: &Path) -> Result<u8, Failure> {
    let [flops] = args.flops[..] else {
        let message = "--lock forecasts one run, and several computes are given";
        return Err(InputError::new(message, "lock one --flops after the other").into());
    };
    let request = Request { fit, dirs: &args.dirs, flops, params: args.params, seed: args.seed };
    let locked = forecast::lock(request)?;
    let (forecast, path) = (&locked.forecast, locked.path.display());
    if locked.before {
        note!("Locked before, and nothing has changed: `{path}` is kept.");
    }
    if args.json {
        print_json(forecast);
    } else {
        print(&score::foretold(forecast));
        print(&format!(
            "\n  forecast  {path}\n  run it    isoflop run {} --forecast {path}\n",
            args.dirs.results.join(&forecast.sweep).join(SWEEP).display(),
        ));
    }
    if !args.json {
        print(&answer::of_the_fit(&bearing(&locked.analysis)));
    }
    note!("{}", show::warnings(&forecast.warnings));
    Ok(0)
}

/// Trains the cell of a forecast, and scores it.
pub(super) fn run(args: &RunArgs, path: &Path) -> Result<u8, Failure> {
    if args.launcher != Launcher::Local {
        let message = "--forecast trains one cell, and not in a job array";
        return Err(InputError::new(message, "leave --launcher out").into());
    }
    let run = Run {
        forecast: path,
        sweep: &args.sweep,
        results: &args.dirs.results,
        device: args.training.device,
        matmul: args.training.matmul,
        every: args.checkpoint,
        retry: &args.training.retry,
    };
    let Some(forecast) = forecast::run(run, &Stderr)? else { return Ok(exit::AGAIN) };
    let code = score::show(&forecast, path, &args.dirs, false)?;
    let results = args.dirs.results.join(&forecast.sweep);
    print(&format!("  report    `isoflop report {}` shows it among the runs\n", results.display()));
    Ok(code)
}
