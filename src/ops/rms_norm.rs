//! RMSNorm (Zhang and Sennrich 2019, 1910.07467): x / rms(x) * gain.

use std::sync::Arc;

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Kernels, contiguous, from_vec, lower, math, register, slice};

/// Added to the mean square, as in Llama.
const EPS: f32 = 1e-5;
/// Rows a thread takes at a time; also the order in which the gain's gradient is summed.
const ROWS: usize = 128;

/// `[tokens, width]`, gain `[1, width]`.
pub fn rms_norm(x: Tensor<2>, gain: Tensor<2>, kernels: Kernels) -> Tensor<2> {
    let [n, d] = x.dims();
    if kernels == Kernels::Composed {
        let mean_square = x.clone().powi_scalar(2).mean_dim(1);
        return x * (mean_square + EPS).sqrt().recip() * gain;
    }
    let (x, gain) = (lower(x), lower(gain));
    let (xs, gs) = (contiguous(&x), contiguous(&gain));
    let mut out = vec![0.0; n * d];
    let mut inverse = vec![0.0_f32; n];
    out.par_chunks_mut(d * ROWS)
        .zip(slice(&xs).par_chunks(d * ROWS))
        .zip(inverse.par_chunks_mut(ROWS))
        .for_each(|((o, x), inverse)| forward(x, slice(&gs), o, inverse));
    let pullback = Arc::new(move |grad: &[f32]| {
        let (x, gain) = (slice(&xs), slice(&gs));
        let mut dx = vec![0.0; n * d];
        let parts: Vec<Vec<f32>> = dx
            .par_chunks_mut(d * ROWS)
            .zip(x.par_chunks(d * ROWS))
            .zip(grad.par_chunks(d * ROWS))
            .zip(inverse.par_chunks(ROWS))
            .map(|(((dx, x), g), inverse)| {
                let mut dgain = vec![0.0; d];
                backward(x, g, gain, inverse, dx, &mut dgain);
                dgain
            })
            .collect();
        let mut dgain = vec![0.0; d];
        for part in parts {
            dgain.iter_mut().zip(part).for_each(|(total, v)| *total += v);
        }
        [dx, dgain]
    });
    register([x, gain], from_vec(out, &[n, d]), pullback)
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
    use super::super::tests::{assert_close, normal, pull};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, d) in [(1, 2), (3, 5), (129, 8), (300, 33)] {
            let x = [normal(1, n, d), normal(2, 1, d)];
            let run = |kernels| pull(&x, |x| rms_norm(x[0].clone(), x[1].clone(), kernels));
            assert_close(
                &run(Kernels::Fused),
                &run(Kernels::Composed),
                5e-6,
                &format!("[{n}, {d}]"),
            );
        }
    }
}
