//! What is printed: a write that fails is an error of every command, a reader that went away is none, and nothing
//! from a file reaches the terminal or the report raw.

mod common;

use std::fs::{self, File, OpenOptions};
use std::process::{Command, Stdio};

use common::{ONE, Place, grid, said, text};

/// Sixteen runs of a law, with these words in front of every id.
fn table(id: &str) -> String {
    let mut out = String::from("id,params,tokens,loss\n");
    for (i, n) in [1e6, 2e6, 4e6, 8e6_f64].iter().enumerate() {
        for (j, d) in [2e7, 4e7, 8e7, 1.6e8_f64].iter().enumerate() {
            let loss = 1.7 + 400.0 / n.powf(0.34) + 410.0 / d.powf(0.28);
            let loss = loss * (1.0 + 1e-3 * ((7 * i + 3 * j) as f64).sin());
            out += &format!("\"{id}{i}{j}\",{n},{d},{loss:.6}\n");
        }
    }
    out
}

fn place() -> Place {
    let place = Place::new(ONE);
    fs::write(place.path("t.csv"), table("r")).unwrap();
    let fitted = place.command(&["fit", "t.csv", "--bootstrap", "20"]).output().unwrap();
    assert!(fitted.status.success(), "{}", text(&fitted.stderr));
    let trained = place.run().arg("--train-only").output().unwrap();
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    place
}

/// [`place`] with nine cells that are trained, fitted and tuned, and a forecast that is locked.
fn study() -> Place {
    let place = place();
    let nine = grid("nine", "[2e3, 5e3, 1.2e4]", "[2e4, 4e4, 8e4]")
        .replace("batch_tokens = 2048", "batch_tokens = 512");
    let tune = "[tune]\ncells = [{ params = 2e3, tokens = 2e4 }]\n\
                learning_rate = { values = [0.01, 0.02, 0.04] }\n[fit]\nbootstrap = 20\nholdout = 0\n";
    fs::write(place.path("nine.toml"), nine + tune).unwrap();
    for args in [
        &["run", "nine.toml", "--workers", "2"][..],
        &["tune", "nine.toml", "--workers", "2"],
        &["predict", "analysis/nine/fit.json", "--flops", "3e10", "--lock"],
    ] {
        let (code, out, err) = said(&place.command(args).output().unwrap());
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
    }
    let forecasts = common::sorted(&place.path("analysis/nine/forecasts"));
    fs::copy(&forecasts[0], place.path("forecast.json")).unwrap();
    place
}

fn full() -> Option<File> {
    let full = OpenOptions::new().write(true).open("/dev/full").ok();
    if full.is_none() {
        eprintln!("skipped: this system has no /dev/full");
    }
    full
}

/// Every kind of command that prints a result: text, JSON, CSV, a script, help.
const COMMANDS: [&[&str]; 28] = [
    &["plan", "sweep.toml", "--no-probe"],
    &["plan", "sweep.toml", "--no-probe", "--json"],
    &["fit", "t.csv", "--bootstrap", "20"],
    &["fit", "t.csv", "--bootstrap", "20", "--json"],
    &["predict", "analysis/t/fit.json", "--flops", "1e18"],
    &["predict", "analysis/t/fit.json", "--flops", "1e18", "--json"],
    &["report", "t.csv"],
    &["export", "t.csv", "--format", "chinchilla"],
    &["status", "sweep.toml"],
    &["status", "sweep.toml", "--json"],
    &["check", "results/one"],
    &["check", "results/one", "--json"],
    &["run", "sweep.toml", "--dry-run"],
    &["run", "sweep.toml", "--dry-run", "--launcher", "slurm"],
    &["run", "nine.toml"],
    &["tune", "nine.toml"],
    &["tune", "nine.toml", "--json"],
    &["tune", "nine.toml", "--dry-run"],
    &["backtest", "t.csv", "--bootstrap", "20"],
    &["backtest", "t.csv", "--bootstrap", "20", "--json"],
    &["selftest", "t.csv", "--studies", "2", "--bootstrap", "20"],
    &["selftest", "t.csv", "--studies", "2", "--bootstrap", "20", "--json"],
    &["score", "forecast.json"],
    &["score", "forecast.json", "--json"],
    &["device", "check", "--compile-only", "--only", "operations"],
    &["device", "check", "--compile-only", "--only", "operations", "--json"],
    &["--help"],
    &["--version"],
];

#[test]
fn a_full_disk_under_standard_output_is_an_error_of_every_command() {
    if full().is_none() {
        return;
    }
    let place = study();
    for args in COMMANDS {
        let mut command = place.command(args);
        let (code, _, err) = said(&command.stdout(full().unwrap()).output().unwrap());
        assert_eq!(code, Some(75), "{args:?}: {err}");
        assert!(
            err.contains("error: cannot write `standard output`: No space left on device")
                && err.contains("hint: free some space"),
            "{args:?}: {err}"
        );
    }
}

#[test]
fn a_full_disk_under_standard_error_ends_nothing_and_is_told_by_the_exit_code() {
    if full().is_none() {
        return;
    }
    let place = place();
    let mut run = place.command(&["fit", "t.csv", "--bootstrap", "20"]);
    let (code, out, _) = said(&run.stderr(full().unwrap()).output().unwrap());
    assert_eq!(code, Some(75));
    assert!(out.contains("Chinchilla") || out.contains("law"), "the result is printed: {out}");
    // Training goes on to its end: what it wrote is worth more than what it said.
    fs::remove_dir_all(place.path("results")).unwrap();
    let mut run = place.run();
    run.arg("--train-only").stderr(full().unwrap()).stdout(Stdio::null());
    assert_eq!(run.status().unwrap().code(), Some(75));
    let attempts = place.attempts("one");
    assert!(common::of_kind(&attempts[0][0], "completed").is_some(), "the cell is trained");
}

#[test]
fn a_reader_that_has_gone_away_is_no_error() {
    let place = study();
    for args in COMMANDS {
        // The read end is closed before anything is written.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, _, err) = said(&place.command(args).stdout(writer).output().unwrap());
        assert_eq!(code, Some(0), "{args:?}: {err}");
        assert!(!err.lines().any(|l| l.starts_with("error")), "{args:?}: {err}");
    }
}

/// A sequence that clears a terminal, a NUL, and a character that turns the direction of writing.
const HOSTILE: &str = "\u{1b}[2J\u{7}\u{202e}\u{9b}31m";

/// Nothing that a terminal would obey: tabs and line feeds alone.
fn harmless(what: &str, text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n' && c != '\t') || ('\u{202a}'..='\u{202e}').contains(&c)
    };
    if let Some(at) = text.find(bad) {
        let begin = text[..at].char_indices().rev().nth(60).map_or(0, |(i, _)| i);
        panic!("{what}: {:?}", text[begin..].chars().take(100).collect::<String>());
    }
}

#[test]
fn names_from_a_table_reach_neither_terminal_nor_report_raw() {
    let place = Place::new(ONE);
    let rows = table(HOSTILE).replace("loss\n", &format!("loss,note {HOSTILE}\n"));
    let rows: String = rows
        .lines()
        .enumerate()
        .fold(String::new(), |out, (i, line)| out + line + if i == 0 { "" } else { ",x" } + "\n");
    // One row is left out by name, and its id begins a line of its own.
    let rows = rows + &format!("\"{HOSTILE}bad\nerror: false\",1e6,2e7,nan,x\n");
    fs::write(place.path("t.csv"), rows).unwrap();
    for args in [
        &["fit", "t.csv", "--bootstrap", "20"][..],
        &["fit", "t.csv", "--bootstrap", "20", "--json"],
        &["report", "t.csv"],
        &["fit", "t.csv", "--map", "loss=nothing"],
        &["export", "t.csv", "--format", "nanochat", "--out", "t.out"],
    ] {
        let (_, out, err) = said(&place.command(args).output().unwrap());
        harmless(&format!("stdout of {args:?}"), &out);
        harmless(&format!("stderr of {args:?}"), &err);
        assert!(!err.lines().any(|line| line.starts_with("error: false")), "{err}");
    }
    harmless("report.html", &fs::read_to_string(place.path("analysis/t/report.html")).unwrap());
    for figure in common::sorted(&place.path("analysis/t/figures")) {
        if figure.extension().is_some_and(|e| e == "svg") {
            harmless("a figure", &fs::read_to_string(figure).unwrap());
        }
    }
}

#[test]
fn a_sweep_file_is_quoted_harmless_and_short() {
    let long = "x".repeat(1 << 19);
    for line in [
        format!("nonsense{long} = 1"),
        format!("\"{}\" = 1", "\\u001b[2J\\u202e"),
        format!("# {HOSTILE}\nbudgets = {HOSTILE}"),
        format!("seeds = \"{long}\""),
    ] {
        let place = Place::new(&format!("{line}\n{ONE}"));
        let (code, out, err) = said(&place.command(&["plan", "sweep.toml"]).output().unwrap());
        assert_eq!(code, Some(2), "{out}{err}");
        harmless("stderr", &err);
        assert!(err.len() < 4000, "{} bytes: {err}", err.len());
    }
}

#[test]
fn a_forecast_is_quoted_harmless() {
    let place = Place::new(ONE);
    let text = format!("{{\"version\": \"{}\"}}", "\\u001b]0;x\\u0007\\u202e");
    fs::write(place.path("f.json"), text).unwrap();
    for args in [&["score", "f.json"][..], &["run", "sweep.toml", "--forecast", "f.json"]] {
        let output = place.command(args).output().unwrap();
        assert_ne!(output.status.code(), Some(0));
        harmless("stderr", &common::text(&output.stderr));
    }
}

/// A limit on file sizes, as a batch system sets it.
#[test]
fn a_limit_of_file_sizes_under_standard_output_is_told() {
    let place = place();
    let run = place.command(&["fit", "t.csv", "--bootstrap", "20", "--json", "--out", "elsewhere"]);
    let mut shell = Command::new("bash");
    shell.args(["-c", "ulimit -f 1; exec \"$0\" predict analysis/t/fit.json --flops 1e18,1e19,1e20,1e21 --json >out"]);
    shell.arg(run.get_program()).current_dir(place.path(""));
    let (code, _, err) = said(&shell.output().unwrap());
    assert!(code.is_some_and(|c| c != 0), "{err}");
    assert!(err.contains("cannot write `standard output`"), "{err}");
}
