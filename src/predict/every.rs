//! The loss of one run by every method that has a surface, and by every other form of law.

use serde::{Deserialize, Serialize};

use super::estimator::{Estimator, Leading};
use super::member::{LEAD, counts};
use super::{Estimate, Fixed, PredictError, path, positive};
use crate::fit::law::Run;
use crate::fit::{Ahead, Analysis, COUNTS, LawFit, Surface};

/// What one method says of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodLoss {
    /// `lse-huber` or `varpro`.
    pub method: String,
    /// Loss of that run: a prediction interval (parameters and residual noise) [nats/token].
    pub loss: Estimate,
    /// Standard deviation of ln L that was predicted: the draws' and a run's own scatter, as in a hold-out
    /// [-].
    pub sd: f64,
}

/// What one form of law says of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LawLoss {
    /// Name of the law, as among the `laws` of a fit.
    pub law: String,
    /// Loss of that run [nats/token].
    pub loss: f64,
}

/// How it was measured what each form counts, for a person.
pub fn weighed(analysis: &Analysis) -> &'static str {
    match &analysis.averaging {
        Some(_) => COUNTS,
        None => {
            "counts: part of a form in every answer: its share of the evidence, exp(-dAICc / 2), by which the older isoflop \
             that made this fit weighed; a new fit weighs by errors beyond the smaller runs."
        }
    }
}

/// The forms that count without an error of their own on the held-out runs, and how they came to it: a sentence for a
/// person, or nothing.
pub fn untried(analysis: &Analysis) -> Option<String> {
    // Without a hold-out no form has one.
    let held = analysis.averaging.is_some() && analysis.laws.iter().any(|f| f.heldout.is_some());
    let counted = |f: &&LawFit| held && counts(analysis, &f.law).is_some_and(|w| w > 0.0);
    let names: Vec<&str> = analysis
        .laws
        .iter()
        .filter(|f| f.heldout.is_none())
        .filter(counted)
        .map(|f| f.law.as_str())
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} counts without an error held out: the smaller runs alone do not determine it; at a cut where that is so, e is \
             that of the worst other form.",
            names.join(", ")
        )
    })
}

/// The surface with which a form answers, where it is not its own: the leading one speaks for Chinchilla's.
fn substitute(analysis: &Analysis, form: &LawFit) -> Option<Surface> {
    (form.law == LEAD).then(|| Leading::of(analysis).ok())?.map(|lead| lead.surface)
}

/// What a form says of the compute-optimal run at ten times the largest compute, as every answer takes it.
pub fn ahead(analysis: &Analysis, form: &LawFit) -> Option<Ahead> {
    let own = form.ahead.as_ref()?;
    let Some(surface) = substitute(analysis, form) else { return Some(own.clone()) };
    // Half-width in ln C of the chord that gives the local exponent.
    let h = 0.05_f64;
    let at = |flops: f64| surface.optimum(&analysis.compute, flops);
    let (params, tokens) = at(own.flops)?;
    let (below, above) = (at(own.flops * (-h).exp())?.0, at(own.flops * h.exp())?.0);
    Some(Ahead {
        flops: own.flops,
        params: Some(params),
        tokens: Some(tokens),
        loss: surface.loss(params, tokens),
        a: Some((above / below).ln() / (2.0 * h)),
    })
}

/// The loss of a run of `params` parameters on `tokens` tokens by every method with a surface, the leading
/// one first.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, or no loss surface.
pub fn by_method(
    analysis: &Analysis,
    params: f64,
    tokens: f64,
) -> Result<Vec<MethodLoss>, PredictError> {
    let (_, unit, _) = Fixed::Params(params).words();
    positive("model size", unit, params)?;
    positive("the number of training tokens", "tokens", tokens)?;
    let of = |estimator: Estimator<'_>| {
        let loss = estimator.loss((params, tokens))?;
        let sd = estimator.sd((params, tokens));
        Some(MethodLoss { method: estimator.fit.method.clone(), loss, sd })
    };
    let all: Vec<MethodLoss> = Estimator::all(analysis).into_iter().filter_map(of).collect();
    if all.is_empty() {
        return Err(PredictError::NoSurface { source_table: analysis.source.clone() });
    }
    Ok(all)
}

/// The same run by every form of law that was fitted to the runs, as every answer takes it, where it gives a number. `unique` are the
/// distinct tokens it draws on [tokens], `flops` its compute [FLOP]. A law of C alone speaks of the best run
/// of C and of no other: it is asked where the run is `optimal`.
pub fn by_law(
    analysis: &Analysis,
    (params, tokens, flops): (f64, f64, f64),
    unique: Option<f64>,
    optimal: bool,
) -> Vec<LawLoss> {
    let run = Run::new(params, tokens).flops(flops);
    let run = unique.map_or(run, |unique| run.unique(unique));
    let of = |form: &LawFit| {
        form.form().filter(|law| law.surface || optimal)?;
        let loss = match substitute(analysis, form) {
            Some(surface) => surface.loss(params, tokens),
            None => form.loss(&run)?,
        };
        Some(LawLoss { law: form.law.clone(), loss: path::sound(loss)? })
    };
    analysis.laws.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{at_flops, sample};
    use super::*;
    use crate::fit::HeldOutError;

    #[test]
    fn the_first_method_is_the_one_that_leads() {
        let analysis = sample::analysis(60);
        let lead = at_flops(&analysis, 1e21).unwrap();
        let (n, d) = (lead.params.value, lead.tokens.value);
        let all = by_method(&analysis, n, d).unwrap();
        assert_eq!(all[0].method, lead.methods[0].method);
        // Each at its own optimum, where the loss is flat.
        let own = lead.methods[0].loss.unwrap().value;
        assert!((all[0].loss.value / own - 1.0).abs() < 1e-3);
        assert_eq!(
            all.iter().map(|m| m.method.as_str()).collect::<Vec<_>>(),
            ["lse-huber", "varpro"]
        );
        // 90% of a normal law lie within 1.645 standard deviations; Student's tails are a little wider.
        for m in &all {
            let half = (m.loss.hi / m.loss.lo).ln() / 2.0 / 1.645;
            assert!((0.9..1.3).contains(&(half / m.sd)), "{m:?} {half}");
        }
        assert!(by_method(&analysis, 0.0, d).is_err());
    }

    /// A form that counts and was not held out says how it came to count; one that counts for nothing need not.
    #[test]
    fn a_form_that_counts_without_a_held_out_error_is_told() {
        let mut analysis = sample::analysis(0);
        analysis.laws.iter_mut().for_each(|f| f.heldout = None);
        assert_eq!(untried(&analysis), None, "no hold-out at all");
        let error = HeldOutError { mean_error: 0.01, max_error: 0.02, n: 3 };
        let counted: Vec<String> = analysis
            .averaging
            .as_ref()
            .unwrap()
            .forms
            .iter()
            .filter(|f| f.weight > 0.0)
            .map(|f| f.law.clone())
            .collect();
        let (first, rest) = counted.split_first().unwrap();
        assert!(!rest.is_empty(), "{counted:?}");
        for form in analysis.laws.iter_mut().filter(|f| f.law != *first) {
            form.heldout = Some(error.clone());
        }
        assert!(untried(&analysis).unwrap().starts_with(&format!("{first} counts without")));
        for form in &mut analysis.averaging.as_mut().unwrap().forms {
            form.weight *= f64::from(u8::from(form.law != *first));
        }
        assert_eq!(untried(&analysis), None);
        assert!(weighed(&analysis).contains("scatter of seeds"));
        assert!(weighed(&Analysis { averaging: None, ..analysis }).contains("older isoflop"));
    }

    /// The runs lie on one surface without noise: Chinchilla's form is that surface, and one that has it as
    /// a special case agrees.
    #[test]
    fn a_law_that_holds_gives_the_loss_of_the_truth() {
        let analysis = sample::analysis(0);
        let (n, d) = (3e9, 1e11);
        let truth = sample::EPOCH.loss(n, d);
        let all = by_law(&analysis, (n, d, 6.0 * n * d), None, true);
        let of = |name: &str| all.iter().find(|l| l.law == name).unwrap().loss;
        assert!((of("chinchilla") / truth - 1.0).abs() < 1e-5, "{all:?} {truth}");
        // The frontier is fitted to the best of few sizes a budget, so it is near the optimum's loss only.
        let (best_n, best_d) =
            sample::EPOCH.optimum(&crate::fit::Compute::SixNd, 6.0 * n * d).unwrap();
        let best = sample::EPOCH.loss(best_n, best_d);
        assert!((of("compute") / best - 1.0).abs() < 1e-2, "{all:?} {best}");
        let mut others = by_law(&analysis, (n, d, 6.0 * n * d), None, false);
        others.push(all.iter().find(|l| l.law == "compute").unwrap().clone());
        assert_eq!(others.len(), all.len());
        assert!(all.iter().all(|l| others.contains(l)), "all but the law of C alone");
        let sure = by_method(&analysis, n, d).unwrap();
        assert!((sure[0].loss.value / truth - 1.0).abs() < 1e-5 && sure[0].sd < 1e-4, "{sure:?}");
    }
}
