//! The cheapest run to train and then to serve: a smaller model on more tokens than the compute-optimal
//! one, of the same loss (Sardana et al. 2024, arXiv:2401.00448).
//!
//! Minimises c(N) D + r 2N D_inf subject to L(N, D) = the loss wanted. Inference costs 2N FLOPs per token,
//! prompt and answer alike, as in the paper: neither attention over a long context nor a cache is in it.
//! r is what a FLOP of inference costs over a FLOP of training (lower utilisation, other devices); 1
//! counts FLOPs.

use serde::{Deserialize, Serialize};

use super::average::Average;
use super::belief::{Belief, lowest, tokens_reaching};
use super::inverse::out_of_reach;
use super::{Cost, Estimate, Fixed, PredictError, Run, not_below_zero, path, positive};
use crate::fit::{Analysis, Compute, Warning};

/// FLOPs of inference for each parameter and token (Sardana et al. 2024, eq. 2).
const PER_PARAM: f64 = 2.0;

/// How much smaller a model may be than the compute-optimal one, as ln: a factor of 3,000.
const SMALLER: f64 = 8.0;

/// How good the model has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quality {
    /// As good as the compute-optimal model of this training compute [FLOP].
    OptimalAt(f64),
    /// This loss, in the unit of the fit.
    Loss(f64),
}

/// What the model is for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Demand {
    /// Tokens served over the model's life, prompts and answers together: D_inf [tokens].
    pub tokens: f64,
    /// Cost of a FLOP of inference over that of a FLOP of training [-].
    pub cost_ratio: f64,
}

/// The cheapest run for a quality and a demand, beside the compute-optimal one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Serving {
    /// What was asked for.
    pub quality: Quality,
    /// What was asked for.
    pub demand: Demand,
    /// N [parameters].
    pub params: Estimate,
    /// Training tokens D [tokens].
    pub tokens: Estimate,
    /// D/N [tokens/parameter].
    pub tokens_per_param: Estimate,
    /// Loss of that run, averaged over the forms of law: a prediction interval (form, parameters, discrepancy and
    /// residual noise) [nats/token].
    pub loss: Estimate,
    /// Training compute c(N) D [FLOP].
    pub training_flops: Estimate,
    /// Inference compute 2N D_inf [FLOP].
    pub inference_flops: Estimate,
    /// Both, inference times the cost ratio [FLOP of training].
    pub total_flops: Estimate,
    /// What the compute-optimal model of the same loss would cost more, as a share of its total [-].
    pub saving: Estimate,
    /// The compute-optimal model of the same loss.
    pub optimal: Run,
    /// What that one costs to train and serve [FLOP of training].
    pub optimal_total_flops: f64,
    /// Level of every interval [0, 1].
    pub level: f64,
    /// Who answers: `average of 5 forms`, or the only form.
    pub method: String,
    /// Training compute over the largest compute that was fitted [-].
    pub extrapolation: f64,
    /// Time and money of the training on the device that was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// What a reader must know before believing the numbers.
    pub warnings: Vec<Warning>,
}

/// The run of lowest cost that reaches `quality` and serves `demand`.
///
/// Each draw of each form plans for itself; under [`Quality::OptimalAt`] for the loss that its own optimum
/// reaches. The interval of the loss alone is for one run at the (N, D) of the average.
///
/// # Errors
///
/// [`PredictError`]: a value out of range, no loss surface, or a loss that the law does not reach.
pub fn serving(
    analysis: &Analysis,
    quality: Quality,
    demand: Demand,
) -> Result<Serving, PredictError> {
    // No demand at all is a question too: its answer is the compute-optimal run.
    if demand.tokens != 0.0 {
        positive("the number of inference tokens", "tokens", demand.tokens)?;
    }
    positive("the cost ratio of inference", "times training", demand.cost_ratio)?;
    let fixed = match quality {
        Quality::OptimalAt(flops) => Fixed::Flops(flops),
        Quality::Loss(loss) => Fixed::Loss(loss),
    };
    let (what, unit, value) = fixed.words();
    positive(what, unit, value)?;
    let average = Average::of(analysis)?;
    average.within_reach(fixed)?;
    let (lead, compute) = (&average.lead, &analysis.compute);
    let near = average.start();
    let best =
        plan(&average, compute, (quality, demand), near).ok_or_else(|| average.out(fixed))?;
    let Plan { run, optimal, .. } = best;
    let near = (optimal.flops.ln(), optimal.params.ln());
    let drawn = average.drawn(|law| plan(law, compute, (quality, demand), near));
    // Lines know no loss: the size is off by as much as theirs is for the optimal run, on the same curve of one loss.
    let ln_loss = average.ln_loss(near.1, optimal.tokens.ln());
    let computes: Vec<(f64, f64)> =
        drawn.iter().map(|(p, weight)| (p.optimal.flops.ln(), *weight)).collect();
    let moved = |((ln_c, ln_n), weight): ((f64, f64), f64)| {
        let ln_n = run.params.ln() + ln_n - near.1;
        // More compute than the average's for this loss, in the proportion of the path.
        let grown = ln_c - near.0;
        let along = 0.5 * grown;
        let ln_d = tokens_reaching(&average, ln_n - along, ln_loss, run.tokens.ln())?;
        let run = trained(compute, ln_n, ln_d + grown - along)?;
        Some((Plan { run, total: demand.total(&run), ..best }, weight))
    };
    let aside = average.aside_over(near, &computes).into_iter();
    let moved: Vec<(Plan, f64)> = aside.filter_map(moved).collect();
    let over = |of: fn(&Plan) -> f64, drawn: &mut dyn Iterator<Item = &(Plan, f64)>| {
        let drawn: Vec<(f64, f64)> = drawn.map(|(p, w)| (of(p), *w)).collect();
        average.between(of(&best), &drawn).ok_or_else(|| lead.no_optimum(fixed))
    };
    let estimate = |of: fn(&Plan) -> f64| over(of, &mut drawn.iter().chain(&moved));
    let mut warnings = lead.warnings_at(run.flops);
    warnings.extend(lead.unusual_ratio(run.tokens / run.params));
    warnings.extend(out_of_reach(fixed, drawn.len(), average.drawn(|_| Some(())).len()));
    let loss = average.loss(run.params, run.tokens).ok_or_else(|| lead.no_optimum(fixed))?.loss;
    warnings.extend(lead.implausible(loss.value));
    Ok(Serving {
        quality,
        demand,
        params: estimate(|p| p.run.params)?,
        tokens: estimate(|p| p.run.tokens)?,
        tokens_per_param: estimate(|p| p.run.tokens / p.run.params)?,
        loss,
        training_flops: estimate(|p| p.run.flops)?,
        inference_flops: estimate(|p| p.total.inference)?,
        total_flops: estimate(|p| p.total.weighed)?,
        saving: over(
            |p| not_below_zero(1.0 - p.total.weighed / p.optimal_total.weighed),
            &mut drawn.iter(),
        )?,
        optimal,
        optimal_total_flops: best.optimal_total.weighed,
        level: lead.level(),
        method: average.name(),
        extrapolation: lead.extrapolation(run.flops),
        cost: None,
        warnings,
    })
}

/// One law's answer.
#[derive(Debug, Clone, Copy)]
struct Plan {
    run: Run,
    total: Total,
    optimal: Run,
    optimal_total: Total,
}

/// What a run takes.
#[derive(Debug, Clone, Copy)]
struct Total {
    /// Of serving alone [FLOP].
    inference: f64,
    /// Of training, and of serving times its cost ratio [FLOP].
    weighed: f64,
}

impl Demand {
    fn total(&self, run: &Run) -> Total {
        let inference = PER_PARAM * run.params * self.tokens;
        Total { inference, weighed: run.flops + self.cost_ratio * inference }
    }
}

/// A run of ln N on ln D; nothing beyond the range of numbers.
fn trained(compute: &Compute, ln_n: f64, ln_d: f64) -> Option<Run> {
    let (params, tokens) = (path::sound(ln_n.exp())?, path::sound(ln_d.exp())?);
    Some(Run { params, tokens, flops: path::sound(compute.per_token(params) * tokens)? })
}

/// The cheapest run on the curve of one loss: N is searched for, D follows from the loss. `near`: a place on the
/// path, (ln C, ln N).
fn plan(
    law: &dyn Belief,
    compute: &Compute,
    (quality, demand): (Quality, Demand),
    near: (f64, f64),
) -> Option<Plan> {
    let ln_c = match quality {
        Quality::OptimalAt(flops) => flops.ln(),
        Quality::Loss(loss) => law.reaching(compute, loss.ln(), near)?,
    };
    let ln_n = law.optimum(compute, ln_c, near.1 + 0.5 * (ln_c - near.0))?;
    let ln_d = ln_c - compute.log_per_token(ln_n).0;
    let ln_loss = law.ln_loss(ln_n, ln_d);
    let optimal = trained(compute, ln_n, ln_d)?;
    let cheapest = if demand.tokens == 0.0 {
        optimal
    } else {
        let at = |ln_n: f64| trained(compute, ln_n, tokens_reaching(law, ln_n, ln_loss, ln_d)?);
        let cost =
            |ln_n: f64| at(ln_n).map_or(f64::INFINITY, |run| demand.total(&run).weighed.ln());
        // Serving makes the best model smaller, never larger.
        at(lowest(&cost, ln_n - SMALLER, ln_n)?)?
    };
    let [total, optimal_total] = [cheapest, optimal].map(|run| demand.total(&run));
    path::sound(total.weighed)?;
    path::sound(optimal_total.weighed)?;
    Some(Plan { run: cheapest, total, optimal, optimal_total })
}

#[cfg(test)]
mod tests {
    use super::super::sample::{ATTENTION, HOFFMANN};
    use super::super::{at_flops, sample};
    use super::*;
    use crate::fit::Code;

    fn planned(compute: &Compute, quality: Quality, demand: Demand) -> Plan {
        plan(&HOFFMANN, compute, (quality, demand), (50.0, 22.0)).unwrap()
    }

    fn demand(tokens: f64) -> Demand {
        Demand { tokens, cost_ratio: 1.0 }
    }

    /// Sardana et al. 2024, figure 1: to serve 2T tokens at the quality of a compute-optimal 13B model,
    /// train 7B instead and save 1.7e22 FLOP, 17% of the total.
    #[test]
    fn the_published_example_comes_out() {
        let tokens = path::tokens_for(&HOFFMANN, &Compute::SixNd, 13e9).unwrap();
        let quality = Quality::Loss(HOFFMANN.loss(13e9, tokens));
        let p = planned(&Compute::SixNd, quality, demand(2e12));
        assert!((p.optimal.params / 13e9 - 1.0).abs() < 1e-9);
        let saved = p.optimal_total.weighed - p.total.weighed;
        assert_eq!(format!("{:.0e}", p.run.params), "7e9", "{p:?}");
        assert_eq!(format!("{saved:.1e}"), "1.7e22", "{p:?}");
        assert_eq!(format!("{:.2}", saved / p.optimal_total.weighed), "0.17", "{p:?}");
    }

    /// Lagrange: at the optimum the gradients of cost and loss are parallel, dCost/dN dL/dD = dCost/dD
    /// dL/dN. Cost by central differences, loss by its own gradient; both multipliers must agree.
    #[test]
    fn the_optimum_satisfies_the_first_order_condition_and_keeps_the_loss() {
        for compute in [Compute::SixNd, ATTENTION] {
            for (served, ratio) in [(1e9, 1.0), (1e12, 1.0), (1e14, 3.0)] {
                let demand = Demand { tokens: served, cost_ratio: ratio };
                let p = planned(&compute, Quality::OptimalAt(1e22), demand);
                let Run { params: n, tokens: d, .. } = p.run;
                let cost = |n: f64, d: f64| compute.per_token(n) * d + ratio * 2.0 * n * served;
                let h = 1e-5;
                let by_n = (cost(n * (1.0 + h), d) - cost(n * (1.0 - h), d)) / (2.0 * h * n);
                let by_d = (cost(n, d * (1.0 + h)) - cost(n, d * (1.0 - h))) / (2.0 * h * d);
                let [ln, ld] = HOFFMANN.gradient(n, d);
                assert!(((by_n / ln) / (by_d / ld) - 1.0).abs() < 1e-5, "{served} {p:?}");
                let (m, e) = HOFFMANN.optimum(&compute, 1e22).unwrap();
                assert!((HOFFMANN.loss(n, d) - HOFFMANN.loss(m, e)).abs() < 1e-12);
                assert!((p.total.weighed / cost(n, d) - 1.0).abs() < 1e-12);
                assert!(p.total.weighed < p.optimal_total.weighed);
                assert!(n < m && d > e);
            }
        }
    }

    #[test]
    fn without_demand_the_compute_optimal_run_is_the_cheapest_and_more_demand_wants_less_n() {
        for compute in [Compute::SixNd, ATTENTION] {
            let at = |t: f64| planned(&compute, Quality::OptimalAt(1e20), demand(t));
            let (n, d) = HOFFMANN.optimum(&compute, 1e20).unwrap();
            let none = at(0.0);
            assert!((none.run.params / n - 1.0).abs() < 1e-10, "{none:?}");
            assert!((none.run.tokens / d - 1.0).abs() < 1e-10 && none.total.inference == 0.0);
            // A hair of demand moves the run by a hair.
            assert!((at(1.0).run.params / n - 1.0).abs() < 1e-4);
            let sizes: Vec<f64> = (0..8).map(|i| at(1e8 * 10_f64.powi(i)).run.params).collect();
            assert!(sizes.windows(2).all(|w| w[1] < w[0]), "{sizes:?}");
            // Never below the size whose own term is the whole excess.
            let least =
                (HOFFMANN.a / (HOFFMANN.loss(n, d) - HOFFMANN.e)).powf(1.0 / HOFFMANN.alpha);
            assert!(at(1e30).run.params > least * (1.0 - 1e-9), "{least}");
        }
    }

    #[test]
    fn the_answer_has_intervals_and_warns_of_ratios_that_no_run_has_tried() {
        let analysis = sample::analysis(60);
        let p = serving(&analysis, Quality::OptimalAt(1e21), demand(1e13)).unwrap();
        for e in [p.params, p.tokens, p.training_flops, p.total_flops, p.saving, p.loss] {
            assert!(e.lo <= e.value && e.value <= e.hi && e.lo < e.hi, "{e:?}");
        }
        let want = p.training_flops.value + p.inference_flops.value;
        assert!((p.total_flops.value / want - 1.0).abs() < 1e-12);
        assert!(p.warnings.iter().any(|w| w.code == Code::RatioBeyondRuns), "{:?}", p.warnings);
        let (best, optimal) = (at_flops(&analysis, 1e21).unwrap(), p.optimal);
        assert!((optimal.params / best.params.value - 1.0).abs() < 1e-6);
        // The same quality, named by its loss.
        let loss = best.loss.value;
        let q = serving(&analysis, Quality::Loss(loss), demand(1e13)).unwrap();
        assert!((q.params.value / p.params.value - 1.0).abs() < 1e-4);
        // Nearby a form falls silent and the average jumps: the answer has the loss that was asked for.
        assert!((q.loss.value / loss - 1.0).abs() < 1e-9, "{q:?}");
        let small = serving(&analysis, Quality::OptimalAt(1e21), demand(1e9)).unwrap();
        assert!(small.warnings.is_empty(), "{:?}", small.warnings);
        assert!(serving(&analysis, Quality::Loss(0.01), demand(1e12)).is_err());
        assert!(serving(&analysis, Quality::OptimalAt(1e21), demand(-1.0)).is_err());
        let free = Demand { tokens: 1e12, cost_ratio: 0.0 };
        assert!(serving(&analysis, Quality::OptimalAt(1e21), free).is_err());
    }

    /// With next to nothing to serve the question is that of the best run: the same size, as uncertain.
    #[test]
    fn a_size_is_as_uncertain_as_that_of_the_best_run() {
        let analysis = sample::analysis(60);
        let best = at_flops(&analysis, 1e21).unwrap().params;
        let p = serving(&analysis, Quality::OptimalAt(1e21), demand(1.0)).unwrap().params;
        for (got, want) in [(p.value, best.value), (p.lo, best.lo), (p.hi, best.hi)] {
            assert!((got / want - 1.0).abs() < 3e-2, "{p:?} {best:?}");
        }
    }
}
