//! The formula of a law in all the ways in which it is asked: one row or eight at a time, with and without gradient.
//!
//! Eight rows at a time are what a fit takes; their exponentials are those of `lanes`, within an ulp of the system's.

use multiversion::multiversion;

use crate::fit::law::run::{Centre, Run};
use crate::fit::numeric::dual::{Dual, Gradient, Number, Real as _};
use crate::fit::numeric::lanes::{LANES, Lanes};

/// ln L of the `K` working parameters of a law.
pub(in crate::fit) trait Formula<const K: usize> {
    /// ln L of a run.
    fn ln_loss<T: Number>(theta: &[T], run: &Run<T::Real>, centre: &Centre) -> T;
}

/// ln L of one row.
type OfRow<T> = fn(&[T], &Run, &Centre) -> T;

/// ln L of rows, into the last argument.
type OfRows = fn(&[f64], &[Run<Lanes>], &Centre, &mut [Lanes]);

/// The same, and its derivative in each parameter, one column each.
type Slopes = fn(&[f64], &[Run<Lanes>], &Centre, &mut [Lanes], &mut [Vec<Lanes>]);

/// A formula, ready to be asked.
#[derive(Debug)]
pub(in crate::fit) struct Form {
    pub(in crate::fit) value: OfRow<f64>,
    pub(in crate::fit) gradient: OfRow<Dual>,
    pub(in crate::fit) values: OfRows,
    pub(in crate::fit) slopes: Slopes,
}

impl Form {
    pub(in crate::fit) const fn of<F: Formula<K>, const K: usize>() -> Self {
        Self {
            value: F::ln_loss::<f64>,
            gradient: F::ln_loss::<Dual>,
            values: values::<F, K>,
            slopes: slopes::<F, K>,
        }
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn values<F: Formula<K>, const K: usize>(
    theta: &[f64],
    rows: &[Run<Lanes>],
    centre: &Centre,
    out: &mut [Lanes],
) {
    let theta: [Lanes; K] = std::array::from_fn(|i| Lanes::constant(theta[i]));
    for (run, out) in rows.iter().zip(out) {
        *out = F::ln_loss(&theta, run, centre);
    }
}

#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn slopes<F: Formula<K>, const K: usize>(
    theta: &[f64],
    rows: &[Run<Lanes>],
    centre: &Centre,
    out: &mut [Lanes],
    columns: &mut [Vec<Lanes>],
) {
    let theta = Gradient::<Lanes, K>::parameters(theta);
    for (i, (run, out)) in rows.iter().zip(out).enumerate() {
        let there = F::ln_loss(&theta, run, centre);
        *out = there.value;
        for (column, slope) in columns.iter_mut().zip(there.gradient) {
            column[i] = slope;
        }
    }
}

/// Rows that `rows` of eight hold.
pub(in crate::fit) fn flat(eights: &[Lanes], rows: usize) -> Vec<f64> {
    (0..rows).map(|i| eights[i / LANES][i % LANES]).collect()
}

/// ln of a sum of exponentials.
#[inline(always)]
pub(in crate::fit) fn log_sum<T: Number, const K: usize>(terms: [T; K]) -> T {
    let mut top = terms[0].value();
    for t in &terms[1..] {
        top = top.if_below(t.value(), t.value(), top);
    }
    let mut sum = terms[0].plus(-top).exp();
    for t in &terms[1..] {
        sum = sum + t.plus(-top).exp();
    }
    sum.ln().plus(top)
}
