//! SwiGLU (Shazeer 2020, 2002.05202): silu(gate) * up.

use std::sync::Arc;

use burn::tensor::{Tensor, activation};
use rayon::prelude::*;

use super::{Kernels, contiguous, from_vec, lower, math, register, slice};

/// Rows a thread takes at a time.
const ROWS: usize = 128;

/// `[tokens, 2 ff] -> [tokens, ff]`; the first half of the columns is the gate.
pub fn swiglu(x: Tensor<2>, kernels: Kernels) -> Tensor<2> {
    let [n, width] = x.dims();
    let ff = width / 2;
    if kernels == Kernels::Composed {
        let gate = x.clone().slice([0..n, 0..ff]);
        return activation::silu(gate) * x.slice([0..n, ff..width]);
    }
    let x = lower(x);
    let values = contiguous(&x);
    let mut out = vec![0.0; n * ff];
    out.par_chunks_mut(ff * ROWS).zip(slice(&values).par_chunks(width * ROWS)).for_each(
        |(o, x)| {
            for (o, x) in o.chunks_mut(ff).zip(x.chunks(width)) {
                let (gate, up) = x.split_at(ff);
                math::swiglu_row(gate, up, o);
            }
        },
    );
    let pullback = Arc::new(move |grad: &[f32]| {
        let mut dx = vec![0.0; n * width];
        dx.par_chunks_mut(width * ROWS)
            .zip(slice(&values).par_chunks(width * ROWS))
            .zip(grad.par_chunks(ff * ROWS))
            .for_each(|((dx, x), g)| {
                for ((dx, x), g) in dx.chunks_mut(width).zip(x.chunks(width)).zip(g.chunks(ff)) {
                    let ((gate, up), (dgate, dup)) = (x.split_at(ff), dx.split_at_mut(ff));
                    math::swiglu_row_backward(gate, up, g, dgate, dup);
                }
            });
        [dx]
    });
    register([x], from_vec(out, &[n, ff]), pullback)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, ff) in [(1, 1), (3, 5), (130, 8), (257, 33)] {
            let x = [normal(1, n, 2 * ff)];
            let got = pull(&x, |x| swiglu(x[0].clone(), Kernels::Fused));
            let want = pull(&x, |x| swiglu(x[0].clone(), Kernels::Composed));
            assert_close(&got, &want, 2e-6, &format!("[{n}, {ff}]"));
        }
    }
}
