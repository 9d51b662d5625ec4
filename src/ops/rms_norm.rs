//! RMSNorm (Zhang and Sennrich 2019, 1910.07467): x / rms(x) * gain.

use burn::tensor::Tensor;

use super::math;

/// Added to the mean square, as in Llama.
pub const EPS: f32 = 1e-5;

/// `[tokens, width]`, gain `[1, width]`, by burn's operations.
pub fn rms_norm(x: Tensor<2>, gain: Tensor<2>) -> Tensor<2> {
    let mean_square = x.clone().powi_scalar(2).mean_dim(1);
    x * (mean_square + EPS).sqrt().recip() * gain
}

/// Rows of `gain.len()` columns; keeps the inverse root of each row's mean square.
pub(super) fn forward(x: &[f32], gain: &[f32], out: &mut [f32], inverse: &mut [f32]) {
    let d = gain.len();
    for ((o, x), r) in out.chunks_mut(d).zip(x.chunks(d)).zip(inverse) {
        *r = 1.0 / (math::dot(x, x) / d as f32 + EPS).sqrt();
        math::gained(x, *r, gain, o);
    }
}

/// Adds the gradient by `x` to `dx` and that by the gain to `dgain`.
pub(super) fn backward(
    x: &[f32],
    grad: &[f32],
    gain: &[f32],
    inverse: &[f32],
    dx: &mut [f32],
    dgain: &mut [f32],
) {
    let d = gain.len();
    for (((dx, x), g), r) in dx.chunks_mut(d).zip(x.chunks(d)).zip(grad.chunks(d)).zip(inverse) {
        math::rms_backward(x, g, gain, *r, dx, dgain);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull, values};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, d) in [(1, 2), (3, 5), (129, 8), (300, 33)] {
            let x = [normal(1, n, d), normal(2, 1, d)];
            let want = pull(&x, |x| rms_norm(x[0].clone(), x[1].clone()));
            let ([x, gain], grad) = (x.map(values), values(normal(99, n, d)));
            let (mut out, mut inverse) = (vec![f32::NAN; n * d], vec![f32::NAN; n]);
            forward(&x, &gain, &mut out, &mut inverse);
            let (mut dx, mut dgain) = (vec![0.0; n * d], vec![0.0; d]);
            backward(&x, &grad, &gain, &inverse, &mut dx, &mut dgain);
            assert_close(&[out, dx, dgain], &want, 5e-6, &format!("[{n}, {d}]"));
        }
    }
}
