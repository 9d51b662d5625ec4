//! Matrix products on devices of CubeCL: which kernel, and the one that all are held to.
//!
//! Results lie row after row, without padding, so that no kernel of ours has to copy them. Operands may be
//! transposed views. Sums are f32; f32 operands are never rounded to TF32 but by autotune.

use burn::tensor::{DType, FloatDType, Tensor};
use burn_cubecl::cubecl;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind;
use cubek::matmul::multi_level::routines::batch::double_buffering::DoubleBufferingArgs;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::std::InputBinding;

use super::super::Products;
use super::{element, elementwise, empty, lift, raw, reach};

/// Kernels of cubek that are worth a trial for bf16, by name. "specialized tma cmma" is not: at many shapes it
/// is refused only after it was launched, and writes nothing.
pub const CANDIDATES: [&str; 10] = [
    "simple cmma",
    "simple mma rows",
    "simple cmma rows",
    "ordered mma 8",
    "ordered cmma 8",
    "double mma",
    "specialized mma",
    "tma mma rows",
    "tma cmma rows",
    "specialized tma mma",
];

/// Without tensor cores: runs anywhere, and keeps f32 operands as they are.
const UNIT: &str = "unit";

/// The fixed choice: kernels to try, quickest first, as measured on an H200 (docs/GPU.md).
fn choices(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) -> &'static [&'static str] {
    /// Multiply-adds below which a launch costs more than the product, and what counts is that a kernel is
    /// compiled in a moment.
    const SMALL: usize = 1 << 26;
    /// Inner length up to which fetching by tiles pays more than a pipeline.
    const SHORT: usize = 64;
    let inner = a.meta.shape()[a.meta.num_dims() - 1];
    if a.dtype != DType::BF16 {
        return &[UNIT];
    }
    if out.meta.num_elements() * inner < SMALL {
        return &["simple cmma", UNIT];
    }
    match by_tensor_map(a) && by_tensor_map(b) {
        true if inner <= SHORT => &["tma cmma rows", "ordered mma 8", "simple cmma", UNIT],
        true => &["specialized tma mma", "ordered mma 8", "simple cmma", UNIT],
        false => &["ordered mma 8", "simple cmma", UNIT],
    }
}

/// Whether the copy engine of a GPU (TMA) can fetch it: all begins and strides are multiples of 16 bytes. Asked
/// here, since CubeCL refuses the others only after the launch, when nobody can choose another kernel.
fn by_tensor_map(x: &CubeTensor) -> bool {
    /// What the engine asks for [bytes].
    const ALIGNED: usize = 16;
    let begin = x.handle.offset_start.unwrap_or(0) as usize;
    let strides = x.meta.strides().iter().filter(|stride| **stride != 1);
    std::iter::once(begin)
        .chain(strides.map(|stride| stride * x.dtype.size()))
        .all(|bytes| bytes.is_multiple_of(ALIGNED))
}

fn strategy(name: &str) -> Option<Strategy> {
    use TileMatmulKind::{Cmma, Mma};
    let simple = |tile_matmul, multi_rows| SimpleArgs { multi_rows, tile_matmul };
    let ordered = |tile_matmul| {
        Inferred(OrderedSelectionArgs {
            partition_k: Some(2),
            row_count: Some(8),
            rows_per_plane: Some(2),
            tile_matmul,
        })
    };
    Some(match name {
        "simple cmma" => Strategy::SimpleCyclicCmma(Inferred(simple(Cmma, false))),
        "simple cmma rows" => Strategy::SimpleCyclicCmma(Inferred(simple(Cmma, true))),
        "simple mma rows" => Strategy::SimpleCyclicMma(Inferred(simple(Mma, true))),
        "ordered mma 8" => Strategy::OrderedDoubleMma(ordered(Mma)),
        "ordered cmma 8" => Strategy::OrderedDoubleCmma(ordered(Cmma)),
        "double mma" => Strategy::DoubleCyclicMma(Inferred(DoubleBufferingArgs {
            specialized: false,
            tile_matmul: Mma,
        })),
        "specialized mma" => Strategy::SpecializedCyclicMma(Inferred(().into())),
        "tma mma rows" => Strategy::SimpleTmaMma(Inferred(simple(Mma, true))),
        "tma cmma rows" => Strategy::SimpleTmaCmma(Inferred(simple(Cmma, true))),
        "specialized tma mma" => Strategy::SpecializedTmaMma(Inferred(().into())),
        "specialized tma cmma" => Strategy::SpecializedTmaCmma(Inferred(().into())),
        UNIT => Strategy::SimpleUnit(Inferred(SimpleUnitSelectionArgs::default())),
        _ => return None,
    })
}

/// By one kernel of [`CANDIDATES`].
///
/// # Errors
///
/// Why this device cannot run it on this product; some refuse only when the result is read.
pub fn product_by<const D: usize>(
    name: &str,
    a: Tensor<D>,
    b: Tensor<D>,
    to: FloatDType,
) -> Result<Tensor<D>, String> {
    let (a, b) = (raw(a), raw(b));
    let out = result::<D>(&a, &b, to.into());
    launch(name, &a, &b, &out)?;
    Ok(lift(out))
}

fn result<const D: usize>(a: &CubeTensor, b: &CubeTensor, to: DType) -> CubeTensor {
    let mut shape: [usize; D] = std::array::from_fn(|i| a.meta.shape()[i]);
    shape[D - 1] = b.meta.shape()[D - 1];
    empty(a, shape, to)
}

fn launch(name: &str, a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) -> Result<(), String> {
    let strategy = strategy(name).ok_or_else(|| format!("no kernel `{name}`"))?;
    let (from, to) = (element(a), element(out));
    let mut elements =
        MatmulElems::from_globals(&MatmulGlobalElems { lhs: from, rhs: from, out: to });
    let bind = |x: &CubeTensor| InputBinding::new(x.clone().binding(), from);
    launch_ref(
        &strategy.into(),
        &out.client,
        bind(a),
        bind(b),
        out.clone().binding(),
        &mut elements,
    )
    .map_err(|e| format!("{e:?}"))
}

pub(super) fn product<const D: usize>(
    a: Tensor<D>,
    b: Tensor<D>,
    to: FloatDType,
    products: Products,
) -> Tensor<D> {
    let (a, b) = (raw(a), raw(b));
    let out = result::<D>(&a, &b, to.into());
    match products {
        Products::Reference => reference(&a, &b, &out),
        Products::Fixed => fixed(&a, &b, &out),
        Products::Autotune => tuned(&a, &b, &out),
    }
    lift(out)
}

/// The first kernel that runs; the last one runs everywhere.
fn fixed(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) {
    let runs = choices(a, b, out).iter().any(|name| launch(name, a, b, out).is_ok());
    assert!(runs, "`{UNIT}` needs nothing that a device could lack");
}

#[cfg(feature = "cuda")]
fn tuned(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) {
    let dtype = out.dtype;
    burn_cubecl::kernel::matmul::matmul_autotune(a.clone(), b.clone(), Some(out.clone()), dtype);
}

/// burn's tuning is built with the feature `cuda` only.
#[cfg(not(feature = "cuda"))]
fn tuned(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) {
    fixed(a, b, out);
}

#[cube(launch, address_type = "dynamic")]
fn reference_kernel<T: Float, O: Float>(
    a: &[T],
    b: &[T],
    out: &mut [O],
    rows: usize,
    columns: usize,
    inner: usize,
    batch_a: usize,
    row_a: usize,
    column_a: usize,
    batch_b: usize,
    row_b: usize,
    column_b: usize,
    #[define(T)] _from: ElemType,
    #[define(O)] _to: ElemType,
) {
    if ABSOLUTE_POS < out.len() {
        let column = ABSOLUTE_POS % columns;
        let row = ABSOLUTE_POS / columns % rows;
        let batch = ABSOLUTE_POS / (columns * rows);
        let first_a = batch * batch_a + row * row_a;
        let first_b = batch * batch_b + column * column_b;
        let mut sum = 0.0f32;
        for i in 0..inner {
            sum +=
                f32::cast_from(a[first_a + i * column_a]) * f32::cast_from(b[first_b + i * row_b]);
        }
        out[ABSOLUTE_POS] = O::cast_from(sum);
    }
}

/// One element a unit.
fn reference(a: &CubeTensor, b: &CubeTensor, out: &CubeTensor) {
    let strides = |x: &CubeTensor| {
        let strides = x.meta.strides();
        let last = strides.len() - 1;
        [if last > 1 { strides[last - 2] } else { 0 }, strides[last - 1], strides[last]]
    };
    let ([batch_a, row_a, column_a], [batch_b, row_b, column_b]) = (strides(a), strides(b));
    let shape = out.meta.shape();
    let (rank, elements) = (shape.num_dims(), shape.num_elements());
    let (count, dim) = elementwise(&out.client, elements);
    reference_kernel::launch(
        &out.client,
        count,
        dim,
        reach(&[a, b, out]),
        a.clone().into_buffer_arg(),
        b.clone().into_buffer_arg(),
        out.clone().into_buffer_arg(),
        shape[rank - 2],
        shape[rank - 1],
        a.meta.shape()[rank - 1],
        batch_a,
        row_a,
        column_a,
        batch_b,
        row_b,
        column_b,
        element(a),
        element(out),
    );
}
