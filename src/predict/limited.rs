//! The best run when only so many distinct tokens exist, so that some must be seen again.
//!
//! How such tokens count is said in `repetition`: by the table's own decays where its law of repetition was fitted,
//! else by the published ones.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::belief::Belief;
use super::optimum::wasted;
use super::repetition::{Corpus, Repetition};
use super::{Cost, Estimate, Fixed, PredictError, Run, not_below_zero, positive};
use crate::fit::{Analysis, Compute, Warning};

/// The best run on limited data, beside the best on unlimited.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limited {
    /// Training compute C [FLOP].
    pub flops: f64,
    /// Distinct tokens U that exist [tokens].
    pub unique_tokens: f64,
    /// What was assumed of repetition.
    pub repetition: Repetition,
    /// N [parameters].
    pub params: Estimate,
    /// Training tokens D, repeated ones counted each time [tokens].
    pub tokens: Estimate,
    /// D/N [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// D/U [epochs].
    pub epochs: Estimate,
    /// Loss of that run, averaged over the forms of law: a prediction interval (form, parameters, discrepancy and
    /// residual noise) [nats/token].
    pub loss: Estimate,
    /// Loss above that of the compute-optimal run on unlimited data [nats/token].
    pub price: Estimate,
    /// Share of C that unlimited data would save at this loss [-].
    pub deadweight: Estimate,
    /// The compute-optimal run on unlimited data.
    pub unlimited: Run,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Who answers: `average of 5 forms`, or the only form.
    pub method: String,
    /// C over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// Time and money on the device that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// The best run at compute `flops` [FLOP] when `unique` [tokens] exist.
///
/// Where the compute-optimal run needs no more than these, it is the answer.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, or no loss surface.
pub fn limited(
    analysis: &Analysis,
    flops: f64,
    unique: f64,
    repetition: &Repetition,
) -> Result<Limited, PredictError> {
    positive("compute", "FLOP", flops)?;
    let corpus = Corpus::new(analysis, unique, repetition)?;
    let average = Average::of(analysis)?;
    let (lead, compute, ln_c) = (&average.lead, &analysis.compute, flops.ln());
    let no_optimum = || lead.no_optimum(Fixed::Flops(flops));
    let near = average.best(ln_c).ok_or_else(no_optimum)?;
    let asked = (ln_c, near);
    let best = plan(&average, compute, &corpus, asked, None).ok_or_else(no_optimum)?;
    let drawn = average.drawn_by(|law, draw| plan(law, compute, &corpus, asked, Some(draw)));
    let estimate = |of: &dyn Fn(&Plan) -> f64| {
        let drawn: Vec<(f64, f64)> = drawn.iter().map(|(p, w)| (of(p), *w)).collect();
        average.between(of(&best), &drawn).ok_or_else(no_optimum)
    };
    let (n, d) = best.run;
    let run = (n.ln(), d.ln());
    // Lines know nothing of a corpus: the size is off by as much as theirs is on unlimited data.
    let aside = average.aside(ln_c, near);
    let sized = |of: &dyn Fn((f64, f64)) -> f64| {
        let ln_d = |ln_n: f64| ln_c - compute.log_per_token(ln_n).0;
        let moved = |ln_n: f64| of((ln_n.exp(), ln_d(ln_n).exp()));
        let lines = aside.iter().map(|(off, weight)| (moved(run.0 + off), *weight));
        let drawn: Vec<(f64, f64)> =
            drawn.iter().map(|(p, w)| (of(p.run), *w)).chain(lines).collect();
        average.between(of(best.run), &drawn).ok_or_else(no_optimum)
    };
    // Parameters are worth what the average holds, for every form: the value is then that of the plan.
    let fed = corpus.fed(&average, compute, asked).ok_or_else(no_optimum)?;
    let reached = |law: &dyn Belief, draw| Some(corpus.ln_loss(law, run, fed, draw));
    let worth = corpus.worth(run, fed, None);
    let averaged = average.loss_by(run, worth, reached).ok_or_else(no_optimum)?;
    let mut warnings = lead.warnings_at(flops);
    warnings.extend(lead.implausible(averaged.loss.value));
    warnings.extend(corpus.warnings_at(d / unique));
    warnings.extend(lead.unusual_ratio(d / n));
    let method = average.name_of(&averaged.forms);
    Ok(Limited {
        flops,
        unique_tokens: unique,
        repetition: *repetition,
        params: sized(&|(n, _)| n)?,
        tokens: sized(&|(_, d)| d)?,
        tokens_per_param: sized(&|(n, d)| d / n)?,
        epochs: sized(&|(_, d)| d / unique)?,
        loss: averaged.loss,
        price: estimate(&|p| p.price)?,
        deadweight: estimate(&|p| p.deadweight)?,
        unlimited: Run { params: best.unlimited.0, tokens: best.unlimited.1, flops },
        level: lead.level(),
        method,
        extrapolation: lead.extrapolation(flops),
        cost: None,
        warnings,
    })
}

/// One law's answer.
struct Plan {
    run: (f64, f64),
    unlimited: (f64, f64),
    price: f64,
    deadweight: f64,
}

/// The best run along c(N) D = C. `asked`: ln C, and ln N of the best run on unlimited data, roughly.
fn plan(
    law: &dyn Belief,
    compute: &Compute,
    corpus: &Corpus,
    asked @ (ln_c, near): (f64, f64),
    draw: Option<usize>,
) -> Option<Plan> {
    let tokens = |ln_n: f64| ln_c - compute.log_per_token(ln_n).0;
    let best = law.optimum(compute, ln_c, near)?;
    let least = law.ln_loss(best, tokens(best));
    let fed = corpus.fed(law, compute, asked)?;
    let ln_n = corpus.best(law, compute, (ln_c, best), fed, draw)?;
    let reached = corpus.ln_loss(law, (ln_n, tokens(ln_n)), fed, draw);
    let equivalent = law.reaching(compute, reached, (ln_c, best))?;
    Some(Plan {
        run: (ln_n.exp(), tokens(ln_n).exp()),
        unlimited: (best.exp(), tokens(best).exp()),
        price: not_below_zero(reached.exp() - least.exp()),
        deadweight: wasted(equivalent, ln_c),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::super::sample::ATTENTION;
    use super::super::{at_flops, sample};
    use super::*;
    use crate::fit::{Code, Surface};

    /// Muennighoff et al. 2023, C4 (datablations, README).
    fn c4() -> Surface {
        Surface {
            a: 6.255414_f64.exp(),
            b: 7.3049974_f64.exp(),
            e: 0.6254804_f64.exp(),
            alpha: 0.3526596,
            beta: 0.3526596,
        }
    }

    fn corpus(unique: f64) -> Corpus {
        static FITTED: LazyLock<Analysis> = LazyLock::new(|| sample::analysis(0));
        Corpus::new(&FITTED, unique, &Repetition::PUBLISHED).unwrap()
    }

    fn loss(compute: &Compute, (n, d): (f64, f64), unique: f64) -> f64 {
        let corpus = corpus(unique);
        let fed = corpus.fed(&c4(), compute, (1e22_f64.ln(), 23.0)).unwrap();
        corpus.ln_loss(&c4(), (n.ln(), d.ln()), fed, None).exp()
    }

    fn plan_for(compute: &Compute, flops: f64, unique: f64) -> Plan {
        plan(&c4(), compute, &corpus(unique), (flops.ln(), 23.0), None).unwrap()
    }

    /// The two values that the authors' function prints in their README.
    #[test]
    fn the_published_losses_come_out() {
        let at = |n: f64, d: f64| loss(&Compute::SixNd, (n, d), 25e9);
        assert!((at(6.34e9, 242e9) - 2.2256440889984477).abs() < 1e-12, "{}", at(6.34e9, 242e9));
        assert!((at(8.67e9, 178e9) - 2.2269634075087867).abs() < 1e-12, "{}", at(8.67e9, 178e9));
    }

    /// Their example: at the compute of an 8.67B model on 178B tokens, 25B of them distinct, the smaller
    /// 6.34B on more epochs is better. Oracle of the optimum: no run of a fine grid is better.
    #[test]
    fn no_run_of_the_same_compute_is_better() {
        for compute in [Compute::SixNd, ATTENTION] {
            for (flops, unique) in [(9.27e21, 25e9), (1e23, 25e9), (1e20, 1e9), (1e20, 1e7)] {
                let p = plan_for(&compute, flops, unique);
                let at = |n: f64| loss(&compute, (n, flops / compute.per_token(n)), unique);
                let best = at(p.run.0);
                let grid = (-4000..=4000).map(|i| at(p.run.0 * (f64::from(i) / 1000.0).exp()));
                let least = grid.fold(f64::MAX, f64::min);
                assert!(best <= least + 1e-13, "{flops} {unique}: {best} {least}");
                assert!(p.run.1 > unique && p.price > 0.0 && p.deadweight > 0.0);
            }
        }
        let p = plan_for(&Compute::SixNd, 9.27e21, 25e9);
        assert!(p.run.0 < 8.67e9, "{:?}", p.run);
    }

    #[test]
    fn enough_data_gives_the_compute_optimal_run_and_scarcer_data_a_higher_price() {
        let best = c4().optimum(&Compute::SixNd, 1e21).unwrap();
        let at = |unique: f64| plan_for(&Compute::SixNd, 1e21, unique);
        let enough = at(best.1 * 1.001);
        assert!((enough.run.0 / best.0 - 1.0).abs() < 1e-12 && enough.price < 1e-12);
        assert!(enough.deadweight < 1e-9);
        // One token too few changes nothing to speak of: the loss has no jump at D = U.
        let barely = at(best.1 * 0.999);
        assert!((barely.run.0 / best.0 - 1.0).abs() < 1e-3 && barely.price < 1e-6);
        let prices: Vec<f64> = (0..12).map(|i| at(best.1 * 0.5_f64.powi(i)).price).collect();
        assert!(prices.windows(2).all(|w| w[0] < w[1]), "{prices:?}");
    }

    #[test]
    fn the_answer_has_intervals_and_says_what_is_borrowed() {
        let analysis = sample::analysis(60);
        let best = at_flops(&analysis, 1e21).unwrap();
        let scarce = best.tokens.value / 20.0;
        let p = limited(&analysis, 1e21, scarce, &Repetition::PUBLISHED).unwrap();
        for e in [p.params, p.tokens, p.epochs, p.loss, p.price, p.deadweight] {
            assert!(e.lo <= e.value && e.value <= e.hi && e.lo < e.hi, "{e:?}");
        }
        assert!((p.loss.value - best.loss.value - p.price.value).abs() < 1e-9);
        let borrowed = |p: &Limited| p.warnings.iter().any(|w| w.code == Code::BorrowedRepetition);
        assert!(p.epochs.value > 4.0 && borrowed(&p), "{p:?}");
        let given = Repetition::given(15.387756, 5.309743);
        assert!(!borrowed(&limited(&analysis, 1e21, scarce, &given).unwrap()));
        let plenty = limited(&analysis, 1e21, 1e13, &Repetition::PUBLISHED).unwrap();
        assert!(!borrowed(&plenty) && plenty.price.value == 0.0 && plenty.epochs.value < 1.0);
        assert!((plenty.params.value / best.params.value - 1.0).abs() < 1e-9);
        let close = |l: f64, r: f64| assert!((l / r - 1.0).abs() < 1e-9, "{l} {r}");
        close(plenty.loss.value, best.loss.value);
        close(plenty.loss.lo, best.loss.lo);
        close(plenty.loss.hi, best.loss.hi);
        for bad in [0.0, f64::NAN] {
            let law = Repetition { tokens: bad, ..Repetition::PUBLISHED };
            assert!(limited(&analysis, 1e21, 1e9, &law).is_err());
            assert!(limited(&analysis, 1e21, bad, &Repetition::PUBLISHED).is_err());
        }
    }

    /// With all the text in the world the question is that of the best run: the same size, as uncertain.
    #[test]
    fn a_size_is_as_uncertain_as_that_of_the_best_run() {
        let analysis = sample::analysis(60);
        let best = at_flops(&analysis, 1e21).unwrap();
        let p = limited(&analysis, 1e21, 1e18, &Repetition::PUBLISHED).unwrap();
        for (p, best) in [(p.params, best.params), (p.tokens, best.tokens)] {
            for (got, want) in [(p.value, best.value), (p.lo, best.lo), (p.hi, best.hi)] {
                assert!((got / want - 1.0).abs() < 2e-3, "{p:?} {best:?}");
            }
        }
    }
}
