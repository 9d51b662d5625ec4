//! [`Primitives`] as CubeCL kernels: NVIDIA GPUs, and any other runtime of CubeCL.
//!
//! A row belongs to a group of units (threads). They meet in shared memory, where each adds up the same
//! parts in the same order: a result has the same bits every time, for any number of units that are there.
//! Arithmetic is f32, whatever a tensor keeps.
//!
//! Tests hold every kernel to [`Plain`](super::Plain), on CubeCL's CPU runtime with the feature `cube-cpu`
//! and on a GPU with `cuda`, and so does `isoflop device check` where a GPU is.

#![expect(unsafe_code, reason = "buffers of CubeCL are made from their parts")]
#![allow(
    clippy::used_underscore_binding,
    clippy::needless_range_loop,
    reason = "kernels are a dialect: types are arguments, loops have indices"
)]

mod adamw;
mod attention;
mod check;
mod cross_entropy;
mod embedding;
mod product;
mod rms_norm;
mod rows;
mod sums;
mod swiglu;
#[cfg(test)]
pub(crate) mod tests;

use std::cell::Cell;

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{Cube, cubecl};
use cubecl::ir::FloatKind;
use cubecl::prelude::*;

use super::Products;
use super::attention::{Heads, Rope};
use super::primitives::Primitives;

pub(super) use adamw::adamw;
pub use check::{KINDS, cases, product_cases};
pub use product::{CANDIDATES, product_by};

/// Units of a cube, where the device allows as many.
const UNITS: usize = 256;
/// Columns that a unit should have at least, and columns up to which a row is left to one warp.
const COLUMNS: [usize; 2] = [4, 1024];

/// By the kernels of this folder; only for tensors on a device of CubeCL.
#[derive(Debug, Clone, Copy)]
pub struct Cubes(pub Products);

impl Primitives for Cubes {
    fn product<const D: usize>(&self, a: Tensor<D>, b: Tensor<D>, to: FloatDType) -> Tensor<D> {
        product::product(a, b, to, self.0)
    }

    fn cast(&self, x: Tensor<2>, to: FloatDType) -> Tensor<2> {
        rows::cast(x, to)
    }

    fn embed(&self, table: Tensor<2>, ids: &[i32]) -> Tensor<2> {
        embedding::rows(table, ids)
    }

    fn residual(&self, x: Tensor<2>, delta: Tensor<2>) -> Tensor<2> {
        rows::residual(x, delta)
    }

    fn rms_norm(&self, x: Tensor<2>, gain: Tensor<2>, to: FloatDType) -> (Tensor<2>, Tensor<2>) {
        rms_norm::forward(x, gain, to)
    }

    fn rms_norm_backward(
        &self,
        x: Tensor<2>,
        grad: Tensor<2>,
        gain: Tensor<2>,
        inverse: Tensor<2>,
        dx: Option<Tensor<2>>,
    ) -> (Tensor<2>, Tensor<2>) {
        rms_norm::backward(x, grad, gain, inverse, dx)
    }

    fn norm_heads(
        &self,
        packed: Tensor<2>,
        gains: [Tensor<2>; 2],
        heads: Heads,
    ) -> (Tensor<2>, Tensor<2>) {
        rms_norm::heads_forward(packed, gains, heads)
    }

    fn norm_heads_backward(
        &self,
        packed: Tensor<2>,
        grad: Tensor<2>,
        gains: [Tensor<2>; 2],
        inverse: Tensor<2>,
        heads: Heads,
    ) -> (Tensor<2>, [Tensor<2>; 2]) {
        rms_norm::heads_backward(packed, grad, gains, inverse, heads)
    }

    fn swiglu(&self, gate_up: Tensor<2>) -> Tensor<2> {
        swiglu::forward(gate_up)
    }

    fn swiglu_backward(&self, gate_up: Tensor<2>, grad: Tensor<2>) -> Tensor<2> {
        swiglu::backward(gate_up, grad)
    }

    fn split_heads(&self, qkv: Tensor<2>, heads: Heads, rope: &Rope) -> [Tensor<3>; 3] {
        attention::split_heads(qkv, heads, rope)
    }

    fn join_heads(&self, parts: [Tensor<3>; 3], heads: Heads, rope: &Rope) -> Tensor<2> {
        attention::join_heads(parts, heads, rope)
    }

    fn merge(&self, x: Tensor<3>, heads: Heads) -> Tensor<2> {
        attention::merge(x, heads)
    }

    fn unmerge(&self, x: Tensor<2>, heads: Heads) -> Tensor<3> {
        attention::unmerge(x, heads)
    }

    fn causal_softmax(&self, scores: Tensor<3>, scale: f32, to: FloatDType) -> Tensor<3> {
        attention::causal_softmax(scores, scale, to)
    }

    fn causal_softmax_backward(&self, p: Tensor<3>, dp: Tensor<3>, scale: f32) -> Tensor<3> {
        attention::causal_softmax_backward(p, dp, scale)
    }

    fn losses(&self, logits: Tensor<2>, targets: &[i32]) -> Tensor<2> {
        cross_entropy::losses(logits, targets)
    }

    fn cross_entropy(
        &self,
        logits: Tensor<2>,
        targets: &[i32],
        factor: f32,
    ) -> (Tensor<2>, Tensor<2>) {
        cross_entropy::both(logits, targets, factor)
    }

    fn embedding_gradient(&self, dx: Tensor<2>, ids: &[i32], vocab: usize) -> Tensor<2> {
        embedding::gradient(dx, ids, vocab)
    }

    fn sum(&self, x: Tensor<2>) -> Tensor<1> {
        sums::total(&[x], false)
    }

    fn squares(&self, tensors: &[Tensor<2>]) -> Tensor<1> {
        sums::total(tensors, true)
    }
}

/// The tensor of CubeCL, rows in any layout.
fn raw<const D: usize>(x: Tensor<D>) -> CubeTensor {
    x.try_into_primitive::<Cube>().expect("chosen only for devices of CubeCL")
}

/// The values of a tensor, row after row, and nothing behind them. What this folder makes already lies so;
/// what burn allocates may have padded rows, and is copied. A single row needs no copy, but its padding would
/// count in a kernel's `len()`, which is that of the buffer.
fn lower<const D: usize>(x: Tensor<D>) -> CubeTensor {
    let mut x = into_contiguous(raw(x));
    let bytes = x.meta.num_elements() * x.dtype.size();
    let behind = x.handle.size_in_used() - bytes as u64;
    if behind > 0 {
        x.handle = x.handle.offset_end(behind);
    }
    x
}

fn lift<const D: usize>(x: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<Cube>(x)
}

/// Room for a result on the device of `beside`, row after row.
fn empty<const D: usize>(beside: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    let (client, device) = (beside.client.clone(), beside.device.clone());
    let room = empty_device_contiguous_dtype(client, device, shape.into(), dtype);
    if POISON.get() {
        poison(&room);
    }
    room
}

thread_local! {
    /// Whether room is filled with NaN.
    static POISON: Cell<bool> = const { Cell::new(false) };
}

/// Does `work` with every result filled with NaN before a kernel writes it.
fn poisoned(work: impl FnOnce()) {
    POISON.set(true);
    work();
    POISON.set(false);
}

#[cube(launch, address_type = "dynamic")]
fn poison_kernel<T: Float>(out: &mut [T], nan: f32, #[define(T)] _kind: ElemType) {
    if ABSOLUTE_POS < out.len() {
        out[ABSOLUTE_POS] = T::cast_from(nan);
    }
}

fn poison(room: &CubeTensor) {
    let (count, dim) = elementwise(&room.client, room.meta.shape().num_elements());
    let (out, kind) = (room.clone().into_buffer_arg(), element(room));
    poison_kernel::launch(&room.client, count, dim, reach(&[room]), out, f32::NAN, kind);
}

/// Whole numbers, on the device of `beside`.
fn indices(beside: &CubeTensor, values: &[u32]) -> BufferArg {
    let handle = beside.client.create_from_slice(u32::as_bytes(values));
    // SAFETY: the buffer has as many elements as the slice it was made from.
    unsafe { BufferArg::from_raw_parts(handle, values.len()) }
}

/// Ids are never negative.
fn unsigned(ids: &[i32]) -> Vec<u32> {
    ids.iter().map(|id| id.cast_unsigned()).collect()
}

/// How CubeCL names the type of a tensor.
fn element(x: &CubeTensor) -> ElemType {
    match x.dtype {
        DType::F32 => ElemType::Float(FloatKind::F32),
        DType::BF16 => ElemType::Float(FloatKind::BF16),
        other => unreachable!("activations are f32 or bf16, not {other:?}"),
    }
}

/// Wide enough for the places in all of these tensors.
fn reach(tensors: &[&CubeTensor]) -> AddressType {
    tensors.iter().map(|t| t.required_address_type()).max().unwrap_or_default()
}

/// How a cube divides among rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Group {
    /// Units of one row.
    lanes: usize,
    /// Rows of one cube.
    rows: usize,
}

impl Group {
    /// For `rows` rows of `columns`, and the cubes that takes.
    fn of(client: &Client, rows: usize, columns: usize) -> (Self, CubeCount, CubeDim) {
        let units = UNITS.min(client.properties().hardware.max_units_per_cube as usize);
        let [least, warp] = COLUMNS;
        let most = if columns > warp { units } else { units.min(32) };
        // Both are powers of two, or the device has fewer units than that.
        let lanes = columns.div_ceil(least).next_power_of_two().min(most);
        let group = Self { lanes, rows: units / lanes };
        let count = CubeCount::new_1d(rows.div_ceil(group.rows) as u32);
        (group, count, CubeDim::new_2d(lanes as u32, group.rows as u32))
    }
}

/// A unit for every one of `n` elements.
fn elementwise(client: &Client, n: usize) -> (CubeCount, CubeDim) {
    let dim = CubeDim::new(client, n);
    (cubecl::calculate_cube_count_elemwise(client, n, dim), dim)
}

/// Row of this unit's group.
#[cube]
fn row() -> usize {
    CUBE_POS * CUBE_DIM_Y as usize + UNIT_POS_Y as usize
}

/// Sum over the lanes of a row.
#[cube]
fn row_sum(part: f32, shared: &mut Shared<[f32]>, #[comptime] lanes: usize) -> f32 {
    let first = UNIT_POS_Y as usize * lanes;
    // What was there before has been read by all.
    sync_cube();
    shared[first + UNIT_POS_X as usize] = part;
    sync_cube();
    let mut sum = 0.0f32;
    for lane in 0..lanes {
        sum += shared[first + lane];
    }
    sum
}

/// Largest over the lanes of a row.
#[cube]
fn row_max(part: f32, shared: &mut Shared<[f32]>, #[comptime] lanes: usize) -> f32 {
    let first = UNIT_POS_Y as usize * lanes;
    sync_cube();
    shared[first + UNIT_POS_X as usize] = part;
    sync_cube();
    let mut most = shared[first];
    for lane in 1..lanes {
        most = max(most, shared[first + lane]);
    }
    most
}
