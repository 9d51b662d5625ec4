//! Sums in a fixed order: of all elements, and of the rows of a matrix. No atomics, no tuning: the same bits in
//! every run on a device.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{Group, elementwise, empty, lift, lower, reach, row, row_sum};

/// Elements of one part of a whole sum.
const PART: usize = 4096;
/// Rows that one unit adds up.
const ROWS: usize = 256;

/// `out[first + row]`: the sum of a part, or of its squares.
#[cube(launch, address_type = "dynamic")]
fn part_kernel(
    x: &[f32],
    out: &mut [f32],
    first: usize,
    parts: usize,
    #[comptime] length: usize,
    #[comptime] group: Group,
    #[comptime] squared: bool,
) {
    let mut shared = Shared::<[f32]>::new_slice(comptime!(group.lanes * group.rows));
    let row = row();
    let begin = row * length;
    let end = select(row < parts, min(begin + length, x.len()), begin);
    let mut sum = 0.0f32;
    let mut at = begin + UNIT_POS_X as usize;
    while at < end {
        let v = x[at];
        if comptime!(squared) {
            sum += v * v;
        } else {
            sum += v;
        }
        at += group.lanes;
    }
    let sum = row_sum(sum, &mut shared, group.lanes);
    if row < parts && UNIT_POS_X == 0 {
        out[first + row] = sum;
    }
}

/// Sums `length` elements at a time into `out` from `first` on.
fn parts(x: &CubeTensor, out: &CubeTensor, first: usize, length: usize, squared: bool) -> usize {
    let elements = x.meta.shape().num_elements();
    let parts = elements.div_ceil(length);
    let (group, count, dim) = Group::of(&x.client, parts, length.min(elements));
    part_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[x, out]),
        x.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        first,
        parts,
        length,
        group,
        squared,
    );
    parts
}

/// The sum of all elements of all tensors, or of their squares.
pub(super) fn total(tensors: &[Tensor<2>], squared: bool) -> Tensor<1> {
    let tensors: Vec<CubeTensor> = tensors.iter().map(|x| lower(x.clone())).collect();
    let count = |x: &CubeTensor| x.meta.shape().num_elements().div_ceil(PART);
    let all: usize = tensors.iter().map(count).sum();
    let mut sums = empty(&tensors[0], [all], DType::F32);
    let mut first = 0;
    for x in tensors {
        first += parts(&x, &sums, first, PART, squared);
    }
    while sums.meta.shape().num_elements() > 1 {
        let next = empty(&sums, [sums.meta.shape().num_elements().div_ceil(PART)], DType::F32);
        parts(&sums, &next, 0, PART, false);
        sums = next;
    }
    lift(sums)
}

#[cube(launch, address_type = "dynamic")]
fn rows_kernel(x: &[f32], out: &mut [f32], columns: usize, #[comptime] block: usize) {
    if ABSOLUTE_POS < out.len() {
        let first = ABSOLUTE_POS / columns * block;
        let c = ABSOLUTE_POS % columns;
        let mut sum = 0.0f32;
        for row in first..min(first + block, x.len() / columns) {
            sum += x[row * columns + c];
        }
        out[ABSOLUTE_POS] = sum;
    }
}

/// The sum of the rows of `[n, columns]`, `[1, columns]`.
pub(super) fn of_rows(mut x: CubeTensor) -> CubeTensor {
    let columns = x.meta.shape()[1];
    while x.meta.shape()[0] > 1 {
        let out = empty(&x, [x.meta.shape()[0].div_ceil(ROWS), columns], DType::F32);
        let (count, dim) = elementwise(&x.client, out.meta.shape().num_elements());
        rows_kernel::launch(
            &out.client,
            count,
            dim,
            reach(&[&x]),
            x.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            columns,
            ROWS,
        );
        x = out;
    }
    x
}
