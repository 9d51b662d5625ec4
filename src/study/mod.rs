//! Studies: what a person does with a sweep or a table of runs, from the file to the report.
//!
//! Every command is a call of this module, and prints what it returns; a program that uses the library calls the
//! same. Files are opened here, held, written and verified; what is computed stands in the layers below.
//!
//! ```text
//! Sweep      a sweep file with its data and plan          plan, run, tune
//! Results    results/<sweep>, as it was left              status, check, report
//! Runs       runs to fit, of a sweep or of any table      fit, backtest, selftest, export
//! Analysis   the fit of some runs                         predict, lock
//! Model      a trained cell, or a directory of Hugging Face's    sample, export
//! ```
//!
//! The laws of a table, and the run that they say to buy for 1e22 FLOP:
//!
//! ```no_run
//! use std::path::Path;
//! use isoflop::study::question::{Answer, Question};
//! use isoflop::study::{Quiet, analysis, input};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (runs, _) = input::open(Path::new("runs.csv"), &isoflop::import::Options::default())?;
//! let fit = analysis::analyse(&runs, &runs.options(), &Quiet)?;
//! let question = Question { flops: vec![1e22], ..Question::default() };
//! for answer in question.ask(&fit)? {
//!     if let Answer::Optimal(run) = answer {
//!         println!("N {:e} ({:e} to {:e})", run.params.value, run.params.lo, run.params.hi);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

pub mod analysis;
pub mod backtest;
pub mod check;
pub mod compare;
mod continued;
mod corpus;
pub mod datasets;
pub mod eval;
pub mod exporting;
mod failure;
mod figures;
pub mod forecast;
pub mod hold;
pub mod input;
pub mod losses;
pub mod models;
mod observer;
pub mod pages;
pub mod preparing;
pub mod price;
pub mod pricing;
pub mod question;
pub mod results;
pub mod run;
pub mod runs;
pub mod sampling;
pub mod score;
mod scorer;
pub mod sweep;
mod sweep_file;
pub mod target;
pub mod training;
pub mod tuning;

use std::path::PathBuf;

pub use failure::Failure;
pub use observer::{Observer, Quiet};
pub use results::Results;
pub use runs::Runs;
pub use sweep::Sweep;

/// Where results and analyses lie.
#[derive(Debug, Clone, clap::Args)]
pub struct Dirs {
    /// Directory of run logs, one folder a sweep.
    #[arg(long, default_value = "results", value_name = "DIR")]
    pub results: PathBuf,
    /// Directory of fits, figures and reports, one folder a sweep.
    #[arg(long, default_value = "analysis", value_name = "DIR")]
    pub analysis: PathBuf,
}
