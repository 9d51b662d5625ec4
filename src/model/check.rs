//! The loss and the gradients of a whole model by any kernels, against burn's autodiff over the composition
//! on the CPU: for the tests, and for `isoflop device check`.

use burn::tensor::{FloatDType, Tensor};

use super::{Place, Scaling, Transformer};
use crate::data::Batch;
use crate::ops::{Case, Kernels};
use crate::shape::Shape;

/// Shapes with a head width of 2, contexts and widths that fill no block, no tile and no padded row, and
/// batches of one chunk, of several and of more than there are lanes.
const SHAPES: [(Shape, usize); 8] = [
    (shape([31, 8, 12, 2, 3, 24], [false, false]), 3),
    (shape([31, 8, 12, 2, 3, 24], [true, true]), 3),
    (shape([31, 8, 12, 2, 3, 24], [true, false]), 100),
    (shape([31, 8, 12, 2, 3, 24], [false, true]), 300),
    (shape([2, 65, 12, 2, 6, 17], [false, false]), 10),
    (shape([31, 1, 12, 1, 3, 24], [false, false]), 5),
    (shape([31, 300, 8, 2, 1, 24], [true, false]), 2),
    (shape([257, 33, 68, 2, 2, 172], [true, false]), 7),
];

/// Vocabulary, context, width, layers, heads, ff; norm of heads, tied.
const fn shape(
    [vocab, context, width, layers, heads, ff]: [usize; 6],
    [qk_norm, tied]: [bool; 2],
) -> Shape {
    Shape { vocab, context, width, layers, heads, ff, qk_norm, tied }
}

/// Micro-batches that a batch is cut into.
const PARTS: [usize; 2] = [1, 3];

/// A batch whose ids follow a rule.
pub(crate) fn batch(shape: &Shape, sequences: usize) -> Batch {
    let n = sequences * shape.context;
    let ids = |step: usize| -> Vec<i32> {
        let id = |i: usize| i32::try_from((i * step + i / 7) % shape.vocab);
        (0..n).map(|i| id(i).expect("vocabularies of a check are small")).collect()
    };
    Batch { inputs: ids(5), targets: ids(11), sequences, context: shape.context }
}

/// Every shape, cut into one part and into three: the loss, the same without its gradient, and the gradient
/// by each weight.
pub fn cases(place: &Place, tell: &mut dyn FnMut(Case)) {
    // bf16 keeps 8 bits; its rounding is the error, in every product of the way.
    let (bits, tolerance) = match place.kernels {
        Kernels::Fused | Kernels::Composed => (4, 2e-5),
        Kernels::Tensors(compute) => of(compute),
        #[cfg(feature = "cube")]
        Kernels::Cubes(compute, _) => of(compute),
    };
    for (shape, sequences) in SHAPES {
        let batch = batch(&shape, sequences);
        let model = |place: &Place| Transformer::new(shape, Scaling::one_rate(0.5), 3, place);
        let mut reference = model(&Place::cpu(Kernels::Composed));
        let (want_loss, want) = reference.gradients(&batch);
        let names: Vec<String> = reference.weights_mut().into_iter().map(|(n, _)| n).collect();
        let parts = if matches!(place.kernels, Kernels::Fused) { &PARTS[..1] } else { &PARTS };
        for parts in parts {
            let rows = (sequences.div_ceil(*parts) * shape.context) as u64;
            let activations = rows * shape.activation_bytes(bits) as u64;
            let model = model(&Place { activations, ..place.clone() });
            let (loss, got) = model.gradients(&batch);
            let what = format!(
                "V {} T {} d {} ff {} heads {}{}{}, {sequences} sequences in {parts}",
                shape.vocab,
                shape.context,
                shape.width,
                shape.ff,
                shape.heads,
                if shape.qk_norm { " normed" } else { "" },
                if shape.tied { " tied" } else { "" },
            );
            let mut case = |what: String, worst: f64, tolerance: f64| {
                tell(Case::new(what, worst, tolerance));
            };
            // A sum of hundreds of f32, one after the other.
            case(format!("{what}: loss"), (loss - want_loss).abs(), 0.2 * tolerance);
            let alone = (loss - model.loss(&batch)).abs();
            case(format!("{what}: loss alone"), alone, 1e-6);
            for ((name, want), got) in names.iter().zip(&want).zip(got) {
                case(format!("{what}: {name}"), off(want.clone(), got), tolerance);
            }
        }
    }
}

/// Bytes of an element that products read, and how far a gradient may be off.
fn of(compute: FloatDType) -> (usize, f64) {
    if compute == FloatDType::BF16 { (2, 5e-2) } else { (4, 2e-5) }
}

/// The norm of the difference, over that of what should be.
fn off(want: Tensor<2>, got: Tensor<2>) -> f64 {
    let [want, got] =
        [want, got].map(|g| g.into_data().try_to_vec::<f32>().expect("gradients are f32"));
    if want.len() != got.len() {
        return f64::INFINITY;
    }
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|v| v * v).sum::<f64>().sqrt();
    let scale = norm(&mut want.iter().map(|w| f64::from(*w))).max(1e-6);
    norm(&mut got.iter().zip(&want).map(|(g, w)| f64::from(g - w))) / scale
}

#[cfg(all(test, feature = "cube-cpu"))]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::ops::Products;

    /// The path of a GPU, kernel for kernel, on CubeCL's CPU runtime.
    #[test]
    fn a_whole_step_by_our_kernels_is_that_of_the_composition() {
        for compute in crate::ops::cube::tests::kinds().iter().copied() {
            let place = Place {
                device: Device::cpu(),
                kernels: Kernels::Cubes(compute, Products::Reference),
                activations: u64::MAX,
            };
            let mut count = 0;
            cases(&place, &mut |case| {
                assert!(case.holds(), "{compute:?}: {case:?}");
                count += 1;
            });
            assert!(count > 200, "{count}");
        }
    }
}
