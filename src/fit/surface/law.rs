//! The Chinchilla law as a function: its value, and the run that makes most of a given compute.
//!
//! Knows nothing of how a surface was fitted.

use crate::fit::pins::Pins;
use crate::fit::result::{Compute, Exponents, Frontier, Surface};

impl Surface {
    /// The surface with the pinned values to the digit.
    pub(in crate::fit) fn pinned(self, pins: &Pins) -> Self {
        Self {
            e: pins.e.unwrap_or(self.e),
            alpha: pins.alpha.unwrap_or(self.alpha),
            beta: pins.beta.unwrap_or(self.beta),
            ..self
        }
    }

    /// L(N, D) = E + A N^-alpha + B D^-beta (Hoffmann et al. 2022, eq. 2) [nats/token].
    ///
    /// - `params`: N [parameters]; `tokens`: D [tokens]; both above 0.
    pub fn loss(&self, params: f64, tokens: f64) -> f64 {
        self.e + term(self.a, self.alpha, params) + term(self.b, self.beta, tokens)
    }

    /// dL/dN and dL/dD [nats/token per parameter, nats/token per token].
    pub fn gradient(&self, params: f64, tokens: f64) -> [f64; 2] {
        [
            -self.alpha * term(self.a, self.alpha, params) / params,
            -self.beta * term(self.b, self.beta, tokens) / tokens,
        ]
    }

    /// The size and the tokens (N*, D*) of lowest loss at compute `flops` [parameters, tokens].
    ///
    /// For C = 6ND in closed form: N* = G (C/6)^(beta/(alpha+beta)) with
    /// G = (alpha A / (beta B))^(1/(alpha+beta)) (Hoffmann et al. 2022, eq. 4). Otherwise the root of
    /// dL/d ln N along the constraint, which is unique because A's share falls and B's share, times
    /// the growth of compute per token, rises with N; bisected to 1e-13 in ln N.
    ///
    /// Nothing when the law has no interior optimum (a term is missing or does not fall).
    pub fn optimum(&self, compute: &Compute, flops: f64) -> Option<(f64, f64)> {
        let usable = self.a > 0.0 && self.b > 0.0 && self.alpha > 0.0 && self.beta > 0.0;
        if !(usable && flops.is_finite() && flops > 0.0) {
            return None;
        }
        let ln_c = flops.ln();
        let sum = self.alpha + self.beta;
        let ln_ratio = (self.alpha * self.a / (self.beta * self.b)).ln();
        let closed = (ln_ratio + self.beta * (ln_c - 6.0_f64.ln())) / sum;
        let ln_n = match compute {
            Compute::SixNd => closed,
            Compute::Attention { .. } => {
                // Sign of dL/d ln N on the constraint, by the logarithms of its two parts.
                let slope = |n: f64| {
                    let (ln_per_token, growth) = compute.log_per_token(n);
                    (self.b * self.beta * growth).ln()
                        - self.beta * (ln_c - ln_per_token)
                        - (self.a * self.alpha).ln()
                        + self.alpha * n
                };
                bisect(slope, closed)?
            }
        };
        let ln_d = ln_c - compute.log_per_token(ln_n).0;
        let found = (ln_n.exp(), ln_d.exp());
        (found.0.is_finite() && found.0 > 0.0 && found.1.is_finite() && found.1 > 0.0)
            .then_some(found)
    }

    /// The frontier between two computes as straight lines: the chord of ln N*(ln C) and ln D*(ln C).
    ///
    /// Under C = 6ND the frontier is straight, and a = beta/(alpha+beta) exactly. Equal ends (one
    /// budget) are spread by 1% for the slope.
    pub fn frontier(&self, compute: &Compute, from: f64, to: f64) -> Option<Frontier> {
        let (from, to) = if to / from > 1.01 { (from, to) } else { (from * 0.995, to * 1.005) };
        let (n0, d0) = self.optimum(compute, from)?;
        let (n1, d1) = self.optimum(compute, to)?;
        let width = to.ln() - from.ln();
        let (a, b) = match compute {
            Compute::SixNd => {
                let sum = self.alpha + self.beta;
                (self.beta / sum, self.alpha / sum)
            }
            Compute::Attention { .. } => ((n1 / n0).ln() / width, (d1 / d0).ln() / width),
        };
        Some(Frontier { n0: n0.ln() - a * from.ln(), a, d0: d0.ln() - b * from.ln(), b })
    }
}

impl Frontier {
    /// N* and D* at compute `flops` [parameters, tokens].
    pub fn at(&self, flops: f64) -> (f64, f64) {
        let ln_c = flops.ln();
        ((self.n0 + self.a * ln_c).exp(), (self.d0 + self.b * ln_c).exp())
    }

    /// The slopes alone.
    pub fn exponents(&self) -> Exponents {
        Exponents { a: self.a, b: self.b }
    }
}

fn term(factor: f64, exponent: f64, value: f64) -> f64 {
    if factor > 0.0 { (factor.ln() - exponent * value.ln()).exp() } else { 0.0 }
}

/// Root of an increasing function near `guess`, or nothing when none lies within 200 of it.
pub(crate) fn bisect(f: impl Fn(f64) -> f64, guess: f64) -> Option<f64> {
    let (mut lo, mut hi, mut width) = (guess, guess, 1.0);
    while f(lo) > 0.0 {
        lo = guess - width;
        width *= 2.0;
        if width > 400.0 {
            return None;
        }
    }
    width = 1.0;
    while f(hi) < 0.0 {
        hi = guess + width;
        width *= 2.0;
        if width > 400.0 {
            return None;
        }
    }
    while hi - lo > 1e-13 * (1.0 + hi.abs()) {
        let mid = 0.5 * (lo + hi);
        if mid <= lo || mid >= hi {
            break;
        }
        if f(mid) < 0.0 { lo = mid } else { hi = mid }
    }
    Some(0.5 * (lo + hi))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hoffmann's unrounded coefficients, as exponents of the numbers in the paper's source.
    fn hoffmann() -> Surface {
        Surface {
            a: 6.0073404_f64.exp(),
            b: 6.0179186_f64.exp(),
            e: 0.5267228_f64.exp(),
            alpha: 0.33917084,
            beta: 0.2849083,
        }
    }

    /// Muennighoff et al. 2023 (arXiv:2305.16264), C4: the optimum at Chinchilla's compute is 70.0B on
    /// 1.372T; Hoffmann's own unrounded law gives 40.36B on 2.379T there (Epoch, arXiv:2404.10102).
    #[test]
    fn the_closed_form_gives_the_published_optima() {
        let (n, d) = hoffmann().optimum(&Compute::SixNd, 5.76e23).unwrap();
        assert!((n / 4.036e10 - 1.0).abs() < 5e-4 && (d / 2.379e12 - 1.0).abs() < 5e-4, "{n} {d}");
        let muennighoff = Surface {
            a: 6.255414_f64.exp(),
            b: 7.3049974_f64.exp(),
            e: 0.6254804_f64.exp(),
            alpha: 0.3526596,
            beta: 0.3526596,
        };
        let (n, d) = muennighoff.optimum(&Compute::SixNd, 5.76e23).unwrap();
        assert!((n / 7.00e10 - 1.0).abs() < 1e-3 && (d / 1.372e12 - 1.0).abs() < 1e-3, "{n} {d}");
    }

    #[test]
    fn attention_that_costs_nothing_gives_the_closed_form() {
        let free = Compute::Attention { k: 0.0, q: 0.7, max_error: 0.0 };
        for flops in [1e10, 1e17, 1e26] {
            let (n, d) = hoffmann().optimum(&free, flops).unwrap();
            let (m, e) = hoffmann().optimum(&Compute::SixNd, flops).unwrap();
            assert!((n / m - 1.0).abs() < 1e-11 && (d / e - 1.0).abs() < 1e-11);
        }
    }

    /// The first-order condition by hand: the loss a little to either side is higher, symmetrically.
    #[test]
    fn the_numerical_optimum_is_a_minimum_on_the_constraint() {
        let compute = Compute::Attention { k: 300.0, q: 0.6, max_error: 0.0 };
        let s = hoffmann();
        for flops in [1e11, 1e15, 1e21] {
            let (n, d) = s.optimum(&compute, flops).unwrap();
            let loss = |n: f64| s.loss(n, flops / compute.per_token(n));
            assert!((loss(n) / s.loss(n, d) - 1.0).abs() < 1e-12);
            let (left, right) = (loss(n * (-1e-3_f64).exp()), loss(n * 1e-3_f64.exp()));
            assert!(left > loss(n) && right > loss(n));
            // Central difference of the slope: zero to the accuracy of the third derivative.
            assert!(((right - left) / 2e-3).abs() < 1e-6, "{}", (right - left) / 2e-3);
        }
    }

    #[test]
    fn the_exponent_under_6nd_is_exact() {
        let s = hoffmann();
        let f = s.frontier(&Compute::SixNd, 1e18, 1e21).unwrap();
        assert_eq!(f.a, s.beta / (s.alpha + s.beta));
        let (n, d) = f.at(5.76e23);
        let (m, e) = s.optimum(&Compute::SixNd, 5.76e23).unwrap();
        assert!((n / m - 1.0).abs() < 1e-11 && (d / e - 1.0).abs() < 1e-11);
    }

    #[test]
    fn a_law_without_a_size_term_has_no_optimum() {
        let s = Surface { a: 0.0, ..hoffmann() };
        assert_eq!(s.optimum(&Compute::SixNd, 1e20), None);
        assert!(s.loss(1e9, 1e10).is_finite());
    }

    #[test]
    fn the_gradient_is_the_difference_quotient() {
        let s = hoffmann();
        let (n, d, h) = (1e9, 2e10, 1e-6);
        let [gn, gd] = s.gradient(n, d);
        let by_n = (s.loss(n * (1.0 + h), d) - s.loss(n * (1.0 - h), d)) / (2.0 * h * n);
        let by_d = (s.loss(n, d * (1.0 + h)) - s.loss(n, d * (1.0 - h))) / (2.0 * h * d);
        assert!((gn / by_n - 1.0).abs() < 1e-6 && (gd / by_d - 1.0).abs() < 1e-6);
    }
}
