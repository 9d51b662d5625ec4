//! The hot path of the CPU: operations with their own backward, each a single pass over memory.
//!
//! One file an operation. Every file has a fused kernel for burn's CPU backend, registered through its
//! extension mechanism, and a plain composition of burn operations, which is both the path of every other
//! device and the reference that tests hold the kernel to (value and gradient).
//!
//! All activations are `[tokens, width]`; weights are `[in, out]`, gains `[1, width]`. f32 throughout,
//! sums over a batch in a fixed order, so a run has the same bits for any number of threads.
//!
//! Reads: nothing in this crate. Read by: `model`.

mod adamw;
mod attention;
mod cross_entropy;
mod decoder;
mod math;
mod matrix;
mod rms_norm;
mod swiglu;

use std::sync::Arc;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::{Tensor, TensorData};
use burn_flex::{Flex, FlexTensor};

pub use adamw::{AdamStep, adamw};
pub use attention::{Heads, Rope, attention};
pub use cross_entropy::cross_entropy;
pub use decoder::{Decoder, Ids};
pub use rms_norm::rms_norm;
pub use swiglu::swiglu;

/// Which implementation of the operations a model uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// Fused kernels; only for tensors on burn's CPU backend with autodiff.
    Fused,
    /// Plain burn operations, on any device.
    Composed,
}

type Cpu = Autodiff<Flex, NoCheckpointing>;

/// An f32 tensor of the CPU backend, with its place in the autodiff graph where it has one.
enum CpuTensor {
    /// For training.
    Tracked(FloatTensor<Cpu>),
    /// For evaluation: nothing is recorded, so nothing is kept.
    Plain(FlexTensor),
}

/// The backward of one fused operation: gradient of the output in, gradients of the parents out.
type Pullback<const N: usize> = Arc<dyn Fn(&[f32]) -> [Vec<f32>; N] + Send + Sync>;

fn lower<const D: usize>(x: Tensor<D>) -> CpuTensor {
    const CHOSEN: &str = "fused kernels are chosen only for the CPU backend";
    if x.device().is_autodiff() {
        CpuTensor::Tracked(x.try_into_primitive::<Cpu>().expect(CHOSEN))
    } else {
        CpuTensor::Plain(x.try_into_primitive::<Flex>().expect(CHOSEN))
    }
}

/// The values of a tensor, row-major. Copies only when the layout is not contiguous.
fn contiguous(x: &CpuTensor) -> FlexTensor {
    match x {
        CpuTensor::Tracked(x) => x.primitive().to_contiguous(),
        CpuTensor::Plain(x) => x.to_contiguous(),
    }
}

/// The values of untracked weights on the CPU, row-major.
#[derive(Debug)]
pub struct CpuWeights(Vec<FlexTensor>);

impl CpuWeights {
    /// Shares the storage where the layout allows.
    pub fn new(weights: impl Iterator<Item = Tensor<2>>) -> Self {
        Self(weights.map(|w| contiguous(&lower(w))).collect())
    }

    /// In the same order.
    pub fn slices(&self) -> Vec<&[f32]> {
        self.0.iter().map(slice).collect()
    }
}

/// A tensor on the CPU backend, without autodiff, around values that are there.
pub fn cpu_tensor(values: Vec<f32>, shape: [usize; 2]) -> Tensor<2> {
    Tensor::from_primitive::<Flex>(from_vec(values, &shape))
}

fn slice(x: &FlexTensor) -> &[f32] {
    x.as_slice::<f32>().expect("activations and weights are contiguous f32")
}

fn from_vec(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape.to_vec()))
}

/// Registers `output` as computed from `parents`, with `pullback` as its derivative. All parents are
/// tracked, or none.
fn register<const N: usize, const D: usize>(
    parents: [CpuTensor; N],
    output: FlexTensor,
    pullback: Pullback<N>,
) -> Tensor<D> {
    let tracked: Vec<FloatTensor<Cpu>> = parents
        .into_iter()
        .filter_map(|p| match p {
            CpuTensor::Tracked(x) => Some(x),
            CpuTensor::Plain(_) => None,
        })
        .collect();
    let Ok(parents) = <[FloatTensor<Cpu>; N]>::try_from(tracked) else {
        return Tensor::from_primitive::<Flex>(output);
    };
    let shapes = parents.each_ref().map(|p| dims(p.primitive()));
    let state = State { pullback, shapes };
    let prepared = Fused::<N>
        .prepare::<NoCheckpointing>(parents.each_ref().map(FloatTensor::<Cpu>::node))
        .compute_bound()
        .stateful();
    let tensor = match prepared {
        OpsKind::Tracked(prep) => prep.finish(state, output),
        OpsKind::UnTracked(prep) => prep.finish(output),
    };
    Tensor::from_primitive::<Cpu>(tensor)
}

fn dims(x: &FlexTensor) -> Vec<usize> {
    x.layout().shape().iter().copied().collect()
}

/// The one autodiff step behind all fused operations of N parents.
#[derive(Debug)]
struct Fused<const N: usize>;

#[derive(Clone)]
struct State<const N: usize> {
    pullback: Pullback<N>,
    shapes: [Vec<usize>; N],
}

impl<const N: usize> std::fmt::Debug for State<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("shapes", &self.shapes).finish_non_exhaustive()
    }
}

impl<const N: usize> Backward<Flex, N> for Fused<N> {
    type State = State<N>;

    fn backward(self, ops: Ops<State<N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<Flex>(&ops.node).to_contiguous();
        let parents = (ops.state.pullback)(slice(&grad));
        for ((node, values), shape) in ops.parents.into_iter().zip(parents).zip(&ops.state.shapes) {
            if let Some(node) = node {
                grads.register::<Flex>(node.id, from_vec(values, shape));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    //! What the tests of the operations share: random tensors, and gradients of both implementations.

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

    /// Values and gradients of a weighted sum of `op`'s output, by one implementation.
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
