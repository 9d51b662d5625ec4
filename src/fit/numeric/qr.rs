//! The linear algebra of least squares: Householder's QR factorisation of a tall matrix of few columns.
//!
//! Never the normal equations: J'J squares the condition number and loses half of the digits.
//! Columns are scaled to unit length first, so that the units of the parameters do not matter
//! (van der Sluis 1969, doi:10.1007/BF02165096). Algorithms 5.2.1 and 5.1.3 of Golub & Van Loan 2013.

use multiversion::multiversion;

use crate::fit::numeric::dual::MAX;
use crate::fit::numeric::lanes::{LANES, Lanes};

pub(in crate::fit) type Vector = [f64; MAX];
pub(in crate::fit) type Matrix = [[f64; MAX]; MAX];

/// Below this part of the largest a diagonal entry of R is rounding noise.
const SINGULAR: f64 = 1e-15;

/// R and Q'b of `columns` scaled to unit length.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Factor {
    /// Columns.
    p: usize,
    /// Upper triangle.
    r: Matrix,
    /// Householder's vectors, the first `j` entries of number `j` being no part of it, and the squares
    /// of their lengths.
    reflectors: Vec<Vec<f64>>,
    squares: Vector,
    /// The first entries of Q'b: what the columns can explain of b.
    explained: Vector,
    /// Length of each column; 1 for a column of zeros.
    pub(in crate::fit) length: Vector,
}

/// Ordinary least squares: the coefficients with which `columns` come nearest to `y`, and (X'X)^-1. Nothing
/// where the columns, at most [`MAX`], are dependent or more than the rows.
pub(crate) fn ordinary(columns: Vec<Vec<f64>>, y: &[f64]) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    let p = columns.len();
    if y.len() < p {
        return None;
    }
    let factor = factor(columns, y);
    let (theta, covariance) = (factor.step(&[0.0; MAX])?, factor.covariance()?);
    let square = covariance[..p].iter().map(|row| row[..p].to_vec()).collect();
    Some((theta[..p].to_vec(), square))
}

/// Factors the matrix of `columns` (each of the length of `b`, at most [`MAX`]).
pub(in crate::fit) fn factor(mut columns: Vec<Vec<f64>>, b: &[f64]) -> Factor {
    let p = columns.len();
    let mut length = [1.0; MAX];
    for (column, length) in columns.iter_mut().zip(&mut length) {
        let norm = norm(column);
        if norm > 0.0 {
            *length = norm;
            for v in column {
                *v /= norm;
            }
        }
    }
    let mut r = [[0.0; MAX]; MAX];
    let mut squares = [0.0; MAX];
    for j in 0..p {
        let (done, rest) = columns.split_at_mut(j + 1);
        let column = &mut done[j];
        for (i, above) in column.iter().take(j).enumerate() {
            r[i][j] = *above;
        }
        let Some(v) = column.get_mut(j..).filter(|v| !v.is_empty()) else { continue };
        let size = norm(v);
        r[j][j] = if v[0] > 0.0 { -size } else { size };
        v[0] -= r[j][j];
        squares[j] = dot(v, v);
        for c in rest {
            reflect(v, squares[j], &mut c[j..]);
        }
    }
    let mut factor = Factor { p, r, reflectors: columns, squares, explained: [0.0; MAX], length };
    factor.explained = factor.explain(b.to_vec());
    factor
}

/// Mirrors `c` in the plane across `v`, whose square is `square`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn reflect(v: &[f64], square: f64, c: &mut [f64]) {
    if square > 0.0 {
        let times = 2.0 * dot(v, c) / square;
        c.iter_mut().zip(v).for_each(|(y, x)| *y -= times * x);
    }
}

/// The sum of the products: in order for short columns, else as eight sums of every eighth that are joined in pairs, so
/// that the bits are the same whatever the width of the machine's instructions.
#[expect(clippy::inline_always, reason = "must take the instruction set of the caller")]
#[inline(always)]
fn dot(l: &[f64], r: &[f64]) -> f64 {
    if l.len() < SHORT {
        return l.iter().zip(r).map(|(l, r)| l * r).sum();
    }
    let mut sums = Lanes::default();
    let (l, r) = (l.chunks_exact(LANES), r.chunks_exact(LANES));
    let rest: f64 = l.remainder().iter().zip(r.remainder()).map(|(l, r)| l * r).sum();
    for (l, r) in l.zip(r) {
        for k in 0..LANES {
            sums[k] += l[k] * r[k];
        }
    }
    sums.total() + rest
}

/// Rows below which a sum is taken in order: eight sums gain nothing there.
const SHORT: usize = 64;

impl Factor {
    /// The first entries of Q'b.
    fn explain(&self, mut b: Vec<f64>) -> Vector {
        let mut explained = [0.0; MAX];
        for j in 0..self.p.min(b.len()) {
            reflect(&self.reflectors[j][j..], self.squares[j], &mut b[j..]);
            explained[j] = b[j];
        }
        explained
    }

    /// How much of |b|^2 the columns explain: the decrease of the sum of squares that the full step
    /// promises.
    pub(in crate::fit) fn promised(&self) -> f64 {
        self.explained[..self.p].iter().map(|v| v * v).sum()
    }

    /// The step s that minimises |J s - b|^2 + |w s|^2, w being zero for none: in the units of the
    /// parameters. Rows of w are rotated into R one at a time (Moré 1978, doi:10.1007/BFb0067700,
    /// section 3). Nothing when the system is singular.
    pub(in crate::fit) fn step(&self, w: &Vector) -> Option<Vector> {
        self.solve(w, self.explained)
    }

    /// The same against another b.
    pub(in crate::fit) fn step_against(&self, w: &Vector, b: Vec<f64>) -> Option<Vector> {
        self.solve(w, self.explain(b))
    }

    fn solve(&self, w: &Vector, mut explained: Vector) -> Option<Vector> {
        let p = self.p;
        let mut r = self.r;
        for j in 0..p {
            let mut row = [0.0; MAX];
            row[j] = w[j] / self.length[j];
            let mut right = 0.0;
            for k in j..p {
                if row[k] == 0.0 {
                    continue;
                }
                let size = r[k][k].hypot(row[k]);
                let (c, s) = (r[k][k] / size, row[k] / size);
                for l in k..p {
                    (r[k][l], row[l]) = (c * r[k][l] + s * row[l], c * row[l] - s * r[k][l]);
                }
                (explained[k], right) =
                    (c * explained[k] + s * right, c * right - s * explained[k]);
            }
        }
        if !independent(&r, p) {
            return None;
        }
        let mut x = back(&r, p, &explained);
        for (x, length) in x.iter_mut().zip(&self.length) {
            *x /= length;
        }
        x[..p].iter().all(|v| v.is_finite()).then_some(x)
    }

    /// The decrease of |b|^2 that the linear model promises for a step, in the units of the parameters.
    pub(in crate::fit) fn decrease(&self, step: &Vector) -> f64 {
        (0..self.p)
            .map(|i| {
                let moved: f64 = (i..self.p).map(|k| self.r[i][k] * step[k] * self.length[k]).sum();
                moved * (2.0 * self.explained[i] - moved)
            })
            .sum()
    }

    /// (J'J)^-1 in the units of the parameters, or nothing when the columns are dependent.
    pub(in crate::fit) fn covariance(&self) -> Option<Matrix> {
        if !independent(&self.r, self.p) {
            return None;
        }
        let p = self.p;
        // Column j of R^-1.
        let inverse: Matrix = std::array::from_fn(|j| {
            let mut unit = [0.0; MAX];
            unit[j] = 1.0;
            back(&self.r, p, &unit)
        });
        let mut covariance = [[0.0; MAX]; MAX];
        for i in 0..p {
            for j in 0..p {
                let dot: f64 = (i.max(j)..p).map(|k| inverse[k][i] * inverse[k][j]).sum();
                covariance[i][j] = dot / (self.length[i] * self.length[j]);
            }
        }
        Some(covariance)
    }

    /// Condition number of J'J with columns of unit length: the square of that of J [-]. Singular
    /// values by one-sided Jacobi rotations of R (Demmel & Veselić 1992, doi:10.1137/0613074).
    pub(in crate::fit) fn condition(&self) -> f64 {
        let p = self.p;
        // Columns of R as rows, to rotate pairs of them.
        let mut m: Matrix = std::array::from_fn(|j| std::array::from_fn(|i| self.r[i][j]));
        let dot = |l: &Vector, r: &Vector| l.iter().zip(r).map(|(x, y)| x * y).sum::<f64>();
        for _ in 0..60 {
            let mut turned = false;
            for i in 0..p {
                for j in i + 1..p {
                    let (aa, bb, ab) = (dot(&m[i], &m[i]), dot(&m[j], &m[j]), dot(&m[i], &m[j]));
                    if ab.abs() <= 1e-15 * (aa * bb).sqrt() || ab == 0.0 {
                        continue;
                    }
                    turned = true;
                    let zeta = (bb - aa) / (2.0 * ab);
                    let t = zeta.signum() / (zeta.abs() + zeta.hypot(1.0));
                    let c = 1.0 / t.hypot(1.0);
                    let (above, below) = m.split_at_mut(j);
                    for (x, y) in above[i].iter_mut().zip(&mut below[0]) {
                        (*x, *y) = (c * (*x - t * *y), c * (t * *x + *y));
                    }
                }
            }
            if !turned {
                break;
            }
        }
        let squares = m[..p].iter().map(|c| dot(c, c));
        let (least, most) = squares.fold((f64::MAX, 0.0_f64), |(l, h), v| (l.min(v), h.max(v)));
        if p == 0 || most == 0.0 {
            return 1.0;
        }
        // A singular value below rounding says only "at least this".
        most / least.max(1e-32 * most)
    }
}

/// Whether the diagonal of a triangle is above rounding noise.
fn independent(r: &Matrix, p: usize) -> bool {
    let most = (0..p).map(|i| r[i][i].abs()).fold(0.0, f64::max);
    (0..p).all(|i| r[i][i].abs() > SINGULAR * most)
}

/// Solves R x = b from the last row up.
fn back(r: &Matrix, p: usize, b: &Vector) -> Vector {
    let mut x = [0.0; MAX];
    for i in (0..p).rev() {
        let known: f64 = (i + 1..p).map(|k| r[i][k] * x[k]).sum();
        x[i] = (b[i] - known) / r[i][i];
    }
    x
}

/// Euclidean length. Plain: a sum of squares that overflows is no use to anybody.
fn norm(v: &[f64]) -> f64 {
    v.iter().map(|x| x * x).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// y = 1 + 2 x with residuals (1, -2, 1), which are orthogonal to 1 and x: the line is exact by hand.
    #[test]
    fn a_straight_line_is_exact() {
        let x = [1.0, 2.0, 3.0];
        let f = factor(vec![vec![1.0; 3], x.to_vec()], &[3.0 + 1.0, 5.0 - 2.0, 7.0 + 1.0]);
        let s = f.step(&[0.0; MAX]).unwrap();
        assert!((s[0] - 1.0).abs() < 1e-14 && (s[1] - 2.0).abs() < 1e-14, "{s:?}");
        // |b|^2 = 89, of which the residuals are 6.
        assert!((f.promised() - 83.0).abs() < 1e-13 && (f.decrease(&s) - 83.0).abs() < 1e-13);
        // (J'J)^-1 of three points at 1, 2, 3 is [[14, -6], [-6, 3]] / 6.
        let c = f.covariance().unwrap();
        for (got, want) in [(c[0][0], 14.0), (c[0][1], -6.0), (c[1][1], 3.0)] {
            assert!((got - want / 6.0).abs() < 1e-14, "{c:?}");
        }
    }

    /// Ridge regression in one column: s = x'b / (x'x + w^2).
    #[test]
    fn damping_is_ridge_regression() {
        let f = factor(vec![vec![1.0, 2.0, 2.0]], &[3.0, 0.0, 3.0]);
        let mut w = [0.0; MAX];
        w[0] = 4.0;
        assert!((f.step(&w).unwrap()[0] - 9.0 / 25.0).abs() < 1e-15);
    }

    /// Two unit columns with cosine c: J'J has the eigenvalues 1 + c and 1 - c (exact).
    #[test]
    fn condition_is_exact_where_the_normal_equations_have_lost_it() {
        let angle = 1e-6_f64;
        let columns = vec![vec![1.0, 0.0, 0.0], vec![7.0 * angle.cos(), 7.0 * angle.sin(), 0.0]];
        let f = factor(columns, &[0.0; 3]);
        let want = (0.5 * angle).tan().powi(-2);
        assert!((f.condition() / want - 1.0).abs() < 1e-9, "{} {want}", f.condition());
    }

    #[test]
    fn dependent_columns_have_no_step_and_no_covariance() {
        let f = factor(vec![vec![1.0, 2.0, 3.0], vec![2.0, 4.0, 6.0]], &[1.0, 0.0, 0.0]);
        assert_eq!((f.step(&[0.0; MAX]), f.covariance()), (None, None));
        assert!(f.condition() > 1e29);
    }
}
