//! Collapse: normalised loss curves of runs of one recipe lie on each other (Qiu et al. 2025, 2507.02119).
//!
//! y(x) = (L(x) - E) / (L(1) - E), with x the share of the run and L the mean training loss of a twentieth
//! of it. Where N and D vary freely the curves do not fall on one line even if all is well: how fast a loss
//! falls at its end depends on whether size or data limits it. So a curve is held against the scatter of the
//! others at the same x, and one that is far off is a warning and never an exclusion.

use serde::{Deserialize, Serialize};

use super::{Run, median, robust_sd};

/// Values of x at which curves are compared.
const SHARES: usize = 20;
/// The first of them that are not judged: warmup, and a loss near that of chance.
const UNJUDGED: usize = 4;
/// Fewest steps of a curve: five for each share.
const MIN_STEPS: usize = 5 * SHARES;
/// Fewest curves whose scatter says anything.
const MIN_CURVES: usize = 6;
/// Robust standard deviations that make an outlier.
const FAR: f64 = 4.0;
/// Least deviation of an outlier, as a share of y.
const FLOOR: f64 = 0.05;
/// Least robust standard deviation, as a share of y.
const LEAST_SD: f64 = 0.005;

/// How well the normalised curves of a study collapse.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Collapse {
    /// E of the leading surface, which was taken off [nats/token].
    pub e: f64,
    /// Shares of the run at whose end each mean was taken (0, 1].
    pub x: Vec<f64>,
    /// Median over the curves at each x [-].
    pub median: Vec<f64>,
    /// Every curve.
    pub curves: Vec<Shape>,
    /// Median over the curves of their largest relative deviations [-].
    pub typical: f64,
    /// Runs that cannot be compared: too short, or a loss that ends at or below E.
    pub not_compared: usize,
}

/// One normalised curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Cell id.
    pub id: String,
    /// Model size N [parameters].
    pub params: f64,
    /// y at each x; 1 at the end [-].
    pub y: Vec<f64>,
    /// Where it is farthest from the median for the scatter there (0, 1].
    pub at: f64,
    /// y over the median there, minus one [-].
    pub deviation: f64,
    /// The same in robust standard deviations of the curves there, with the noise of its own batches [-].
    pub z: f64,
    /// Its largest relative deviation from the median anywhere, without sign [-].
    pub largest: f64,
    /// Farther off than 4 robust standard deviations and 5%.
    pub outlier: bool,
}

impl Collapse {
    /// Curves that do not lie with the others.
    pub fn outliers(&self) -> impl Iterator<Item = &Shape> {
        self.curves.iter().filter(|c| c.outlier)
    }

    /// The curve that deviates most.
    pub fn worst(&self) -> Option<&Shape> {
        self.curves.iter().max_by(|a, b| a.largest.total_cmp(&b.largest))
    }

    /// The warning, where there is an outlier.
    pub fn warning(&self) -> Option<String> {
        let named: Vec<String> = self
            .outliers()
            .map(|c| {
                let (off, at) = (100.0 * c.deviation, 100.0 * c.at);
                format!("{} ({off:+.0}% at {at:.0}% of the run, z {:+.1})", c.id, c.z)
            })
            .collect();
        (!named.is_empty()).then(|| {
            format!(
                "normalised loss curves that do not lie with the other {}: {}; these runs trained \
                 differently, so look at them before their losses are believed",
                self.curves.len() - named.len(),
                named.join(", ")
            )
        })
    }
}

/// Compares the normalised curves of runs, given E. Nothing with fewer than six that can be compared.
pub fn collapse<'a>(runs: impl Iterator<Item = &'a Run>, e: f64) -> Option<Collapse> {
    let mut not_compared = 0;
    let mut curves: Vec<Shape> = Vec::new();
    let mut noise: Vec<Vec<f64>> = Vec::new();
    for run in runs {
        match normalised(&run.losses, e) {
            None => not_compared += 1,
            Some((y, se)) => {
                noise.push(se);
                curves.push(Shape {
                    id: run.id.clone(),
                    params: run.params,
                    y,
                    at: 1.0,
                    deviation: 0.0,
                    z: 0.0,
                    largest: 0.0,
                    outlier: false,
                });
            }
        }
    }
    if curves.len() < MIN_CURVES {
        return None;
    }
    let x: Vec<f64> = (1..=SHARES).map(|i| i as f64 / SHARES as f64).collect();
    let middle = |i: usize| median(&mut curves.iter().map(|c| c.y[i]).collect::<Vec<_>>());
    let centre: Vec<f64> = (0..SHARES).map(middle).collect();
    for i in UNJUDGED..SHARES - 1 {
        let off: Vec<f64> = curves.iter().map(|c| c.y[i] / centre[i] - 1.0).collect();
        let sd = robust_sd(&off, 0.0).max(LEAST_SD);
        for ((curve, off), se) in curves.iter_mut().zip(off).zip(&noise) {
            // Short runs are noisier than the others through no fault.
            let sd = sd.hypot(se[i]);
            curve.largest = curve.largest.max(off.abs());
            curve.outlier |= off.abs() > FAR * sd && off.abs() > FLOOR;
            if off.abs() / sd > curve.z.abs() {
                (curve.at, curve.deviation, curve.z) = (x[i], off, off / sd);
            }
        }
    }
    let typical = median(&mut curves.iter().map(|c| c.largest).collect::<Vec<_>>());
    Some(Collapse { e, x, median: centre, curves, typical, not_compared })
}

/// y at each share and its relative standard error by the noise of batches; nothing for a run that is too
/// short or that ends at or below E.
fn normalised(losses: &[f32], e: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    if losses.len() < MIN_STEPS {
        return None;
    }
    let edge = |i: usize| i * losses.len() / SHARES;
    let part = |i: usize| &losses[edge(i)..edge(i + 1)];
    let mean = |i: usize| part(i).iter().map(|l| f64::from(*l)).sum::<f64>() / part(i).len() as f64;
    // Noise of a step relative to its loss, from successive differences.
    let steps = &losses[edge(UNJUDGED)..];
    let jump = |s: &[f32]| (2.0 * f64::from(s[1] - s[0]) / f64::from(s[1] + s[0])).powi(2);
    let noise = (steps.windows(2).map(jump).sum::<f64>() / (2 * (steps.len() - 1)) as f64).sqrt();
    let se = |i: usize| noise * mean(i) / (mean(i) - e) / (part(i).len() as f64).sqrt();
    let last = mean(SHARES - 1) - e;
    let y: Vec<f64> = (0..SHARES).map(|i| (mean(i) - e) / last).collect();
    let ses = (0..SHARES).map(|i| se(i).hypot(se(SHARES - 1))).collect();
    (last > 0.0 && noise.is_finite() && y.iter().all(|y| y.is_finite() && *y > 0.0))
        .then_some((y, ses))
}
