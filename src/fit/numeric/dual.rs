//! Forward-mode dual numbers: a value with its gradient, so that a formula is written once and its
//! derivatives are exact to rounding (Griewank & Walther 2008, "Evaluating derivatives", chapter 3).
//!
//! A formula is a function of [`Number`], and is then its own value (`f64`) and its own gradient ([`Dual`]), each
//! for one row or, over `Lanes`, for eight rows at once. The capacity is fixed, so that everything lies on the
//! stack.
//!
//! Limits: first derivatives only, of at most [`MAX`] parameters.

#![expect(clippy::inline_always, reason = "must take the instruction set of the caller")]

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Most parameters a law may have.
pub const MAX: usize = 10;

/// What the numbers of a formula are made of: one real number, or one for each of eight rows.
pub trait Real:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// The same number for every row.
    fn all(value: f64) -> Self;

    /// e to this power.
    #[must_use]
    fn exp(self) -> Self;

    /// Natural logarithm; not a number below 0.
    #[must_use]
    fn ln(self) -> Self;

    /// (e^z - 1)/z and its derivative.
    fn relative_growth(self) -> (Self, Self);

    /// `then` where this number is below `other`, else `otherwise`.
    #[must_use]
    fn if_below(self, other: Self, then: Self, otherwise: Self) -> Self;
}

impl Real for f64 {
    #[inline(always)]
    fn all(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn exp(self) -> Self {
        self.exp()
    }

    #[inline(always)]
    fn ln(self) -> Self {
        self.ln()
    }

    fn relative_growth(self) -> (Self, Self) {
        let z = self;
        if z.abs() < NEARLY_STRAIGHT {
            growth_series(z)
        } else {
            (z.exp_m1() / z, (z.exp() * (z - 1.0) + 1.0) / (z * z))
        }
    }

    #[inline(always)]
    fn if_below(self, other: Self, then: Self, otherwise: Self) -> Self {
        if self < other { then } else { otherwise }
    }
}

/// Below this |z| the series of [`Real::relative_growth`] is taken, and its last term is below an ulp.
pub(in crate::fit) const NEARLY_STRAIGHT: f64 = 1e-2;

/// (e^z - 1)/z and its derivative for small z, by their series.
#[inline(always)]
pub(in crate::fit) fn growth_series(z: f64) -> (f64, f64) {
    (
        1.0 + z * (1.0 / 2.0 + z * (1.0 / 6.0 + z * (1.0 / 24.0 + z * (1.0 / 120.0 + z / 720.0)))),
        1.0 / 2.0
            + z * (1.0 / 3.0 + z * (1.0 / 8.0 + z * (1.0 / 30.0 + z * (1.0 / 144.0 + z / 840.0)))),
    )
}

/// What a formula needs of its numbers: a value, or a value with its gradient.
pub trait Number:
    Copy
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + Add<f64, Output = Self>
    + Sub<f64, Output = Self>
    + Mul<f64, Output = Self>
{
    /// What the values are made of.
    type Real: Real;

    /// A number that depends on no parameter.
    fn constant(value: f64) -> Self;

    /// A number of each row that depends on no parameter.
    fn of_row(value: Self::Real) -> Self;

    /// The value alone.
    fn value(self) -> Self::Real;

    /// f(self) for a function of one argument: `value` is f and `slope` is f', both at `self.value()`.
    #[must_use]
    fn chain(self, value: Self::Real, slope: Self::Real) -> Self;

    /// The smaller of two, with its gradient; of equals the first.
    #[must_use]
    fn smaller(self, other: Self) -> Self;

    /// This number and one that depends on no parameter.
    #[inline(always)]
    #[must_use]
    fn plus(self, constant: Self::Real) -> Self {
        self.chain(self.value() + constant, Self::Real::all(1.0))
    }

    /// This number times one that depends on no parameter.
    #[inline(always)]
    #[must_use]
    fn scaled(self, constant: Self::Real) -> Self {
        self.chain(self.value() * constant, constant)
    }

    /// e to this power.
    #[inline(always)]
    #[must_use]
    fn exp(self) -> Self {
        let value = Real::exp(self.value());
        self.chain(value, value)
    }

    /// Natural logarithm.
    #[inline(always)]
    #[must_use]
    fn ln(self) -> Self {
        self.chain(Real::ln(self.value()), Self::Real::all(1.0) / self.value())
    }

    /// This number, above 0, to a power that may depend on the parameters as well.
    #[inline(always)]
    #[must_use]
    fn power(self, exponent: Self) -> Self {
        (self.ln() * exponent).exp()
    }
}

impl<R: Real> Number for R {
    type Real = R;

    #[inline(always)]
    fn constant(value: f64) -> Self {
        R::all(value)
    }

    #[inline(always)]
    fn of_row(value: R) -> Self {
        value
    }

    #[inline(always)]
    fn value(self) -> R {
        self
    }

    #[inline(always)]
    fn chain(self, value: R, _slope: R) -> Self {
        value
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        other.if_below(self, other, self)
    }
}

/// A value of one row and its derivatives in up to [`MAX`] parameters.
pub type Dual = Gradient<f64, MAX>;

/// A value and its derivatives in up to `K` parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gradient<R, const K: usize> {
    /// The value.
    pub value: R,
    /// Its derivative in each parameter; zero beyond the last.
    pub gradient: [R; K],
}

impl<R: Real, const K: usize> Gradient<R, K> {
    /// Parameter number `index` at `value`: its derivative in itself is 1.
    pub fn parameter(value: f64, index: usize) -> Self {
        let mut gradient = [R::all(0.0); K];
        gradient[index] = R::all(1.0);
        Self { value: R::all(value), gradient }
    }

    /// All parameters at `theta` [at most `K`]; the places beyond are zero.
    pub fn parameters(theta: &[f64]) -> [Self; K] {
        std::array::from_fn(|i| {
            theta.get(i).map_or(Self::constant(0.0), |value| Self::parameter(*value, i))
        })
    }

    #[inline(always)]
    fn with(self, value: R, each: impl Fn(R) -> R) -> Self {
        Self { value, gradient: std::array::from_fn(|i| each(self.gradient[i])) }
    }

    #[inline(always)]
    fn and(self, other: Self, value: R, each: impl Fn(R, R) -> R) -> Self {
        let gradient = std::array::from_fn(|i| each(self.gradient[i], other.gradient[i]));
        Self { value, gradient }
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.and(other, self.value * other.value, |l, r| l * other.value + r * self.value)
    }

    #[inline(always)]
    fn over(self, other: Self) -> Self {
        let (value, one) = (self.value / other.value, R::all(1.0) / other.value);
        self.and(other, value, |l, r| (l - value * r) * one)
    }
}

impl<R: Real, const K: usize> Number for Gradient<R, K> {
    type Real = R;

    #[inline(always)]
    fn constant(value: f64) -> Self {
        Self::of_row(R::all(value))
    }

    #[inline(always)]
    fn of_row(value: R) -> Self {
        Self { value, gradient: [R::all(0.0); K] }
    }

    #[inline(always)]
    fn value(self) -> R {
        self.value
    }

    #[inline(always)]
    fn chain(self, value: R, slope: R) -> Self {
        self.with(value, |g| slope * g)
    }

    #[inline(always)]
    fn smaller(self, other: Self) -> Self {
        let pick = |l: R, r: R| other.value.if_below(self.value, r, l);
        self.and(other, pick(self.value, other.value), pick)
    }

    #[inline(always)]
    fn plus(self, constant: R) -> Self {
        Self { value: self.value + constant, ..self }
    }
}

impl<R: Real, const K: usize> Add for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.and(other, self.value + other.value, |l, r| l + r)
    }
}

impl<R: Real, const K: usize> Sub for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.and(other, self.value - other.value, |l, r| l - r)
    }
}

impl<R: Real, const K: usize> Mul for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.times(other)
    }
}

impl<R: Real, const K: usize> Div for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.over(other)
    }
}

impl<R: Real, const K: usize> Neg for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.with(-self.value, |g| -g)
    }
}

impl<R: Real, const K: usize> Add<f64> for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: f64) -> Self {
        self.plus(R::all(other))
    }
}

impl<R: Real, const K: usize> Sub<f64> for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: f64) -> Self {
        self.plus(-R::all(other))
    }
}

impl<R: Real, const K: usize> Mul<f64> for Gradient<R, K> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: f64) -> Self {
        self.scaled(R::all(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every operation at least once, at a point where no term is small beside the others.
    fn formula<T: Number>(p: &[T]) -> T {
        let sum = p[0].power(p[1]) + (p[2] * 0.3 - 1.5).exp() * p[3] - -p[1];
        (sum / (p[3] + 2.0)).ln() + p[0].smaller(p[2]) * p[1] - T::constant(0.7)
    }

    /// Central differences of the same formula in plain numbers.
    #[test]
    fn the_gradient_is_the_difference_quotient() {
        let at = [1.3, 0.8, 2.1, 1.7];
        let dual = formula(&Dual::parameters(&at)[..4]);
        assert_eq!(dual.value, formula(&at));
        let h = 1e-6;
        for i in 0..4 {
            let shifted = |sign: f64| {
                let mut p = at;
                p[i] += sign * h;
                formula(&p)
            };
            let slope = (shifted(1.0) - shifted(-1.0)) / (2.0 * h);
            assert!((dual.gradient[i] - slope).abs() < 1e-9, "{i}: {} {slope}", dual.gradient[i]);
        }
        assert_eq!(dual.gradient[4..], [0.0; MAX - 4]);
    }
}
