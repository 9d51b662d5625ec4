//! How well cells determine N* and the loss ahead: J'J of the five-parameter Chinchilla law about the centre of a grid.

use crate::plan::Cell;

/// Exponents of size and data (Hoffmann et al. 2022, unrounded as in arXiv:2404.10102).
const EXPONENTS: (f64, f64) = (0.3392, 0.2849);

/// Share of the loss at the centre that size and data can take away, as at Chinchilla's smaller runs.
const REDUCIBLE: f64 = 0.33;

/// Precision of a weak prior of each parameter over that of one cell's ln L: no design is singular.
const PRIOR: f64 = 1e-6;

/// L = E + a exp(-alpha u) + b exp(-beta v) with u and v the logarithms of N and D over those of the
/// centre, where L = 1 and the size is the best for the compute.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    /// Means of ln N and ln D.
    centre: (f64, f64),
    e: f64,
    a: f64,
    b: f64,
    alpha: f64,
    beta: f64,
}

impl Local {
    pub(super) fn about(cells: &[Cell]) -> Self {
        let n = cells.len().max(1) as f64;
        let mean = |of: &dyn Fn(&Cell) -> f64| cells.iter().map(|c| of(c).ln()).sum::<f64>() / n;
        let (alpha, beta) = EXPONENTS;
        Self {
            centre: (mean(&Cell::params), mean(&|c| c.recipe.tokens() as f64)),
            e: 1.0 - REDUCIBLE,
            a: REDUCIBLE * beta / (alpha + beta),
            b: REDUCIBLE * alpha / (alpha + beta),
            alpha,
            beta,
        }
    }

    pub(super) fn loss(&self, u: f64, v: f64) -> f64 {
        self.e + self.a * (-self.alpha * u).exp() + self.b * (-self.beta * v).exp()
    }

    /// Derivatives of ln L by E, ln a, ln b, alpha and beta.
    pub(super) fn row(&self, u: f64, v: f64) -> [f64; 5] {
        let (size, data) = (self.a * (-self.alpha * u).exp(), self.b * (-self.beta * v).exp());
        [1.0, size, data, -u * size, -v * data].map(|d| d / self.loss(u, v))
    }

    /// ln of the best N at u + v = `c`, over the centre.
    pub(super) fn best(&self, c: f64) -> f64 {
        ((self.alpha * self.a / (self.beta * self.b)).ln() + self.beta * c)
            / (self.alpha + self.beta)
    }

    /// Derivatives of that by the same five.
    pub(super) fn best_row(&self, c: f64) -> [f64; 5] {
        let (best, sum) = (self.best(c), self.alpha + self.beta);
        [0.0, 1.0, -1.0, 1.0 / self.alpha - best, c - best - 1.0 / self.beta].map(|d| d / sum)
    }

    /// The derivatives at a cell.
    pub(super) fn row_of(&self, cell: &Cell) -> [f64; 5] {
        let u = cell.params().ln() - self.centre.0;
        self.row(u, (cell.recipe.tokens() as f64).ln() - self.centre.1)
    }

    /// Variances of ln N* and of ln L there at compute `ahead`, in units of that of one cell's ln L, from the sum of
    /// the cells' [`outer`] products.
    pub(super) fn variances(&self, mut information: [[f64; 5]; 5], ahead: f64) -> (f64, f64) {
        for (i, row) in information.iter_mut().enumerate() {
            row[i] += PRIOR;
        }
        // C = 6 N D is near enough for where to look.
        let c = (ahead / 6.0).ln() - self.centre.0 - self.centre.1;
        let best = self.best(c);
        (quadratic(information, self.best_row(c)), quadratic(information, self.row(best, c - best)))
    }
}

/// g g'.
pub(super) fn outer(g: [f64; 5]) -> [[f64; 5]; 5] {
    g.map(|l| g.map(|r| l * r))
}

/// `sum` and `times` of `more`.
pub(super) fn plus(mut sum: [[f64; 5]; 5], more: [[f64; 5]; 5], times: f64) -> [[f64; 5]; 5] {
    for (to, from) in sum.iter_mut().zip(more) {
        to.iter_mut().zip(from).for_each(|(to, from)| *to += times * from);
    }
    sum
}

/// g' S^-1 g for a positive definite S, by its Cholesky factor: the squared length of L^-1 g.
pub(super) fn quadratic(s: [[f64; 5]; 5], g: [f64; 5]) -> f64 {
    let (mut l, mut y) = ([[0.0; 5]; 5], [0.0; 5]);
    for i in 0..5 {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i][k] * l[j][k]).sum();
            let rest = s[i][j] - dot;
            l[i][j] = if i == j { rest.max(f64::MIN_POSITIVE).sqrt() } else { rest / l[j][j] };
        }
        let dot: f64 = (0..i).map(|k| l[i][k] * y[k]).sum();
        y[i] = (g[i] - dot) / l[i][i];
    }
    y.iter().map(|v| v * v).sum()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{seeds, study, variances};
    use super::*;

    #[test]
    fn derivatives_are_those_of_numbers() {
        let law = Local::about(&study());
        let (u, v, c, h) = (0.7, -0.4, 2.0, 1e-6);
        // The best size by search, not by the formula.
        let search = |law: &Local| {
            let (mut low, mut high) = (-10.0, 10.0);
            for _ in 0..200 {
                let (l, r) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
                if law.loss(l, c - l) < law.loss(r, c - r) { high = r } else { low = l }
            }
            0.5 * (low + high)
        };
        assert!((law.best(c) - search(&law)).abs() < 1e-6);
        assert!(law.best(0.0).abs() < 1e-12, "the centre is optimal");
        let moved = |i: usize, by: f64| match i {
            0 => Local { e: law.e + by, ..law },
            1 => Local { a: law.a * by.exp(), ..law },
            2 => Local { b: law.b * by.exp(), ..law },
            3 => Local { alpha: law.alpha + by, ..law },
            _ => Local { beta: law.beta + by, ..law },
        };
        for i in 0..5 {
            let (less, more) = (moved(i, -h), moved(i, h));
            let slope = (more.loss(u, v).ln() - less.loss(u, v).ln()) / (2.0 * h);
            assert!((slope - law.row(u, v)[i]).abs() < 1e-8, "ln L by {i}");
            let wide = 1e-3;
            let slope = (search(&moved(i, wide)) - search(&moved(i, -wide))) / (2.0 * wide);
            assert!((slope - law.best_row(c)[i]).abs() < 1e-3, "ln N* by {i}: {slope}");
        }
    }

    #[test]
    fn the_quadratic_form_is_that_of_the_inverse() {
        let mut s = [[0.0; 5]; 5];
        for (i, row) in s.iter_mut().enumerate() {
            row[i] = (i + 1) as f64;
        }
        assert!((quadratic(s, [1.0; 5]) - (1.0 + 0.5 + 1.0 / 3.0 + 0.25 + 0.2)).abs() < 1e-12);
        // [[2, 1], [1, 2]]: its inverse is [[2, -1], [-1, 2]] / 3.
        (s[0][0], s[0][1], s[1][0], s[1][1]) = (2.0, 1.0, 1.0, 2.0);
        assert!((quadratic(s, [1.0, 2.0, 0.0, 0.0, 0.0]) - 2.0).abs() < 1e-12);
    }

    /// Twice the cells at the same places: half the variance.
    #[test]
    fn seeds_are_worth_their_number() {
        let two = study();
        let one: Vec<Cell> = two.iter().filter(|c| seeds(c) == (0, 0)).cloned().collect();
        assert_eq!(two.len(), 2 * one.len());
        let law = Local::about(&two);
        let (l, r) = (variances(&law, &one, 1e13), variances(&law, &two, 1e13));
        assert!((l.0 / r.0 - 2.0).abs() < 0.02 && (l.1 / r.1 - 2.0).abs() < 0.02, "{l:?} {r:?}");
    }
}
