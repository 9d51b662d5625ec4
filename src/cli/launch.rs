//! `isoflop run --launcher slurm`: the same run as a job array on a cluster.

use clap::ValueEnum as _;

use super::args::RunArgs;
use super::study::{self, Study, write_plan};
use super::{Failure, open, print, print_as_is};
use crate::error::InputError;
use crate::exec::slurm::{self, SubmitError, Submitted};
use crate::fs::{Disk as _, Os};
use crate::ledger::Ledger;
use crate::spec::Spec;

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::File(e) => e.into(),
            SubmitError::Slurm(e) => e.into(),
        }
    }
}

pub(super) fn execute(args: &RunArgs, spec: &Spec, text: &str) -> Result<u8, Failure> {
    let mut asked = spec.slurm.get_ref().clone();
    for (key, value) in &args.slurm {
        asked.set(key, value).map_err(|why| {
            InputError::new(format!("--slurm: {why}"), "as in the sweep's [slurm] table")
        })?;
    }
    let results = args.dirs.results.join(spec.name.get_ref());
    let name = slurm::job_name(spec.name.get_ref(), &results);
    let script = slurm::script(&asked, &name, &results, &command(args)?)?;
    if args.dry_run {
        print_as_is(&script);
        return Ok(0);
    }
    let out = open::of_sweep(spec.name.get_ref(), &args.dirs.analysis)?;
    Os.create_dirs(&results)?;
    let _hold = study::hold(&results, text)?;
    let study = Study::open(&args.sweep, &args.dirs.results, true)?;
    write_plan(&results, &study, &out)?;
    let ledger = Ledger::read(&results, &study.plan.cells)?;
    let left = ledger.count("missing") + ledger.count("running");
    if left == 0 && args.again.retry.is_empty() {
        print(&format!(
            "Nothing is left to train. `isoflop report {}` fits and reports.\n",
            args.sweep.display()
        ));
        return Ok(0);
    }
    let told = match slurm::submit(&name, &results, &script)? {
        Submitted::Now(tasks) => format!("Submitted {name}: {}.", slurm::summary(&tasks)),
        Submitted::Before(tasks) => {
            format!(
                "{name} is in the queue already: {}. Nothing submitted.",
                slurm::summary(&tasks)
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
    if let Some(device) = args.device {
        let name = device.to_possible_value().map(|v| v.get_name().to_owned());
        words.extend(["--device".to_owned(), name.unwrap_or_default()]);
    }
    if let Some(matmul) = args.matmul {
        let name = matmul.to_possible_value().map(|v| v.get_name().to_owned());
        words.extend(["--matmul".to_owned(), name.unwrap_or_default()]);
    }
    if let Some(workers) = args.workers {
        words.extend(["--workers".to_owned(), workers.to_string()]);
    }
    if !args.again.retry.is_empty() {
        words.extend(["--retry".to_owned(), args.again.retry.join(",")]);
    }
    words.extend(["--checkpoint".to_owned(), args.checkpoint.to_string()]);
    Ok(words)
}
