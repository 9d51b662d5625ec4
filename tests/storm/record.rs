//! What a results directory holds when all is over, and how it may differ from another.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::common::{Place, Said, events, of_kind, outcome, own_steps, sorted};

/// Columns of the ledger that are times.
const NOT_COMPARED: [&str; 2] = ["seconds", "tokens_per_second"];

/// One cell.
struct Cell {
    completions: usize,
    /// An attempt began from a state of another cell, with the evaluations on the way there. Which that is, and
    /// whether there is one, depends on who was there first.
    branched: bool,
    /// Steps, evaluations, loss, and the hash of the last state.
    said: Said,
    /// SHA-256 of every state that any attempt kept, by the name of its directory.
    states: BTreeMap<String, Vec<String>>,
}

/// A results directory and its analysis.
pub(crate) struct End {
    cells: BTreeMap<String, Cell>,
    ledger: Vec<BTreeMap<String, String>>,
    /// Derived files, as JSON.
    derived: Vec<(&'static str, Value)>,
}

impl End {
    pub(crate) fn of(place: &Place, sweep: &str) -> Self {
        let name = |p: &Path| p.file_name().unwrap().to_string_lossy().into_owned();
        let mut cells = BTreeMap::new();
        for attempts in place.attempts(sweep) {
            let done: Vec<&PathBuf> =
                attempts.iter().filter(|a| of_kind(a, "completed").is_some()).collect();
            let mut states: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for dir in attempts.iter().flat_map(|a| sorted(a)).filter(|p| p.is_dir()) {
                if let Ok(manifest) = fs::read(dir.join("manifest.json")) {
                    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
                    states.entry(name(&dir)).or_default().push(manifest["sha256"].to_string());
                }
            }
            let last = done.first().unwrap_or_else(|| panic!("not completed: {attempts:?}"));
            let started = attempts.iter().filter_map(|a| of_kind(a, "started"));
            let branched = started.into_iter().any(|s| s["resumed"]["cell"].is_string());
            let cell = Cell { completions: done.len(), branched, said: outcome(last), states };
            cells.insert(name(attempts[0].parent().unwrap()), cell);
        }
        let read = |path: &str| fs::read(place.path(path)).unwrap();
        let mut ledger = csv::Reader::from_reader(
            fs::File::open(place.path(&format!("results/{sweep}/ledger.csv"))).unwrap(),
        );
        let rows = ledger.deserialize::<BTreeMap<String, String>>();
        let ledger = rows.map(|row| {
            let mut row = row.unwrap();
            row.retain(|column, _| !NOT_COMPARED.contains(&column.as_str()));
            row
        });
        let derived = ["fit.json", "backtest.json", "tune.json"].map(|file| {
            let json = read(&format!("analysis/{sweep}/{file}"));
            (file, serde_json::from_slice(&json).unwrap())
        });
        Self { cells, ledger: ledger.collect(), derived: derived.into() }
    }

    /// Every cell was completed, once, and all that was kept of one step is the same state.
    pub(crate) fn whole(&self) {
        assert!(self.cells.len() > 12, "the cells of the plan and of the tuning");
        assert!(self.ledger.len() == 12 && self.ledger.iter().all(|r| r["state"] == "completed"));
        for (id, cell) in &self.cells {
            assert_eq!(cell.completions, 1, "cell {id} was completed more than once");
            for (name, hashes) in &cell.states {
                assert!(hashes.iter().all(|h| *h == hashes[0]), "{id}/{name} has several states");
            }
        }
    }

    /// Cells that began where a trunk had kept its state for them.
    pub(crate) fn branches(&self) -> usize {
        self.cells.values().filter(|c| c.branched).count()
    }

    /// What was kept for branches is gone with the last of them, and every cell has its weights.
    pub(crate) fn kept(&self) {
        for (id, cell) in &self.cells {
            assert!(cell.states.contains_key("weights"), "cell {id} has no weights");
            assert!(!cell.states.keys().any(|name| name.starts_with("fork-")), "cell {id}: forks");
        }
    }

    /// The same as what another ends with.
    pub(crate) fn same(&self, want: &Self) {
        assert!(self.cells.keys().eq(want.cells.keys()), "the same cells");
        let mut states = 0;
        for (id, cell) in &self.cells {
            let other = &want.cells[id];
            let (got, want) = (&cell.said, &other.said);
            assert!(got.0 == want.0, "cell {id}: steps differ");
            if !cell.branched && !other.branched {
                assert_eq!(got.1, want.1, "cell {id}: evaluations");
            }
            for eval in &got.1 {
                let same = want.1.iter().find(|e| e["step"] == eval["step"]);
                assert!(same.is_none_or(|same| same == eval), "cell {id}: {eval}, {same:?}");
            }
            assert_eq!(got.1.last(), want.1.last(), "cell {id}: last evaluation");
            assert_eq!(got.2, want.2, "cell {id}: loss");
            // Which states are left depends on where it was stopped; of one step there is one.
            for (name, hashes) in &cell.states {
                if let Some(want) = other.states.get(name) {
                    assert_eq!(hashes[0], want[0], "state {id}/{name}");
                    states += 1;
                }
            }
        }
        assert!(states >= self.cells.len(), "{states} states compared");
        assert_eq!(self.ledger.len(), want.ledger.len());
        for (row, other) in self.ledger.iter().zip(&want.ledger) {
            let id = &row["id"];
            let shared = self.cells[id].branched || want.cells[id].branched;
            for (column, value) in row.iter().filter(|(c, _)| !(shared && *c == "flops_spent")) {
                assert_eq!(value, &other[column], "{column} of cell {id} in the ledger");
            }
        }
        for ((name, got), (_, want)) in self.derived.iter().zip(&want.derived) {
            assert!(got == want, "{name} differs");
        }
    }
}

/// Attempts that another followed, and steps of the record that were taken more than once, of all cells. No attempt
/// begins behind a state that was kept, and states are kept every so many steps.
pub(crate) fn again(place: &Place, sweep: &str, every: u64) -> (u64, u64) {
    let (mut cut, mut twice) = (0, 0);
    for attempts in place.attempts(sweep) {
        let (mut first, mut kept, mut taken, mut steps) = (u64::MAX, 0, 0, 0);
        for attempt in &attempts {
            let Some(started) = of_kind(attempt, "started") else { continue };
            let begin = started["resumed"]["step"].as_u64().unwrap_or(0);
            assert!(begin >= kept, "{}: from {begin}, {kept} was kept", attempt.display());
            let mut last = begin;
            for checkpoint in events(attempt).iter().filter(|e| e["kind"] == "checkpoint") {
                let step = checkpoint["step"].as_u64().unwrap();
                assert!(step <= last + every, "{}: {last}, {step}", attempt.display());
                (last, kept) = (step, kept.max(step));
            }
            first = first.min(begin);
            taken += own_steps(attempt);
            steps = started["cell"]["recipe"]["steps"].as_u64().unwrap();
        }
        cut += attempts.len() as u64 - 1;
        twice += u64::saturating_sub(taken, steps - first);
    }
    (cut, twice)
}

/// Scratch files and directories, wherever they are.
pub(crate) fn scratch(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in sorted(dir) {
        let is_one = path.extension().is_some_and(|e| e == "tmp");
        if !is_one && path.is_dir() {
            found.extend(scratch(&path));
        } else if is_one {
            found.push(path);
        }
    }
    found
}
