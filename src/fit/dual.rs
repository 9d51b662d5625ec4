//! Forward-mode dual numbers: a value with its gradient, so that a formula is written once and its
//! derivatives are exact to rounding (Griewank & Walther 2008, "Evaluating derivatives", chapter 3).
//!
//! A formula is a function of [`Number`], and is then its own value (`f64`, fast) and its own gradient
//! ([`Dual`]). The capacity is fixed, so that everything lies on the stack.
//!
//! Limits: first derivatives only, of at most [`MAX`] parameters. Read by: `least`, `law`.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Most parameters a law may have.
pub const MAX: usize = 10;

/// What a formula needs of its numbers: `f64`, or a value with its gradient.
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
    /// A number that depends on no parameter.
    fn constant(value: f64) -> Self;

    /// The value alone.
    fn value(self) -> f64;

    /// f(self) for a function of one argument: `value` is f and `slope` is f', both at `self.value()`.
    #[must_use]
    fn chain(self, value: f64, slope: f64) -> Self;

    /// e to this power.
    #[must_use]
    fn exp(self) -> Self {
        let value = self.value().exp();
        self.chain(value, value)
    }

    /// Natural logarithm.
    #[must_use]
    fn ln(self) -> Self {
        self.chain(self.value().ln(), self.value().recip())
    }

    /// This number, above 0, to a power that may depend on the parameters as well.
    #[must_use]
    fn power(self, exponent: Self) -> Self {
        (self.ln() * exponent).exp()
    }

    /// The smaller of two, with its gradient; of equals the first.
    #[must_use]
    fn smaller(self, other: Self) -> Self {
        if other.value() < self.value() { other } else { self }
    }
}

impl Number for f64 {
    fn constant(value: f64) -> Self {
        value
    }

    fn value(self) -> f64 {
        self
    }

    fn chain(self, value: f64, _slope: f64) -> Self {
        value
    }
}

/// A value and its derivatives in up to [`MAX`] parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dual {
    /// The value.
    pub value: f64,
    /// Its derivative in each parameter; zero beyond the last.
    pub gradient: [f64; MAX],
}

impl Dual {
    /// Parameter number `index` at `value`: its derivative in itself is 1.
    pub fn parameter(value: f64, index: usize) -> Self {
        let mut gradient = [0.0; MAX];
        gradient[index] = 1.0;
        Self { value, gradient }
    }

    /// All parameters at `theta` [at most [`MAX`]]; the places beyond are zero.
    pub fn parameters(theta: &[f64]) -> [Self; MAX] {
        std::array::from_fn(|i| {
            theta.get(i).map_or(Self::constant(0.0), |value| Self::parameter(*value, i))
        })
    }

    fn with(self, value: f64, each: impl Fn(f64) -> f64) -> Self {
        Self { value, gradient: self.gradient.map(each) }
    }

    fn and(self, other: Self, value: f64, each: impl Fn(f64, f64) -> f64) -> Self {
        let gradient = std::array::from_fn(|i| each(self.gradient[i], other.gradient[i]));
        Self { value, gradient }
    }

    fn times(self, other: Self) -> Self {
        self.and(other, self.value * other.value, |l, r| l * other.value + r * self.value)
    }

    fn over(self, other: Self) -> Self {
        let (value, one) = (self.value / other.value, other.value.recip());
        self.and(other, value, |l, r| (l - value * r) * one)
    }
}

impl Number for Dual {
    fn constant(value: f64) -> Self {
        Self { value, gradient: [0.0; MAX] }
    }

    fn value(self) -> f64 {
        self.value
    }

    fn chain(self, value: f64, slope: f64) -> Self {
        self.with(value, |g| slope * g)
    }
}

impl Add for Dual {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        self.and(other, self.value + other.value, |l, r| l + r)
    }
}

impl Sub for Dual {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.and(other, self.value - other.value, |l, r| l - r)
    }
}

impl Mul for Dual {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        self.times(other)
    }
}

impl Div for Dual {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        self.over(other)
    }
}

impl Neg for Dual {
    type Output = Self;
    fn neg(self) -> Self {
        self.with(-self.value, |g| -g)
    }
}

impl Add<f64> for Dual {
    type Output = Self;
    fn add(self, other: f64) -> Self {
        Self { value: self.value + other, ..self }
    }
}

impl Sub<f64> for Dual {
    type Output = Self;
    fn sub(self, other: f64) -> Self {
        Self { value: self.value - other, ..self }
    }
}

impl Mul<f64> for Dual {
    type Output = Self;
    fn mul(self, other: f64) -> Self {
        self.with(self.value * other, |g| g * other)
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
