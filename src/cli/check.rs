//! `isoflop check`: is every record as it was written?

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::study::{PLAN, Recorded, planned};
use super::{Failure, args::CheckArgs, print, print_json};
use crate::error::exit;
use crate::fs::Os;
use crate::ledger::check::{Checked, Kind, check, move_aside};
use crate::terminal::note;
use crate::units::several;

/// As JSON.
#[derive(Serialize)]
struct Output {
    cells: usize,
    attempts: usize,
    checkpoints: usize,
    weights: usize,
    findings: Vec<OutputFinding>,
}

#[derive(Serialize)]
struct OutputFinding {
    path: String,
    what: String,
    /// `damaged`, `recovered` or `stray`.
    kind: &'static str,
    damaged: bool,
    moved_to: Option<String>,
}

pub(super) fn execute(args: &CheckArgs) -> Result<u8, Failure> {
    let dir = Recorded::dir(&args.sweep, &args.dirs.results)?;
    let checked = check(&Os, &dir)?;
    let (mut findings, mut moved) = (plan(&dir)?, Vec::new());
    for finding in &checked.findings {
        // A checkpoint goes with its attempt.
        let gone = moved.iter().find_map(|(from, to): &(PathBuf, PathBuf)| {
            finding.path.strip_prefix(from).ok().map(|inside| to.join(inside))
        });
        let movable =
            args.repair && finding.kind == Kind::Damaged && !finding.at_work && gone.is_none();
        let moved_to = if movable { Some(move_aside(&Os, &dir, finding)?) } else { gone };
        moved.extend(moved_to.clone().map(|to| (finding.path.clone(), to)));
        findings.push(OutputFinding {
            path: finding.path.display().to_string(),
            what: finding.what.clone(),
            kind: finding.kind.name(),
            damaged: finding.kind == Kind::Damaged,
            moved_to: moved_to.map(|p| p.display().to_string()),
        });
    }
    let count = |kind: &str| findings.iter().filter(|f| f.kind == kind).count();
    let left = findings.iter().filter(|f| f.damaged && f.moved_to.is_none()).count();
    if args.json {
        let Checked { cells, attempts, checkpoints, weights, .. } = checked;
        print_json(&Output { cells, attempts, checkpoints, weights, findings });
    } else {
        for f in &findings {
            print(&format!("{}: {}\n  {}\n", f.kind, f.path, f.what));
            if let Some(to) = &f.moved_to {
                print(&format!("  moved to {to}\n"));
            }
        }
        print(&format!(
            "{}, {}, {} and the weights of {} verified; {} damaged, {} recovered, {} stray.\n",
            several(checked.cells, "cell"),
            several(checked.attempts, "attempt"),
            several(checked.checkpoints, "checkpoint"),
            several(checked.weights, "cell"),
            count("damaged"),
            count("recovered"),
            count("stray")
        ));
        if left > 0 {
            note!(
                "hint: `--repair` moves what is damaged aside and deletes nothing; `isoflop run` then \
                 trains what is missing"
            );
        }
    }
    Ok(if left > 0 { exit::DAMAGED } else { 0 })
}

/// The finding that the plan is not as it was written, if it is not. It is not moved: a run writes it again.
fn plan(dir: &Path) -> Result<Vec<OutputFinding>, Failure> {
    let path = dir.join(PLAN);
    match planned(dir) {
        Err(failure) if failure.code == exit::DAMAGED => Ok(vec![OutputFinding {
            path: path.display().to_string(),
            what: failure.message.replace('\n', "\n  "),
            kind: Kind::Damaged.name(),
            damaged: true,
            moved_to: None,
        }]),
        Err(failure) if path.exists() => Err(failure),
        _ => Ok(Vec::new()),
    }
}
