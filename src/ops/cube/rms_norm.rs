//! RMSNorm, one row a group; the gradient of the gain by sums over blocks of rows. Over whole rows of the
//! stream, and over each head of packed queries and keys.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::super::attention::Heads;
use super::super::rms_norm::EPS;
use super::sums::of_rows;
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
    #[comptime] adds: bool,
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
        let own = f32::cast_from(grad[at]) * gain[c] * r - x[at] * shift;
        if comptime!(adds) {
            out[at] = dx[at] + own;
        } else {
            out[at] = own;
        }
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
    dx: Option<Tensor<2>>,
) -> (Tensor<2>, Tensor<2>) {
    let [n, d] = x.dims();
    let [x, grad, gain, inverse] = [x, grad, gain, inverse].map(lower);
    let dx = dx.map(lower);
    let out = empty(&x, [n, d], DType::F32);
    let (group, count, dim) = Group::of(&x.client, n, d);
    backward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&x, &grad, &out]),
        x.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        gain.clone().into_buffer_arg(),
        inverse.clone().into_buffer_arg(),
        // Not read where nothing is added to.
        dx.clone().unwrap_or(gain).into_buffer_arg(),
        out.clone().into_buffer_arg(),
        group,
        dx.is_some(),
        element(&grad),
    );
    let parts = empty(&x, [n.div_ceil(BLOCK), d], DType::F32);
    let (count, dim) = elementwise(&x.client, n.div_ceil(BLOCK) * d);
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
    (lift(out), lift(of_rows(parts)))
}

/// Rows are the heads of packed tokens: `heads` of queries, of keys, and of values, which stay as they are.
#[cube(launch, address_type = "dynamic")]
fn heads_kernel<T: Float>(
    packed: &[T],
    gain_q: &[f32],
    gain_k: &[f32],
    out: &mut [T],
    inverse: &mut [f32],
    heads: usize,
    eps: f32,
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let columns = gain_q.len();
    let row = row();
    let end = select(row * columns < out.len(), columns, 0);
    let part = row / heads % 3;
    let mut squares = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let v = f32::cast_from(packed[row * columns + c]);
        squares += v * v;
        c += group.lanes;
    }
    let squares = row_sum(squares, &mut shared, group.lanes);
    let r = 1.0f32 / (squares / f32::cast_from(columns) + eps).sqrt();
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        if part == 2 {
            out[at] = packed[at];
        } else {
            let gain = select(part == 0, gain_q[c], gain_k[c]);
            out[at] = T::cast_from(f32::cast_from(packed[at]) * r * gain);
        }
        c += group.lanes;
    }
    if end > 0 && part < 2 && UNIT_POS_X == 0 {
        inverse[row / (3 * heads) * 2 * heads + row % (3 * heads)] = r;
    }
}

pub(super) fn heads_forward(
    packed: Tensor<2>,
    gains: [Tensor<2>; 2],
    heads: Heads,
) -> (Tensor<2>, Tensor<2>) {
    let [n, width] = packed.dims();
    let packed = lower(packed);
    let [gain_q, gain_k] = gains.map(lower);
    let out = empty(&packed, [n, width], packed.dtype);
    let inverse = empty(&packed, [n, 2 * heads.heads], DType::F32);
    let (group, count, dim) = Group::of(&packed.client, n * 3 * heads.heads, heads.head_dim);
    heads_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&packed]),
        packed.into_buffer_arg(),
        gain_q.into_buffer_arg(),
        gain_k.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        inverse.clone().into_buffer_arg(),
        heads.heads,
        EPS,
        group,
        element(&out),
    );
    (lift(out), lift(inverse))
}

#[cube(launch, address_type = "dynamic")]
fn heads_backward_kernel<T: Float>(
    packed: &[T],
    grad: &[T],
    gain_q: &[f32],
    gain_k: &[f32],
    inverse: &[f32],
    out: &mut [T],
    heads: usize,
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let columns = gain_q.len();
    let row = row();
    let live = row * columns < out.len();
    let end = select(live, columns, 0);
    let part = row / heads % 3;
    let mut inner = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        let gain = select(part == 0, gain_q[c], gain_k[c]);
        inner += f32::cast_from(grad[at]) * gain * f32::cast_from(packed[at]);
        c += group.lanes;
    }
    let inner = row_sum(inner, &mut shared, group.lanes);
    let normed = live && part < 2;
    let r = inverse[select(normed, row / (3 * heads) * 2 * heads + row % (3 * heads), 0)];
    let shift = inner * r * r * r / f32::cast_from(columns);
    let mut c = UNIT_POS_X as usize;
    while c < end {
        let at = row * columns + c;
        if part == 2 {
            out[at] = grad[at];
        } else {
            let gain = select(part == 0, gain_q[c], gain_k[c]);
            let own = f32::cast_from(grad[at]) * gain * r;
            out[at] = T::cast_from(own - f32::cast_from(packed[at]) * shift);
        }
        c += group.lanes;
    }
}

/// `out[block, part, c]`: the share of a block of tokens, all heads, in the gradient of gain `c` of queries
/// (part 0) or keys.
#[cube(launch, address_type = "dynamic")]
fn head_gains_kernel<T: Float>(
    packed: &[T],
    grad: &[T],
    inverse: &[f32],
    out: &mut [f32],
    heads: usize,
    columns: usize,
    #[comptime] block: usize,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        let c = ABSOLUTE_POS % columns;
        let part = ABSOLUTE_POS / columns % 2;
        let first = ABSOLUTE_POS / (2 * columns) * block;
        let tokens = inverse.len() / (2 * heads);
        let mut sum = 0.0f32;
        for token in first..min(first + block, tokens) {
            for head in 0..heads {
                let at = ((token * 3 + part) * heads + head) * columns + c;
                let r = inverse[(token * 2 + part) * heads + head];
                sum += f32::cast_from(grad[at]) * f32::cast_from(packed[at]) * r;
            }
        }
        out[ABSOLUTE_POS] = sum;
    }
}

pub(super) fn heads_backward(
    packed: Tensor<2>,
    grad: Tensor<2>,
    gains: [Tensor<2>; 2],
    inverse: Tensor<2>,
    heads: Heads,
) -> (Tensor<2>, [Tensor<2>; 2]) {
    let [n, width] = packed.dims();
    let [packed, grad, inverse] = [packed, grad, inverse].map(lower);
    let [gain_q, gain_k] = gains.map(lower);
    let out = empty(&packed, [n, width], grad.dtype);
    let (group, count, dim) = Group::of(&packed.client, n * 3 * heads.heads, heads.head_dim);
    heads_backward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&packed]),
        packed.clone().into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        gain_q.into_buffer_arg(),
        gain_k.into_buffer_arg(),
        inverse.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        heads.heads,
        group,
        element(&out),
    );
    let (hd, blocks) = (heads.head_dim, n.div_ceil(BLOCK));
    let parts = empty(&packed, [blocks, 2 * hd], DType::F32);
    let (count, dim) = elementwise(&packed.client, blocks * 2 * hd);
    head_gains_kernel::launch(
        &parts.client,
        count,
        dim,
        reach(&[&packed]),
        packed.into_buffer_arg(),
        grad.clone().into_buffer_arg(),
        inverse.into_buffer_arg(),
        parts.clone().into_buffer_arg(),
        heads.heads,
        hd,
        BLOCK,
        element(&grad),
    );
    let gains = lift::<2>(of_rows(parts));
    let part = |i: usize| gains.clone().slice([0..1, i * hd..(i + 1) * hd]);
    (lift(out), [part(0), part(1)])
}
