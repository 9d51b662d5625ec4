//! Runs that are to be fitted, with what is known of them: a sweep's results, anybody's table, or a fit.json.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::{Results, corpus};
use crate::covariates;
use crate::fit::{Analysis, Options};
use crate::health::{self, Health, Run};
use crate::import::{Imported, Taken};
use crate::ledger::{self, Ledger};
use crate::plan::Cell;
use crate::points::{Curve, Exclusion, Remark, Table, Topic};
use crate::spec::{Files, Source, Spec};
use crate::units::{BITS_PER_BYTE, count, several};

/// Runs to fit.
#[derive(Debug)]
pub struct Runs {
    /// Of the study: the sweep's, or the file's without its ending.
    pub name: String,
    /// N, D, C and the loss of each.
    pub table: Table,
    /// For a sweep of ours.
    pub ledger: Option<Ledger>,
    pub(super) spec: Option<Spec>,
    text: Option<String>,
    pub(super) curves: Vec<Curve>,
    /// `results/<sweep>`, for a sweep of ours.
    pub(super) results: Option<PathBuf>,
    /// Runs that are fitted, for the collapse of their curves.
    pub(super) curves_of: Vec<Run>,
    pub(super) health: Option<Health>,
    /// Level of the intervals, where a fit was read that has one.
    level: Option<f64>,
    /// Where a table's N, D, C and L come from.
    pub(super) taken: Vec<Taken>,
    /// Loss of a guess that favours no token, where the vocabulary is known [unit of the losses].
    pub(super) uniform_loss: Option<f64>,
    /// The column of the losses, for a table.
    pub(super) loss_column: Option<String>,
    /// What a reader must know of how the runs were read and chosen.
    pub remarks: Vec<Remark>,
}

impl Runs {
    /// A sweep's results; runs whose curves break a rule of the sweep are among the exclusions, and so are those
    /// of rates and batches that are not the best of their N and D.
    pub fn recorded(recorded: Results) -> Self {
        let mut table = ledger::points(&recorded.name, &recorded.ledger);
        let mut runs = ledger::runs(&recorded.ledger);
        let health = health::check(&runs, &recorded.spec.fit.exclude);
        health.screen(&mut table);
        let mut remarks = covariates::keep_best(&mut table, &ledger::settings(&recorded.ledger));
        remarks.extend(corpus::remark(&recorded.dir));
        let gaps = health::gaps(&runs).map(|text| Remark { topic: Topic::HeldOutGap, text });
        remarks.extend(gaps);
        runs.retain(|run| table.points.iter().any(|p| p.id == run.id));
        Self {
            taken: Vec::new(),
            remarks,
            uniform_loss: uniform_loss(&recorded.ledger),
            loss_column: None,
            table,
            curves_of: runs,
            health: Some(health),
            curves: ledger::curves(&recorded.ledger),
            name: recorded.name,
            ledger: Some(recorded.ledger),
            spec: Some(recorded.spec),
            text: Some(recorded.text),
            level: None,
            results: Some(recorded.dir),
        }
    }

    /// The runs of a sweep with their bits per byte on a task as the loss; those that were not scored are among the
    /// exclusions. What was recorded of the training loss does not belong to it.
    pub(super) fn of_task(mut self, task: &str, bits_per_byte: &HashMap<String, f64>) -> Self {
        let table = &mut self.table;
        for mut point in std::mem::take(&mut table.points) {
            match bits_per_byte.get(&point.id) {
                Some(bits) => {
                    point.loss = *bits;
                    table.points.push(point);
                }
                None => table.excluded.push(Exclusion {
                    what: format!("N {}, D {}", count(point.params), count(point.tokens)),
                    reason: format!("it was not scored on `{task}`"),
                    id: point.id,
                }),
            }
        }
        BITS_PER_BYTE.clone_into(&mut table.convention.loss);
        (table.entropy, table.bytes_per_token) = (None, None);
        self.remarks.retain(|remark| remark.topic != Topic::HeldOut);
        let loss_column = Some(format!("bits per byte of {task}"));
        let (curves, curves_of) = (Vec::new(), Vec::new());
        let (uniform_loss, health, ledger, results) = (None, None, None, None);
        Self { ledger, curves, results, curves_of, health, uniform_loss, loss_column, ..self }
    }

    /// Anybody's table.
    pub fn imported(name: String, read: Imported) -> Self {
        let loss = read.taken.iter().find(|taken| taken.symbol == "L");
        let loss_column = loss.map(|taken| taken.from.replace('`', ""));
        Self {
            name,
            table: read.table,
            taken: read.taken,
            remarks: read.remarks,
            uniform_loss: None,
            loss_column,
            ledger: None,
            spec: None,
            text: None,
            level: None,
            curves: Vec::new(),
            results: None,
            curves_of: Vec::new(),
            health: None,
        }
    }

    /// The runs of a fit.json, as they were fitted.
    pub fn fitted(name: String, analysis: Analysis) -> Self {
        let level = analysis.fits.first().map(|fit| fit.level);
        let table = Table {
            source: analysis.source,
            convention: analysis.convention,
            points: [analysis.points, analysis.repeated].concat(),
            excluded: analysis.excluded,
            entropy: analysis.entropy,
            bytes_per_token: analysis.bytes_per_token,
        };
        let read = Imported { table, taken: Vec::new(), remarks: Vec::new() };
        let (uniform_loss, loss_column) = (analysis.uniform_loss, analysis.loss_column);
        Self { level, uniform_loss, loss_column, ..Self::imported(name, read) }
    }

    /// How a table was read, for the first lines of the terminal; empty for a sweep.
    pub fn read_as(&self) -> String {
        if self.taken.is_empty() {
            return String::new();
        }
        let taken: Vec<String> =
            self.taken.iter().map(|t| format!("  {}  {}", t.symbol, t.from)).collect();
        format!(
            "{} of {}, read as\n{}\n\n",
            several(self.table.points.len(), "run"),
            self.table.source,
            taken.join("\n")
        )
    }

    /// The sweep file as it may be shown to others: of files that are named from the root of this machine's tree
    /// only the names.
    pub(super) fn published(&self) -> Option<String> {
        let mut text = self.text.clone()?;
        let data = self.spec.as_ref().map(|spec| &spec.data);
        let mut files: Vec<&Files> = Vec::new();
        if let Some(Source::Files(source)) = data.map(|data| data.source.get_ref()) {
            files.push(source);
        }
        files.extend(data.and_then(|d| d.held_out.as_ref()?.get_ref().files()));
        let dataset = match data.map(|data| data.source.get_ref()) {
            Some(Source::Dataset(dir)) => Some(dir),
            _ => None,
        };
        let paths = files.iter().flat_map(|files| &files.paths).chain(dataset);
        for path in paths.map(Path::new).filter(|p| p.is_absolute()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            text = text.replace(&*path.to_string_lossy(), &name);
        }
        Some(text)
    }

    /// Fit options of the sweep file, where there is one.
    pub fn options(&self) -> Options {
        let defaults = Options::default();
        let defaults = Options { level: self.level.unwrap_or(defaults.level), ..defaults };
        self.spec.as_ref().map_or(defaults.clone(), |spec| Options {
            bootstrap: *spec.fit.bootstrap.get_ref() as usize,
            level: *spec.fit.level.get_ref(),
            holdout: *spec.fit.holdout.get_ref() as usize,
            ..defaults
        })
    }
}

/// ln V of the cells, where they share a vocabulary [nats/token].
fn uniform_loss(ledger: &Ledger) -> Option<f64> {
    let (first, rest) = ledger.cells.split_first()?;
    let vocab = |cell: &Cell| cell.recipe.shape.vocab;
    let one = rest.iter().all(|(cell, _)| vocab(cell) == vocab(&first.0));
    one.then(|| (vocab(&first.0) as f64).ln())
}
