//! SwiGLU (Shazeer 2020, 2002.05202): silu(gate) * up.

use burn::tensor::{Tensor, activation};

use super::math;

/// `[tokens, 2 ff] -> [tokens, ff]`, by burn's operations; the first half of the columns is the gate.
pub fn swiglu(x: Tensor<2>) -> Tensor<2> {
    let [n, width] = x.dims();
    let gate = x.clone().slice([0..n, 0..width / 2]);
    activation::silu(gate) * x.slice([0..n, width / 2..width])
}

/// Rows of `ff` from rows of `2 ff`.
pub(super) fn forward(x: &[f32], out: &mut [f32], ff: usize) {
    for (out, x) in out.chunks_mut(ff).zip(x.chunks(2 * ff)) {
        let (gate, up) = x.split_at(ff);
        math::swiglu_row(gate, up, out);
    }
}

/// The gradient by `x`.
pub(super) fn backward(x: &[f32], grad: &[f32], dx: &mut [f32], ff: usize) {
    for ((dx, x), grad) in dx.chunks_mut(2 * ff).zip(x.chunks(2 * ff)).zip(grad.chunks(ff)) {
        let ((gate, up), (dgate, dup)) = (x.split_at(ff), dx.split_at_mut(ff));
        math::swiglu_row_backward(gate, up, grad, dgate, dup);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull, values};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, ff) in [(1, 1), (3, 5), (130, 8), (257, 33)] {
            let x = normal(1, n, 2 * ff);
            let want = pull(std::slice::from_ref(&x), |x| swiglu(x[0].clone()));
            let (x, grad) = (values(x), values(normal(99, n, ff)));
            let (mut out, mut dx) = (vec![f32::NAN; n * ff], vec![f32::NAN; n * 2 * ff]);
            forward(&x, &mut out, ff);
            backward(&x, &grad, &mut dx, ff);
            assert_close(&[out, dx], &want, 2e-6, &format!("[{n}, {ff}]"));
        }
    }
}
