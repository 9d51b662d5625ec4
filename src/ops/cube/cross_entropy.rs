//! Cross-entropy, with its gradient in the same kernel where that is wanted; probabilities are never kept.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use cubecl::prelude::*;

use super::{Group, element, empty, indices, lift, lower, reach, row, row_max, row_sum, unsigned};

#[cube(launch, address_type = "dynamic")]
fn kernel<T: Float>(
    logits: &[T],
    targets: &[u32],
    losses: &mut [f32],
    out: &mut [T],
    factor: f32,
    columns: usize,
    #[comptime] group: Group,
    #[comptime] gradient: bool,
    #[define(T)] _kind: ElemType,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let row = row();
    let live = row < losses.len();
    let end = select(live, columns, 0);
    let mut most = f32::min_value();
    let mut c = UNIT_POS_X as usize;
    while c < end {
        most = max(most, f32::cast_from(logits[row * columns + c]));
        c += group.lanes;
    }
    let most = row_max(most, &mut shared, group.lanes);
    let mut sum = 0.0f32;
    let mut c = UNIT_POS_X as usize;
    while c < end {
        sum += (f32::cast_from(logits[row * columns + c]) - most).exp();
        c += group.lanes;
    }
    let sum = row_sum(sum, &mut shared, group.lanes);
    let target = targets[select(live, row, 0)] as usize;
    if comptime!(gradient) {
        let mut c = UNIT_POS_X as usize;
        while c < end {
            let at = row * columns + c;
            let mut p = (f32::cast_from(logits[at]) - most).exp() / sum;
            if c == target {
                p -= 1.0f32;
            }
            out[at] = T::cast_from(p * factor);
            c += group.lanes;
        }
    }
    if live && UNIT_POS_X == 0 {
        losses[row] = sum.ln() + most - f32::cast_from(logits[row * columns + target]);
    }
}

/// The losses; and the gradient with a `factor`.
fn run(logits: Tensor<2>, targets: &[i32], factor: Option<f32>) -> (Tensor<2>, Option<Tensor<2>>) {
    let [n, vocab] = logits.dims();
    let logits = lower(logits);
    let targets = indices(&logits, &unsigned(targets));
    let losses = empty(&logits, [n, 1], DType::F32);
    let size = if factor.is_some() { [n, vocab] } else { [1, 1] };
    let out = empty(&logits, size, logits.dtype);
    let (group, count, dim) = Group::of(&logits.client, n, vocab);
    kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[&logits]),
        logits.into_buffer_arg(),
        targets,
        losses.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        factor.unwrap_or(0.0),
        vocab,
        group,
        factor.is_some(),
        element(&out),
    );
    (lift(losses), factor.map(|_| lift(out)))
}

pub(super) fn losses(logits: Tensor<2>, targets: &[i32]) -> Tensor<2> {
    run(logits, targets, None).0
}

pub(super) fn both(logits: Tensor<2>, targets: &[i32], factor: f32) -> (Tensor<2>, Tensor<2>) {
    let (losses, gradient) = run(logits, targets, Some(factor));
    (losses, gradient.expect("asked for"))
}
