//! Every kernel against [`Plain`] on burn's CPU backend, at shapes that fill no group of units.

use burn::tensor::{Device, FloatDType, Tensor, TensorData};

use super::super::primitives::{Plain, Primitives};
use super::*;
use crate::random::Stream;

/// Where kernels run here: CubeCL's CPU runtime, or the GPU.
#[cfg(feature = "cube-cpu")]
fn device() -> Device {
    Device::cpu()
}

#[cfg(not(feature = "cube-cpu"))]
fn device() -> Device {
    Device::cuda(0)
}

/// Standard normal numbers on burn's CPU backend and on the device of the kernels.
fn pair<const D: usize>(name: &str, shape: [usize; D], kind: FloatDType) -> [Tensor<D>; 2] {
    let stream = Stream::new(7, name);
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| stream.normal(i as u64) as f32).collect();
    [Device::flex(), device()].map(|device| {
        Tensor::<D>::from_data(TensorData::new(values.clone(), shape.to_vec()), &device).cast(kind)
    })
}

/// Every element within a share of the largest one.
fn same<const D: usize>(want: Tensor<D>, got: Tensor<D>, what: &str) {
    assert_eq!((want.dtype(), want.dims()), (got.dtype(), got.dims()), "{what}");
    let tolerance = if want.dtype() == DType::BF16 { 8e-3 } else { 1e-5 };
    let [want, got] = [want, got]
        .map(|t| t.cast(FloatDType::F32).into_data().try_to_vec::<f32>().expect("cast to f32"));
    let scale = want.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
    for (i, (want, got)) in want.iter().zip(&got).enumerate() {
        assert!(
            (want - got).abs() <= tolerance * scale,
            "{what}: element {i} is {got}, not {want}"
        );
    }
}

fn id(n: usize) -> i32 {
    i32::try_from(n).unwrap()
}

const KINDS: [FloatDType; 2] = [FloatDType::F32, FloatDType::BF16];

#[test]
fn rms_norm_forward_and_backward() {
    for (n, d) in [(1, 1), (3, 2), (5, 17), (131, 64), (2, 1500)] {
        for kind in KINDS {
            let what = format!("[{n}, {d}] {kind:?}");
            let f32 = FloatDType::F32;
            let [x, x2] = pair("x", [n, d], f32);
            let [gain, gain2] = pair("gain", [1, d], f32);
            let [grad, grad2] = pair("grad", [n, d], kind);
            let [dx, dx2] = pair("dx", [n, d], f32);
            let (y, r) = Plain.rms_norm(x.clone(), gain.clone(), kind);
            let (y2, r2) = Cubes.rms_norm(x2.clone(), gain2.clone(), kind);
            same(y, y2, &what);
            same(r.clone(), r2.clone(), &what);
            let (dx, dgain) = Plain.rms_norm_backward(x, grad, gain, r, dx);
            let (dx2, dgain2) = Cubes.rms_norm_backward(x2, grad2, gain2, r2, dx2);
            same(dx, dx2, &what);
            same(dgain, dgain2, &what);
        }
    }
}

#[test]
fn swiglu_forward_and_backward() {
    for (n, ff) in [(1, 1), (3, 5), (67, 88)] {
        for kind in KINDS {
            let what = format!("[{n}, {ff}] {kind:?}");
            let [x, x2] = pair("x", [n, 2 * ff], kind);
            let [grad, grad2] = pair("grad", [n, ff], kind);
            same(Plain.swiglu(x.clone()), Cubes.swiglu(x2.clone()), &what);
            same(Plain.swiglu_backward(x, grad), Cubes.swiglu_backward(x2, grad2), &what);
        }
    }
}

#[test]
fn heads_come_apart_and_together() {
    for (b, t, h, hd) in [(1, 1, 1, 2), (2, 5, 3, 4), (3, 65, 2, 16)] {
        for kind in KINDS {
            let heads = Heads { sequences: b, context: t, heads: h, head_dim: hd };
            let what = format!("{heads:?} {kind:?}");
            // Longer than the batch's context: tables are for the longest.
            let [rope, rope2] = [0; 2].map(|_| Rope::new(t + 3, hd));
            let [x, x2] = pair("x", [b * t, 3 * h * hd], kind);
            let parts = Plain.split_heads(x, heads, &rope);
            let parts2 = Cubes.split_heads(x2, heads, &rope2);
            for (want, got) in parts.iter().zip(&parts2) {
                same(want.clone(), got.clone(), &what);
            }
            let back = Plain.join_heads(parts, heads, &rope);
            same(back, Cubes.join_heads(parts2, heads, &rope2), &what);
        }
    }
}

#[test]
fn causal_softmax_forward_and_backward() {
    for (matrices, t) in [(1, 1), (3, 2), (2, 65), (1, 130), (1, 1100)] {
        for kind in KINDS {
            let what = format!("{matrices} x {t} {kind:?}");
            let [scores, scores2] = pair("scores", [matrices, t, t], kind);
            let [dp, dp2] = pair("dp", [matrices, t, t], kind);
            let p = Plain.causal_softmax(scores, 3.0);
            let p2 = Cubes.causal_softmax(scores2, 3.0);
            same(p.clone(), p2.clone(), &what);
            let ds = Plain.causal_softmax_backward(p, dp, 0.3);
            same(ds, Cubes.causal_softmax_backward(p2, dp2, 0.3), &what);
        }
    }
}

#[test]
fn cross_entropy_and_its_gradient() {
    for (n, vocab) in [(1, 2), (3, 17), (40, 256), (2, 4099)] {
        for kind in KINDS {
            let what = format!("[{n}, {vocab}] {kind:?}");
            let [logits, logits2] = pair("logits", [n, vocab], kind);
            let targets: Vec<i32> = (0..n).map(|i| id(i * 7 % vocab)).collect();
            let (loss, grad) = Plain.cross_entropy(logits, &targets, 0.5);
            let (loss2, grad2) = Cubes.cross_entropy(logits2, &targets, 0.5);
            same(loss, loss2, &what);
            same(grad, grad2, &what);
        }
    }
}

#[test]
fn embedding_gradient_sums_rows_of_an_id() {
    for (n, d, vocab) in [(1, 1, 1), (300, 5, 7), (500, 33, 256)] {
        let [dx, dx2] = pair("dx", [n, d], FloatDType::F32);
        let ids: Vec<i32> = (0..n).map(|i| id(i * i % vocab)).collect();
        let want = Plain.embedding_gradient(dx, &ids, vocab);
        same(want, Cubes.embedding_gradient(dx2, &ids, vocab), &format!("{n} of {vocab}"));
    }
}

#[test]
fn adamw_takes_the_step_of_the_composition() {
    use super::super::{AdamStep, Kernels, adamw};
    let [value, value2] = pair("value", [17, 33], FloatDType::F32);
    let run = |start: Tensor<2>, side: usize, kernels| {
        let mut value = start.clone();
        let mut moments = [value.zeros_like(), value.zeros_like()];
        for t in 1..4 {
            let step = AdamStep {
                clip: if t == 2 { 0.3 } else { 1.0 },
                betas: [0.9, 0.95],
                corrections: [1.0 - 0.9_f64.powi(t), 1.0 - 0.95_f64.powi(t)],
                eps: 1e-8,
                rate: 0.01,
                decay: 0.1,
            };
            let [a, b] = pair(&format!("grad {t}"), [17, 33], FloatDType::F32);
            value = adamw(value, if side == 0 { a } else { b }, &mut moments, &step, kernels);
        }
        let [m, v] = moments;
        // The first value is still held here, so it must not have been written.
        [start, value, m, v]
    };
    let want = run(value, 0, Kernels::Composed);
    let got = run(value2, 1, Kernels::Cubes(FloatDType::F32));
    for (i, (want, got)) in want.into_iter().zip(got).enumerate() {
        same(want, got, &format!("tensor {i}"));
    }
}
