//! The `isoflop` command: parse the arguments, call the library, print the error, choose the exit code.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use isoflop::cli::args::Cli;
use isoflop::cli::{execute, refusal};
use isoflop::study::Failure;
use isoflop::terminal;

fn main() -> ExitCode {
    // A file at its size limit: the write that fails says so, as for a full disk. Without it the signal kills.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
    let code = match Cli::try_parse() {
        Ok(cli) => execute(cli).unwrap_or_else(|Failure { message, code }| {
            terminal::say(&refusal(&format!("error: {message}")));
            code
        }),
        // Help and version too.
        Err(said) => {
            terminal::told(said.print());
            u8::try_from(said.exit_code()).unwrap_or(isoflop::error::exit::INPUT)
        }
    };
    // What was to be said was not, or not all of it.
    let Some(error) = terminal::failed() else { return ExitCode::from(code) };
    terminal::say(&refusal(&format!("error: {error}\nhint: {}", error.hint())));
    ExitCode::from(if code == 0 { error.code() } else { code })
}
