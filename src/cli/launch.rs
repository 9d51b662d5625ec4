//! `isoflop run --launcher slurm`: the same run as a job array on a cluster.

use clap::ValueEnum as _;

use super::args::RunArgs;
use super::watch::Stderr;
use super::{print, print_as_is};
use crate::error::InputError;
use crate::exec::slurm::{self, Job, Live, Submitted};
use crate::ledger::StateName;
use crate::spec::Spec;
use crate::study::Failure;
use crate::study::run::Begun;
use crate::terminal::note;

pub(super) fn execute(args: &RunArgs, spec: &Spec) -> Result<u8, Failure> {
    let mut asked = spec.slurm.get_ref().clone();
    for (key, value) in &args.slurm {
        asked.set(key, value).map_err(|why| {
            InputError::new(format!("--slurm: {why}"), "as in the sweep's [slurm] table")
        })?;
    }
    let results = args.dirs.results.join(spec.name.get_ref());
    let job = Job::new(&asked, spec.name.get_ref(), &results, command(args)?)?;
    for line in job.environment().lines() {
        note!("note: {line}");
    }
    if args.dry_run {
        print_as_is(&job.script());
        return Ok(0);
    }
    let Begun { before: ledger, .. } = &Begun::open(&args.sweep, &args.dirs, &Stderr)?;
    let left = ledger.count(StateName::Missing) + ledger.count(StateName::Running);
    if left == 0 && args.training.retry.is_empty() {
        print(&format!(
            "Nothing is left to train. `isoflop report {}` fits and reports.\n",
            args.sweep.display()
        ));
        return Ok(0);
    }
    let name = job.name();
    let told = match slurm::submit(&job)? {
        Submitted::Now(live) => format!("Submitted {name}: {}.", said(&live)),
        Submitted::Before(live @ Live::Queued(_)) => {
            format!("{name} is in the queue already: {}. Nothing submitted.", said(&live))
        }
        Submitted::Before(Live::Unlisted(submission)) => {
            let ago = submission.ago();
            format!(
                "{name} was submitted {ago}: {}. Nothing submitted; if that job was cancelled, remove `{}` first.",
                said(&Live::Unlisted(submission)),
                slurm::submission_path(&results).display()
            )
        }
    };
    print(&format!(
        "{told}\n  cells to go  {left}\n  script       {}\n  progress     isoflop status {}\n",
        slurm::script_path(&results).display(),
        args.sweep.display()
    ));
    Ok(0)
}

/// What Slurm has of a results directory, in words.
pub(super) fn said(live: &Live) -> String {
    match live {
        Live::Queued(tasks) => slurm::summary(tasks),
        Live::Unlisted(submission) => {
            format!("{}, not listed by `squeue` yet", submission.name())
        }
    }
}

/// What every task runs: this program, on the same sweep, with whole paths.
fn command(args: &RunArgs) -> Result<Vec<String>, Failure> {
    let whole = |path: &std::path::Path| {
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
    };
    let program = std::env::current_exe().map_err(|e| {
        InputError::new(format!("cannot find this program's own path: {e}"), "call it by its path")
    })?;
    let mut words = vec![whole(&program), "run".to_owned(), whole(&args.sweep)];
    words.extend(["--train-only".to_owned(), "--results".to_owned(), whole(&args.dirs.results)]);
    words.extend(["--analysis".to_owned(), whole(&args.dirs.analysis)]);
    if let Some(device) = args.training.device {
        let name = device.to_possible_value().map(|v| v.get_name().to_owned());
        words.extend(["--device".to_owned(), name.unwrap_or_default()]);
    }
    if let Some(matmul) = args.training.matmul {
        let name = matmul.to_possible_value().map(|v| v.get_name().to_owned());
        words.extend(["--matmul".to_owned(), name.unwrap_or_default()]);
    }
    if let Some(workers) = args.training.workers {
        words.extend(["--workers".to_owned(), workers.to_string()]);
    }
    if !args.training.retry.is_empty() {
        let states: Vec<&str> = args.training.retry.iter().map(|state| state.word()).collect();
        words.extend(["--retry".to_owned(), states.join(",")]);
    }
    words.extend(["--checkpoint".to_owned(), args.checkpoint.to_string()]);
    Ok(words)
}
