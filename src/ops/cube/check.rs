//! Every kernel against [`Plain`] on burn's CPU backend, at shapes that fill no group of units: for the tests,
//! on CubeCL's CPU runtime, and for `isoflop device check`, on the GPU that is there.
//!
//! Inputs are drawn; every result is filled with NaN before a kernel writes it, so that an element that
//! nobody wrote is seen. Rows of inputs are padded with NaN, as a GPU may pad them, so that a kernel that
//! takes the padding for values is seen.

use burn::tensor::{DType, Device, FloatDType, Tensor, TensorData};

use super::super::attention::{Heads, Rope};
use super::super::case::{PRODUCTS, adam_step, by_hand, drawn, lying};
use super::super::primitives::{Plain, Primitives};
use super::super::{Case, Kernels, Products, adamw};
use super::rows::copy;
use super::{Cubes, lift, lower, poisoned, raw};

/// What a cast to bf16 may move, as a share of the largest element: 8 bits, and a sum in another order may
/// round the other way.
const BF16: f64 = 8e-3;
/// A sum of f32 in another order.
const F32: f64 = 1e-5;

/// The types that products may have.
pub const KINDS: [FloatDType; 2] = [FloatDType::F32, FloatDType::BF16];

/// Where kernels run, and who is told.
struct Bench<'a> {
    device: &'a Device,
    kinds: &'a [FloatDType],
    tell: &'a mut dyn FnMut(Case),
}

impl Bench<'_> {
    /// Standard normal numbers on burn's CPU backend, and on the device with padded rows.
    fn pair<const D: usize>(
        &self,
        name: &str,
        shape: [usize; D],
        kind: FloatDType,
    ) -> [Tensor<D>; 2] {
        let values = drawn(name, shape.iter().product());
        let [here, there] = [&Device::flex(), self.device].map(|device| {
            Tensor::<D>::from_data(TensorData::new(values.clone(), shape.to_vec()), device)
                .cast(kind)
        });
        [here, padded(there)]
    }

    fn same<const D: usize>(&mut self, want: Tensor<D>, got: Tensor<D>, what: &str) {
        let tolerance = if want.dtype() == DType::BF16 { BF16 } else { F32 };
        let alike = (want.dtype(), want.dims()) == (got.dtype(), got.dims());
        let name = what.to_owned();
        (self.tell)(if alike {
            Case::of(name, &values(want), &values(got), tolerance)
        } else {
            Case::new(name, f64::INFINITY, tolerance)
        });
    }
}

/// The same values, with NaN after each row.
fn padded<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let columns = x.dims()[D - 1];
    let mut padding = x.dims();
    padding[D - 1] = 3;
    let padding = Tensor::<D>::full(padding, f32::NAN, &x.device()).cast(x.dtype());
    let mut wide = raw(Tensor::cat(vec![x, padding], D - 1));
    wide.meta.shape_mut()[D - 1] = columns;
    lift(wide)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
    let data = x.cast(FloatDType::F32).into_data();
    data.try_to_vec::<f32>().expect("cast to f32")
}

fn short(kind: FloatDType) -> &'static str {
    if kind == FloatDType::BF16 { "bf16" } else { "f32" }
}

fn id(n: usize) -> i32 {
    i32::try_from(n).expect("ids of a check are small")
}

/// Every operation between the products, for each type of `kinds`.
pub fn cases(device: &Device, kinds: &[FloatDType], tell: &mut dyn FnMut(Case)) {
    let mut bench = Bench { device, kinds, tell };
    poisoned(|| {
        element_by_element(&mut bench);
        rms_norm(&mut bench);
        norm_heads(&mut bench);
        swiglu(&mut bench);
        heads(&mut bench);
        softmax(&mut bench);
        cross_entropy(&mut bench);
        embedding(&mut bench);
        sums(&mut bench);
        optimiser(&mut bench);
    });
}

const CUBES: Cubes = Cubes(Products::Reference);

fn element_by_element(bench: &mut Bench<'_>) {
    for [n, d] in [[1, 1], [3, 33], [7, 1376]] {
        let [x, x2] = bench.pair("x", [n, d], FloatDType::F32);
        for kind in bench.kinds.iter().copied() {
            let what = format!("[{n}, {d}] {}", short(kind));
            let [delta, delta2] = bench.pair("delta", [n, d], kind);
            let sum = Plain.residual(x.clone(), delta.clone());
            bench.same(
                sum,
                CUBES.residual(x2.clone(), delta2.clone()),
                &format!("residual {what}"),
            );
            for to in bench.kinds.iter().copied() {
                let [want, got] = [Plain.cast(delta.clone(), to), CUBES.cast(delta2.clone(), to)];
                bench.same(want, got, &format!("cast {what} to {}", short(to)));
            }
        }
    }
}

fn rms_norm(bench: &mut Bench<'_>) {
    // Of a single column nothing is left of the gradient but rounding.
    for [n, d] in [[1, 3], [3, 2], [5, 17], [131, 64], [2, 1500], [300, 33]] {
        for kind in bench.kinds.iter().copied() {
            let what = format!("rms_norm [{n}, {d}] {}", short(kind));
            let f32 = FloatDType::F32;
            let [x, x2] = bench.pair("x", [n, d], f32);
            let [gain, gain2] = bench.pair("gain", [1, d], f32);
            let [grad, grad2] = bench.pair("grad", [n, d], kind);
            let [dx, dx2] = bench.pair("dx", [n, d], f32);
            let (y, r) = Plain.rms_norm(x.clone(), gain.clone(), kind);
            let (y2, r2) = CUBES.rms_norm(x2.clone(), gain2.clone(), kind);
            bench.same(y, y2, &what);
            bench.same(r.clone(), r2.clone(), &format!("{what}, roots"));
            for (dx, dx2) in [(None, None), (Some(dx), Some(dx2))] {
                let adds = if dx.is_some() { ", added" } else { "" };
                let (want, dgain) =
                    Plain.rms_norm_backward(x.clone(), grad.clone(), gain.clone(), r.clone(), dx);
                let (got, dgain2) = CUBES.rms_norm_backward(
                    x2.clone(),
                    grad2.clone(),
                    gain2.clone(),
                    r2.clone(),
                    dx2,
                );
                bench.same(want, got, &format!("{what}, gradient{adds}"));
                bench.same(dgain, dgain2, &format!("{what}, gradient of the gain{adds}"));
            }
        }
    }
}

fn norm_heads(bench: &mut Bench<'_>) {
    for (n, h, hd) in [(1, 1, 2), (5, 3, 4), (131, 2, 34)] {
        let heads = Heads { sequences: 1, context: n, heads: h, head_dim: hd };
        for kind in bench.kinds.iter().copied() {
            let what = format!("norm of heads [{n}, {h}, {hd}] {}", short(kind));
            let [x, x2] = bench.pair("x", [n, 3 * h * hd], kind);
            let [grad, grad2] = bench.pair("grad", [n, 3 * h * hd], kind);
            let [q, q2] = bench.pair("q", [1, hd], FloatDType::F32);
            let [k, k2] = bench.pair("k", [1, hd], FloatDType::F32);
            let (gains, gains2) = ([q, k], [q2, k2]);
            let (y, r) = Plain.norm_heads(x.clone(), gains.clone(), heads);
            let (y2, r2) = CUBES.norm_heads(x2.clone(), gains2.clone(), heads);
            bench.same(y, y2, &what);
            bench.same(r.clone(), r2.clone(), &format!("{what}, roots"));
            let (dx, dgains) = Plain.norm_heads_backward(x, grad, gains, r, heads);
            let (dx2, dgains2) = CUBES.norm_heads_backward(x2, grad2, gains2, r2, heads);
            bench.same(dx, dx2, &format!("{what}, gradient"));
            for (want, got) in dgains.into_iter().zip(dgains2) {
                bench.same(want, got, &format!("{what}, gradient of a gain"));
            }
        }
    }
}

fn swiglu(bench: &mut Bench<'_>) {
    for [n, ff] in [[1, 1], [3, 5], [67, 88], [9, 1376]] {
        for kind in bench.kinds.iter().copied() {
            let what = format!("swiglu [{n}, {ff}] {}", short(kind));
            let [x, x2] = bench.pair("x", [n, 2 * ff], kind);
            let [grad, grad2] = bench.pair("grad", [n, ff], kind);
            bench.same(Plain.swiglu(x.clone()), CUBES.swiglu(x2.clone()), &what);
            let [dx, dx2] = [Plain.swiglu_backward(x, grad), CUBES.swiglu_backward(x2, grad2)];
            bench.same(dx, dx2, &format!("{what}, gradient"));
        }
    }
}

fn heads(bench: &mut Bench<'_>) {
    for (b, t, h, hd) in [(1, 1, 1, 2), (2, 5, 3, 4), (3, 65, 2, 16)] {
        let heads = Heads { sequences: b, context: t, heads: h, head_dim: hd };
        for kind in bench.kinds.iter().copied() {
            let what = format!("heads [{b}, {t}, {h}, {hd}] {}", short(kind));
            // Longer than the batch's context: tables are for the longest.
            let [rope, rope2] = [0; 2].map(|_| Rope::new(t + 3, hd));
            let [x, x2] = bench.pair("x", [b * t, 3 * h * hd], kind);
            let parts = Plain.split_heads(x, heads, &rope);
            let parts2 = CUBES.split_heads(x2, heads, &rope2);
            for (want, got) in parts.iter().zip(&parts2) {
                bench.same(want.clone(), got.clone(), &format!("{what}, apart"));
            }
            let back = Plain.join_heads(parts, heads, &rope);
            bench.same(back, CUBES.join_heads(parts2, heads, &rope2), &format!("{what}, joined"));
            let [x, x2] = bench.pair("y", [b * h, t, hd], kind);
            let (merged, merged2) = (Plain.merge(x, heads), CUBES.merge(x2, heads));
            bench.same(merged.clone(), merged2.clone(), &format!("{what}, merged"));
            let [x, x2] = [Plain.unmerge(merged, heads), CUBES.unmerge(merged2, heads)];
            bench.same(x, x2, &format!("{what}, unmerged"));
        }
    }
}

fn softmax(bench: &mut Bench<'_>) {
    for (matrices, t) in [(1, 1), (3, 2), (2, 65), (1, 130), (1, 1100)] {
        for kind in bench.kinds.iter().copied() {
            let what = format!("causal softmax {matrices} x {t} {}", short(kind));
            let [scores, scores2] = bench.pair("scores", [matrices, t, t], FloatDType::F32);
            let [dp, dp2] = bench.pair("dp", [matrices, t, t], FloatDType::F32);
            let p = Plain.causal_softmax(scores, 3.0, kind);
            let p2 = CUBES.causal_softmax(scores2, 3.0, kind);
            bench.same(p.clone(), p2.clone(), &what);
            let ds = Plain.causal_softmax_backward(p, dp, 0.3);
            let ds2 = CUBES.causal_softmax_backward(p2, dp2, 0.3);
            bench.same(ds, ds2, &format!("{what}, gradient"));
        }
    }
}

fn cross_entropy(bench: &mut Bench<'_>) {
    for [n, vocab] in [[1, 2], [3, 17], [40, 256], [2, 4099]] {
        for kind in bench.kinds.iter().copied() {
            let what = format!("cross-entropy [{n}, {vocab}] {}", short(kind));
            let [logits, logits2] = bench.pair("logits", [n, vocab], kind);
            let targets: Vec<i32> = (0..n).map(|i| id(i * 7 % vocab)).collect();
            let (loss, grad) = Plain.cross_entropy(logits, &targets, 0.5);
            let alone = CUBES.losses(logits2.clone(), &targets);
            let (loss2, grad2) = CUBES.cross_entropy(logits2, &targets, 0.5);
            bench.same(loss.clone(), loss2, &what);
            bench.same(loss, alone, &format!("{what}, losses alone"));
            bench.same(grad, grad2, &format!("{what}, gradient"));
        }
    }
}

fn embedding(bench: &mut Bench<'_>) {
    for (n, d, vocab) in [(1, 1, 1), (300, 5, 7), (500, 33, 256)] {
        let what = format!("embedding [{vocab}, {d}], {n} ids");
        let ids: Vec<i32> = (0..n).map(|i| id(i * i % vocab)).collect();
        let [table, table2] = bench.pair("table", [vocab, d], FloatDType::F32);
        bench.same(Plain.embed(table, &ids), CUBES.embed(table2, &ids), &what);
        let [dx, dx2] = bench.pair("dx", [n, d], FloatDType::F32);
        let want = Plain.embedding_gradient(dx, &ids, vocab);
        let got = CUBES.embedding_gradient(dx2, &ids, vocab);
        bench.same(want, got, &format!("{what}, gradient"));
    }
}

fn sums(bench: &mut Bench<'_>) {
    for [n, d] in [[1, 1], [3, 5], [70, 1000]] {
        let [x, x2] = bench.pair("x", [n, d], FloatDType::F32);
        let [y, y2] = bench.pair("y", [d, 3], FloatDType::F32);
        let squares = Plain.squares(&[x.clone(), y]);
        bench.same(squares, CUBES.squares(&[x2.clone(), y2]), &format!("squares [{n}, {d}]"));
        // All of one sign: the scale of the sum is that of its terms.
        let [x, x2] = [x.abs(), x2.abs()];
        bench.same(Plain.sum(x), CUBES.sum(x2), &format!("sum [{n}, {d}]"));
    }
}

fn optimiser(bench: &mut Bench<'_>) {
    for [n, d] in [[17, 33], [3, 1376]] {
        let [value, value2] = bench.pair("value", [n, d], FloatDType::F32);
        // As a step leaves it, without padding: where it is shared, it must be copied into the same layout.
        let value2 = lift(copy(&lower(value2), DType::F32));
        let run = |start: Tensor<2>, side: usize, kernels| {
            let mut value = start.clone();
            let mut moments = [value.zeros_like(), value.zeros_like()];
            for t in 1..4 {
                let step = adam_step(t);
                let [a, b] = bench.pair(&format!("grad {t}"), [n, d], FloatDType::F32);
                value = adamw(value, if side == 0 { a } else { b }, &mut moments, &step, kernels);
            }
            let [m, v] = moments;
            // The first value is still held here, so it must not have been written.
            [start, value, m, v]
        };
        let want = run(value, 0, Kernels::Composed);
        let got = run(value2, 1, Kernels::Cubes(FloatDType::F32, Products::Reference));
        let names = ["the weight that is held", "weight", "first moment", "second moment"];
        for ((want, got), name) in want.into_iter().zip(got).zip(names) {
            bench.same(want, got, &format!("adamw [{n}, {d}], {name}"));
        }
    }
}

/// Matrix products in every layout, alone and as a batch, against f64 on the host; and of shapes that other
/// kernels are chosen for, against the products that were so checked.
pub fn product_cases(
    device: &Device,
    products: Products,
    kinds: &[FloatDType],
    tell: &mut dyn FnMut(Case),
) {
    let mut bench = Bench { device, kinds, tell };
    poisoned(|| {
        small_products(&mut bench, products);
        if products != Products::Reference && kinds.contains(&FloatDType::BF16) {
            large_products(&mut bench, products);
        }
    });
}

fn turned<const D: usize>(x: Tensor<D>, turn: bool) -> Tensor<D> {
    if turn { x.transpose() } else { x }
}

fn layouts() -> [(&'static str, [bool; 2]); 3] {
    [("NN", [false, false]), ("NT", [false, true]), ("TN", [true, false])]
}

fn small_products(bench: &mut Bench<'_>, products: Products) {
    for [m, n, k] in PRODUCTS {
        for kind in bench.kinds.iter().copied() {
            for (to, tolerance) in [(FloatDType::F32, F32), (FloatDType::BF16, BF16)] {
                if to == FloatDType::BF16 && kind == FloatDType::F32 {
                    continue;
                }
                for ((layout, [turn_a, turn_b]), batch) in
                    layouts().into_iter().flat_map(|layout| [(layout, 1), (layout, 3)])
                {
                    let [a, a2] = bench.pair("a", lying(batch, m, k, turn_a), kind);
                    let [b, b2] = bench.pair("b", lying(batch, k, n, turn_b), kind);
                    let want = by_hand(&values(a), &values(b), [m, n, k], [turn_a, turn_b]);
                    let got = product(products, turned(a2, turn_a), turned(b2, turn_b), to);
                    let (from, to) = (short(kind), short(to));
                    let name = format!("{layout} {batch} x [{m}, {n}, {k}] {from} to {to}");
                    (bench.tell)(Case::of(name, &want, &values(got), tolerance));
                }
            }
        }
    }
}

/// A single matrix as such, not as a batch of one.
fn product(products: Products, a: Tensor<3>, b: Tensor<3>, to: FloatDType) -> Tensor<3> {
    let cubes = Cubes(products);
    if a.dims()[0] > 1 {
        return cubes.product(a, b, to);
    }
    cubes.product(a.squeeze_dim::<2>(0), b.squeeze_dim::<2>(0), to).unsqueeze_dim(0)
}

/// Batch, rows, columns, inner length: those of layers and of attention, some that fill no tile, and some whose
/// rows no copy engine takes.
const LARGE: [[usize; 4]; 6] = [
    [1, 2048, 1536, 768],
    [1, 768, 1536, 4096],
    [12, 512, 512, 64],
    [12, 512, 64, 512],
    [1, 1032, 1000, 520],
    [1, 1001, 999, 515],
];

fn large_products(bench: &mut Bench<'_>, products: Products) {
    /// A long sum of f32 that tensor cores cut off, not round, at every step.
    const LONG: f64 = 1e-4;
    for [batch, m, n, k] in LARGE {
        for (layout, [turn_a, turn_b]) in layouts() {
            let bf16 = FloatDType::BF16;
            let make = |name, lying: [usize; 3]| {
                let values = drawn(name, lying.iter().product());
                let x = Tensor::<3>::from_data(TensorData::new(values, lying), bench.device);
                x.cast(bf16)
            };
            let a = turned(make("a", lying(batch, m, k, turn_a)), turn_a);
            let b = turned(make("b", lying(batch, k, n, turn_b)), turn_b);
            let want = values(product(Products::Reference, a.clone(), b.clone(), FloatDType::F32));
            for (to, tolerance) in [(FloatDType::F32, LONG), (bf16, BF16)] {
                let got = values(product(products, a.clone(), b.clone(), to));
                let name = format!("{layout} {batch} x [{m}, {n}, {k}] bf16 to {}", short(to));
                (bench.tell)(Case::of(name, &want, &got, tolerance));
            }
        }
    }
}
