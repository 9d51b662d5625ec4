//! RMSNorm, one row a group; the gradient of the gain by sums over blocks of rows.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::super::rms_norm::EPS;
use super::{Group, element, elementwise, empty, lift, lower, reach, row, row_sum};

/// Rows whose part of the gain's gradient is summed by one unit.
const BLOCK: usize = 64;

#[cube(launch, address_type = "dynamic")]
fn forward_kernel<T: Float>(
    x: &[f32],
    gain: &[f32],
    out: &mut [T],
    inverse: &mut [f32],
    eps: f32,
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let columns = gain.len();
    let row = row();
    // Units past the last row have no columns but meet the others.
    let end = select(row < inverse.len(), columns, 0);
    let mut squares = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let v = x[row * columns + c];
        squares += v * v;
        c += group.lanes;
    }
    let squares = row_sum(squares, &mut shared, group.lanes);
    let r = 1.0f32 / (squares / f32::cast_from(columns) + eps).sqrt();
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        out[at] = T::cast_from(x[at] * r * gain[c]);
        c += group.lanes;
    }
    if row < inverse.len() && UNIT_POS_X == 0 {
        inverse[row] = r;
    }
}

pub(super) fn forward(x: Tensor<2>, gain: Tensor<2>, to: FloatDType) -> (Tensor<2>, Tensor<2>) {
    let [n, d] = x.dims();
    let (x, gain) = (lower(x), lower(gain));
    let (out, inverse) = (empty(&x, [n, d], to.into()), empty(&x, [n, 1], DType::F32));
    let (group, count, dim) = Group::of(&x.client, n, d);
    forward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&x, &out]),
        x.into_buffer_arg(),
        gain.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        inverse.clone().into_buffer_arg(),
        EPS,
        group,
        element(&out),
    );
    (lift(out), lift(inverse))
}

#[cube(launch, address_type = "dynamic")]
fn backward_kernel<T: Float>(
    x: &[f32],
    grad: &[T],
    gain: &[f32],
    inverse: &[f32],
    dx: &[f32],
    out: &mut [f32],
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let columns = gain.len();
    let row = row();
    let live = row < inverse.len();
    let end = select(live, columns, 0);
    let mut inner = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        inner += f32::cast_from(grad[at]) * gain[c] * x[at];
        c += group.lanes;
    }
    let inner = row_sum(inner, &mut shared, group.lanes);
    let r = inverse[select(live, row, 0)];
    let shift = inner * r * r * r / f32::cast_from(columns);
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        out[at] = dx[at] + f32::cast_from(grad[at]) * gain[c] * r - x[at] * shift;
        c += group.lanes;
    }
}

/// `out[block, c]`: the part of a block of rows in the gradient of gain `c`.
#[cube(launch, address_type = "dynamic")]
fn gain_kernel<T: Float>(
    x: &[f32],
    grad: &[T],
    inverse: &[f32],
    out: &mut [f32],
    columns: usize,
    #[comptime] block: usize,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        let first = ABSOLUTE_POS / columns * block;
        let c = ABSOLUTE_POS % columns;
        let mut sum = 0.0f32;
        for row in first..min(first + block, inverse.len()) {
            let at = row * columns + c;
            sum += f32::cast_from(grad[at]) * x[at] * inverse[row];
        }
        out[ABSOLUTE_POS] = sum;
    }
}

pub(super) fn backward(
    x: Tensor<2>,
    grad: Tensor<2>,
    gain: Tensor<2>,
    inverse: Tensor<2>,
    dx: Tensor<2>,
) -> (Tensor<2>, Tensor<2>) {
    let [n, d] = x.dims();
    let [x, grad, gain, inverse, dx] = [x, grad, gain, inverse, dx].map(lower);
    let out = empty(&x, [n, d], DType::F32);
    let (group, count, dim) = Group::of(&x.client, n, d);
    backward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&x, &grad, &out]),
        x.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        gain.into_buffer_arg(),
        inverse.clone().into_buffer_arg(),
        dx.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        group,
        element(&grad),
    );
    let blocks = n.div_ceil(BLOCK);
    let parts = empty(&x, [blocks, d], DType::F32);
    let (count, dim) = elementwise(&x.client, blocks * d);
    gain_kernel::launch(
        &parts.client,
        count,
        dim,
        reach(&[&x, &grad]),
        x.into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        inverse.into_buffer_arg(),
        parts.clone().into_buffer_arg(),
        d,
        BLOCK,
        element(&grad),
    );
    (lift(out), lift::<2>(parts).sum_dim(0))
}
