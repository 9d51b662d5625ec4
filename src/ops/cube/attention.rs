//! Around the products of attention: heads apart and rotated, and the softmax of the rows seen.

use burn::tensor::{FloatDType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::super::attention::{Heads, Rope};
use super::{Group, element, elementwise, empty, lift, lower, reach, row, row_max, row_sum};

/// Where a pair of elements is in a packed row and in a head, from its number among all pairs.
///
/// Pairs are (i, i + half); numbers run over tokens, then q, k, v, then heads, then pairs of a head.
#[cube]
fn places(pair: usize, context: usize, heads: usize, half: usize) -> (usize, usize, usize, usize) {
    let i = pair % half;
    let rest = pair / half;
    let head = rest % heads;
    let rest = rest / heads;
    let part = rest % 3;
    let token = rest / 3;
    let packed = rest * heads * 2 * half + head * 2 * half + i;
    let sequence = token / context;
    let t = token % context;
    let split = ((sequence * heads + head) * context + t) * 2 * half + i;
    (part, t * half + i, packed, split)
}

#[cube(launch, address_type = "dynamic")]
fn split_kernel<T: Float>(
    qkv: &[T],
    cos: &[f32],
    sin: &[f32],
    q: &mut [T],
    k: &mut [T],
    v: &mut [T],
    context: usize,
    heads: usize,
    half: usize,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < qkv.len() / 2 {
        let (part, angle, from, to) = places(ABSOLUTE_POS, context, heads, half);
        if part == 2 {
            v[to] = qkv[from];
            v[to + half] = qkv[from + half];
        } else {
            let a = f32::cast_from(qkv[from]);
            let b = f32::cast_from(qkv[from + half]);
            let first = T::cast_from(a * cos[angle] - b * sin[angle]);
            let second = T::cast_from(b * cos[angle] + a * sin[angle]);
            if part == 0 {
                q[to] = first;
                q[to + half] = second;
            } else {
                k[to] = first;
                k[to + half] = second;
            }
        }
    }
}

pub(super) fn split_heads(qkv: Tensor<2>, heads: Heads, rope: &Rope) -> [Tensor<3>; 3] {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    let [cos, sin] = rope.tables(&qkv.device()).map(lower);
    let qkv = lower(qkv);
    let [q, k, v] = [0; 3].map(|_| empty(&qkv, [b * h, t, hd], qkv.dtype));
    let (count, dim) = elementwise(&qkv.client, b * t * 3 * h * hd / 2);
    split_kernel::launch(
        &q.client,
        count,
        dim,
        reach(&[&qkv]),
        qkv.into_buffer_arg(),
        cos.into_buffer_arg(),
        sin.into_buffer_arg(),
        q.clone().into_buffer_arg(),
        k.clone().into_buffer_arg(),
        v.clone().into_buffer_arg(),
        t,
        h,
        hd / 2,
        element(&q),
    );
    [q, k, v].map(lift)
}

#[cube(launch, address_type = "dynamic")]
fn join_kernel<T: Float>(
    q: &[T],
    k: &[T],
    v: &[T],
    cos: &[f32],
    sin: &[f32],
    qkv: &mut [T],
    context: usize,
    heads: usize,
    half: usize,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < qkv.len() / 2 {
        let (part, angle, to, from) = places(ABSOLUTE_POS, context, heads, half);
        if part == 2 {
            qkv[to] = v[from];
            qkv[to + half] = v[from + half];
        } else {
            let mut a = f32::cast_from(k[from]);
            let mut b = f32::cast_from(k[from + half]);
            if part == 0 {
                a = f32::cast_from(q[from]);
                b = f32::cast_from(q[from + half]);
            }
            qkv[to] = T::cast_from(a * cos[angle] + b * sin[angle]);
            qkv[to + half] = T::cast_from(b * cos[angle] - a * sin[angle]);
        }
    }
}

pub(super) fn join_heads(parts: [Tensor<3>; 3], heads: Heads, rope: &Rope) -> Tensor<2> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    let [cos, sin] = rope.tables(&parts[0].device()).map(lower);
    let [q, k, v] = parts.map(lower);
    let qkv = empty(&q, [b * t, 3 * h * hd], q.dtype);
    let (count, dim) = elementwise(&qkv.client, b * t * 3 * h * hd / 2);
    join_kernel::launch(
        &qkv.client,
        count,
        dim,
        reach(&[&qkv]),
        q.into_buffer_arg(),
        k.into_buffer_arg(),
        v.into_buffer_arg(),
        cos.into_buffer_arg(),
        sin.into_buffer_arg(),
        qkv.clone().into_buffer_arg(),
        t,
        h,
        hd / 2,
        element(&qkv),
    );
    lift(qkv)
}

/// `[B H, T, head_dim]` to `[B T, d]`, or back.
#[cube(launch, address_type = "dynamic")]
fn turn_kernel<T: Float>(
    x: &[T],
    out: &mut [T],
    context: usize,
    heads: usize,
    head_dim: usize,
    #[comptime] merge: bool,
    #[define(T)] _kind: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        // Numbers of merged elements run over sequences, then tokens, then heads.
        let i = ABSOLUTE_POS % head_dim;
        let rest = ABSOLUTE_POS / head_dim;
        let head = rest % heads;
        let token = rest / heads;
        let split = (token / context * heads + head) * context + token % context;
        if comptime!(merge) {
            out[ABSOLUTE_POS] = x[split * head_dim + i];
        } else {
            out[split * head_dim + i] = x[ABSOLUTE_POS];
        }
    }
}

fn turn(x: &CubeTensor, out: &CubeTensor, heads: Heads, merge: bool) {
    let elements = heads.sequences * heads.context * heads.width();
    let (count, dim) = elementwise(&x.client, elements);
    turn_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[x]),
        x.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        heads.context,
        heads.heads,
        heads.head_dim,
        merge,
        element(x),
    );
}

pub(super) fn merge(x: Tensor<3>, heads: Heads) -> Tensor<2> {
    let x = lower(x);
    let out = empty(&x, [heads.sequences * heads.context, heads.width()], x.dtype);
    turn(&x, &out, heads, true);
    lift(out)
}

pub(super) fn unmerge(x: Tensor<2>, heads: Heads) -> Tensor<3> {
    let Heads { sequences: b, context: t, heads: h, head_dim: hd } = heads;
    let x = lower(x);
    let out = empty(&x, [b * h, t, hd], x.dtype);
    turn(&x, &out, heads, false);
    lift(out)
}

/// Rows and columns of square matrices, one after the other, as groups.
fn squares(x: &CubeTensor, [matrices, t, _]: [usize; 3]) -> (Group, CubeCount, CubeDim) {
    Group::of(&x.client, matrices * t, t)
}

#[cube(launch, address_type = "dynamic")]
fn softmax_kernel<T: Float>(
    scores: &[f32],
    out: &mut [T],
    scale: f32,
    columns: usize,
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let row = row();
    let live = row * columns < out.len();
    let seen = select(live, row % columns + 1, 0);
    let mut most = f32::min_value();
    let mut c = UNIT_POS_X as usize;
    while c < seen {
        most = max(most, scores[row * columns + c] * scale);
        c += group.lanes;
    }
    let most = row_max(most, &mut shared, group.lanes);
    let mut sum = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < seen {
        sum += (scores[row * columns + c] * scale - most).exp();
        c += group.lanes;
    }
    let share = 1.0f32 / row_sum(sum, &mut shared, group.lanes);
    let mut c = UNIT_POS_X as usize;
    while c < select(live, columns, 0) {
        let at = row * columns + c;
        let mut p = 0.0f32;
        if c < seen {
            p = (scores[at] * scale - most).exp() * share;
        }
        out[at] = T::cast_from(p);
        c += group.lanes;
    }
}

pub(super) fn causal_softmax(scores: Tensor<3>, scale: f32, to: FloatDType) -> Tensor<3> {
    let dims = scores.dims();
    let scores = lower(scores);
    let out = empty(&scores, dims, to.into());
    let (group, count, dim) = squares(&scores, dims);
    softmax_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&scores]),
        scores.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        scale,
        dims[2],
        group,
        element(&out),
    );
    lift(out)
}

#[cube(launch, address_type = "dynamic")]
fn softmax_backward_kernel<T: Float>(
    p: &[T],
    dp: &[f32],
    out: &mut [T],
    scale: f32,
    columns: usize,
    #[comptime] group: Group,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let row = row();
    let live = row * columns < out.len();
    let seen = select(live, row % columns + 1, 0);
    let mut shift = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < seen {
        let at = row * columns + c;
        shift += f32::cast_from(p[at]) * dp[at];
        c += group.lanes;
    }
    let shift = row_sum(shift, &mut shared, group.lanes);
    let mut c = UNIT_POS_X as usize;
    while c < select(live, columns, 0) {
        let at = row * columns + c;
        let mut ds = 0.0f32;
        if c < seen {
            ds = f32::cast_from(p[at]) * (dp[at] - shift) * scale;
        }
        out[at] = T::cast_from(ds);
        c += group.lanes;
    }
}

pub(super) fn causal_softmax_backward(p: Tensor<3>, dp: Tensor<3>, scale: f32) -> Tensor<3> {
    let dims = p.dims();
    let (p, dp) = (lower(p), lower(dp));
    let out = empty(&p, dims, p.dtype);
    let (group, count, dim) = squares(&p, dims);
    softmax_backward_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&p]),
        p.into_buffer_arg(),
        dp.into_buffer_arg(),
        out.clone().into_buffer_arg(),
        scale,
        dims[2],
        group,
        element(&out),
    );
    lift(out)
}
