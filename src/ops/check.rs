//! The CPU's kernels against [`Plain`], for `isoflop device check`. Attention has no kernel apart from the step
//! that it is part of.

use burn::tensor::{Device, Tensor, TensorData};

use super::case::{PRODUCTS, adam_step, by_hand, drawn};
use super::matrix::{View, multiply};
use super::{Case, Kernels, Plain, Primitives, adamw, cross_entropy, norm, rms_norm, swiglu};

/// A sum of f32 in another order.
const TOLERANCE: f64 = 1e-5;

fn tensor(name: &str, n: usize, d: usize) -> Tensor<2> {
    Tensor::from_data(TensorData::new(drawn(name, n * d), [n, d]), &Device::flex())
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_to_vec::<f32>().expect("f32 throughout")
}

/// Every operation of a step that stands by itself.
///
/// # Panics
///
/// Never: the ids are small and the tensors f32.
pub fn cpu_cases(tell: &mut dyn FnMut(Case)) {
    let mut same = |want: Tensor<2>, got: &[f32], name: String| {
        tell(Case::of(name, &values(want), got, TOLERANCE));
    };
    for [n, d] in [[1, 2], [3, 5], [131, 33], [9, 1376]] {
        let what = format!("[{n}, {d}] f32");
        let [x, grad] = ["x", "grad"].map(|name| tensor(name, n, d));
        let gain = tensor("gain", 1, d);
        let (y, r) = Plain.rms_norm(x.clone(), gain.clone(), burn::tensor::FloatDType::F32);
        let (dx, dgain) = Plain.rms_norm_backward(x.clone(), grad.clone(), gain.clone(), r, None);
        let [x2, gain2, grad2] = [x, gain, grad.clone()].map(values);
        let (mut out, mut inverse) = (vec![f32::NAN; n * d], vec![f32::NAN; n]);
        rms_norm::forward(&x2, &gain2, &mut out, &mut inverse);
        same(y, &out, format!("rms_norm {what}"));
        let (mut dx2, mut dgain2) = (vec![0.0; n * d], vec![0.0; d]);
        rms_norm::backward(&x2, &grad2, &gain2, &inverse, &mut dx2, &mut dgain2);
        same(dx, &dx2, format!("rms_norm {what}, gradient"));
        same(dgain, &dgain2, format!("rms_norm {what}, gradient of the gain"));

        let wide = tensor("wide", n, 2 * d);
        let mut out = vec![f32::NAN; n * d];
        swiglu::forward(&values(wide.clone()), &mut out, d);
        same(Plain.swiglu(wide.clone()), &out, format!("swiglu {what}"));
        let mut dwide = vec![f32::NAN; 2 * n * d];
        swiglu::backward(&values(wide.clone()), &grad2, &mut dwide, d);
        same(Plain.swiglu_backward(wide, grad), &dwide, format!("swiglu {what}, gradient"));

        let logits = tensor("logits", n, d);
        let targets: Vec<i32> = (0..n).map(|i| i32::try_from(i * 7 % d).expect("small")).collect();
        let (losses, grad) = Plain.cross_entropy(logits.clone(), &targets, 0.5);
        let mut own = values(logits);
        let sum = cross_entropy::forward(&own, &targets, d) as f32;
        same(losses.sum_dim(0), &[sum], format!("cross-entropy {what}"));
        cross_entropy::backward(&mut own, &targets, d, 0.5);
        same(grad, &own, format!("cross-entropy {what}, gradient"));

        let run = |kernels| {
            let mut weight = tensor("weight", n, d);
            let mut moments = [weight.zeros_like(), weight.zeros_like()];
            for t in 1..4 {
                let step = adam_step(t);
                weight = adamw(weight, tensor("grad", n, d), &mut moments, &step, kernels);
            }
            let [m, v] = moments;
            [weight, m, v]
        };
        for (want, got) in run(Kernels::Composed).into_iter().zip(run(Kernels::Fused)) {
            same(want, &values(got), format!("adamw {what}"));
        }
        let grads = [tensor("x", n, d), tensor("y", d, 3)];
        let want = norm(&grads, Kernels::Composed) as f32;
        let want = Tensor::from_data(TensorData::new(vec![want], [1, 1]), &Device::flex());
        same(want, &[norm(&grads, Kernels::Fused) as f32], format!("gradient norm {what}"));
    }
}

/// Matrix products in every layout against f64.
pub fn cpu_product_cases(tell: &mut dyn FnMut(Case)) {
    for [m, n, k] in PRODUCTS {
        for (layout, [turn_a, turn_b]) in
            [("NN", [false, false]), ("NT", [false, true]), ("TN", [true, false])]
        {
            let (a, b) = (drawn("a", m * k), drawn("b", k * n));
            let view = |rows: usize, columns: usize, turned: bool| {
                if turned {
                    View::new(0, columns, rows, rows).transposed()
                } else {
                    View::new(0, rows, columns, columns)
                }
            };
            let mut c = vec![f32::NAN; m * n];
            let out = (&mut c[..], View::new(0, m, n, n));
            multiply(out, (&a, view(m, k, turn_a)), (&b, view(k, n, turn_b)), 1.0, false);
            let want = by_hand(&a, &b, [m, n, k], [turn_a, turn_b]);
            let name = format!("{layout} [{m}, {n}, {k}] f32");
            tell(Case::of(name, &want, &c, TOLERANCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_that_of_the_composition() {
        let mut count = 0;
        let mut holds = |case: Case| {
            assert!(case.holds(), "{case:?}");
            count += 1;
        };
        cpu_cases(&mut holds);
        cpu_product_cases(&mut holds);
        assert!(count > 50, "{count}");
    }
}
