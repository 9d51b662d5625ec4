//! AdamW, one element a unit, in place where nobody else holds the storage.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::adamw::AdamStep;
use super::rows::copy;
use super::{elementwise, lift, lower, reach};

#[cube(launch, address_type = "dynamic")]
fn kernel(
    value: &mut [f32],
    grad: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    clip: f32,
    b1: f32,
    b2: f32,
    rest1: f32,
    rest2: f32,
    c2: f32,
    eps: f32,
    rate: f32,
    keep: f32,
) {
    if ABSOLUTE_POS < value.len() {
        let at = ABSOLUTE_POS;
        let g = grad[at] * clip;
        let first = m[at] * b1 + g * rest1;
        let second = v[at] * b2 + g * g * rest2;
        m[at] = first;
        v[at] = second;
        value[at] = value[at] * keep - first / ((second / c2).sqrt() + eps) * rate;
    }
}

/// A tensor that may be written. Where it is shared, a copy by our own kernel: burn's would have padded rows,
/// which the kernel here knows nothing of.
fn own(x: Tensor<2>) -> CubeTensor {
    let x = lower(x);
    if x.can_mut() { x } else { copy(&x, DType::F32) }
}

/// See [`super::super::adamw`].
pub(in super::super) fn adamw(
    value: Tensor<2>,
    grad: Tensor<2>,
    moments: &mut [Tensor<2>; 2],
    step: &AdamStep,
) -> Tensor<2> {
    let AdamStep { clip, betas: [b1, b2], corrections: [c1, c2], eps, rate, decay } = *step;
    let elements = value.shape().num_elements();
    let (value, grad) = (own(value), lower(grad));
    // The old handles must go first, or writing would copy.
    let [m, v] =
        moments.each_mut().map(|t| own(std::mem::replace(t, Tensor::empty([1, 1], &t.device()))));
    let (count, dim) = elementwise(&value.client, elements);
    kernel::launch(
        &value.client,
        count,
        dim,
        reach(&[&value]),
        value.clone().into_buffer_arg(),
        grad.into_buffer_arg(),
        m.clone().into_buffer_arg(),
        v.clone().into_buffer_arg(),
        clip as f32,
        b1 as f32,
        b2 as f32,
        (1.0 - b1) as f32,
        (1.0 - b2) as f32,
        c2 as f32,
        eps as f32,
        (rate / c1) as f32,
        (1.0 - rate * decay) as f32,
    );
    *moments = [m, v].map(lift);
    lift(value)
}
