//! One step of AdamW (Loshchilov and Hutter 2019, 1711.05101) on one weight.

use burn::tensor::Tensor;
use burn_flex::Flex;
use rayon::prelude::*;

use super::{Kernels, math, plain, slice};

/// Elements a thread takes at a time. Each is updated alone, so their division changes no bit.
const CHUNK: usize = 1 << 14;

/// What is the same for all elements of a weight in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// Factor on the gradient, for clipping.
    pub clip: f64,
    /// Decay of the two moments.
    pub betas: [f64; 2],
    /// What the moments lack of their weights' sum, 1 - beta^t.
    pub corrections: [f64; 2],
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Learning rate.
    pub rate: f64,
    /// Weight decay, times the rate.
    pub decay: f64,
}

/// The new weight; `moments` are updated. All of one shape, none tracked by autodiff.
///
/// The kernels work in place where nobody else holds the storage, in one pass; the composition makes a
/// dozen. All take the same operations in the same order.
pub fn adamw(
    value: Tensor<2>,
    grad: Tensor<2>,
    moments: &mut [Tensor<2>; 2],
    step: &AdamStep,
    kernels: Kernels,
) -> Tensor<2> {
    #[cfg(feature = "cube")]
    if let Kernels::Cubes(..) = kernels {
        return super::cube::adamw(value, grad, moments, step);
    }
    let AdamStep { clip, betas: [b1, b2], corrections: [c1, c2], eps, rate, decay } = *step;
    if kernels != Kernels::Fused {
        let grad = if clip < 1.0 { grad * clip } else { grad };
        let [m, v] = moments;
        *m = m.clone() * b1 + grad.clone() * (1.0 - b1);
        *v = v.clone() * b2 + grad.powi_scalar(2) * (1.0 - b2);
        let update = m.clone() / ((v.clone() / c2).sqrt() + eps) * (rate / c1);
        return value * (1.0 - rate * decay) - update;
    }
    let grad = plain(grad).to_contiguous();
    // The old handles must go first, or writing would copy.
    let [mut m, mut v] = moments.each_mut().map(|t| {
        let held = std::mem::replace(t, Tensor::empty([1, 1], &t.device()));
        plain(held).to_contiguous()
    });
    let mut w = plain(value).to_contiguous();
    let scalars = math::Adam {
        clip: clip as f32,
        b: [b1 as f32, b2 as f32],
        rest: [(1.0 - b1) as f32, (1.0 - b2) as f32],
        c2: c2 as f32,
        eps: eps as f32,
        rate: (rate / c1) as f32,
        keep: (1.0 - rate * decay) as f32,
    };
    w.storage_mut::<f32>()
        .par_chunks_mut(CHUNK)
        .zip(m.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(v.storage_mut::<f32>().par_chunks_mut(CHUNK))
        .zip(slice(&grad).par_chunks(CHUNK))
        .for_each(|(((w, m), v), g)| math::adam(w, m, v, g, &scalars));
    *moments = [m, v].map(Tensor::from_primitive::<Flex>);
    Tensor::from_primitive::<Flex>(w)
}

#[cfg(test)]
mod tests {
    use super::super::case::adam_step;
    use super::super::tests::{normal, values};
    use super::*;

    /// Oracle: the composition; and a weight of one element by hand. Steps with and without clipping,
    /// sizes that do not fill a register or a chunk, and a weight that somebody else still holds.
    #[test]
    fn the_kernel_takes_the_step_of_the_composition() {
        for (rows, columns) in [(1, 1), (3, 5), (1, 33), (131, 257)] {
            let run = |kernels| {
                let start = normal(1, rows, columns).inner();
                let mut value = start.clone();
                let mut moments = [value.zeros_like(), value.zeros_like()];
                for t in 1..4 {
                    let step = adam_step(t);
                    let grad = normal(10 + t as u64, rows, columns).inner();
                    value = adamw(value, grad, &mut moments, &step, kernels);
                }
                let [m, v] = moments;
                assert_eq!(values(start), values(normal(1, rows, columns).inner()));
                [value, m, v].map(values)
            };
            assert_eq!(run(Kernels::Fused), run(Kernels::Composed), "[{rows}, {columns}]");
        }
    }

    /// The first step of Adam is the sign of the gradient, and decay takes rate times decay of the weight.
    #[test]
    fn the_first_step_is_the_sign_of_the_gradient() {
        let value = normal(1, 4, 4).inner();
        let grad = normal(2, 4, 4).inner();
        let mut moments = [value.zeros_like(), value.zeros_like()];
        let step = AdamStep {
            clip: 1.0,
            betas: [0.9, 0.95],
            corrections: [0.1, 0.05],
            eps: 0.0,
            rate: 0.01,
            decay: 0.5,
        };
        let after = adamw(value.clone(), grad.clone(), &mut moments, &step, Kernels::Fused);
        for ((after, before), g) in values(after).iter().zip(values(value)).zip(values(grad)) {
            assert!((after - (before * 0.995 - 0.01 * g.signum())).abs() < 1e-6);
        }
    }
}
