//! Columns of a table that are settings of its runs, and the state in which a tracker left them.

use std::collections::{BTreeMap, BTreeSet};

use super::columns::Columns;
use super::grid::Grid;
use super::names::Name;
use crate::covariates::Setting;

/// Words of what one searches the best value of.
const TUNED: [&str; 18] = [
    "lr",
    "batch",
    "bs",
    "wd",
    "decay",
    "warmup",
    "cooldown",
    "beta",
    "beta1",
    "beta2",
    "betas",
    "momentum",
    "eps",
    "epsilon",
    "dropout",
    "optimizer",
    "optim",
    "schedule",
];

/// Words of what a run shows rather than follows, or of what tells seeds apart.
const NOT_SET: [&str; 44] = [
    "seed",
    "seeds",
    "rep",
    "replicate",
    "trial",
    "fold",
    "id",
    "name",
    "run",
    "index",
    "idx",
    "unnamed",
    "time",
    "seconds",
    "sec",
    "runtime",
    "date",
    "created",
    "updated",
    "started",
    "user",
    "host",
    "hostname",
    "node",
    "gpu",
    "gpus",
    "device",
    "notes",
    "note",
    "tags",
    "comment",
    "step",
    "steps",
    "iterations",
    "iters",
    "loss",
    "ppl",
    "acc",
    "accuracy",
    "score",
    "norm",
    "throughput",
    "mfu",
    "path",
];

/// States in which a run's last loss is none of a finished run.
const UNFINISHED: [&str; 24] = [
    "crashed",
    "crash",
    "failed",
    "failure",
    "fail",
    "error",
    "errored",
    "killed",
    "running",
    "pending",
    "queued",
    "preempted",
    "preempting",
    "interrupted",
    "cancelled",
    "canceled",
    "aborted",
    "stopped",
    "diverged",
    "oom",
    "out_of_memory",
    "timeout",
    "unfinished",
    "incomplete",
];

/// The columns of settings, with their values for the runs of `ids` (row of the grid, id of the run).
pub(super) fn settings(grid: &Grid, columns: &Columns, ids: &[(usize, String)]) -> Vec<Setting> {
    let mut out = Vec::new();
    for (at, header) in grid.header.iter().enumerate() {
        let name = Name::of(header);
        if columns.reads(at) || header.is_empty() {
            continue;
        }
        let values: BTreeMap<String, String> =
            ids.iter().map(|(row, id)| (id.clone(), alike(&grid.rows[*row].cells[at]))).collect();
        let distinct = values.values().collect::<BTreeSet<_>>().len();
        let tuned = (name.has(&TUNED) || name.plain.contains("learning_rate"))
            && !name.has(&["time", "per", "sec", "seconds", "decayed", "loss", "tokens_seen"]);
        // Any other column is told of where its values come back, as those of a choice do and measurements do not.
        let choice = !name.has(&NOT_SET)
            && distinct * 3 <= values.len()
            && values.values().all(|v| v.len() <= 40)
            && super::roles::ROLES.iter().all(|role| super::roles::rank(role, &name).is_none())
            && state_of(&name).is_none();
        if distinct > 1 && (tuned || choice) {
            out.push(Setting { name: header.clone(), tuned, values });
        }
    }
    out
}

/// Words of what tells runs of one setting apart.
const APART: [&str; 14] = [
    "seed",
    "seeds",
    "rep",
    "replicate",
    "trial",
    "fold",
    "name",
    "run",
    "group",
    "experiment",
    "dataset",
    "tokenizer",
    "host",
    "hostname",
];

/// What a row says of the run that it is of, beside its settings: seed, name, group; by the run's id.
pub(super) fn identities(grid: &Grid, ids: &[(usize, String)]) -> BTreeMap<String, String> {
    let at: Vec<usize> =
        (0..grid.header.len()).filter(|at| Name::of(&grid.header[*at]).has(&APART)).collect();
    let of = |row: usize| {
        at.iter().map(|at| grid.rows[row].cells[*at].as_str()).collect::<Vec<_>>().join("\u{1f}")
    };
    ids.iter().map(|(row, id)| (id.clone(), of(*row))).collect()
}

/// Equal numbers as equal text: `1e-3` is `0.001`.
fn alike(cell: &str) -> String {
    cell.parse::<f64>().map_or_else(|_| cell.to_owned(), |value| value.to_string())
}

/// How a column tells of the state of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tells {
    /// By a word.
    Word,
    /// By yes or no, where yes is good.
    Good,
    /// By yes or no, where yes is bad.
    Bad,
}

fn state_of(name: &Name) -> Option<Tells> {
    let plain = name.plain.as_str();
    match plain {
        "state" | "status" | "run_state" | "run_status" | "job_state" | "job_status"
        | "outcome" => Some(Tells::Word),
        "finished" | "completed" | "complete" | "converged" | "success" | "done" => {
            Some(Tells::Good)
        }
        "crashed" | "failed" | "diverged" | "killed" | "preempted" | "nan" | "has_nan" => {
            Some(Tells::Bad)
        }
        _ => None,
    }
}

/// Why a run is not finished, by its row; nothing where no column tells.
pub(super) fn unfinished(header: &[String], cells: &[String]) -> Option<String> {
    header.iter().zip(cells).find_map(|(name, cell)| {
        let value = cell.trim().to_lowercase().replace([' ', '-'], "_");
        let yes = ["true", "1", "1.0", "yes", "y"].contains(&value.as_str());
        let no = ["false", "0", "0.0", "no", "n"].contains(&value.as_str());
        let bad = match state_of(&Name::of(name))? {
            Tells::Word => UNFINISHED.contains(&value.as_str()),
            Tells::Good => no,
            Tells::Bad => yes,
        };
        bad.then(|| format!("its {name} is `{cell}`"))
    })
}
