//! Training, as a person sees it: workers chosen, progress shown, signals heard. For every verb that trains.

use std::path::Path;

use super::Failure;
use super::price::{self, Quote};
use super::study::Study;
use super::watch::Terminal;
use crate::device::Chosen;
use crate::error::exit;
use crate::exec::job::{Every, Job};
use crate::exec::local::{self, Broken, Conduct};
use crate::exec::probe::{self, Ask};
use crate::exec::stop::Stop;
use crate::ledger::{Ledger, State};
use crate::plan::Cell;
use crate::terminal::note;
use crate::units::{duration, several};

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
    /// SHA-256 of the forecast that the runs are held against.
    pub(super) forecast: Option<&'a str>,
    /// The sweep before this run, where what it takes is to be predicted and kept.
    pub(super) before: Option<&'a Ledger>,
}

/// Cells that take less are not worth a prediction [s].
const WORTH: f64 = 2.0;

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
            keep: self.study.spec.keep,
            forecast: self.forecast,
        };
        let left = price::left(todo, self.before);
        // Another runner takes some of these: what it leaves to this one cannot be said.
        let alone = self.before.is_some_and(|ledger| ledger.count("running") == 0);
        let asked = super::plan::asked(self.study, self.workers);
        let ask = Ask { workers: asked, worth: WORTH, least: 0.0 };
        let wanted = alone || asked.is_none();
        let found = wanted.then(|| probe::price(job, &left, ask, &|| stop.asked())).flatten();
        let most = asked.unwrap_or(self.device.most_workers);
        let workers = found.as_ref().map_or(most, |f| f.price.workers).clamp(1, todo.len());
        let priced = found.filter(|_| alone);
        match &priced {
            Some(found) => note!(
                "Training on {}: about {} for {}, {}.",
                self.device.name,
                duration(found.price.seconds),
                several(todo.len(), "cell"),
                super::plan::side_by_side(workers)
            ),
            None => {
                note!("Training on {}, {}.", self.device.name, super::plan::side_by_side(workers));
            }
        }
        let quote = priced.as_ref().map(|f| Quote::open(self.results, self.device, &left, f));
        let watch = Terminal::new(workers, &left, priced.as_ref().map(|f| &f.price));
        let job = Job { workers, ..job };
        let conduct = Conduct { every: self.every, stop, again };
        let trained = local::run(job, conduct, todo, &watch);
        let taken = watch.finish();
        if let Some(said) = quote.and_then(|q| q.close(&taken)) {
            note!("{said}");
        }
        // What was acknowledged is there, and the same command goes on.
        trained.map_err(|broken| match broken {
            // Who may not write there will not by waiting.
            Broken::Record(e) if e.source.kind() == std::io::ErrorKind::PermissionDenied => e.into(),
            Broken::Record(e) => Failure { code: exit::AGAIN, ..e.into() },
            lost @ Broken::Device(..) => Failure {
                message: format!(
                    "{lost}\nhint: no cell was recorded as failed; the same command goes on from what was kept"
                ),
                code: exit::AGAIN,
            },
        })?;
        if stop.asked() {
            note!("Stopped by {}. All is kept; the same command goes on.", stop.why());
        }
        Ok(!stop.asked())
    }
}

/// Listens to signals, once a process.
pub(super) fn stop_on_signals() -> Result<Stop, Failure> {
    Stop::on_signals()
        .map_err(|e| Failure { message: format!("cannot listen to signals: {e}"), code: exit::BUG })
}
