//! Next-token cross-entropy; the gradient takes the place of the logits.

use burn::tensor::{Int, Tensor, TensorData, activation};

use super::math;

/// Cross-entropy averaged over the batch [nats/token], shape `[1]`, by burn's operations.
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
pub fn cross_entropy(logits: Tensor<2>, targets: &[i32]) -> Tensor<1> {
    let [n, _] = logits.dims();
    assert_eq!(n, targets.len(), "one target for each row of logits");
    let device = logits.device();
    let ids = TensorData::new(targets.to_vec(), [n, 1]);
    let ids = Tensor::<2, Int>::from_data(ids, &device);
    activation::log_softmax(logits, 1).gather(1, ids).mean().neg()
}

/// Summed loss of rows of `vocab` logits [nats].
pub(super) fn forward(logits: &[f32], targets: &[i32], vocab: usize) -> f64 {
    let rows = logits.chunks(vocab).zip(targets);
    rows.map(|(x, target)| f64::from(math::log_sum_exp(x) - x[*target as usize])).sum()
}

/// As [`forward`], and replaces the logits by their gradient times `factor`.
pub(super) fn backward(logits: &mut [f32], targets: &[i32], vocab: usize, factor: f32) -> f64 {
    let mut sum = 0.0;
    for (x, target) in logits.chunks_mut(vocab).zip(targets) {
        let target = *target as usize;
        let logit = x[target];
        let (max, total) = math::exp_row(x);
        sum += f64::from(max + total.ln() - logit);
        math::scale(x, factor / total);
        x[target] -= factor;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::tests::{assert_close, normal, pull, values};
    use super::*;

    #[test]
    fn the_kernel_agrees_with_the_composition_at_awkward_shapes() {
        for (n, v) in [(1, 2), (3, 5), (65, 17), (200, 256)] {
            let x = (normal(1, n, v) * 3.0).detach().require_grad();
            let targets: Vec<i32> = (0..n).map(|i| i32::try_from(i * 7 % v).unwrap()).collect();
            let want = pull(std::slice::from_ref(&x), |x| {
                cross_entropy(x[0].clone(), &targets).reshape([1, 1])
            });
            let (mut x, weight) = (values(x), values(normal(99, 1, 1))[0]);
            let loss = forward(&x, &targets, v) / n as f64;
            let same = backward(&mut x, &targets, v, weight / n as f32) / n as f64;
            assert!((loss - same).abs() < 1e-6 * loss, "{loss}, {same}");
            assert_close(&[vec![loss as f32], x], &want, 5e-6, &format!("[{n}, {v}]"));
        }
    }
}
