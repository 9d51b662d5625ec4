//! `isoflop fit RESULTS --target TASK`: the law of a task's bits per byte, and accuracy from them.

use serde::Serialize;

use super::args::FitArgs;
use super::eval::{OutputSignal, verdicts};
use super::show::{self, table};
use super::watch::Stderr;
use super::{answer, print, print_json};
use crate::describe::{estimate, loss};
use crate::error::InputError;
use crate::fit::Analysis;
use crate::study::input::Input;
use crate::study::target::{self, Step, Target};
use crate::study::{Dirs, Failure, Results, input};
use crate::terminal::note;
use crate::units::{count, flops, plain3};

/// Everything, as JSON.
#[derive(Serialize)]
struct Output<'a> {
    task: &'a str,
    signals: Vec<OutputSignal>,
    directory: String,
    accuracy: Option<&'a Step>,
    no_accuracy: Option<&'a str>,
    fit: &'a Analysis,
}

pub(super) fn execute(args: &FitArgs, task: &str) -> Result<u8, Failure> {
    let dirs = Dirs { results: "results".into(), analysis: "analysis".into() };
    let Input::Results(dir) = Input::of(&args.input, &dirs.results)? else {
        let message =
            format!("--target is for a sweep's results, and `{}` is none", args.input.display());
        let hint = "scores of a table's runs are columns of it: --map loss=COLUMN";
        return Err(InputError::new(message, hint).into());
    };
    let results = Results::open(&dir)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => input::of_sweep(&results.name, &dirs.analysis)?,
    };
    let options = (|defaults| args.options(defaults), out.as_path());
    let target = target::fit(results, task, args.with.as_deref(), options, &Stderr)?;
    if args.json {
        print_json(&Output {
            task,
            signals: target.signals.iter().map(OutputSignal::of).collect(),
            directory: target.directory.display().to_string(),
            accuracy: target.accuracy.as_ref().ok(),
            no_accuracy: target.accuracy.as_ref().err().map(String::as_str),
            fit: &target.fit,
        });
    } else {
        print(&verdicts(&target.signals));
        print(&format!(
            "\nBits per byte of {task}\n{}",
            answer::fit(&target.fit, &target.predictions)
        ));
        print(&accuracy(&target));
        note!("{}", show::warnings(&target.fit.warnings));
    }
    note!("wrote {}", target.directory.join("report.html").display());
    Ok(0)
}

/// The step to accuracy.
fn accuracy(target: &Target) -> String {
    let step = match &target.accuracy {
        Ok(step) => step,
        Err(why) => return format!("\nNo accuracy is predicted: {why}\n"),
    };
    let curve = &step.curve;
    let mut out = format!(
        "\nAccuracy on {} from its bits per byte: {} rows, {} of them clearly above chance\n  {:.3} + {:.3} / (1 + \
         exp({} (bits/byte - {})))\n",
        target.task,
        step.rows,
        step.above_chance,
        curve.chance,
        curve.ceiling - curve.chance,
        plain3(curve.k),
        plain3(curve.middle)
    );
    let row = |run: &target::RunAccuracy| {
        vec![
            flops(run.flops),
            count(run.params),
            count(run.tokens),
            estimate(&run.bits_per_byte, loss).line(),
            estimate(&run.accuracy, |a| format!("{a:.3}")).line(),
        ]
    };
    let header = ["C", "N*", "D*", "bits/byte", "accuracy"];
    out += &table(&header, 0, &step.runs.iter().map(row).collect::<Vec<_>>());
    out + "  Both are prediction intervals of one run; accuracy by draws of the law and of the curve together.\n"
}
