//! The compute-optimal path of a surface, found by size, by tokens or by loss; and what leaving it costs.
//!
//! [`Surface::optimum`] walks the path by compute. Here it is walked otherwise. With c(N) FLOPs per token
//! and its growth g = d ln c / d ln N (1 under C = 6ND), N and D are optimal together exactly when the
//! loss cannot be lowered along c(N) D = C:
//!
//! ```text
//! alpha A N^-alpha = g(N) beta B D^-beta
//! ```
//!
//! which gives D from N in closed form. g never falls with N ([`Compute`]), so D rises and the loss falls
//! along the path, and the other two ways round have one root each.

use crate::fit::{Compute, Surface, bisect};

/// Whether both terms of the law are there and fall: otherwise there is no path.
fn usable(s: &Surface) -> bool {
    s.a > 0.0 && s.b > 0.0 && s.alpha > 0.0 && s.beta > 0.0
}

/// Keeps what is a number and above 0.
pub(super) fn sound(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

/// ln D of the path at ln N.
fn ln_tokens(s: &Surface, compute: &Compute, ln_n: f64) -> f64 {
    let growth = compute.log_per_token(ln_n).1;
    ((s.beta * s.b * growth).ln() - (s.alpha * s.a).ln() + s.alpha * ln_n) / s.beta
}

/// Tokens with which a model of `params` is compute-optimal [tokens].
pub(super) fn tokens_for(s: &Surface, compute: &Compute, params: f64) -> Option<f64> {
    let params = sound(params).filter(|_| usable(s))?;
    sound(ln_tokens(s, compute, params.ln()).exp())
}

/// Size for which `tokens` are compute-optimal [parameters].
pub(super) fn params_for(s: &Surface, compute: &Compute, tokens: f64) -> Option<f64> {
    let ln_d = sound(tokens).filter(|_| usable(s))?.ln();
    let closed = (s.beta * ln_d + (s.alpha * s.a).ln() - (s.beta * s.b).ln()) / s.alpha;
    let ln_n = match compute {
        Compute::SixNd => closed,
        Compute::Attention { .. } => bisect(|n| ln_tokens(s, compute, n) - ln_d, closed)?,
    };
    sound(ln_n.exp())
}

/// The cheapest run that reaches `loss` (N, D) [parameters, tokens]; nothing at or below E.
///
/// On the path the excess over E is A N^-alpha (1 + alpha / (beta g)).
pub(super) fn run_for_loss(s: &Surface, compute: &Compute, loss: f64) -> Option<(f64, f64)> {
    let ln_excess = sound(loss - s.e).filter(|_| usable(s))?.ln();
    let above = |ln_n: f64, growth: f64| {
        ln_excess - s.a.ln() + s.alpha * ln_n - (s.alpha / (s.beta * growth)).ln_1p()
    };
    let closed = -above(0.0, 1.0) / s.alpha;
    let ln_n = match compute {
        Compute::SixNd => closed,
        Compute::Attention { .. } => bisect(|n| above(n, compute.log_per_token(n).1), closed)?,
    };
    Some((sound(ln_n.exp())?, sound(ln_tokens(s, compute, ln_n).exp())?))
}

/// The compute at which the path reaches `loss` [FLOP].
pub(super) fn flops_for_loss(s: &Surface, compute: &Compute, loss: f64) -> Option<f64> {
    let (params, tokens) = run_for_loss(s, compute, loss)?;
    sound(compute.per_token(params) * tokens)
}

#[cfg(test)]
mod tests {
    use super::super::optimum::wasted;
    use super::super::sample::{ATTENTION, HOFFMANN};
    use super::*;

    fn deadweight(s: &Surface, compute: &Compute, flops: f64, loss: f64) -> Option<f64> {
        Some(wasted(flops_for_loss(s, compute, loss)?.ln(), flops.ln()))
    }

    /// The oracle is the path by compute, which has tests of its own.
    #[test]
    fn the_path_is_the_same_by_size_by_tokens_by_loss_and_by_compute() {
        for compute in [Compute::SixNd, ATTENTION] {
            for flops in [1e11, 1e17, 5.76e23] {
                let s = HOFFMANN;
                let (n, d) = s.optimum(&compute, flops).unwrap();
                let near = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-10);
                near(tokens_for(&s, &compute, n).unwrap(), d);
                near(params_for(&s, &compute, d).unwrap(), n);
                let (m, e) = run_for_loss(&s, &compute, s.loss(n, d)).unwrap();
                near(m, n);
                near(e, d);
                near(flops_for_loss(&s, &compute, s.loss(n, d)).unwrap(), flops);
            }
        }
    }

    /// alpha = beta under C = 6ND: at r N* and D*/r the excess over E is cosh(alpha ln r) times the
    /// least, and the least falls as C^(-alpha/2), so C_eq / C = cosh(alpha ln r)^(-2/alpha).
    #[test]
    fn the_deadweight_of_a_symmetric_law_has_a_closed_form() {
        let s = Surface { e: 1.7, a: 300.0, b: 900.0, alpha: 0.33, beta: 0.33 };
        let (n, d) = s.optimum(&Compute::SixNd, 1e22).unwrap();
        for ratio in [1.0 / 30.0, 0.5, 0.9, 1.0, 1.1, 2.0, 30.0_f64] {
            let loss = s.loss(n * ratio, d / ratio);
            let got = deadweight(&s, &Compute::SixNd, 1e22, loss).unwrap();
            let want = 1.0 - (0.33 * ratio.ln()).cosh().powf(-2.0 / 0.33);
            assert!((got - want).abs() < 1e-12, "{ratio}: {got} {want}");
        }
    }

    #[test]
    fn the_deadweight_is_none_on_the_path_and_grows_away_from_it() {
        for compute in [Compute::SixNd, ATTENTION] {
            let share = |ratio: f64| {
                let (n, _) = HOFFMANN.optimum(&compute, 1e19).unwrap();
                let d = 1e19 / compute.per_token(ratio * n);
                deadweight(&HOFFMANN, &compute, 1e19, HOFFMANN.loss(ratio * n, d)).unwrap()
            };
            assert!(share(1.0) < 1e-10, "{}", share(1.0));
            for side in [2.0, 0.5_f64] {
                let walk: Vec<f64> = (0..8).map(|i| share(side.powi(i))).collect();
                assert!(walk.windows(2).all(|w| w[0] < w[1]), "{walk:?}");
                assert!(*walk.last().unwrap() < 1.0);
            }
        }
    }

    #[test]
    fn no_path_no_answer() {
        let flat = Surface { b: 0.0, ..HOFFMANN };
        assert_eq!(tokens_for(&flat, &Compute::SixNd, 1e9), None);
        assert_eq!(params_for(&flat, &Compute::SixNd, 1e9), None);
        assert_eq!(run_for_loss(&HOFFMANN, &Compute::SixNd, HOFFMANN.e), None);
        assert_eq!(run_for_loss(&HOFFMANN, &Compute::SixNd, f64::NAN), None);
    }
}
