//! The fit of some runs: laws, intervals, warnings, and the runs that it predicts.

use super::{Failure, Observer, Runs};
use crate::fit::{self, Analysis, Code, Compute, Options, Warning};
use crate::health;
use crate::points::{AHEAD, Remark, Topic};
use crate::predict::{Prediction, at_flops};
use crate::units::duration;

/// A fit of more runs takes so long that it is said beforehand.
const MANY: usize = 5_000;
/// CPU time of a fit for each run: measured at 5,000 runs with 1,000 draws, 11.1 s (docs/LOG.md) [s].
const SECONDS_PER_RUN: f64 = 0.0022;

/// Says what a fit of many runs will take.
fn expected(runs: usize, observer: &dyn Observer) {
    if runs > MANY {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let seconds = SECONDS_PER_RUN * runs as f64 / cores as f64;
        let seconds = duration(seconds);
        observer.note(&format!("Fitting {runs} runs takes about {seconds} on {cores} cores."));
    }
}

/// Fits every form of law by every method.
///
/// # Errors
///
/// [`Failure`] where the runs determine no law.
pub fn analyse(
    runs: &Runs,
    options: &Options,
    observer: &dyn Observer,
) -> Result<Analysis, Failure> {
    expected(runs.table.points.len(), observer);
    let compute = Compute::fit(&runs.table.flops_per_token());
    let mut analysis = fit::analyse(&runs.table, compute, options)?;
    analysis.warnings.splice(0..0, runs.remarks.iter().map(warning));
    analysis.health.clone_from(&runs.health);
    // A sweep's data are counted; a table tells of its runs alone.
    let counted = runs.ledger.as_ref().and_then(|ledger| ledger.truth.train_tokens);
    analysis.corpus = counted.map(|tokens| tokens as f64).or(analysis.corpus);
    analysis.uniform_loss = runs.uniform_loss;
    analysis.loss_column.clone_from(&runs.loss_column);
    let e = analysis.fits.iter().find_map(|f| Some(f.params.as_ref()?.e));
    if let (Some(health), Some(e)) = (&mut analysis.health, e) {
        health.collapse = health::collapse(runs.curves_of.iter(), e);
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
        Topic::HeldOut => Code::HeldOutNoise,
        Topic::HeldOutGap => Code::HeldOutGap,
    };
    Warning { code, text: remark.text.clone() }
}

/// The same, where a refusal is a result too: an analysis with the runs, no fit, and the reason.
pub fn analyse_or_refuse(
    runs: &Runs,
    options: &Options,
    observer: &dyn Observer,
) -> (Analysis, Option<String>) {
    match analyse(runs, options, observer) {
        Ok(analysis) => (analysis, None),
        Err(refusal) => {
            let table = runs.table.clone();
            let analysis = Analysis {
                version: fit::FIT_VERSION,
                source: table.source,
                convention: table.convention,
                loss_column: runs.loss_column.clone(),
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
                health: runs.health.clone(),
                entropy: table.entropy,
                bytes_per_token: table.bytes_per_token,
                uniform_loss: runs.uniform_loss,
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
pub fn predictions(runs: &Runs, analysis: &Analysis) -> Vec<Prediction> {
    let named: Vec<f64> =
        runs.spec.iter().flat_map(|s| s.fit.predict.get_ref()).map(|q| q.0).collect();
    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let computes = if named.is_empty() { vec![AHEAD * largest] } else { named };
    // A fit that cannot predict says so among its warnings.
    computes.into_iter().filter_map(|c| at_flops(analysis, c).ok()).collect()
}
