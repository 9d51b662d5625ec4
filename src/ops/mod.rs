//! The operations of a decoder and their gradients.
//!
//! One file an operation. Each has a plain composition of burn's operations, which runs on any device and
//! whose gradient is burn's, and kernels for the CPU over slices, forward and backward, a single pass over
//! memory each; tests hold the kernels to the composition in value and gradient. `decoder` strings the
//! kernels together.
//!
//! All activations are `[tokens, width]`; weights are `[in, out]`, gains `[1, width]`. f32 throughout,
//! sums over a batch in a fixed order, so a run has the same bits for any number of threads.

mod adamw;
mod attention;
mod case;
mod check;
mod cross_entropy;
#[cfg(feature = "cube")]
pub(crate) mod cube;
mod decoder;
mod math;
mod matrix;
mod norm;
mod primitives;
mod rms_norm;
mod swiglu;
mod tensor_decoder;

use burn::tensor::{FloatDType, Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

pub use adamw::{AdamStep, adamw};
pub use attention::{Heads, ROPE_BASE, Rope, attention};
pub use case::{Case, largest_difference, relative_difference};
pub use check::{cpu_cases, cpu_product_cases};
pub use cross_entropy::cross_entropy;
#[cfg(feature = "cube")]
pub use cube::{CANDIDATES, Cubes, KINDS, cases, product_by, product_cases};
pub use decoder::{Decoder, Ids, Likelihood, argmax};
pub use norm::norm;
pub use primitives::{Plain, Primitives};
pub use rms_norm::{EPS as NORM_EPS, rms_norm};
pub use swiglu::swiglu;
pub use tensor_decoder::TensorDecoder;

/// Which implementation of the operations a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The CPU's own kernels, without autodiff; only for tensors of burn's CPU backend.
    Fused,
    /// Forward and backward by operations on whole tensors, without autodiff, on any device; matrix products
    /// in the type given.
    Tensors(FloatDType),
    /// The same by kernels of our own; only for devices of CubeCL.
    #[cfg(feature = "cube")]
    Cubes(FloatDType, Products),
    /// Plain burn operations and burn's autodiff, on any device: what the others are held to.
    Composed,
}

/// How the kernel of a matrix product is chosen on a device of CubeCL.
#[cfg(feature = "cube")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Products {
    /// By the types and layouts of the product alone: the same kernel, and bits, in every process.
    Fixed,
    /// The quickest of all that a first use of each shape tries; which one that is may change.
    Autotune,
    /// One element a unit, summed in f32 in the order of the elements: slow, for checks.
    Reference,
}

/// The values of untracked weights on the CPU, row-major.
#[derive(Debug)]
pub struct CpuWeights(Vec<FlexTensor>);

impl CpuWeights {
    /// Shares the storage where the layout allows.
    pub fn new(weights: impl Iterator<Item = Tensor<2>>) -> Self {
        Self(weights.map(|w| plain(w).to_contiguous()).collect())
    }

    /// In the same order.
    pub fn slices(&self) -> Vec<&[f32]> {
        self.0.iter().map(slice).collect()
    }
}

/// A tensor on the CPU backend, without autodiff, around values that are there.
pub fn cpu_tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_primitive::<Flex>(FlexTensor::from_data(TensorData::new(values, shape.to_vec())))
}

/// The CPU backend's own tensor of one without autodiff.
fn plain(x: Tensor<2>) -> FlexTensor {
    x.try_into_primitive::<Flex>().expect("fused kernels are chosen only for the CPU backend")
}

fn slice(x: &FlexTensor) -> &[f32] {
    x.as_slice::<f32>().expect("weights are contiguous f32")
}

#[cfg(test)]
mod tests {
    //! What the tests of the operations share: random tensors, and gradients by autodiff.

    use burn::tensor::Device;

    use super::*;
    use crate::random::Stream;

    pub(super) fn device() -> Device {
        Device::flex().autodiff()
    }

    /// A tensor of standard normal numbers.
    pub(super) fn normal(seed: u64, rows: usize, columns: usize) -> Tensor<2> {
        let stream = Stream::new(seed, "ops test");
        let values: Vec<f32> =
            (0..rows * columns).map(|n| stream.normal(n as u64) as f32).collect();
        Tensor::from_data(TensorData::new(values, [rows, columns]), &device()).require_grad()
    }

    pub(super) fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_to_vec::<f32>().unwrap()
    }

    /// The output of `op`, and the gradients of its sum weighted by `normal(99, ...)`.
    pub(super) fn pull(
        inputs: &[Tensor<2>],
        op: impl Fn(&[Tensor<2>]) -> Tensor<2>,
    ) -> Vec<Vec<f32>> {
        let output = op(inputs);
        let [rows, columns] = output.dims();
        let weights = normal(99, rows, columns).inner().autodiff();
        let grads = (output.clone() * weights).sum().backward();
        let mut all = vec![values(output)];
        all.extend(inputs.iter().map(|x| values(x.grad(&grads).expect("every input is tracked"))));
        all
    }

    /// Largest difference over the largest magnitude, over all tensors.
    pub(super) fn assert_close(got: &[Vec<f32>], want: &[Vec<f32>], tolerance: f32, what: &str) {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            let scale = want.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
            let worst = got.iter().zip(want).fold(0_f32, |m, (g, w)| m.max((g - w).abs()));
            assert_eq!(got.len(), want.len());
            assert!(worst <= tolerance * scale, "{what}: tensor {i} differs by {worst} of {scale}");
        }
    }
}
