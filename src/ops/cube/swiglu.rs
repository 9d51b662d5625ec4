//! SwiGLU, one element a unit.

use burn::tensor::Tensor;
use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::{element, elementwise, empty, lift, lower, reach};

#[cube(launch, address_type = "dynamic")]
fn forward_kernel<T: Float>(gate_up: &[T], out: &mut [T], ff: usize, #[define(T)] _kind: ElemType) {
    if ABSOLUTE_POS < out.len() {
        let row = ABSOLUTE_POS / ff;
        // Gate and up are half a row of 2 ff apart.
        let at = ABSOLUTE_POS + row * ff;
        let gate = f32::cast_from(gate_up[at]);
        let up = f32::cast_from(gate_up[at + ff]);
        out[ABSOLUTE_POS] = T::cast_from(gate / (1.0f32 + (-gate).exp()) * up);
    }
}

pub(super) fn forward(gate_up: Tensor<2>) -> Tensor<2> {
    let [n, width] = gate_up.dims();
    let gate_up = lower(gate_up);
    let out = empty(&gate_up, [n, width / 2], gate_up.dtype);
    let (count, dim) = elementwise(&out.client, n * width / 2);
    forward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&gate_up]),
        gate_up.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        width / 2,
        element(&out),
    );
    lift(out)
}

#[cube(launch, address_type = "dynamic")]
fn backward_kernel<T: Float>(
    gate_up: &[T],
    grad: &[T],
    out: &mut [T],
    ff: usize,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < grad.len() {
        let row = ABSOLUTE_POS / ff;
        let at = ABSOLUTE_POS + row * ff;
        let gate = f32::cast_from(gate_up[at]);
        let up = f32::cast_from(gate_up[at + ff]);
        let grad = f32::cast_from(grad[ABSOLUTE_POS]);
        let s = 1.0f32 / (1.0f32 + (-gate).exp());
        out[at] = T::cast_from(grad * up * s * (1.0f32 + gate * (1.0f32 - s)));
        out[at + ff] = T::cast_from(grad * gate * s);
    }
}

pub(super) fn backward(gate_up: Tensor<2>, grad: Tensor<2>) -> Tensor<2> {
    let [n, width] = gate_up.dims();
    let (gate_up, grad) = (lower(gate_up), lower(grad));
    let out = empty(&gate_up, [n, width], gate_up.dtype);
    let (count, dim) = elementwise(&out.client, n * width / 2);
    backward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&gate_up]),
        gate_up.into_buffer_arg(),
        grad.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        width / 2,
        element(&out),
    );
    lift(out)
}
