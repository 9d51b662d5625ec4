//! The commands: what the command line asks goes to [`crate::study`], and its answer is printed. One file a verb.
//!
//! Data goes to stdout, progress and notes to stderr.

mod answer;
pub mod args;
mod backtest;
mod bar;
mod check;
mod compare;
mod data;
mod device;
mod eval;
mod export;
mod fit;
mod forecast;
mod launch;
mod layout;
mod losses;
mod plan;
mod predict;
mod prepare;
mod run;
mod sample;
mod score;
mod selftest;
mod show;
mod status;
mod target;
mod tune;
mod watch;

use crate::study::Failure;
use crate::terminal;
use args::{Cli, Verb};

/// Does what the command line asks; the exit code when it could.
///
/// # Errors
///
/// [`Failure`], for `main` to print.
pub fn execute(cli: Cli) -> Result<u8, Failure> {
    match cli.verb {
        Verb::Plan(args) => plan::execute(&args),
        Verb::Run(args) => run::execute(&args),
        Verb::Status(args) => status::execute(&args),
        Verb::Fit(args) => fit::execute(&args),
        Verb::Predict(args) => predict::execute(&args),
        Verb::Backtest(args) => backtest::execute(&args),
        Verb::Score(args) => score::execute(&args),
        Verb::Compare(args) => compare::execute(&args),
        Verb::Selftest(args) => selftest::execute(&args),
        Verb::Tune(args) => tune::execute(&args),
        Verb::Report(args) => run::report(&args),
        Verb::Export(args) => export::execute(&args),
        Verb::Sample(args) => sample::execute(&args),
        Verb::Data(args) => data::execute(&args),
        Verb::Eval(args) => eval::execute(&args),
        Verb::Check(args) => check::execute(&args),
        Verb::Device(args) => device::execute(&args),
    }
}

/// Prints text for people to stdout, in lines that fit the terminal.
fn print(text: &str) {
    terminal::text(&layout::wrapped(&terminal::shown(text)));
}

/// An error as a person reads it: broken at spaces where stderr is a terminal, and one line a sentence for a log.
pub fn refusal(text: &str) -> String {
    if terminal::is_watched() { layout::quoting(text) } else { text.to_owned() }
}

/// Prints to stdout what another program reads.
fn print_as_is(text: &str) {
    terminal::data(text);
}

/// Prints a value as JSON to stdout.
fn print_json<T: serde::Serialize>(value: &T) {
    let json =
        serde_json::to_string_pretty(value).expect("results have no map with other keys than text");
    print_as_is(&(terminal::escaped(&json).into_owned() + "\n"));
}
