//! The global norm of gradients, its squares summed in a fixed order.

use burn::tensor::Tensor;
use rayon::prelude::*;

use super::{Kernels, Plain, Primitives, plain, slice};

/// Elements that are summed by one thread, one after the other.
const CHUNK: usize = 1 << 14;

/// The root of the sum of all squares. Its bits do not depend on the number of threads.
///
/// # Panics
///
/// Without a gradient, or when the device cannot be read.
pub fn norm(grads: &[Tensor<2>], kernels: Kernels) -> f64 {
    let squares = match kernels {
        Kernels::Fused => grads.iter().map(|g| on_cpu(g.clone())).sum(),
        #[cfg(feature = "cube")]
        Kernels::Cubes(_, products) => read(super::Cubes(products).squares(grads)),
        Kernels::Tensors(_) | Kernels::Composed => read(Plain.squares(grads)),
    };
    squares.sqrt()
}

fn read(sum: Tensor<1>) -> f64 {
    f64::from(sum.into_scalar::<f32>())
}

/// Chunks by whoever comes first, their sums in the order of the chunks.
fn on_cpu(x: Tensor<2>) -> f64 {
    let x = plain(x).to_contiguous();
    let squares = |chunk: &[f32]| chunk.iter().map(|v| f64::from(*v) * f64::from(*v)).sum();
    let parts: Vec<f64> = slice(&x).par_chunks(CHUNK).map(squares).collect();
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::super::cpu_tensor;
    use super::*;
    use crate::random::Stream;

    /// More than 4 Mi elements, from where burn's own sum changed from run to run.
    #[test]
    fn the_norm_of_many_elements_has_the_same_bits_for_any_number_of_threads() {
        let (rows, columns) = (1 << 12, 1500);
        let stream = Stream::new(1, "norm");
        let values: Vec<f32> =
            (0..rows * columns).map(|i| stream.normal(i as u64) as f32).collect();
        let exact = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let grads = [cpu_tensor(values, [rows, columns]), Tensor::ones([3, 5], &Device::flex())];
        let exact = exact.hypot(15_f64.sqrt());
        for kernels in [Kernels::Fused, Kernels::Composed] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| norm(&grads, kernels))
            };
            let one = run(1);
            assert!((one / exact - 1.0).abs() < 1e-5, "{kernels:?}: {one}, {exact}");
            for threads in [2, 3, 7] {
                assert_eq!(run(threads).to_bits(), one.to_bits(), "{kernels:?}, {threads}");
            }
        }
    }
}
