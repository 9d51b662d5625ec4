//! `isoflop check`: is every record as it was written?

use std::path::PathBuf;

use serde::Serialize;

use super::study::Recorded;
use super::{Failure, args::CheckArgs, print, print_json};
use crate::error::exit;
use crate::fs::Os;
use crate::ledger::check::{check, move_aside};
use crate::terminal::note;

/// As JSON.
#[derive(Serialize)]
struct Output {
    cells: usize,
    attempts: usize,
    checkpoints: usize,
    findings: Vec<OutputFinding>,
}

#[derive(Serialize)]
struct OutputFinding {
    path: String,
    what: String,
    damaged: bool,
    moved_to: Option<String>,
}

pub(super) fn execute(args: &CheckArgs) -> Result<u8, Failure> {
    let dir = Recorded::dir(&args.sweep, &args.dirs.results)?;
    let checked = check(&Os, &dir)?;
    let (mut findings, mut moved) = (Vec::new(), Vec::new());
    for finding in &checked.findings {
        // A checkpoint goes with its attempt.
        let gone = moved.iter().find_map(|(from, to): &(PathBuf, PathBuf)| {
            finding.path.strip_prefix(from).ok().map(|inside| to.join(inside))
        });
        let movable = args.repair && finding.damaged && !finding.at_work && gone.is_none();
        let moved_to = if movable { Some(move_aside(&Os, &dir, finding)?) } else { gone };
        moved.extend(moved_to.clone().map(|to| (finding.path.clone(), to)));
        findings.push(OutputFinding {
            path: finding.path.display().to_string(),
            what: finding.what.clone(),
            damaged: finding.damaged,
            moved_to: moved_to.map(|p| p.display().to_string()),
        });
    }
    let left = findings.iter().filter(|f| f.damaged && f.moved_to.is_none()).count();
    if args.json {
        let (cells, attempts, checkpoints) = (checked.cells, checked.attempts, checked.checkpoints);
        print_json(&Output { cells, attempts, checkpoints, findings });
    } else {
        for f in &findings {
            let word = if f.damaged { "damaged" } else { "recovered" };
            print(&format!("{word}: {}\n  {}\n", f.path, f.what));
            if let Some(to) = &f.moved_to {
                print(&format!("  moved to {to}\n"));
            }
        }
        print(&format!(
            "{} cells, {} attempts and {} checkpoints verified; {} damaged, {} recovered.\n",
            checked.cells,
            checked.attempts,
            checked.checkpoints,
            findings.iter().filter(|f| f.damaged).count(),
            findings.iter().filter(|f| !f.damaged).count()
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
