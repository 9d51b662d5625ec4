//! Vectorised loops over rows, compiled for the instruction sets of the machine it runs on.
//!
//! Reductions have a fixed shape, and where a multiplication and an addition are one instruction the source
//! says so, so a result does not depend on the instruction set chosen.

use multiversion::multiversion;

/// Partial sums a reduction keeps: one AVX-512 register of f32.
const LANES: usize = 16;

/// e^x for x in [-87, 88]; smaller x gives e^-87 (about 1e-38), larger e^88.
///
/// Range reduction to |r| <= ln 2 / 2 with the constants of Cephes, then a polynomial of degree 6;
/// relative error below 3e-7 (tested against f64).
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 leaves the nearest integer in the last bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(2.121_944_4e-4, n.mul_add(-0.693_359_4, x));
    let p = [0.008_333_452, 0.041_666_655, 0.166_666_67, 0.5, 1.0, 1.0]
        .into_iter()
        .fold(0.001_398_2_f32, |p, c| p.mul_add(r, c));
    // p * 2^n, by adding n to the exponent.
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// All lanes to one, halves on halves.
#[expect(clippy::inline_always, reason = "must take the instruction set of its caller")]
#[inline(always)]
fn fold(mut lanes: [f32; LANES], step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = step(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

#[expect(clippy::inline_always, reason = "must take the instruction set of its caller")]
#[inline(always)]
fn sum(lanes: [f32; LANES]) -> f32 {
    fold(lanes, |l, r| l + r)
}

#[expect(clippy::inline_always, reason = "must take the instruction set of its caller")]
#[inline(always)]
fn reduce(values: &[f32], start: f32, step: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = step(*lane, *v);
        }
    }
    rest.iter().fold(fold(lanes, &step), |total, v| step(total, *v))
}

/// `row = e^(row - offset)`; returns the sum of the new row.
#[expect(clippy::inline_always, reason = "must take the instruction set of its caller")]
#[inline(always)]
fn exp_in_place(row: &mut [f32], offset: f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let mut chunks = row.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *x = exp(*x - offset);
            *lane += *x;
        }
    }
    let mut total = sum(lanes);
    for x in chunks.into_remainder() {
        *x = exp(*x - offset);
        total += *x;
    }
    total
}

/// Replaces a row by e^(x - max) and returns (max, sum of the new row).
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn exp_row(row: &mut [f32]) -> (f32, f32) {
    let max = reduce(row, f32::MIN, f32::max);
    (max, exp_in_place(row, max))
}

/// Elements to work on so that `seen` of a row of `len` end with a whole register where there is room.
#[expect(clippy::inline_always, reason = "must take the instruction set of its caller")]
#[inline(always)]
fn padded(seen: usize, len: usize) -> usize {
    seen.next_multiple_of(LANES).min(len)
}

/// Softmax of the first `seen` elements in place, 0 behind them; returns their log-sum-exp.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn softmax_row(row: &mut [f32], seen: usize) -> f32 {
    // Unseen elements vanish in the sum: e^-87 of the largest.
    row[seen..].fill(f32::MIN);
    let padded = padded(seen, row.len());
    let work = &mut row[..padded];
    let max = reduce(work, f32::MIN, f32::max);
    let total = exp_in_place(work, max);
    let share = 1.0 / total;
    for x in &mut *work {
        *x *= share;
    }
    row[seen..].fill(0.0);
    max + total.ln()
}

/// The softmax of `p` again from its log-sum-exp, and its derivative `ds = p * (dp - shift) * factor` in
/// the place of `dp`, both 0 behind the first `seen` elements.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn softmax_row_backward(
    p: &mut [f32],
    dp: &mut [f32],
    seen: usize,
    lse: f32,
    shift: f32,
    factor: f32,
) {
    let padded = padded(seen, p.len());
    let (work, dwork) = (&mut p[..padded], &mut dp[..padded]);
    for i in 0..work.len() {
        work[i] = exp(work[i] - lse);
        dwork[i] = work[i] * (dwork[i] - shift) * factor;
    }
    p[seen..].fill(0.0);
    dp[seen..].fill(0.0);
}

/// Log-sum-exp of a row without changing it.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn log_sum_exp(row: &[f32]) -> f32 {
    let max = reduce(row, f32::MIN, f32::max);
    let mut lanes = [0.0_f32; LANES];
    let chunks = row.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += exp(*v - max);
        }
    }
    max + (sum(lanes) + rest.iter().map(|v| exp(*v - max)).sum::<f32>()).ln()
}

/// `row *= factor`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn scale(row: &mut [f32], factor: f32) {
    for x in row {
        *x *= factor;
    }
}

/// Inner product.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (l, r) = (left.chunks_exact(LANES), right.chunks_exact(LANES));
    let tail: f32 = l.remainder().iter().zip(r.remainder()).map(|(l, r)| l * r).sum();
    for (l, r) in l.zip(r) {
        for i in 0..LANES {
            lanes[i] = l[i].mul_add(r[i], lanes[i]);
        }
    }
    sum(lanes) + tail
}

/// Rotates the pairs (i, i + half) of every head in a row by the angles given, in the direction of `sign`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn rotate(row: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let half = cos.len();
    for head in row.chunks_exact_mut(2 * half) {
        let (x1, x2) = head.split_at_mut(half);
        for i in 0..half {
            let (a, b) = (x1[i], x2[i]);
            x1[i] = a * cos[i] - sign * b * sin[i];
            x2[i] = b * cos[i] + sign * a * sin[i];
        }
    }
}

/// `out = x * r * gain`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn gained(x: &[f32], r: f32, gain: &[f32], out: &mut [f32]) {
    for i in 0..out.len() {
        out[i] = x[i] * r * gain[i];
    }
}

/// Backward of RMSNorm for one row: adds to dx and to the gain's gradient.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn rms_backward(
    x: &[f32],
    grad: &[f32],
    gain: &[f32],
    r: f32,
    dx: &mut [f32],
    dgain: &mut [f32],
) {
    let mut lanes = [0.0_f32; LANES];
    let whole = x.len() - x.len() % LANES;
    for at in (0..whole).step_by(LANES) {
        let (x, grad, gain) = (&x[at..at + LANES], &grad[at..at + LANES], &gain[at..at + LANES]);
        for i in 0..LANES {
            lanes[i] = (grad[i] * gain[i]).mul_add(x[i], lanes[i]);
        }
    }
    let rest: f32 = (whole..x.len()).map(|i| grad[i] * gain[i] * x[i]).sum();
    let c = (sum(lanes) + rest) * r * r * r / x.len() as f32;
    for i in 0..x.len() {
        let g = grad[i] * r;
        dgain[i] = g.mul_add(x[i], dgain[i]);
        dx[i] = g.mul_add(gain[i], x[i].mul_add(-c, dx[i]));
    }
}

/// `into += part`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn add(into: &mut [f32], part: &[f32]) {
    for (into, part) in into.iter_mut().zip(part) {
        *into += part;
    }
}

/// `out = silu(gate) * up` for one row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn swiglu_row(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for i in 0..out.len() {
        out[i] = gate[i] / (1.0 + exp(-gate[i])) * up[i];
    }
}

/// Backward of [`swiglu_row`].
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn swiglu_row_backward(
    gate: &[f32],
    up: &[f32],
    grad: &[f32],
    dgate: &mut [f32],
    dup: &mut [f32],
) {
    for i in 0..grad.len() {
        let s = 1.0 / (1.0 + exp(-gate[i]));
        dup[i] = grad[i] * gate[i] * s;
        dgate[i] = grad[i] * up[i] * s * (1.0 + gate[i] * (1.0 - s));
    }
}

/// What one step of AdamW is for every element.
pub(super) struct Adam {
    pub(super) clip: f32,
    /// Share of the old moments that stays.
    pub(super) b: [f32; 2],
    /// Share of the new gradient.
    pub(super) rest: [f32; 2],
    pub(super) c2: f32,
    pub(super) eps: f32,
    pub(super) rate: f32,
    /// Share of the weight that decay leaves.
    pub(super) keep: f32,
}

/// AdamW in place: weights `w`, moments `m` and `v`, gradient `g`.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2+fma"))]
pub(super) fn adam(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], step: &Adam) {
    let ([b1, b2], [r1, r2]) = (step.b, step.rest);
    for (((w, m), v), g) in w.iter_mut().zip(m).zip(v).zip(g) {
        let g = g * step.clip;
        *m = *m * b1 + g * r1;
        *v = *v * b2 + g * g * r2;
        *w = *w * step.keep - *m / ((*v / step.c2).sqrt() + step.eps) * step.rate;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_3e_7_of_f64() {
        for i in -87_000..88_000 {
            let x = i as f32 / 1000.0;
            let want = f64::from(x).exp();
            let error = (f64::from(exp(x)) / want - 1.0).abs();
            assert!(error < 3e-7, "exp({x}) is off by {error}");
        }
    }

    #[test]
    fn exp_saturates_instead_of_overflowing() {
        assert!(exp(f32::MAX).is_finite());
        assert!(exp(-1e30) < 2e-38);
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn reductions_agree_with_f64_at_every_length() {
        for n in 1..70 {
            let row: Vec<f32> = (0..n).map(|i| ((i * 37 % 11) as f32) - 5.0).collect();
            let want = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            assert!((f64::from(log_sum_exp(&row)) - want).abs() < 1e-5, "length {n}");
            let want: f64 = row.iter().map(|x| f64::from(*x).powi(2)).sum();
            assert!((f64::from(dot(&row, &row)) - want).abs() < 1e-3, "length {n}");
        }
    }
}
