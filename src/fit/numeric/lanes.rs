//! Eight rows at a time: the exponential, the logarithm and the sums of the surface fits.
//!
//! A sum over rows has a fixed shape: eight partial sums, rows 8k + l in sum l, joined in pairs. The
//! two functions are short chains of additions, products and one division, correct to an ulp, and
//! nothing here is contracted into a fused multiply-add. So whether the machine does two, four or
//! eight lanes in one instruction, the bits are the same; loops over [`Lanes`] are compiled for each
//! width by `multiversion`.
//!
//! The functions are those of fdlibm (Sun Microsystems 1993, `e_exp.c` and `e_log.c`) without their
//! branches: a system's own `exp` may differ from machine to machine in the last bit.
//!
//! Limits: the columns, and the noise of a bootstrap, are made with the system's functions.
//!
//! Why two styles: arithmetic is written in operations on whole [`Lanes`], but `exp` and `ln` inside one
//! loop over the lanes. The compiler makes full-width instructions of both; the other way round each
//! takes about twice as long (measured, on Zen 4).

#![expect(clippy::inline_always, reason = "must take the instruction set of the caller")]

use std::ops::{Add, AddAssign, Div, Index, IndexMut, Mul, Neg, Sub};

use crate::fit::numeric::dual::{NEARLY_STRAIGHT, Real, growth_series};

/// Rows that are worked on together: one AVX-512 register.
pub(in crate::fit) const LANES: usize = 8;

/// One number for each of eight rows.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(in crate::fit) struct Lanes([f64; LANES]);

impl Lanes {
    /// A column, eight rows at a time; the last are filled up with zeros.
    pub(in crate::fit) fn of(column: &[f64]) -> Vec<Self> {
        let eight = |rows: &[f64]| std::array::from_fn(|l| rows.get(l).copied().unwrap_or(0.0));
        column.chunks(LANES).map(|rows| Self(eight(rows))).collect()
    }

    #[inline(always)]
    pub(in crate::fit) fn map(self, f: impl Fn(f64) -> f64) -> Self {
        Self(std::array::from_fn(|l| f(self.0[l])))
    }

    #[inline(always)]
    pub(in crate::fit) fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|l| f(self.0[l], other.0[l])))
    }

    /// The sum of the eight, in pairs.
    #[inline(always)]
    pub(in crate::fit) fn total(self) -> f64 {
        let v = self.0;
        ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]))
    }
}

impl Index<usize> for Lanes {
    type Output = f64;
    #[inline(always)]
    fn index(&self, l: usize) -> &f64 {
        &self.0[l]
    }
}

impl IndexMut<usize> for Lanes {
    #[inline(always)]
    fn index_mut(&mut self, l: usize) -> &mut f64 {
        &mut self.0[l]
    }
}

impl Add for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |l, r| l + r)
    }
}

impl Sub for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |l, r| l - r)
    }
}

impl Mul for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |l, r| l * r)
    }
}

impl Mul<Lanes> for f64 {
    type Output = Lanes;
    #[inline(always)]
    fn mul(self, other: Lanes) -> Lanes {
        other.map(|v| self * v)
    }
}

impl AddAssign for Lanes {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Div for Lanes {
    type Output = Self;
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        self.zip(other, |l, r| l / r)
    }
}

impl Neg for Lanes {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.map(|v| -v)
    }
}

impl Add<f64> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: f64) -> Self {
        self.map(|v| v + other)
    }
}

impl Sub<f64> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: f64) -> Self {
        self.map(|v| v - other)
    }
}

impl Mul<f64> for Lanes {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: f64) -> Self {
        self.map(|v| v * other)
    }
}

impl Real for Lanes {
    #[inline(always)]
    fn all(value: f64) -> Self {
        Self([value; LANES])
    }

    #[inline(always)]
    fn exp(self) -> Self {
        let mut out = self;
        for l in 0..LANES {
            out[l] = exp(self[l]);
        }
        out
    }

    #[inline(always)]
    fn ln(self) -> Self {
        let mut out = self;
        for l in 0..LANES {
            let value = if self[l] >= f64::MIN_POSITIVE { ln(self[l]) } else { f64::NAN };
            out[l] = if self[l] <= f64::MAX { value } else { self[l] };
        }
        out
    }

    #[inline(always)]
    fn relative_growth(self) -> (Self, Self) {
        let (mut value, mut slope) = (self, self);
        for l in 0..LANES {
            let z = self[l];
            let near = growth_series(z);
            let power = exp(z);
            // (u - 1)/ln u keeps its digits near u = 1, whatever the rounding of u (Kahan's).
            let far = ((power - 1.0) / ln(power), (power * (z - 1.0) + 1.0) / (z * z));
            let straight = z.abs() < NEARLY_STRAIGHT;
            value[l] = if straight { near.0 } else { far.0 };
            slope[l] = if straight { near.1 } else { far.1 };
        }
        (value, slope)
    }

    #[inline(always)]
    fn if_below(self, other: Self, then: Self, otherwise: Self) -> Self {
        Self(std::array::from_fn(
            |l| if self.0[l] < other.0[l] { then.0[l] } else { otherwise.0[l] },
        ))
    }
}

/// ln 2 in two parts, the first with 21 zero bits at its end.
const LN2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];

/// e^x. Beyond [-708, 708] the value there, so it is never infinite, never zero.
#[inline(always)]
pub(in crate::fit) fn exp(x: f64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    // Adding 1.5 * 2^52 rounds to the nearest integer, which is then the low end of the bits.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    let x = x.clamp(-708.0, 708.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let (high, low) = (x - n * LN2[0], n * LN2[1]);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 - ((low - r * c / (2.0 - c)) - high);
    y * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// ln x of a normal number above 0; no meaning for others.
#[inline(always)]
pub(in crate::fit) fn ln(x: f64) -> f64 {
    const L: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    // x = 2^k m with m in [sqrt(1/2), sqrt(2)), whose high word starts at 0x3fe6a09e.
    const LEAST: u64 = 0x3fe6_a09e << 32;
    let bits = x.to_bits().wrapping_add((0x3ff0_0000 << 32) - LEAST);
    // The exponent, with its bias of 1023, as the low end of a number above 2^52.
    let k =
        f64::from_bits((bits >> 52) | 0x4330_0000_0000_0000) - (4_503_599_627_370_496.0 + 1023.0);
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + LEAST) - 1.0;
    let half = 0.5 * f * f;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w * (L[1] + w * (L[3] + w * L[5]));
    let odd = z * (L[0] + w * (L[2] + w * (L[4] + w * L[6])));
    s * (half + (odd + even)) + k * LN2[1] - half + f + k * LN2[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place of `want`.
    fn ulps(got: f64, want: f64) -> f64 {
        if got == want { 0.0 } else { (got - want).abs() / (want.abs() * f64::EPSILON) }
    }

    /// Oracle: the system's functions, themselves within an ulp. The bound allows both their errors.
    #[test]
    fn exp_and_ln_are_those_of_the_system() {
        for i in -700_000..700_000 {
            let x = f64::from(i) * 1e-3 + 1e-7 * f64::from(i % 997);
            assert!(ulps(exp(x), x.exp()) <= 2.0, "exp({x})");
        }
        for i in -300_000..300_000 {
            let x = (f64::from(i) * 2e-3 + 1e-7 * f64::from(i % 997)).exp();
            assert!(ulps(ln(x), x.ln()) <= 2.0, "ln({x})");
        }
        for x in [1.0, 1.0 + f64::EPSILON, 1.0 - 0.5 * f64::EPSILON, 2.0, 0.5, f64::MIN_POSITIVE] {
            assert!((ln(x) - x.ln()).abs() <= f64::EPSILON * x.ln().abs(), "ln({x})");
        }
        assert_eq!((exp(0.0), ln(1.0)), (1.0, 0.0));
    }

    /// One loop, compiled for the least instruction set of the target and for this machine's.
    #[test]
    fn the_width_of_the_instructions_changes_no_bit() {
        #[inline(always)]
        fn narrow(x: &[Lanes]) -> f64 {
            let mut sum = Lanes::default();
            for x in x {
                for l in 0..LANES {
                    sum[l] += x[l] * exp(0.3 - 0.7 * x[l]) - ln(2.0 + x[l] * x[l]);
                }
                sum += 0.1 * (*x * *x - *x);
            }
            sum.total()
        }
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512dq+avx512vl",
            "x86_64+avx2+fma"
        ))]
        fn wide(x: &[Lanes]) -> f64 {
            narrow(x)
        }
        let column: Vec<f64> = (0..1003).map(|i| 3.0 * f64::from(i).sin()).collect();
        let x = Lanes::of(&column);
        assert_eq!(narrow(&x).to_bits(), wide(&x).to_bits());
    }

    #[test]
    fn exp_saturates_instead_of_overflowing() {
        assert_eq!((exp(f64::INFINITY), exp(-1e9)), (exp(708.0), exp(-708.0)));
        assert!(exp(708.0).is_finite() && exp(-708.0) > 0.0 && exp(f64::NAN).is_nan());
    }
}
