//! What least squares make small: residuals of all rows at once, or one row at a time.

use crate::fit::numeric::dual::Dual;

/// What is to be made small: the residuals of all rows as functions of the parameters.
pub trait Residuals {
    /// Rows.
    fn rows(&self) -> usize;

    /// How much the square of this row counts, 0 or more [-].
    fn weight(&self, _row: usize) -> f64 {
        1.0
    }

    /// Residual of every row at `theta`. Not finite where the law has no value.
    fn residuals(&self, theta: &[f64]) -> Vec<f64>;

    /// The same, and their derivatives, one column for each parameter.
    fn slopes(&self, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>);

    /// A sum of squares below which nothing but rounding is left.
    fn floor(&self) -> f64 {
        1e-30 * self.rows() as f64
    }
}

/// [`Residuals`] that are written one row at a time.
pub trait ByRow {
    /// Rows.
    fn rows(&self) -> usize;

    /// How much the square of this row counts, 0 or more [-].
    fn weight(&self, _row: usize) -> f64 {
        1.0
    }

    /// Residual of a row at `theta`. Not finite where the law has no value.
    fn residual(&self, row: usize, theta: &[f64]) -> f64;

    /// The same with its gradient.
    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual;

    /// A sum of squares below which nothing but rounding is left.
    fn floor(&self) -> f64 {
        1e-30 * self.rows() as f64
    }
}

impl<T: ByRow> Residuals for T {
    fn rows(&self) -> usize {
        ByRow::rows(self)
    }

    fn weight(&self, row: usize) -> f64 {
        ByRow::weight(self, row)
    }

    fn floor(&self) -> f64 {
        ByRow::floor(self)
    }

    fn residuals(&self, theta: &[f64]) -> Vec<f64> {
        (0..ByRow::rows(self)).map(|row| self.residual(row, theta)).collect()
    }

    fn slopes(&self, theta: &[f64]) -> (Vec<f64>, Vec<Vec<f64>>) {
        let duals = Dual::parameters(theta);
        let mut columns = vec![vec![0.0; ByRow::rows(self)]; theta.len()];
        let residual = |row: usize| {
            let there = self.gradient(row, &duals[..theta.len()]);
            for (column, slope) in columns.iter_mut().zip(there.gradient) {
                column[row] = slope;
            }
            there.value
        };
        ((0..ByRow::rows(self)).map(residual).collect(), columns)
    }
}
