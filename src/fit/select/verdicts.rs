//! What a reader is warned of when the forms are side by side: another form is clearly better than Chinchilla's, or forms
//! that count disagree beyond the runs.

use crate::fit::numeric::stats;
use crate::fit::result::{Ahead, Averaging, Compute, Draws, LawFit};
use crate::fit::select::forms::LEAST_WEIGHT;
use crate::fit::{Code, Fit, Warning};
use crate::units::count;

/// A difference of AICc beyond which the worse form has no support (Burnham & Anderson 2002, "Model
/// selection and multimodel inference", section 2.6) [-].
pub(super) const CLEAR: f64 = 10.0;

/// A quantity ahead: its name, of a form, of the (N*, loss) of a draw, and as it is told.
type Quantity =
    (&'static str, fn(&Ahead) -> Option<f64>, fn(&(f64, f64)) -> f64, fn(f64) -> String);

/// Warnings: other forms are clearly better than Chinchilla's, and forms that count predict what the leading fit's
/// interval does not hold.
pub(in crate::fit) fn warn(
    laws: &[LawFit],
    averaging: &Averaging,
    lead: Option<&Fit>,
    compute: &Compute,
    warnings: &mut Vec<Warning>,
) {
    warnings.extend(better(laws));
    let counts = |law: &LawFit| averaging.forms.iter().find(|f| f.law == law.law).map(|f| f.weight);
    let Some(lead) = lead else { return };
    let Draws::Surfaces(surfaces) = &lead.draws else { return };
    let Some(flops) = laws.iter().find_map(|l| l.ahead.as_ref()).map(|a| a.flops) else { return };
    let optima: Vec<(f64, f64)> = surfaces
        .iter()
        .filter_map(|s| s.optimum(compute, flops).map(|(n, d)| (n, s.loss(n, d))))
        .collect();
    let quantities: [Quantity; 2] = [
        ("N*", |a| a.params, |o| o.0, count),
        ("the loss", |a| Some(a.loss), |o| o.1, |loss| format!("{loss:.4}")),
    ];
    for (what, of_law, of_draw, told) in quantities {
        let draws: Vec<f64> = optima.iter().map(of_draw).collect();
        let Some([low, high]) = stats::percentile_interval(&draws, lead.level) else { continue };
        let outside: Vec<String> = laws
            .iter()
            .filter(|l| l.law != "chinchilla")
            .filter_map(|l| Some((l, l.ahead.as_ref().and_then(of_law)?, counts(l)?)))
            .filter(|(_, value, counts)| *counts >= LEAST_WEIGHT && !(low..=high).contains(value))
            .map(|(l, value, counts)| {
                format!("{} {} (counts {:.0}%)", l.law, told(value), 100.0 * counts)
            })
            .collect();
        if !outside.is_empty() {
            warnings.push(Warning::new(
                Code::FormsDisagree,
                format!(
                    "forms that count disagree about {what} at {flops:.2e} FLOP by more than the interval of \
                     {}'s parameters, {}..{}: {}",
                    lead.method,
                    told(low),
                    told(high),
                    outside.join(", ")
                ),
            ));
        }
    }
}

/// The forms that fit better than Chinchilla's and are nearer to the held-out runs.
fn better(laws: &[LawFit]) -> Option<Warning> {
    let chinchilla = laws.iter().find(|l| l.law == "chinchilla")?;
    let ours = chinchilla.heldout.as_ref()?.max_error;
    let one = |other: &LawFit| {
        let gain = chinchilla.delta_aicc? - other.delta_aicc?;
        let theirs = other.heldout.as_ref()?.max_error;
        (gain > CLEAR && theirs < ours)
            .then(|| format!("{} (by {gain:.0}, off by up to {:.2}%)", other.law, 100.0 * theirs))
    };
    let better: Vec<String> = laws.iter().filter_map(one).collect();
    (!better.is_empty()).then(|| {
        Warning::new(
            Code::AnotherForm,
            format!(
                "forms that fit better than chinchilla (AICc lower) and are nearer to the held-out runs (chinchilla is off \
                 by up to {:.2}%): {}. E and the exponents of chinchilla describe these runs, not the law behind them",
                100.0 * ours,
                better.join(", ")
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::analyse;
    use crate::fit::select::forms::tests::{five_budgets, named, on, options};
    use crate::fit::tests::table;

    /// Runs on a law whose exponent of the data falls with size: no sum of two powers.
    #[test]
    fn a_form_that_is_clearly_better_is_a_warning() {
        let truth = [-0.091, -0.021, 0.169, -6.287, 88.01, -0.1, 0.424, -0.124, 0.123];
        let analysis =
            analyse(&table(on("farseer", &truth, 1e-4)), Compute::SixNd, &options()).unwrap();
        let text: Vec<&Warning> =
            analysis.warnings.iter().filter(|w| w.code == Code::AnotherForm).collect();
        assert!(text.iter().any(|w| w.text.contains("farseer (by")), "{text:?}");
        let error = |name| named(&analysis.laws, name).heldout.as_ref().unwrap().max_error;
        assert!(error("farseer") < error("chinchilla") && error("chinchilla") < error("kaplan"));
        assert_eq!(named(&analysis.laws, "farseer").heldout.as_ref().unwrap().n, 8);
    }

    #[test]
    fn forms_that_count_and_disagree_ahead_are_named() {
        let analysis = analyse(&table(five_budgets()), Compute::SixNd, &options()).unwrap();
        let mut averaging = analysis.averaging.clone().unwrap();
        let lead = analysis.fits.first();
        let told = |averaging: &Averaging| {
            let mut warnings = Vec::new();
            warn(&analysis.laws, averaging, lead, &Compute::SixNd, &mut warnings);
            warnings
                .into_iter()
                .filter(|w: &Warning| w.code == Code::FormsDisagree)
                .map(|w| w.text)
                .collect::<Vec<_>>()
        };
        let kaplan = averaging.forms.iter().position(|f| f.law == "kaplan").unwrap();
        averaging.forms[kaplan].weight = 0.5 * LEAST_WEIGHT;
        let before = told(&averaging);
        assert!(!before.iter().any(|t| t.contains("kaplan")), "{before:?}");
        averaging.forms[kaplan].weight = 0.22;
        let after = told(&averaging);
        let kaplan = |t: &String| t.contains("the loss") && t.contains("(counts 22%)");
        assert!(after.iter().any(kaplan), "{after:?}");
    }
}
