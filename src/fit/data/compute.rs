//! How much compute a token costs, as a function of model size: the constraint of the frontier.

use crate::fit::numeric::stats;
use crate::fit::result::Compute;

/// Exponent of attention's share when one size cannot show it: at fixed aspect ratio, layers times
/// width grow as N^(2/3) (N = 12 layers width^2, Kaplan et al. 2020, eq. 2.1).
const FIXED_ASPECT: f64 = 2.0 / 3.0;

impl Compute {
    /// Describes the runs `(N, FLOPs per token)` by the simplest form that holds [parameters,
    /// FLOP/token].
    ///
    /// - 6N within one part in a million on every row: [`Compute::SixNd`].
    /// - More than 6N on every row: 6N + k N^q, from a straight line through ln(c - 6N) over ln N;
    ///   with a single size q is 2/3.
    /// - Otherwise (some row below 6N: an N that counts parameters which do no work) proportional,
    ///   (6 + k) N, and `max_error` says how bad that is.
    ///
    /// Rows that are not finite and above 0 are passed over; without any row the answer is 6ND.
    pub fn fit(rows: &[(f64, f64)]) -> Self {
        let good = |v: f64| v.is_finite() && v > 0.0;
        let mut rows: Vec<(f64, f64)> =
            rows.iter().copied().filter(|r| good(r.0) && good(r.1)).collect();
        rows.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.total_cmp(&r.1)));
        if rows.iter().all(|(n, c)| (c / (6.0 * n) - 1.0).abs() <= 1e-6) {
            return Self::SixNd;
        }
        let (mut k, mut q);
        if rows.iter().all(|(n, c)| c / (6.0 * n) > 1.0 + 1e-9) {
            let logs: Vec<(f64, f64)> =
                rows.iter().map(|(n, c)| (n.ln(), (c - 6.0 * n).ln())).collect();
            q = stats::line(&logs).map_or(FIXED_ASPECT, |l| l.slope);
            k = (logs.iter().map(|(n, extra)| extra - q * n).sum::<f64>() / logs.len() as f64)
                .exp();
            // A share that falls with size, or grows faster than N^2, is not attention but scatter.
            if !(0.0..=2.0).contains(&q) || !k.is_finite() {
                (k, q) = proportional(&rows);
            }
        } else {
            (k, q) = proportional(&rows);
        }
        let form = Self::Attention { k, q, max_error: 0.0 };
        let max_error =
            rows.iter().map(|(n, c)| (form.per_token(*n) / c - 1.0).abs()).fold(0.0, f64::max);
        Self::Attention { k, q, max_error }
    }

    /// Training FLOPs per token of a model of `params` parameters [FLOP/token].
    pub fn per_token(&self, params: f64) -> f64 {
        match self {
            Self::SixNd => 6.0 * params,
            Self::Attention { k, q, .. } => 6.0 * params + k * params.powf(*q),
        }
    }

    /// ln of FLOPs per token, and its slope in ln N, at ln N.
    pub(crate) fn log_per_token(&self, ln_n: f64) -> (f64, f64) {
        let six = 6.0_f64.ln() + ln_n;
        match self {
            // (6 + k) N: k may be below zero here, so not by its logarithm.
            Self::Attention { k, q: 1.0, .. } => ((6.0 + k).ln() + ln_n, 1.0),
            Self::Attention { k, q, .. } if *k > 0.0 => {
                let ratio = (k.ln() + q * ln_n - six).exp();
                if ratio.is_infinite() {
                    return (k.ln() + q * ln_n, *q);
                }
                (six + ratio.ln_1p(), (1.0 + q * ratio) / (1.0 + ratio))
            }
            Self::SixNd | Self::Attention { .. } => (six, 1.0),
        }
    }
}

/// (6 + k) N with the mean ratio, in logarithms.
fn proportional(rows: &[(f64, f64)]) -> (f64, f64) {
    let mean = rows.iter().map(|(n, c)| (c / n).ln()).sum::<f64>() / rows.len() as f64;
    (mean.exp() - 6.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn six_nd_is_recognised() {
        assert_eq!(Compute::fit(&[(1e6, 6e6), (3e9, 18e9 * (1.0 + 1e-8))]), Compute::SixNd);
    }

    /// Exact counts for width d = 16 m, m layers, context 128: N = 12 m d^2 and 6 m T d on top, so that
    /// q = 2/3 exactly.
    #[test]
    fn attention_at_fixed_aspect_has_exponent_two_thirds() {
        let rows: Vec<(f64, f64)> = (2..9)
            .map(|m| {
                let (layers, width) = (f64::from(m), 16.0 * f64::from(m));
                let n = 12.0 * layers * width * width;
                (n, 6.0 * n + 6.0 * layers * 128.0 * width)
            })
            .collect();
        let Compute::Attention { k, q, max_error } = Compute::fit(&rows) else { panic!() };
        assert!((q - 2.0 / 3.0).abs() < 1e-9 && max_error < 1e-9, "{k} {q} {max_error}");
    }

    #[test]
    fn one_size_takes_the_exponent_of_a_fixed_aspect() {
        let Compute::Attention { q, max_error, .. } = Compute::fit(&[(1e6, 7e6), (1e6, 7e6)])
        else {
            panic!()
        };
        assert!((q - 2.0 / 3.0).abs() < 1e-12 && max_error < 1e-12);
    }

    #[test]
    fn parameters_that_do_no_work_give_a_smaller_factor_and_its_error() {
        let fit = Compute::fit(&[(1e6, 5e6), (1e7, 5.5e7)]);
        let Compute::Attention { k, q: 1.0, max_error } = fit else { panic!("{fit:?}") };
        assert!(k < 0.0 && max_error > 0.04 && fit.per_token(1e6) > 0.0);
        let (ln, slope) = fit.log_per_token(1e6_f64.ln());
        assert!((ln.exp() / fit.per_token(1e6) - 1.0).abs() < 1e-12 && slope == 1.0);
    }

    #[test]
    fn logarithm_and_value_agree() {
        let c = Compute::Attention { k: 40.0, q: 0.7, max_error: 0.0 };
        for n in [1e2, 1e6, 1e12] {
            let (ln, slope) = c.log_per_token(f64::ln(n));
            assert!((ln.exp() / c.per_token(n) - 1.0).abs() < 1e-12);
            let h = 1e-5;
            let by =
                (c.per_token(n * f64::exp(h)) / c.per_token(n * f64::exp(-h))).ln() / (2.0 * h);
            assert!((slope - by).abs() < 1e-8);
        }
    }
}
