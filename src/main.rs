//! The `isoflop` command: parse the arguments, call the library, print the error, choose the exit code.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let cli = isoflop::cli::args::Cli::parse();
    match isoflop::cli::execute(cli) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("error: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}
