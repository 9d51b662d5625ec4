//! `--launcher slurm` of `isoflop run` and `isoflop data`: the same command as a job array on a cluster.

use std::path::Path;

use clap::ValueEnum as _;

use super::args::{DataArgs, RunArgs};
use super::watch::Stderr;
use super::{print, print_as_is};
use crate::error::InputError;
use crate::exec::slurm::{self, Job, Live, Submitted};
use crate::ledger::StateName;
use crate::spec::{SlurmSpec, Spec};
use crate::study::Failure;
use crate::study::preparing::{self, Request};
use crate::study::run::Begun;
use crate::terminal::note;

pub(super) fn execute(args: &RunArgs, spec: &Spec) -> Result<u8, Failure> {
    let mut asked = spec.slurm.get_ref().clone();
    set(&mut asked, &args.slurm)?;
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
    let progress = format!("isoflop status {}", args.sweep.display());
    print(&submitted(&job, &results, &[("cells to go", left.to_string())], &progress)?);
    Ok(0)
}

/// `isoflop data RECIPE --launcher slurm`: the same command as a job array.
pub(super) fn recipe(args: &DataArgs, request: &Request) -> Result<u8, Failure> {
    let mut asked = SlurmSpec::default();
    set(&mut asked, &args.slurm)?;
    let (name, dir) = request.place()?;
    // Slurm's cores, which this process sees where the site binds tasks to them, and not elsewhere.
    let workers = args.workers.or(asked.cpus_per_task.map(|n| n as usize));
    let mut command = vec![program()?, "data".to_owned(), whole(&request.recipe)];
    command.extend(["--out".to_owned(), whole(&dir)]);
    command.extend(workers.into_iter().flat_map(|n| ["--workers".to_owned(), n.to_string()]));
    let job = Job::new(&asked, &name, &dir, command)?;
    for line in job.environment().lines() {
        note!("note: {line}");
    }
    if args.plan {
        print_as_is(&job.script());
        return Ok(0);
    }
    let progress = preparing::begin(request)?;
    let left = progress.stages.iter().map(|stage| stage.units - stage.done).sum::<usize>();
    let progress = format!("isoflop status {}", dir.display());
    print(&submitted(&job, &dir, &[("units to go", left.to_string())], &progress)?);
    Ok(0)
}

/// Changes a sweep's `[slurm]` table, or that of nobody, as the command line says.
fn set(asked: &mut SlurmSpec, pairs: &[(String, String)]) -> Result<(), Failure> {
    for (key, value) in pairs {
        asked.set(key, value).map_err(|why| {
            InputError::new(format!("--slurm: {why}"), "as in the sweep's [slurm] table")
        })?;
    }
    Ok(())
}

/// Submits a job array, or finds it in the queue, in words.
fn submitted(
    job: &Job,
    dir: &Path,
    left: &[(&str, String)],
    progress: &str,
) -> Result<String, Failure> {
    let name = job.name();
    let told = match slurm::submit(job)? {
        Submitted::Now(live) => format!("Submitted {name}: {}.", said(&live)),
        Submitted::Before(live @ Live::Queued(_)) => {
            format!("{name} is in the queue already: {}. Nothing submitted.", said(&live))
        }
        Submitted::Before(Live::Unlisted(submission)) => {
            let ago = submission.ago();
            format!(
                "{name} was submitted {ago}: {}. Nothing submitted; if that job was cancelled, remove `{}` first.",
                said(&Live::Unlisted(submission)),
                slurm::submission_path(dir).display()
            )
        }
    };
    let script = slurm::script_path(dir).display().to_string();
    let rows = left.iter().cloned().chain([("script", script), ("progress", progress.to_owned())]);
    Ok(rows.fold(told, |out, (name, value)| out + &format!("\n  {name:<11}  {value}")) + "\n")
}

/// What Slurm has of a directory, in words.
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
    let mut words = vec![program()?, "run".to_owned(), whole(&args.sweep)];
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

/// This program, by its whole path.
fn program() -> Result<String, Failure> {
    let program = std::env::current_exe().map_err(|e| {
        InputError::new(format!("cannot find this program's own path: {e}"), "call it by its path")
    })?;
    Ok(whole(&program))
}

fn whole(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}
