//! The best run when only so many distinct tokens exist, so that some must be seen again.
//!
//! Repeated tokens, and parameters beyond what the distinct tokens feed, count for less and less
//! (Muennighoff et al. 2023, arXiv:2305.16264, eq. 5 and 6):
//!
//! ```text
//! D' = U   + U   R_D* (1 - exp(-(D/U - 1) / R_D*))      where D > U, else D
//! N' = U_N + U_N R_N* (1 - exp(-(N/U_N - 1) / R_N*))    where N > U_N, else N
//! L  = E + A N'^-alpha + B D'^-beta
//! ```
//!
//! U_N is the size for which U tokens are compute-optimal. E, A, B, alpha and beta are the fit's own; the
//! two constants of decay are the published ones unless others are given, so they are **borrowed**: their
//! runs had other data, another tokenizer and another regularisation.
//!
//! DIFFERENCE: the paper takes for U the distinct tokens a run uses; here it is those that exist, also for
//! a run that does not reach the end of them. Both agree wherever D >= U, and this way the loss has no
//! jump at D = U.
//!
//! Read by: `cli`.

use serde::{Deserialize, Serialize};

use super::voice::Lead;
use super::{Cost, Estimate, Fixed, PredictError, Run, path, positive};
use crate::fit::{Analysis, Code, Compute, Surface, Warning, bisect};

/// Up to here repeated tokens were found to be worth almost as much as new ones (Muennighoff et al. 2023,
/// abstract) [epochs].
const HARMLESS: f64 = 4.0;

/// How fast repetition loses its worth.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Repetition {
    /// R_D*: repetitions after which a repeated token has lost 1 - 1/e of its worth [epochs].
    pub tokens: f64,
    /// R_N*: the same for parameters beyond U_N, in multiples of U_N [-].
    pub params: f64,
    /// Where the two come from.
    pub source: RepetitionSource,
}

/// Whose constants of decay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RepetitionSource {
    /// Muennighoff et al. 2023, fitted to C4.
    Published,
    /// The asker's.
    Given,
}

impl Repetition {
    /// Muennighoff et al. 2023, as in their repository (datablations, README).
    pub const PUBLISHED: Self =
        Self { tokens: 15.387756, params: 5.309743, source: RepetitionSource::Published };
}

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
    /// Loss of that run: a prediction interval (parameters and residual noise) [nats/token].
    pub loss: Estimate,
    /// Loss above that of the compute-optimal run on unlimited data [nats/token].
    pub price: Estimate,
    /// Share of C that unlimited data would save at this loss [-].
    pub deadweight: Estimate,
    /// The leading compute-optimal run on unlimited data.
    pub unlimited: Run,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Method of every value.
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
/// Where the compute-optimal run needs no more than these, it is the answer. The two constants of
/// `repetition` are the same in every bootstrap draw: their own error is in no interval.
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
    positive("the number of distinct tokens", "tokens", unique)?;
    positive("R_D*", "epochs", repetition.tokens)?;
    positive("R_N*", "multiples", repetition.params)?;
    let lead = Lead::of(analysis)?;
    let compute = &analysis.compute;
    let no_optimum = || lead.no_optimum(Fixed::Flops(flops));
    let planned = |s: &Surface| plan(s, compute, flops, unique, repetition);
    let best = planned(&lead.surface).ok_or_else(no_optimum)?;
    let drawn = lead.drawn(planned);
    let estimate = |of: &dyn Fn(&Plan) -> f64| Estimate::over(&best, &drawn, lead.level(), of);
    let (n, d) = best.run;
    let loss = |s: &Surface| loss(s, compute, (n, d), unique, repetition);
    let mut warnings = lead.doubts(flops);
    let epochs = d / unique;
    if epochs > HARMLESS && repetition.source == RepetitionSource::Published {
        let text = format!(
            "{epochs:.1} epochs: beyond about {HARMLESS} repeated tokens lose much of their worth, and how \
             fast is borrowed from other runs (Muennighoff et al. 2023), not measured on yours"
        );
        warnings.push(Warning::new(Code::BorrowedRepetition, text));
    }
    warnings.extend(lead.unusual_ratio(d / n));
    Ok(Limited {
        flops,
        unique_tokens: unique,
        repetition: *repetition,
        params: estimate(&|p| p.run.0),
        tokens: estimate(&|p| p.run.1),
        tokens_per_param: estimate(&|p| p.run.1 / p.run.0),
        epochs: estimate(&|p| p.run.1 / unique),
        loss: lead.voice.loss_by(loss).ok_or_else(no_optimum)?,
        price: estimate(&|p| p.price),
        deadweight: estimate(&|p| p.deadweight),
        unlimited: Run { params: best.unlimited.0, tokens: best.unlimited.1, flops },
        level: lead.level(),
        method: lead.method(),
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

/// The root of dL/d ln N along c(N) D = C. By logarithms of the two parts, as in [`Surface::optimum`]: the
/// size's part falls with N, with or without decay, and the data's part rises.
fn plan(
    s: &Surface,
    compute: &Compute,
    flops: f64,
    unique: f64,
    repetition: &Repetition,
) -> Option<Plan> {
    let unlimited = s.optimum(compute, flops)?;
    let fed = path::params_for(s, compute, unique)?;
    let slope = |ln_n: f64| {
        let (ln_per_token, growth) = compute.log_per_token(ln_n);
        let (n, d) = (ln_n.exp(), (flops.ln() - ln_per_token).exp());
        let size = worth(n, fed, repetition.params);
        let data = worth(d, unique, repetition.tokens);
        let part = |factor: f64, exponent: f64, w: Worth, amount: f64| {
            (factor * exponent).ln() - (exponent + 1.0) * w.amount.ln() + w.ln_margin + amount.ln()
        };
        part(s.b, s.beta, data, d) + growth.ln() - part(s.a, s.alpha, size, n)
    };
    let run = if unlimited.1 <= unique {
        unlimited
    } else {
        let n = path::sound(bisect(slope, unlimited.0.ln())?.exp())?;
        (n, path::sound(flops / compute.per_token(n))?)
    };
    let reached = loss(s, compute, run, unique, repetition)?;
    Some(Plan {
        run,
        unlimited,
        price: (reached - s.loss(unlimited.0, unlimited.1)).max(0.0),
        deadweight: path::deadweight(s, compute, flops, reached)?,
    })
}

/// Loss of a run (N, D) when `unique` tokens exist [nats/token].
fn loss(
    s: &Surface,
    compute: &Compute,
    (params, tokens): (f64, f64),
    unique: f64,
    repetition: &Repetition,
) -> Option<f64> {
    let fed = path::params_for(s, compute, unique)?;
    let size = worth(params, fed, repetition.params);
    let data = worth(tokens, unique, repetition.tokens);
    path::sound(s.loss(size.amount, data.amount))
}

/// What an amount is worth, part of which is a repetition.
#[derive(Clone, Copy)]
struct Worth {
    /// N' or D'.
    amount: f64,
    /// ln of its derivative by the real amount.
    ln_margin: f64,
}

fn worth(amount: f64, fresh: f64, decay: f64) -> Worth {
    let repeats = amount / fresh - 1.0;
    if repeats <= 0.0 {
        return Worth { amount, ln_margin: 0.0 };
    }
    // 1 - exp(-x), without losing the digits of a small x.
    let kept = -(-repeats / decay).exp_m1();
    Worth { amount: fresh + fresh * decay * kept, ln_margin: -repeats / decay }
}

#[cfg(test)]
mod tests {
    use super::super::sample::ATTENTION;
    use super::super::{at_flops, sample};
    use super::*;

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

    /// The two values that the authors' function prints in their README.
    #[test]
    fn the_published_losses_come_out() {
        let at = |n: f64, d: f64| {
            loss(&c4(), &Compute::SixNd, (n, d), 25e9, &Repetition::PUBLISHED).unwrap()
        };
        assert!((at(6.34e9, 242e9) - 2.2256440889984477).abs() < 1e-12, "{}", at(6.34e9, 242e9));
        assert!((at(8.67e9, 178e9) - 2.2269634075087867).abs() < 1e-12, "{}", at(8.67e9, 178e9));
    }

    /// Their example: at the compute of an 8.67B model on 178B tokens, 25B of them distinct, the smaller
    /// 6.34B on more epochs is better. Oracle of the optimum: no run of a fine grid is better.
    #[test]
    fn no_run_of_the_same_compute_is_better() {
        for compute in [Compute::SixNd, ATTENTION] {
            for (flops, unique) in [(9.27e21, 25e9), (1e23, 25e9), (1e20, 1e9), (1e20, 1e7)] {
                let law = Repetition::PUBLISHED;
                let p = plan(&c4(), &compute, flops, unique, &law).unwrap();
                let at = |n: f64| {
                    loss(&c4(), &compute, (n, flops / compute.per_token(n)), unique, &law).unwrap()
                };
                let best = at(p.run.0);
                let grid = (-4000..=4000).map(|i| at(p.run.0 * (f64::from(i) / 1000.0).exp()));
                let least = grid.fold(f64::MAX, f64::min);
                assert!(best <= least + 1e-13, "{flops} {unique}: {best} {least}");
                assert!(p.run.1 > unique && p.price > 0.0 && p.deadweight > 0.0);
            }
        }
        let p = plan(&c4(), &Compute::SixNd, 9.27e21, 25e9, &Repetition::PUBLISHED).unwrap();
        assert!(p.run.0 < 8.67e9, "{:?}", p.run);
    }

    #[test]
    fn enough_data_gives_the_compute_optimal_run_and_scarcer_data_a_higher_price() {
        let law = Repetition::PUBLISHED;
        let best = c4().optimum(&Compute::SixNd, 1e21).unwrap();
        let at = |unique: f64| plan(&c4(), &Compute::SixNd, 1e21, unique, &law).unwrap();
        let enough = at(best.1 * 1.001);
        assert_eq!((enough.run, enough.price), (best, 0.0));
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
            assert!(e.lo < e.value && e.value < e.hi, "{e:?}");
        }
        let by_lead = best.methods[0].loss.unwrap();
        assert!((p.loss.value - by_lead.value - p.price.value).abs() < 1e-12);
        let borrowed = |p: &Limited| p.warnings.iter().any(|w| w.code == Code::BorrowedRepetition);
        assert!(p.epochs.value > 4.0 && borrowed(&p), "{p:?}");
        let given = Repetition { source: RepetitionSource::Given, ..Repetition::PUBLISHED };
        assert!(!borrowed(&limited(&analysis, 1e21, scarce, &given).unwrap()));
        let plenty = limited(&analysis, 1e21, 1e13, &Repetition::PUBLISHED).unwrap();
        assert!(!borrowed(&plenty) && plenty.price.value == 0.0 && plenty.epochs.value < 1.0);
        assert_eq!((plenty.params, plenty.loss), (best.params, by_lead));
        for bad in [0.0, f64::NAN] {
            let law = Repetition { tokens: bad, ..Repetition::PUBLISHED };
            assert!(limited(&analysis, 1e21, 1e9, &law).is_err());
            assert!(limited(&analysis, 1e21, bad, &Repetition::PUBLISHED).is_err());
        }
    }
}
