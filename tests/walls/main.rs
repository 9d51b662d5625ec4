//! Walls between machines, cells, files and sweeps: what one does wrong must not reach the next.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod identity;
mod sweeps;
mod takeover;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use common::{Place, sorted};

/// Four cells of a quarter of a second, enough for a fit of nothing but enough for a ledger.
fn four() -> String {
    common::grid("four", "[3e3, 6e3]", "[1e5, 2e5]")
}

/// Twelve cells of a moment: enough for a law.
fn twelve() -> String {
    common::grid("twelve", "[3e3, 6e3, 1.2e4, 2e4]", "[2e4, 4e4, 8e4]")
        .replace("batch_tokens = 2048", "batch_tokens = 512")
}

/// Runs a command that must end within so many seconds.
fn within(seconds: u64, command: &mut Command) -> Output {
    use std::process::Stdio;
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > Duration::from_secs(seconds) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} did not end within {seconds} s");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().unwrap()
}

/// Exit code, and standard output and error together.
fn told(output: &Output) -> (i32, String) {
    let (code, out, err) = common::said(output);
    (code.unwrap_or(-1), out + &err)
}

/// Runs `isoflop` with these arguments in a place.
fn isoflop(place: &Place, args: &[&str]) -> (i32, String) {
    told(&within(120, &mut place.command(args)))
}

/// The directories of the cells of a sweep.
fn cells(place: &Place, sweep: &str) -> Vec<PathBuf> {
    sorted(&place.path(&format!("results/{sweep}/cells")))
}

fn id(cell: &Path) -> String {
    cell.file_name().unwrap().to_string_lossy().into_owned()
}

/// A place with a sweep that is trained to its end.
fn trained(sweep: &str) -> Place {
    let place = Place::new(sweep);
    let (code, out) = isoflop(&place, &["run", "sweep.toml", "--workers", "2"]);
    assert_eq!(code, 0, "{out}");
    place
}

/// What a fit says of its runs: ids, sizes, tokens and losses, and the first exponent.
fn fitted(place: &Place, sweep: &str) -> (i32, String, serde_json::Value) {
    let results = format!("results/{sweep}");
    let out = place.path("fit");
    let args = ["fit", &results, "--out", out.to_str().unwrap(), "--bootstrap", "20"];
    let (code, said) = isoflop(place, &args);
    let json = fs::read(out.join("fit.json")).unwrap_or_default();
    let fit: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
    let _ = fs::remove_dir_all(&out);
    (code, said, serde_json::json!({ "points": fit["points"], "fits": fit["fits"] }))
}
