//! Where variable projection begins: the sum of squares on a grid of exponents, with the best E, A and
//! B at each node.
//!
//! With the exponents fixed the law is linear in the other three, so a node costs one inner product over
//! the runs (N^-alpha with D^-beta) and a 3 by 3 system; every other sum has one exponent in it, or
//! none, and is taken once.

use multiversion::multiversion;

use crate::fit::data::sample::{Mean, Means};
use crate::fit::numeric::dual::Number as _;
use crate::fit::numeric::lanes::{LANES, Lanes, exp};
use crate::fit::numeric::newton::Vector;
use crate::fit::pins::Pins;

/// The projected objective on a grid of exponents.
pub(in crate::fit) struct Grid {
    /// Values of alpha, and of beta.
    sizes: Vec<f64>,
    data: Vec<f64>,
    /// (residual sum of squares, [E, A, B]) for alpha major, beta minor.
    cells: Vec<(f64, [f64; 3])>,
}

impl Grid {
    /// The square grid of `nodes` exponents from 0.02 to 3, log-spaced; a pinned one is its only value, and so is E.
    pub(in crate::fit) fn over(means: &Means, nodes: usize, pins: Pins) -> Self {
        let spaced = |i: usize| 0.02 * (150.0_f64).powf(i as f64 / (nodes - 1) as f64);
        let or = |pin: Option<f64>| {
            pin.map_or_else(|| (0..nodes).map(spaced).collect::<Vec<f64>>(), |value| vec![value])
        };
        let (sizes, data) = (or(pins.alpha), or(pins.beta));
        let column = |of: fn(&Mean) -> Lanes| means.eights.iter().map(of).collect::<Vec<Lanes>>();
        let (loss, weight) = (column(|m| m.loss), column(|m| m.weight));
        let ones = vec![Lanes::constant(1.0); weight.len()];
        let times = |l: &[Lanes], r: &[Lanes]| -> Vec<Lanes> {
            l.iter().zip(r).map(|(l, r)| *l * *r).collect()
        };
        let weighted_loss = times(&weight, &loss);
        // For each exponent its column, and the sums that it alone decides: u, u^2 and u L.
        let alone = |column: &[Lanes], exponents: &[f64]| -> Vec<(Vec<Lanes>, [f64; 3])> {
            let with = |k: &f64| {
                let u = powers(column, *k);
                let weighted = times(&u, &weight);
                let sums = [dot(&weighted, &ones), dot(&weighted, &u), dot(&u, &weighted_loss)];
                (u, sums)
            };
            exponents.iter().map(with).collect()
        };
        let (by_size, by_data) = (alone(&column(|m| m.x), &sizes), alone(&column(|m| m.y), &data));
        let count = dot(&weight, &ones);
        let (l, ll) = (dot(&weighted_loss, &ones), dot(&weighted_loss, &loss) + means.within);
        let mut cells = Vec::with_capacity(sizes.len() * data.len());
        for (u, s) in &by_size {
            let weighted = times(u, &weight);
            for (v, d) in &by_data {
                let uv = dot(&weighted, v);
                let gram = [[count, s[0], d[0]], [s[0], s[1], uv], [d[0], uv, d[1]]];
                let rhs = [l, s[2], d[2]];
                cells.push(match pins.e {
                    Some(e) => nonnegative_above(e, &gram, &rhs, ll),
                    None => nonnegative(&gram, &rhs, ll),
                });
            }
        }
        Self { sizes, data, cells }
    }

    /// The `n` nodes with the smallest sums, smallest first.
    pub(in crate::fit) fn best(&self, n: usize) -> Vec<Vector> {
        let mut by_value: Vec<usize> = (0..self.cells.len()).collect();
        by_value.sort_by(|l, r| self.cells[*l].0.total_cmp(&self.cells[*r].0).then(l.cmp(r)));
        let nodes = self.data.len();
        by_value.into_iter().take(n).map(|k| self.node(k / nodes, k % nodes)).collect()
    }

    /// `[A, alpha, B, beta, E]` at a node.
    pub(in crate::fit) fn node(&self, i: usize, j: usize) -> Vector {
        let (_, [e, a, b]) = self.cells[i * self.data.len() + j];
        [a, self.sizes[i], b, self.data[j], e]
    }

    /// Every `n`th node in each direction, from the second on where there is one.
    pub(in crate::fit) fn every(&self, n: usize) -> Vec<Vector> {
        let along = |values: &[f64]| (values.len().min(2) - 1..values.len()).step_by(n);
        let row = |i: usize| along(&self.data).map(move |j| self.node(i, j));
        along(&self.sizes).flat_map(row).collect()
    }

    /// Nodes that no neighbour is below.
    pub(in crate::fit) fn local_minima(&self) -> Vec<Vector> {
        let (m, n) = (self.sizes.len(), self.data.len());
        let at = |i: usize, j: usize| self.cells[i * n + j].0;
        let mut found = Vec::new();
        for i in 0..m {
            for j in 0..n {
                let near = |v: usize, count: usize| v.saturating_sub(1)..=(v + 1).min(count - 1);
                if near(i, m).all(|p| near(j, n).all(|q| at(i, j) <= at(p, q))) {
                    found.push(self.node(i, j));
                }
            }
        }
        found
    }
}

/// exp(-k x).
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn powers(column: &[Lanes], k: f64) -> Vec<Lanes> {
    let mut powers = column.to_vec();
    for power in &mut powers {
        for l in 0..LANES {
            power[l] = exp(-k * power[l]);
        }
    }
    powers
}

/// Inner product.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn dot(left: &[Lanes], right: &[Lanes]) -> f64 {
    let mut sum = Lanes::default();
    for (l, r) in left.iter().zip(right) {
        sum += *l * *r;
    }
    sum.total()
}

/// Least squares in three unknowns, none below zero, from the normal equations. Returns the residual
/// sum of squares and the unknowns.
///
/// The plain solution where it is not negative; else the best of the other subsets of unknowns whose
/// plain solution is not (exact for three).
pub(in crate::fit) fn nonnegative(
    gram: &[[f64; 3]; 3],
    rhs: &[f64; 3],
    ll: f64,
) -> (f64, [f64; 3]) {
    let fit = |x: [f64; 3]| -> Option<(f64, [f64; 3])> {
        let rss = ll - (x[0] * rhs[0] + x[1] * rhs[1] + x[2] * rhs[2]);
        (x.iter().all(|v| *v >= 0.0) && rss < ll).then_some((rss, x))
    };
    if let Some(best) = solve(gram, rhs, [0, 1, 2]).and_then(fit) {
        return best;
    }
    let pairs = [[0, 1], [0, 2], [1, 2]].map(|free| solve(gram, rhs, free));
    let singles = [[0], [1], [2]].map(|free| solve(gram, rhs, free));
    let fits = pairs.into_iter().chain(singles).flatten().filter_map(fit);
    fits.min_by(|l, r| l.0.total_cmp(&r.0)).unwrap_or((ll, [0.0; 3]))
}

/// The same with the first unknown given.
fn nonnegative_above(e: f64, gram: &[[f64; 3]; 3], rhs: &[f64; 3], ll: f64) -> (f64, [f64; 3]) {
    let above = [0.0, rhs[1] - e * gram[0][1], rhs[2] - e * gram[0][2]];
    let left = ll - 2.0 * e * rhs[0] + e * e * gram[0][0];
    let fit = |x: [f64; 3]| {
        let rss = left - (x[1] * above[1] + x[2] * above[2]);
        (x[1] >= 0.0 && x[2] >= 0.0).then_some((rss, [e, x[1], x[2]]))
    };
    if let Some(best) = solve(gram, &above, [1, 2]).and_then(fit) {
        return best;
    }
    let fits =
        [solve(gram, &above, [1]), solve(gram, &above, [2])].into_iter().flatten().filter_map(fit);
    fits.min_by(|l, r| l.0.total_cmp(&r.0)).unwrap_or((left, [e, 0.0, 0.0]))
}

/// Solves the normal equations of the `free` unknowns by Cholesky, the rest being zero.
fn solve<const N: usize>(
    gram: &[[f64; 3]; 3],
    rhs: &[f64; 3],
    free: [usize; N],
) -> Option<[f64; 3]> {
    let mut l = [[0.0; N]; N];
    let mut z = [0.0; N];
    for i in 0..N {
        for j in 0..=i {
            let s = gram[free[i]][free[j]] - (0..j).map(|k| l[i][k] * l[j][k]).sum::<f64>();
            if i == j {
                if s <= 1e-13 * gram[free[i]][free[i]] {
                    return None;
                }
                l[i][i] = s.sqrt();
            } else {
                l[i][j] = s / l[j][j];
            }
        }
        z[i] = (rhs[free[i]] - (0..i).map(|k| l[i][k] * z[k]).sum::<f64>()) / l[i][i];
    }
    let mut x = [0.0; 3];
    for i in (0..N).rev() {
        x[free[i]] = (z[i] - (i + 1..N).map(|k| l[k][i] * x[free[k]]).sum::<f64>()) / l[i][i];
    }
    Some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small by hand: the unconstrained answer of x + y = 1, x - y = 3, 2z = 2 has y = -1, so y is held
    /// at 0 and x becomes the mean of 1 and 3.
    #[test]
    fn the_inner_problem_keeps_its_signs() {
        let gram = [[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 4.0]];
        let (rss, x) = nonnegative(&gram, &[4.0, -2.0, 4.0], 14.0);
        assert!(x[1] == 0.0 && (x[0] - 2.0).abs() < 1e-14 && (x[2] - 1.0).abs() < 1e-14, "{x:?}");
        assert!((rss - 2.0).abs() < 1e-13, "{rss}");
    }
}
