//! `isoflop check`: is every record as it was written?

use serde::Serialize;

use super::args::CheckArgs;
use super::{print, print_json};
use crate::data::dataset::Verified as Dataset;
use crate::error::exit;
use crate::ledger::check::{Checked, Kind};
use crate::study::check::{Verified, check};
use crate::study::{Failure, Results, datasets};
use crate::terminal::note;
use crate::units::{bytes, several};

/// As JSON.
#[derive(Serialize)]
struct Output {
    cells: usize,
    attempts: usize,
    checkpoints: usize,
    weights: usize,
    tasks: usize,
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
    if let Some(verified) = datasets::verify(&args.sweep)? {
        return Ok(dataset(&verified, args.json));
    }
    let dir = Results::dir(&args.sweep, &args.dirs.results)?;
    let Verified { checked, findings } = check(&dir, args.repair)?;
    let findings: Vec<OutputFinding> = findings
        .into_iter()
        .map(|(finding, moved_to)| OutputFinding {
            path: finding.path.display().to_string(),
            what: finding.what,
            kind: finding.kind.name(),
            damaged: finding.kind == Kind::Damaged,
            moved_to: moved_to.map(|to| to.display().to_string()),
        })
        .collect();
    let count = |kind: &str| findings.iter().filter(|f| f.kind == kind).count();
    let left = findings.iter().filter(|f| f.damaged && f.moved_to.is_none()).count();
    if args.json {
        let Checked { cells, attempts, checkpoints, weights, tasks, .. } = checked;
        print_json(&Output { cells, attempts, checkpoints, weights, tasks, findings });
    } else {
        for f in &findings {
            print(&format!("{}: {}\n  {}\n", f.kind, f.path, f.what));
            if let Some(to) = &f.moved_to {
                print(&format!("  moved to {to}\n"));
            }
        }
        if checked.tasks > 0 {
            print(&format!("{} of tasks verified.\n", several(checked.tasks, "record")));
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

/// What was found in a dataset.
fn dataset(verified: &Dataset, json: bool) -> u8 {
    #[derive(Serialize)]
    struct Found {
        path: String,
        what: String,
    }
    #[derive(Serialize)]
    struct Output {
        files: usize,
        bytes: u64,
        damaged: Vec<Found>,
    }
    let Dataset { files, bytes: length, damages } = verified;
    let damaged: Vec<Found> = damages
        .iter()
        .map(|d| Found { path: d.path.display().to_string(), what: d.what.clone() })
        .collect();
    let code = if damaged.is_empty() { 0 } else { exit::DAMAGED };
    if json {
        print_json(&Output { files: *files, bytes: *length, damaged });
        return code;
    }
    for found in &damaged {
        print(&format!("damaged: {}\n  {}\n", found.path, found.what));
    }
    let read = (several(*files, "file"), bytes(*length as f64));
    print(&format!("{}, {} verified; {} damaged.\n", read.0, read.1, damaged.len()));
    if code != 0 {
        note!(
            "hint: restore these files, or prepare the dataset anew; a run stops before it would use them"
        );
    }
    code
}
