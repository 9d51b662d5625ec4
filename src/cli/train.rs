//! Training, as a person sees it: workers chosen, progress shown, signals heard. For every verb that trains.

use std::path::Path;

use super::Failure;
use super::study::Study;
use super::watch::Terminal;
use crate::error::exit;
use crate::exec::device::Chosen;
use crate::exec::local::{self, Conduct, Every, Job};
use crate::exec::stop::Stop;
use crate::ledger::State;
use crate::plan::Cell;

/// Of which cells, where, and how kept.
pub(super) struct Training<'a> {
    pub(super) study: &'a Study,
    pub(super) results: &'a Path,
    pub(super) device: &'a Chosen,
    /// Cells whose trunks are shared.
    pub(super) planned: &'a [Cell],
    /// Cells side by side, instead of the sweep's.
    pub(super) workers: Option<usize>,
    pub(super) every: Every,
}

impl Training<'_> {
    /// Trains `todo`; `false` when a signal ended it. `again`: states that are tried once more.
    pub(super) fn train(
        &self,
        todo: &[&Cell],
        stop: &Stop,
        again: &(dyn Fn(&State) -> bool + Sync),
    ) -> Result<bool, Failure> {
        if todo.is_empty() {
            return Ok(true);
        }
        let job = Job {
            results: self.results,
            data: &self.study.data,
            planned: self.planned,
            eval_times: *self.study.spec.eval.times.get_ref(),
            device: self.device,
            workers: 1,
        };
        let workers = super::plan::workers(job, self.study, self.workers, todo);
        eprintln!("Training on {}, {}.", self.device.name, super::plan::side_by_side(workers));
        let watch = Terminal::new(workers, todo);
        let job = Job { workers, ..job };
        let conduct = Conduct { every: self.every, stop, again };
        let trained = local::run(job, conduct, todo, &watch);
        watch.finish();
        // A record could not be written: what was acknowledged is there, and the same command goes on.
        trained.map_err(|e| Failure { code: exit::AGAIN, ..e.into() })?;
        if stop.asked() {
            eprintln!("Stopped by {}. All is kept; the same command goes on.", stop.why());
        }
        Ok(!stop.asked())
    }
}

/// Listens to signals, once a process.
pub(super) fn stop_on_signals() -> Result<Stop, Failure> {
    Stop::on_signals()
        .map_err(|e| Failure { message: format!("cannot listen to signals: {e}"), code: exit::BUG })
}
