//! The cells that have not ended, as a runner sees them: which to take next, and which to wait for.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use super::attempt::Ended;
use super::job::Watch;
use crate::error::FileError;
use crate::fs::Os;
use crate::ledger::lease::{self, Holder, Lease, Watched};
use crate::ledger::log::{self, Attempt};
use crate::ledger::{self, State, cell_dir, checkpoint};
use crate::plan::Cell;

/// What a worker does next.
pub(super) enum Next<'a> {
    /// Trains a cell; all attempts before this one.
    Take(&'a Cell, Lease, Vec<Attempt>),
    /// All that is left is with other workers or runners.
    Wait,
    /// Nothing is left.
    Done,
}

/// The cells that have not ended, as far as this runner knows.
pub(super) struct Queue<'a> {
    open: Vec<Open<'a>>,
    /// Theirs.
    ids: HashSet<&'a str>,
    waited: bool,
}

struct Open<'a> {
    cell: &'a Cell,
    /// A worker of this runner has it.
    mine: bool,
    /// Attempts when it was first looked at: one more than that is a second try.
    first: Option<usize>,
    /// Attempt and heartbeat of another runner.
    watched: Option<Watched<(u32, Option<u64>)>>,
    /// It was said that a holder on this machine is silent.
    told: bool,
    /// The attempt that another runner had when its record was read, and how long that was [bytes].
    read: Option<(u32, u64)>,
}

impl<'a> Queue<'a> {
    pub(super) fn new(cells: &[&'a Cell]) -> Self {
        let open = |cell: &&'a Cell| Open {
            cell,
            mine: false,
            first: None,
            watched: None,
            told: false,
            read: None,
        };
        let ids = cells.iter().map(|c| c.id.as_str()).collect();
        Self { open: cells.iter().map(open).collect(), ids, waited: false }
    }

    /// Looks at the cells in their order and claims the first that is free.
    pub(super) fn next(
        &mut self,
        results: &Path,
        again: &dyn Fn(&State) -> bool,
        watch: &dyn Watch,
    ) -> Result<Next<'a>, FileError> {
        let mut at = 0;
        while at < self.open.len() {
            if self.open[at].mine || self.awaits_trunk(results, self.open[at].cell) {
                at += 1;
                continue;
            }
            let open = &mut self.open[at];
            let dir = cell_dir(results, &open.cell.id);
            if open.goes_on(&dir) {
                at += 1;
                continue;
            }
            // Before it is read: what is written meanwhile is read the next time.
            let newest = log::newest(&Os, &dir);
            let (attempts, state) = ledger::look(&dir)?;
            open.read = newest.filter(|_| matches!(state, State::Running { .. }));
            let first = *open.first.get_or_insert(attempts.len());
            let wanted = match state {
                State::Missing { .. } => Some(true),
                State::Running { here, .. } => {
                    let last = attempts.last().map(|a| a.number);
                    let silent = last.is_some_and(|n| open.still(&dir, n) > lease::lease());
                    if here && silent && !open.told {
                        open.told = true;
                        watch.note(&format!(
                            "cell {} is held by a process on this machine that is silent: it may be stopped; \
                             continue it (SIGCONT) or end it",
                            open.cell.short()
                        ));
                    }
                    Some(silent && !here)
                }
                State::Completed { .. } => None,
                // In the place of its directory is something else: there is no room for an attempt.
                State::Damaged { .. } if attempts.is_empty() => None,
                state => (attempts.len() == first && again(&state)).then_some(true),
            };
            let Some(wanted) = wanted else {
                self.ids.remove(self.open.remove(at).cell.id.as_str());
                continue;
            };
            if wanted {
                let number = log::next(&Os, &dir, &attempts);
                if let Some(lease) = Lease::claim(&dir, number)? {
                    open.mine = true;
                    return Ok(Next::Take(open.cell, lease, attempts));
                }
            }
            at += 1;
        }
        if self.open.is_empty() {
            return Ok(Next::Done);
        }
        let ours = |o: &Open<'_>| o.mine || self.awaits_trunk(results, o.cell);
        let others = self.open.iter().filter(|o| !ours(o)).count();
        if others > 0 && !self.waited {
            self.waited = true;
            let lease = lease::lease().as_secs_f64();
            watch.note(&format!(
                "waiting for {others} cells that another runner has; on another machine, or before this one was \
                 started anew, it is taken for dead after {lease:.0} s of silence"
            ));
        }
        Ok(Next::Wait)
    }

    /// Whether the trunk that a cell branches from is to be trained in this run and has not got so far.
    fn awaits_trunk(&self, results: &Path, cell: &Cell) -> bool {
        let Some(trunk) = &cell.trunk else { return false };
        let step = cell.recipe.stable_steps();
        let has_fork = || {
            let attempts = log::numbered(&Os, &cell_dir(results, trunk)).unwrap_or_default();
            attempts.iter().any(|(_, dir)| checkpoint::has_fork(&Os, dir, step))
        };
        step > 0 && self.ids.contains(trunk.as_str()) && !has_fork()
    }

    pub(super) fn ended(&mut self, cell: &Cell, ended: &Ended) {
        match ended {
            Ended::Event(_) => {
                self.open.retain(|o| o.cell.id != cell.id);
                self.ids.remove(cell.id.as_str());
            }
            // Another runner has it now, or will.
            Ended::Lost | Ended::Adrift(_) => {
                self.open.iter_mut().filter(|o| o.cell.id == cell.id).for_each(|o| o.mine = false);
            }
        }
    }
}

impl Open<'_> {
    /// Whether another runner is still at the attempt that was read, alive, and has added nothing to its log: then
    /// there is nothing to read again.
    fn goes_on(&mut self, dir: &Path) -> bool {
        let Some((number, _)) = self.read else { return false };
        // The holder is asked first: if it is gone by then, all that it wrote is there to be read.
        let here = match lease::holder(dir, number) {
            Holder::Alive => true,
            Holder::Elsewhere => false,
            Holder::Gone => return false,
        };
        let silent = self.still(dir, number) > lease::lease();
        log::newest(&Os, dir) == self.read && (!silent || here && self.told)
    }

    /// How long the heartbeat of a holder has stood still, by our clock, which is the only one that is asked.
    fn still(&mut self, dir: &Path, number: u32) -> Duration {
        let now = (number, lease::heartbeat(dir, number));
        self.watched.get_or_insert_with(|| Watched::new(now)).still(now)
    }
}

#[cfg(test)]
mod tests {
    use super::super::job::Quiet;
    use super::*;
    use crate::ledger::event::Event;
    use crate::ledger::log::{AttemptLog, History, read_attempts};
    use crate::plan::{Plan, tests::SWEEP, tests::facts};
    use crate::spec::Spec;

    /// The log of an attempt that begins.
    fn begin(cell: &Cell, lease: &Lease) -> AttemptLog {
        let started = crate::ledger::event::tests::started(cell.clone(), None);
        let clock = || "now".to_owned();
        AttemptLog::start(&Os, &lease.dir, started, &History::default(), &clock).unwrap()
    }

    /// What a runner does, with training that takes no time.
    fn runner(results: &Path, cells: &[&Cell]) {
        let mut queue = Queue::new(cells);
        loop {
            match queue.next(results, &|_| false, &Quiet).unwrap() {
                Next::Done => return,
                Next::Wait => std::thread::yield_now(),
                Next::Take(cell, lease, _) => {
                    let mut log = begin(cell, &lease);
                    let (loss, loss_se, seconds, tokens_per_second) = (1.0, 0.0, 1.0, 1.0);
                    let steps_crc = Some(crc32fast::hash(&[]));
                    let event =
                        Event::Completed { loss, loss_se, seconds, tokens_per_second, steps_crc };
                    log.event(event.clone(), "now".to_owned()).unwrap();
                    queue.ended(cell, &Ended::Event(event));
                }
            }
        }
    }

    fn rounds(rounds: usize) {
        let plan = Plan::new(&Spec::parse(SWEEP).unwrap(), &facts());
        let cells: Vec<&Cell> = plan.cells.iter().take(20).collect();
        assert_eq!(cells.len(), 20);
        for round in 0..rounds {
            let results = tempfile::tempdir().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| runner(results.path(), &cells));
                }
            });
            for cell in &cells {
                let attempts = read_attempts(&Os, &cell_dir(results.path(), &cell.id)).unwrap();
                assert_eq!(attempts.len(), 1, "round {round}, cell {}", cell.id);
                assert!(matches!(attempts[0].end(), Some(Event::Completed { .. })));
            }
        }
    }

    #[test]
    fn sixteen_runners_end_every_cell_once() {
        rounds(5);
    }

    #[test]
    #[ignore = "the long tier"]
    fn deep_sixteen_runners_end_every_cell_once_a_hundred_times() {
        rounds(100);
        println!("100 rounds of 16 runners on 20 cells: each completed exactly once");
    }

    /// A cell that another runner has begun.
    fn held(results: &Path) -> (Cell, Lease, AttemptLog) {
        let cell = Plan::new(&Spec::parse(SWEEP).unwrap(), &facts()).cells.remove(0);
        let lease = Lease::claim(&cell_dir(results, &cell.id), 1).unwrap().unwrap();
        let log = begin(&cell, &lease);
        (cell, lease, log)
    }

    #[test]
    fn what_another_runner_trains_is_read_again_only_when_its_record_has_grown() {
        let results = tempfile::tempdir().unwrap();
        let (cell, _lease, mut log) = held(results.path());
        let dir = cell_dir(results.path(), &cell.id);
        let mut queue = Queue::new(&[&cell]);
        let look = |queue: &mut Queue<'_>| {
            matches!(queue.next(results.path(), &|_| false, &Quiet).unwrap(), Next::Wait)
        };
        assert!(!queue.open[0].goes_on(&dir), "never read");
        assert!(look(&mut queue) && queue.open[0].goes_on(&dir));
        log.event(Event::Paused { step: 0, why: "a test".into() }, "now".to_owned()).unwrap();
        assert!(!queue.open[0].goes_on(&dir), "it has grown");
        assert!(!look(&mut queue), "paused, so it is taken");
    }

    #[test]
    fn a_cell_whose_runner_is_gone_is_read_again_and_taken() {
        let results = tempfile::tempdir().unwrap();
        let (cell, lease, _log) = held(results.path());
        let mut queue = Queue::new(&[&cell]);
        let mut next = || queue.next(results.path(), &|_| false, &Quiet).unwrap();
        assert!(matches!(next(), Next::Wait) && matches!(next(), Next::Wait));
        drop(lease);
        assert!(matches!(next(), Next::Take(..)));
    }
}
