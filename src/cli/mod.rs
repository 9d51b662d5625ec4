//! The commands: thin glue between the library's parts, one file a verb.
//!
//! Data goes to stdout, progress and notes to stderr.

mod analysis;
mod answer;
pub mod args;
mod backtest;
mod check;
mod device;
mod export;
mod fit;
mod forecast;
mod launch;
mod layout;
mod losses;
mod open;
mod plan;
mod predict;
mod price;
mod run;
mod score;
mod selftest;
mod show;
mod status;
mod study;
mod train;
mod tune;
mod watch;

use crate::data::DataError;
use crate::error::{FileError, InputError, exit};
use crate::fit::FitError;
use crate::forecast::ForecastError;
use crate::import::ImportError;
use crate::predict::PredictError;
use crate::terminal;
use args::{Cli, Verb};

/// A command that could not do its work, as a person reads it.
#[derive(Debug)]
pub struct Failure {
    /// What is wrong, without `error:`; may have several lines, the last a hint.
    pub message: String,
    /// One of [`exit`].
    pub code: u8,
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        let hint = error.hint.as_ref().map_or_else(String::new, |h| format!("\nhint: {h}"));
        Self { message: format!("{error}{hint}"), code: error.code }
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        let hint = error.hint();
        Self { message: format!("{error}\nhint: {hint}"), code: error.code() }
    }
}

impl From<DataError> for Failure {
    fn from(error: DataError) -> Self {
        match error {
            DataError::File(e) => e.into(),
            DataError::Input(e) => e.into(),
        }
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::File(e) => e.into(),
            ImportError::Input(e) => e.into(),
        }
    }
}

impl From<FitError> for Failure {
    fn from(error: FitError) -> Self {
        Self { message: error.to_string(), code: exit::INPUT }
    }
}

impl From<ForecastError> for Failure {
    fn from(error: ForecastError) -> Self {
        Self { message: format!("{error}\nhint: {}", error.hint()), code: error.code() }
    }
}

impl From<PredictError> for Failure {
    fn from(error: PredictError) -> Self {
        Self { message: error.to_string(), code: exit::INPUT }
    }
}

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
        Verb::Selftest(args) => selftest::execute(&args),
        Verb::Tune(args) => tune::execute(&args),
        Verb::Report(args) => run::report(&args),
        Verb::Export(args) => export::execute(&args),
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
