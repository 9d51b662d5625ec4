//! The record: what was trained, whatever happened since. Everything else is derived from it.
//!
//! `results/<sweep>/cells/<id>/attempt-NNNN/` has one writer, ever. Folding all run logs gives the state
//! of every cell; the ledger CSV and the table of a fit follow from that and can always be made again.
//! An attempt that was cut is followed by another, which goes on from the newest checkpoint that verifies.

pub mod check;
pub mod checkpoint;
pub mod event;
pub mod forks;
pub mod hold;
pub mod lease;
pub mod log;
pub mod price;
mod sealed;
mod state;
#[cfg(test)]
mod survival;
mod table;
pub mod tasks;
pub mod weights;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::error::{FileError, is_of_one_file};
use crate::fs::Os;
use crate::fs::machine::name_of;
use crate::plan::Cell;
use event::Event;
use lease::Holder;
use log::Attempt;
pub use state::{State, StateName};
pub use table::{Row, cell_rows, csv, curves, points, runs, settings, spent};

/// Attempts in a row that were cut without one new step; more would end like them.
const STUCK: usize = 5;
/// Share by which the losses of two completed attempts may differ on two machines or versions.
const AGREES: f64 = 1e-3;

/// What a log's first line says of the data.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct DataTruth {
    /// Exact entropy, where known [nats/token].
    pub entropy: Option<f64>,
    /// Bytes per held-out token [bytes/token].
    pub bytes_per_token: Option<f64>,
    /// Distinct training tokens, where the text has an end [tokens].
    pub train_tokens: Option<u64>,
}

/// Every planned cell with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// In the plan's order.
    pub cells: Vec<(Cell, State)>,
    /// From any started cell.
    pub truth: DataTruth,
    /// Distinct training tokens of each cell that was started on a dataset, by its id [tokens].
    pub distinct: HashMap<String, u64>,
    /// Torn tails that were dropped: worth a line, not an error.
    pub notes: Vec<String>,
}

impl Ledger {
    /// Folds the run logs of these cells.
    ///
    /// # Errors
    ///
    /// [`FileError`] when a log cannot be read.
    ///
    /// # Example
    ///
    /// ```
    /// use isoflop::ledger::{self, Ledger, StateName};
    /// use isoflop::{plan, spec::Spec};
    ///
    /// let results = std::path::Path::new("results/prose");
    /// let spec = Spec::parse(&std::fs::read_to_string(results.join("sweep.toml"))?)?;
    /// let cells = plan::read(&std::fs::read(results.join(plan::FILE))?, None, &spec)?;
    /// let ledger = Ledger::read(results, &cells)?;
    /// assert_eq!(ledger.count(StateName::Completed), cells.len());
    /// // What a fit reads.
    /// let table = ledger::points("prose", &ledger);
    /// assert_eq!(table.points.len(), cells.len());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read(results: &Path, cells: &[Cell]) -> Result<Self, FileError> {
        let mut ledger = Self {
            cells: Vec::new(),
            truth: DataTruth::default(),
            distinct: HashMap::new(),
            notes: Vec::new(),
        };
        let mut kinds: Vec<String> = Vec::new();
        for cell in cells {
            let dir = cell_dir(results, &cell.id);
            let (attempts, state) = look(&dir)?;
            for attempt in &attempts {
                if attempt.torn {
                    ledger
                        .notes
                        .push(format!("{}: last line torn, dropped", attempt.dir.display()));
                }
                if attempt.damage.is_none()
                    && let Some(Event::Started {
                        entropy,
                        bytes_per_token,
                        train_tokens,
                        unique_tokens,
                        numerics,
                        ..
                    }) = attempt.events.first()
                {
                    if !kinds.contains(numerics) {
                        kinds.push(numerics.clone());
                    }
                    if let Some(unique) = unique_tokens {
                        ledger.distinct.insert(cell.id.clone(), *unique);
                    }
                    ledger.truth = DataTruth {
                        entropy: *entropy,
                        bytes_per_token: *bytes_per_token,
                        train_tokens: *train_tokens,
                    };
                }
            }
            ledger.cells.push((cell.clone(), state));
        }
        if kinds.len() > 1 {
            let named = |k: &String| if k.is_empty() { "f32".to_owned() } else { k.clone() };
            let mut kinds: Vec<String> = kinds.iter().map(named).collect();
            kinds.sort();
            kinds.dedup();
            if kinds.len() > 1 {
                ledger.notes.push(format!(
                    "runs of different arithmetic stand side by side ({}): a difference of their losses may \
                     be one of rounding",
                    kinds.join("; ")
                ));
            }
        }
        Ok(ledger)
    }

    /// Distinct training tokens that a cell sees, where the source has an end [tokens].
    pub fn unique_tokens(&self, cell: &Cell) -> Option<u64> {
        let all = || Some(cell.recipe.tokens().min(self.truth.train_tokens?));
        self.distinct.get(&cell.id).copied().or_else(all)
    }

    /// Whether a cell ended without a loss.
    pub fn has_failures(&self) -> bool {
        StateName::FAILURES.iter().any(|s| self.count(*s) > 0)
    }

    /// Cells in this state.
    pub fn count(&self, state: StateName) -> usize {
        self.cells.iter().filter(|(_, s)| s.name() == state).count()
    }
}

/// What the numerics of an attempt say where kernels were chosen by trials.
pub const TUNED: &str = "tuned";

/// Directory of one cell.
pub fn cell_dir(results: &Path, id: &str) -> PathBuf {
    results.join("cells").join(id)
}

/// Attempts and state of a cell, now.
///
/// # Errors
///
/// [`FileError`] when a log cannot be read.
pub fn look(cell_dir: &Path) -> Result<(Vec<Attempt>, State), FileError> {
    loop {
        // The holder is asked first: if it is gone by then, all that it wrote is there to be read.
        let numbered = match log::numbered(&Os, cell_dir) {
            // Where the directory of all cells is no directory, that is not of one cell.
            Err(e) if is_of_one_file(&e.source) && cell_dir.symlink_metadata().is_ok() => {
                return Ok((Vec::new(), State::Damaged { why: e.to_string() }));
            }
            numbered => numbered?,
        };
        let last = numbered.last().map(|(number, _)| *number);
        let holder = last.map(|number| lease::holder(cell_dir, number));
        let attempts = log::read_attempts(&Os, cell_dir)?;
        // Else another attempt has begun meanwhile.
        if attempts.last().map(|a| a.number) == last {
            let quiet = || lease::quiet(cell_dir, last?).map(|quiet| quiet.as_secs_f64());
            // Elsewhere and not ended is at work: only who watches it may come to think otherwise.
            let at_work = match holder {
                Some(Holder::Alive) => Some((true, quiet())),
                Some(Holder::Elsewhere) => Some((false, quiet())),
                _ => None,
            };
            let open = attempts.last().is_some_and(|last| last.end().is_none());
            let state = fold(&attempts, at_work.filter(|_| open));
            return Ok((attempts, state));
        }
    }
}

/// Completed attempts decide; else the last one does. `at_work`: whether its holder lives here, and how
/// long it has been quiet [s].
fn fold(attempts: &[Attempt], at_work: Option<(bool, Option<f64>)>) -> State {
    let sound = || attempts.iter().filter(|a| a.damage.is_none());
    let mut completed: Option<(&Attempt, State)> = None;
    for attempt in sound() {
        let Some(Event::Completed { loss, loss_se, seconds, tokens_per_second, .. }) =
            attempt.events.last()
        else {
            continue;
        };
        if let Some((first, _)) = &completed {
            if let Some(why) = dispute(first, attempt) {
                return State::Disputed { why };
            }
            continue;
        }
        let state = State::Completed {
            loss: *loss,
            loss_se: *loss_se,
            seconds: *seconds,
            tokens_per_second: *tokens_per_second,
            taken_over: attempts.iter().map(Attempt::taken_over).max().unwrap_or(0),
            dir: attempt.dir.clone(),
        };
        completed = Some((attempt, state));
    }
    if let Some((_, state)) = completed {
        return state;
    }
    let Some(last) = attempts.last() else { return State::Missing { attempts: 0, step: 0 } };
    if let Some((here, quiet)) = at_work {
        return State::Running { step: last.taken(), here, quiet };
    }
    if let Some(why) = last.damage.clone() {
        return State::Damaged { why };
    }
    match last.end() {
        Some(Event::Diverged { step, why }) => {
            return State::Diverged { why: format!("step {step}: {why}") };
        }
        Some(Event::Failed { why }) => return State::Failed { why: why.clone() },
        _ => {}
    }
    let idle = |a: &&Attempt| a.end().is_none() && a.advanced() == 0;
    if attempts.iter().rev().take_while(idle).count() >= STUCK {
        return State::Stuck { why: format!("{STUCK} attempts were cut without one new step") };
    }
    let kept = sound().flat_map(|a| &a.events).filter_map(|e| match e {
        Event::Checkpoint { step, .. } => Some(*step),
        _ => None,
    });
    State::Missing { attempts: attempts.len(), step: kept.max().unwrap_or(0) }
}

/// How two completed attempts at one cell differ, if they do. The same program with the same arithmetic on the
/// same machine must give the same bits, but where its kernels are chosen by trials.
fn dispute(left: &Attempt, right: &Attempt) -> Option<String> {
    let origin = |a: &Attempt| match a.events.first() {
        Some(Event::Started { machine, isoflop, device, numerics, .. })
            if !machine.is_empty() && !numerics.contains(TUNED) =>
        {
            // Older records have what the kernel calls the boot.
            let old = machine.contains('-');
            let machine = if old { name_of(machine) } else { machine.clone() };
            Some((machine, isoflop.clone(), device.clone(), numerics.clone()))
        }
        _ => None,
    };
    let loss = |a: &Attempt| match a.events.last() {
        Some(Event::Completed { loss, .. }) => *loss,
        _ => f64::NAN,
    };
    let (l, r) = (loss(left), loss(right));
    let same = origin(left).is_some() && origin(left) == origin(right);
    let agree = if same {
        let unseen = left.archived || right.archived;
        l.to_bits() == r.to_bits() && (unseen || left.steps == right.steps)
    } else {
        (l - r).abs() <= AGREES * l.abs()
    };
    (!agree).then(|| {
        format!("attempts {} and {} ended at {l} and {r} nats/token", left.number, right.number)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(events: Vec<Event>, damage: Option<&str>) -> Attempt {
        let damage = damage.map(str::to_owned);
        let dir = PathBuf::from("a");
        Attempt { number: 1, dir, events, torn: false, damage, steps: Vec::new(), archived: false }
    }

    fn completed_at(loss: f64) -> Event {
        let (loss_se, seconds, tokens_per_second) = (0.0, 1.0, 1.0);
        Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc: None }
    }

    fn completed() -> Event {
        completed_at(1.0)
    }

    fn eval() -> Event {
        Event::Eval { step: 1, tokens: 1, flops: 1.0, loss: 1.0 }
    }

    #[test]
    fn a_completed_attempt_decides_whatever_the_others_say() {
        let failed = Event::Failed { why: "x".into() };
        for attempts in [
            vec![attempt(vec![eval()], None), attempt(vec![completed()], None)],
            vec![attempt(vec![completed()], None), attempt(vec![failed], None)],
            vec![attempt(vec![eval()], Some("bad")), attempt(vec![completed()], None)],
        ] {
            assert_eq!(fold(&attempts, None).name().word(), "completed");
        }
    }

    #[test]
    fn a_cut_attempt_leaves_the_cell_missing_and_a_damaged_one_is_said() {
        assert_eq!(fold(&[], None), State::Missing { attempts: 0, step: 0 });
        let cut = attempt(vec![eval()], None);
        assert_eq!(fold(&[cut], None), State::Missing { attempts: 1, step: 0 });
        let damaged = fold(&[attempt(vec![completed()], Some("run.log:2: bad"))], None);
        assert_eq!(damaged, State::Damaged { why: "run.log:2: bad".into() });
    }

    #[test]
    fn a_divergence_names_its_step() {
        let diverged = attempt(vec![Event::Diverged { step: 7, why: "NaN".into() }], None);
        let state = fold(&[diverged], None);
        assert_eq!(state, State::Diverged { why: "step 7: NaN".into() });
    }

    #[test]
    fn the_last_attempt_speaks_where_none_was_completed() {
        let failed = || attempt(vec![Event::Failed { why: "x".into() }], None);
        let paused = Event::Paused { step: 9, why: "SIGTERM".into() };
        let kept = Event::Checkpoint { step: 9, steps_crc: 0 };
        let stopped = attempt(vec![kept, paused], None);
        assert_eq!(fold(&[failed(), stopped], None), State::Missing { attempts: 2, step: 9 });
        assert_eq!(fold(&[attempt(vec![], Some("bad")), failed()], None).name().word(), "failed");
        let running = fold(&[failed(), attempt(vec![eval()], None)], Some((true, Some(3.0))));
        assert_eq!(running, State::Running { step: 0, here: true, quiet: Some(3.0) });
    }

    #[test]
    fn five_attempts_without_a_step_are_stuck_and_a_step_frees_them() {
        let cut = || attempt(vec![eval()], None);
        let mut attempts: Vec<Attempt> = (0..4).map(|_| cut()).collect();
        assert_eq!(fold(&attempts, None).name().word(), "missing");
        attempts.push(cut());
        assert_eq!(fold(&attempts, None).name().word(), "stuck");
        // Steps that it repeats are written ahead of its first event.
        attempts[4] = Attempt { steps: vec![0; 8], ..attempt(Vec::new(), None) };
        assert_eq!(fold(&attempts, None).name().word(), "stuck");
        attempts[4] = Attempt { steps: vec![0; 8], ..cut() };
        assert_eq!(fold(&attempts, None).name().word(), "missing");
    }

    #[test]
    fn two_completed_attempts_must_agree() {
        let by = |numerics: &str, losses: [f64; 2], machines: [&str; 2]| {
            let one = |i: usize| {
                let spec = crate::spec::Spec::parse(crate::plan::tests::SWEEP).unwrap();
                let plan = crate::plan::Plan::new(&spec, &crate::plan::tests::facts());
                let cell = plan.cells[0].clone();
                let started = Event::Started {
                    cell: Box::new(cell),
                    isoflop: "1".into(),
                    device: "CPU".into(),
                    numerics: numerics.to_owned(),
                    entropy: None,
                    bytes_per_token: None,
                    train_tokens: None,
                    unique_tokens: None,
                    machine: machines[i].into(),
                    resumed: None,
                    forecast: None,
                };
                attempt(vec![started, completed_at(losses[i])], None)
            };
            fold(&[one(0), one(1)], None).name()
        };
        let pair = |losses, machines| by("", losses, machines).word();
        assert_eq!(pair([1.0, 1.0], ["m", "m"]), "completed");
        assert_eq!(pair([1.0, 1.0 + 1e-9], ["m", "m"]), "disputed");
        assert_eq!(pair([1.0, 1.0 + 1e-9], ["m", "n"]), "completed");
        assert_eq!(pair([1.0, 1.1], ["m", "n"]), "disputed");
        // Kernels that are chosen by trials may be others in another process.
        let last_bits = |numerics| by(numerics, [1.0, 1.0 + 1e-9], ["m", "m"]).word();
        assert_eq!(last_bits("f32, products of bf16 by fixed kernels"), "disputed");
        assert_eq!(last_bits("f32, products of bf16 by tuned kernels"), "completed");
    }
}
