//! From a table of runs to files: fit.json, figures and the report, for our own sweeps and for anybody's.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::args::FitArgs;
use super::study::Recorded;
use super::{Failure, answer, show};
use crate::covariates;
use crate::error::InputError;
use crate::figure::{self, Figure};
use crate::fit::{self, Analysis, Code, Compute, Options, Warning};
use crate::fs::{Disk as _, Os};
use crate::health::{self, Health, Run};
use crate::import::{Imported, Taken};
use crate::ledger::{self, Ledger};
use crate::plan::Cell;
use crate::points::{AHEAD, Curve, Remark, Table, Topic};
use crate::predict::{Prediction, at_flops};
use crate::report;
use crate::spec::{Source, Spec};
use crate::terminal::note;
use crate::units::{after_loss, duration, several};

/// What is analysed.
pub(super) struct Study {
    pub(super) name: String,
    pub(super) table: Table,
    /// For a sweep of ours.
    pub(super) ledger: Option<Ledger>,
    spec: Option<Spec>,
    text: Option<String>,
    curves: Vec<Curve>,
    /// `results/<sweep>`, for a sweep of ours.
    results: Option<PathBuf>,
    /// Runs that are fitted, for the collapse of their curves.
    runs: Vec<Run>,
    health: Option<Health>,
    /// Level of the intervals, where a fit was read that has one.
    level: Option<f64>,
    /// Where a table's N, D, C and L come from.
    taken: Vec<Taken>,
    /// Loss of a guess that favours no token, where the vocabulary is known [unit of the losses].
    uniform_loss: Option<f64>,
    /// The column of the losses, for a table.
    loss_column: Option<String>,
    /// What a reader must know of how the runs were read and chosen.
    pub(super) remarks: Vec<Remark>,
}

impl Study {
    /// A sweep's results; runs whose curves break a rule of the sweep are among the exclusions, and so are those
    /// of rates and batches that are not the best of their N and D.
    pub(super) fn recorded(recorded: Recorded) -> Self {
        let mut table = ledger::points(&recorded.name, &recorded.ledger);
        let mut runs = ledger::runs(&recorded.ledger);
        let health = health::check(&runs, &recorded.spec.fit.exclude);
        health.screen(&mut table);
        let remarks = covariates::keep_best(&mut table, &ledger::settings(&recorded.ledger));
        runs.retain(|run| table.points.iter().any(|p| p.id == run.id));
        Self {
            taken: Vec::new(),
            remarks,
            uniform_loss: uniform_loss(&recorded.ledger),
            loss_column: None,
            table,
            runs,
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

    /// Anybody's table.
    pub(super) fn imported(name: String, read: Imported) -> Self {
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
            runs: Vec::new(),
            health: None,
        }
    }

    /// The runs of a fit.json, as they were fitted.
    pub(super) fn fitted(name: String, analysis: Analysis) -> Self {
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
    pub(super) fn read_as(&self) -> String {
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
    fn published(&self) -> Option<String> {
        let mut text = self.text.clone()?;
        if let Some(Source::Files { paths }) = self.spec.as_ref().map(|s| s.data.source.get_ref()) {
            for path in paths.iter().map(Path::new).filter(|p| p.is_absolute()) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                text = text.replace(&*path.to_string_lossy(), &name);
            }
        }
        Some(text)
    }

    /// Fit options of the sweep file, where there is one.
    pub(super) fn options(&self) -> Options {
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

/// A fit of more runs takes so long that it is said beforehand.
const MANY: usize = 5_000;
/// CPU time of a fit for each run: measured at 5,000 runs with 1,000 draws, 11.1 s (docs/LOG.md) [s].
const SECONDS_PER_RUN: f64 = 0.0022;

/// Says what a fit of many runs will take.
fn expected(runs: usize) {
    if runs > MANY {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let seconds = SECONDS_PER_RUN * runs as f64 / cores as f64;
        note!("Fitting {runs} runs takes about {} on {cores} cores.", duration(seconds));
    }
}

/// Fits all methods.
pub(super) fn analyse(study: &Study, options: &Options) -> Result<Analysis, Failure> {
    expected(study.table.points.len());
    let compute = Compute::fit(&study.table.flops_per_token());
    let mut analysis = fit::analyse(&study.table, compute, options)?;
    analysis.warnings.splice(0..0, study.remarks.iter().map(warning));
    analysis.health.clone_from(&study.health);
    // A sweep's data are counted; a table tells of its runs alone.
    let counted = study.ledger.as_ref().and_then(|ledger| ledger.truth.train_tokens);
    analysis.corpus = counted.map(|tokens| tokens as f64).or(analysis.corpus);
    analysis.uniform_loss = study.uniform_loss;
    analysis.loss_column.clone_from(&study.loss_column);
    let e = analysis.fits.iter().find_map(|f| Some(f.params.as_ref()?.e));
    if let (Some(health), Some(e)) = (&mut analysis.health, e) {
        health.collapse = health::collapse(study.runs.iter(), e);
        let warning = health.collapse.as_ref().and_then(health::Collapse::warning);
        analysis.warnings.extend(warning.map(|text| Warning { code: Code::OffCollapse, text }));
    }
    Ok(analysis)
}

fn warning(remark: &Remark) -> Warning {
    let code = match remark.topic {
        Topic::Columns => Code::ColumnChoice,
        Topic::Settings => Code::SweptSettings,
        Topic::Checkpoints => Code::Checkpoints,
        Topic::Magnitude => Code::UnlikelySize,
    };
    Warning { code, text: remark.text.clone() }
}

/// The same, where a refusal is a result too: an analysis with the runs, no fit, and the reason.
pub(super) fn analyse_or_refuse(study: &Study, options: &Options) -> (Analysis, Option<String>) {
    match analyse(study, options) {
        Ok(analysis) => (analysis, None),
        Err(refusal) => {
            let table = study.table.clone();
            let analysis = Analysis {
                version: fit::FIT_VERSION,
                source: table.source,
                convention: table.convention,
                loss_column: study.loss_column.clone(),
                pins: options.pins,
                compute: Compute::SixNd,
                points: table.points,
                repeated: Vec::new(),
                corpus: None,
                excluded: table.excluded,
                fits: Vec::new(),
                isoflop: Vec::new(),
                isoflop_bias: None,
                envelope: Vec::new(),
                holdout: None,
                conventions: Vec::new(),
                sensitivity: Vec::new(),
                profile: Vec::new(),
                noise: None,
                laws: Vec::new(),
                sample_size: None,
                laws_missing: Vec::new(),
                averaging: None,
                disagreement: None,
                health: study.health.clone(),
                entropy: table.entropy,
                bytes_per_token: table.bytes_per_token,
                uniform_loss: study.uniform_loss,
                warnings: vec![Warning {
                    code: Code::NoFit,
                    text: format!("no law could be fitted: {}", refusal.message),
                }],
            };
            (analysis, Some(refusal.message))
        }
    }
}

/// The runs to predict: those the sweep names, else ten times the largest compute.
pub(super) fn predictions(study: &Study, analysis: &Analysis) -> Vec<Prediction> {
    let named: Vec<f64> =
        study.spec.iter().flat_map(|s| s.fit.predict.get_ref()).map(|q| q.0).collect();
    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let computes = if named.is_empty() { vec![AHEAD * largest] } else { named };
    // A fit that cannot predict says so among its warnings.
    computes.into_iter().filter_map(|c| at_flops(analysis, c).ok()).collect()
}

/// What the command line asks, over what the sweep file says.
pub(super) fn options(args: &FitArgs, study: &Study) -> Result<Options, Failure> {
    let defaults = study.options();
    Ok(Options {
        delta: args.delta,
        bootstrap: args.bootstrap.unwrap_or(defaults.bootstrap),
        level: args.level.unwrap_or(defaults.level),
        holdout: args.holdout.unwrap_or(defaults.holdout),
        seed: args.seed,
        pins: args.pinned.pins()?,
        ..defaults
    })
}

/// What the terminal shows of an analysis.
pub(super) fn text(analysis: &Analysis, predictions: &[Prediction]) -> String {
    let mut out = show::fits(analysis);
    if let Some(health) = &analysis.health {
        out += &format!("\n{}\n", health.line());
    }
    for prediction in predictions {
        out += "\n";
        out += &answer::prediction(prediction, &after_loss(&analysis.convention.loss));
    }
    out
}

/// Writes fit.json, every figure as SVG and PNG, and the report.
pub(super) fn write(
    dir: &Path,
    study: &Study,
    analysis: &Analysis,
    predictions: &[Prediction],
) -> Result<(), Failure> {
    let json = serde_json::to_vec(analysis).expect("a fit has no map with other keys than text");
    // A NaN is written as null, which no reader takes for a number.
    if let Err(e) = Analysis::read(&json) {
        return Err(InputError::new(
            format!("the fit is not written, since it could not be read again: it {e}"),
            "look at the columns that were read and at the units of their numbers",
        )
        .into());
    }
    Os.create_dirs(&dir.join("figures"))?;
    Os.write_atomic(&dir.join("fit.json"), &json)?;
    let forecasts = match &study.results {
        Some(results) => super::score::card(dir, results, &study.name)?,
        None => Vec::new(),
    };
    let figures = figure::all(analysis, &study.curves, predictions, &forecasts);
    write_figures(dir, &figures)?;
    let tuning = study.spec.as_ref().and_then(|spec| {
        Some(super::tune::read(dir)?.map(|tuning| {
            let agreement = tuning.agreement(&spec.optim);
            (tuning, agreement)
        }))
    });
    if let Some(Err(why)) = &tuning {
        note!("{}", show::warnings(std::slice::from_ref(why)));
    }
    let cells = study.ledger.as_ref().map(ledger::cell_rows).unwrap_or_default();
    let html = report::html(&report::Input {
        analysis,
        figures: &figures,
        predictions,
        sweep_toml: study.published().as_deref(),
        cells: &cells,
        tuning: tuning.as_ref(),
        forecasts: &forecasts,
        backtest: super::backtest::stored(dir, &study.table.points, &analysis.pins).as_ref(),
        provenance: &provenance(study),
    });
    Os.write_atomic(&dir.join("report.html"), html.as_bytes())?;
    Ok(())
}

/// Each as SVG and PNG, in `figures/` of the analysis.
pub(super) fn write_figures(dir: &Path, figures: &[Figure]) -> Result<(), Failure> {
    let drawn = figures.par_iter().map(|figure| figure::png(&figure.svg));
    for (figure, png) in figures.iter().zip(drawn.collect::<Vec<_>>()) {
        let path = |ending: &str| dir.join("figures").join(format!("{}.{ending}", figure.name));
        let png = png.map_err(|e| Failure {
            message: format!("cannot draw {}: {e}", figure.name),
            code: crate::error::exit::BUG,
        })?;
        Os.write_atomic(&path("svg"), figure.svg.as_bytes())?;
        Os.write_atomic(&path("png"), &png)?;
    }
    Ok(())
}

/// Where the numbers come from, for the end of the report.
fn provenance(study: &Study) -> Vec<(String, String)> {
    let mut out = vec![("isoflop".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
    let mut push = |name: &str, value: String| out.push((name.to_owned(), value));
    push("source of the runs", study.table.source.clone());
    for Taken { symbol, from } in &study.taken {
        push(symbol, from.clone());
    }
    if let Some((cell, _)) = study.ledger.as_ref().and_then(|l| l.cells.first()) {
        let recipe = &cell.recipe;
        push("data", format!("{}, tokenizer {:?}", recipe.source, recipe.tokenizer));
        push("SHA-256 of the data", recipe.data_sha256.clone());
        push(
            "held-out evaluation",
            format!("{} tokens, the same for every cell", recipe.eval_tokens),
        );
        push("precision", "f32 weights, activations and moments".to_owned());
        push(
            "seeds",
            "weights and data order are drawn from the cell's seed by counter".to_owned(),
        );
    }
    out
}
