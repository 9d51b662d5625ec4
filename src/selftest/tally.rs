//! From trials to coverage: how often an interval held the truth, how wide it was, how far off centre.

use serde::Serialize;

/// Coverage within this of the level is what was promised [-].
const BAND: f64 = 0.05;

/// One interval of one study against the truth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trial {
    /// Estimate minus truth, in the quantity or, for a factor, in its logarithm.
    pub(super) error: f64,
    /// Width of the interval in the same unit; infinite with an open end.
    pub(super) width: f64,
    pub(super) held: bool,
}

impl Trial {
    pub(super) fn of(quantity: &str, estimate: f64, [lo, hi]: [f64; 2], truth: f64) -> Self {
        let held = (lo..=hi).contains(&truth);
        if is_factor(quantity) {
            Self { error: (estimate / truth).ln(), width: (hi / lo).ln(), held }
        } else {
            Self { error: estimate - truth, width: hi - lo, held }
        }
    }
}

/// Errors of N*, D* and their ratio are factors.
fn is_factor(quantity: &str) -> bool {
    quantity.contains('*')
}

/// What a coverage means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Within 5 points of the level.
    Holds,
    /// Below: the intervals promise too much.
    TooNarrow,
    /// Above: they promise too little.
    TooWide,
    /// Outside, but by less than two standard errors: more studies would tell.
    Unclear,
}

impl Verdict {
    pub(super) fn of(coverage: f64, error: f64, level: f64) -> Self {
        let beyond = (coverage - level).abs() - BAND;
        // Shares of whole studies: .05 must not fail for a rounding error.
        if beyond <= 1e-9 {
            Self::Holds
        } else if beyond < 2.0 * error {
            Self::Unclear
        } else if coverage < level {
            Self::TooNarrow
        } else {
            Self::TooWide
        }
    }

    /// As a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::TooNarrow => "TOO NARROW",
            Self::TooWide => "too wide",
            Self::Unclear => "unclear",
        }
    }
}

/// The measured coverage of one interval of one method.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Coverage {
    /// `lse-huber`, `varpro`, `forms` (the average that `predict` gives), `profile`, `isoflop` or
    /// `isoflop corrected`.
    pub method: String,
    /// `a`, `E`, `alpha`, `beta`, `N*`, `D*`, `D*/N*` or `loss`; the last four at ten times the largest
    /// compute.
    pub quantity: String,
    /// The true value; nothing for the loss, which differs from study to study.
    pub truth: Option<f64>,
    /// Studies in which the method gave this interval; the shares are of these [count].
    pub studies: usize,
    /// Share of intervals that held the truth [0, 1].
    pub coverage: f64,
    /// Binomial standard error of the coverage [-].
    pub coverage_se: f64,
    /// Median width: a factor hi/lo where `factor` is set, a difference otherwise. Nothing where half of
    /// the intervals are open.
    pub width: Option<f64>,
    /// Whether widths and errors are factors.
    pub factor: bool,
    /// Median error of the estimate over the median width of the interval [-].
    pub bias: Option<f64>,
    /// Inside 5 points of the level or not.
    pub verdict: Verdict,
}

/// The row of a method and a quantity, from its trials. Nothing without any.
pub(super) fn coverage(
    (method, quantity): (&str, &str),
    truth: Option<f64>,
    trials: &[Trial],
    level: f64,
) -> Option<Coverage> {
    if trials.is_empty() {
        return None;
    }
    let n = trials.len() as f64;
    let share = trials.iter().filter(|t| t.held).count() as f64 / n;
    // With no or every hit the usual error would be 0; one more hit and one more miss keep it honest.
    let shrunk = (share * n + 1.0) / (n + 2.0);
    let error = (shrunk * (1.0 - shrunk) / n).sqrt();
    let width = median(trials.iter().map(|t| t.width)).filter(|w| w.is_finite());
    let bias = width
        .filter(|w| *w > 0.0)
        .and_then(|w| median(trials.iter().map(|t| t.error)).map(|e| e / w));
    Some(Coverage {
        method: method.into(),
        quantity: quantity.into(),
        truth,
        studies: trials.len(),
        coverage: share,
        coverage_se: error,
        width: width.map(|w| if is_factor(quantity) { w.exp() } else { w }),
        factor: is_factor(quantity),
        bias,
        verdict: Verdict::of(share, error, level),
    })
}

/// The middle value; of two the mean.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.filter(|v| !v.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    (n > 0).then(|| 0.5 * (sorted[(n - 1) / 2] + sorted[n / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand: truth 1, of four intervals three hold it; widths 2, 2, 4, open; errors 0, .5, 1, 3.
    #[test]
    fn a_row_is_what_its_trials_are() {
        let open = f64::INFINITY;
        let trials = [(1.0, [0.0, 2.0]), (1.5, [0.5, 2.5]), (2.0, [0.0, 4.0]), (4.0, [3.0, open])]
            .map(|(estimate, ends)| Trial::of("E", estimate, ends, 1.0));
        let row = coverage(("m", "E"), Some(1.0), &trials, 0.9).unwrap();
        assert_eq!((row.studies, row.coverage, row.width), (4, 0.75, Some(3.0)));
        assert!((row.bias.unwrap() - 0.25).abs() < 1e-12, "{row:?}");
        assert!((row.coverage_se - (2.0_f64 / 3.0 / 3.0 / 4.0).sqrt()).abs() < 1e-12, "{row:?}");
        assert_eq!(row.verdict, Verdict::Unclear);
        assert_eq!(coverage(("m", "E"), None, &[], 0.9), None);
        let half_open = coverage(("m", "E"), None, &trials[3..], 0.9).unwrap();
        assert_eq!((half_open.width, half_open.bias), (None, None));
        let factor = Trial::of("N*", 2.0, [1.0, 4.0], 1.0);
        let row = coverage(("m", "N*"), None, &[factor], 0.9).unwrap();
        let (width, bias) = (row.width.unwrap(), row.bias.unwrap());
        assert!((width - 4.0).abs() < 1e-12 && (bias - 0.5).abs() < 1e-12);
    }

    #[test]
    fn a_verdict_needs_its_standard_error() {
        let of = |coverage| Verdict::of(coverage, 0.01, 0.9);
        assert_eq!([0.85, 0.9, 0.95].map(of), [Verdict::Holds; 3]);
        assert_eq!([0.84, 0.96].map(of), [Verdict::Unclear; 2]);
        assert_eq!((of(0.82), of(0.98)), (Verdict::TooNarrow, Verdict::TooWide));
    }
}
