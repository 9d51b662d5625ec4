//! Element by element: casts, copies and the residual stream.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{element, elementwise, empty, lift, lower, reach};

#[cube(launch, address_type = "dynamic")]
fn cast_kernel<T: Float, O: Float>(
    x: &[T],
    out: &mut [O],
    #[define(T)] _from: ElemType,
    #[define(O)] _to: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        out[ABSOLUTE_POS] = O::cast_from(x[ABSOLUTE_POS]);
    }
}

/// A copy of contiguous values in the type `to`.
pub(super) fn copy(x: &CubeTensor, to: DType) -> CubeTensor {
    let shape = x.meta.shape();
    let out = empty(x, [shape[0], shape[1]], to);
    let (count, dim) = elementwise(&x.client, shape[0] * shape[1]);
    cast_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[x, &out]),
        x.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        element(x),
        element(&out),
    );
    out
}

pub(super) fn cast(x: Tensor<2>, to: FloatDType) -> Tensor<2> {
    let x = lower(x);
    lift(if x.dtype == to.into() { x } else { copy(&x, to.into()) })
}

#[cube(launch, address_type = "dynamic")]
fn residual_kernel<T: Float>(
    x: &[f32],
    delta: &[T],
    out: &mut [f32],
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        out[ABSOLUTE_POS] = x[ABSOLUTE_POS] + f32::cast_from(delta[ABSOLUTE_POS]);
    }
}

pub(super) fn residual(x: Tensor<2>, delta: Tensor<2>) -> Tensor<2> {
    let [n, d] = x.dims();
    let (x, delta) = (lower(x), lower(delta));
    let out = empty(&x, [n, d], DType::F32);
    let (count, dim) = elementwise(&x.client, n * d);
    residual_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&x, &out]),
        x.into_buffer_arg(),
        delta.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        element(&delta),
    );
    lift(out)
}
