//! Next-token cross-entropy, without keeping probabilities.

use std::sync::Arc;

use burn::tensor::{Int, Tensor, TensorData, activation};
use rayon::prelude::*;

use super::{Kernels, contiguous, from_vec, lower, math, register, slice};

/// Rows a thread takes at a time; also the order in which losses are summed.
const ROWS: usize = 64;

/// Cross-entropy averaged over the batch [nats/token], shape `[1]`.
///
/// - `logits`: `[tokens, vocab]`.
/// - `targets`: one id below `vocab` for each row.
///
/// Divide by `ln 2` and by bytes per token for bits per byte, the only unit comparable across
/// tokenizers. At random initialisation the value is close to `ln vocab`; a test holds it to that.
///
/// # Panics
///
/// When there is not one target for each row.
pub fn cross_entropy(logits: Tensor<2>, targets: &[i32], kernels: Kernels) -> Tensor<1> {
    let [n, v] = logits.dims();
    assert_eq!(n, targets.len(), "one target for each row of logits");
    if kernels == Kernels::Composed {
        let device = logits.device();
        let ids = TensorData::new(targets.to_vec(), [n, 1]);
        let ids = Tensor::<2, Int>::from_data(ids, &device);
        return activation::log_softmax(logits, 1).gather(1, ids).mean().neg();
    }
    let targets: Arc<[i32]> = targets.into();
    let x = lower(logits);
    let values = contiguous(&x);
    let mut lse = vec![0.0_f32; n];
    let partial: Vec<f64> = slice(&values)
        .par_chunks(v * ROWS)
        .zip(lse.par_chunks_mut(ROWS))
        .zip(targets.par_chunks(ROWS))
        .map(|((x, lse), targets)| {
            let mut sum = 0.0;
            for ((x, lse), target) in x.chunks(v).zip(lse).zip(targets) {
                *lse = math::log_sum_exp(x);
                sum += f64::from(*lse - x[*target as usize]);
            }
            sum
        })
        .collect();
    let loss = partial.iter().sum::<f64>() / n as f64;
    let pullback = Arc::new(move |grad: &[f32]| {
        let factor = grad[0] / n as f32;
        let mut dx = vec![0.0; n * v];
        dx.par_chunks_mut(v * ROWS)
            .zip(slice(&values).par_chunks(v * ROWS))
            .zip(lse.par_chunks(ROWS))
            .zip(targets.par_chunks(ROWS))
            .for_each(|(((dx, x), lse), targets)| {
                for (((dx, x), lse), target) in
                    dx.chunks_mut(v).zip(x.chunks(v)).zip(lse).zip(targets)
                {
                    math::exp_minus(x, *lse, dx);
                    dx[*target as usize] -= 1.0;
                    math::scale(dx, factor);
                }
            });
        [dx]
    });
    register([x], from_vec(vec![loss as f32], &[1]), pullback)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, v) in [(1, 2), (3, 5), (65, 17), (200, 256)] {
            let x = [normal(1, n, v) * 3.0];
            let x = [x[0].clone().detach().require_grad()];
            let targets: Vec<i32> = (0..n).map(|i| i32::try_from(i * 7 % v).unwrap()).collect();
            let run = |kernels| {
                pull(&x, |x| cross_entropy(x[0].clone(), &targets, kernels).reshape([1, 1]))
            };
            assert_close(
                &run(Kernels::Fused),
                &run(Kernels::Composed),
                5e-6,
                &format!("[{n}, {v}]"),
            );
        }
    }
}
