//! The formula of a law in all the ways in which it is asked: one row or eight at a time, with and without gradient.
//!
//! Eight rows at a time are what a fit takes; their exponentials are those of `lanes`, within an ulp of the system's.
//! Read by: `law`, `fitted`.

use multiversion::multiversion;

use crate::fit::dual::{Dual, Gradient, Number};
use crate::fit::lanes::{LANES, Lanes};
use crate::fit::law::{Centre, Run};

/// ln L of the `K` working parameters of a law.
pub(super) trait Formula<const K: usize> {
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
pub(super) struct Form {
    pub(super) value: OfRow<f64>,
    pub(super) gradient: OfRow<Dual>,
    pub(super) values: OfRows,
    pub(super) slopes: Slopes,
}

impl Form {
    pub(super) const fn of<F: Formula<K>, const K: usize>() -> Self {
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
pub(super) fn flat(eights: &[Lanes], rows: usize) -> Vec<f64> {
    (0..rows).map(|i| eights[i / LANES][i % LANES]).collect()
}
