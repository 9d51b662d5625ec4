//! [`check`](super::check) where kernels run here: on CubeCL's CPU runtime, or on the GPU.

use burn::tensor::{Device, FloatDType};

use super::super::{Case, Products};
use super::check::{KINDS, cases, product_cases};

#[cfg(feature = "cube-cpu")]
fn device() -> Device {
    Device::cpu()
}

#[cfg(not(feature = "cube-cpu"))]
fn device() -> Device {
    Device::cuda(0)
}

/// The types that kernels can have here. CubeCL's CPU runtime leaves a cast to bf16 to the processor's own
/// instruction, and has no function in its place.
pub(crate) fn kinds() -> &'static [FloatDType] {
    #[cfg(all(feature = "cube-cpu", target_arch = "x86_64"))]
    if !is_x86_feature_detected!("avx512bf16") && std::env::var_os("ISOFLOP_TEST_BF16").is_none() {
        println!("skipped for bf16: this processor has no instruction for it (avx512bf16)");
        return &KINDS[..1];
    }
    &KINDS
}

fn all_hold(run: impl FnOnce(&mut dyn FnMut(Case))) {
    let mut all = Vec::new();
    run(&mut |case| all.push(case));
    let wrong: Vec<&Case> = all.iter().filter(|case| !case.holds()).collect();
    assert!(all.len() > 30 && wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), all.len());
}

#[test]
fn every_operation_is_that_of_the_composition() {
    all_hold(|tell| cases(&device(), kinds(), tell));
}

#[test]
fn the_reference_product_is_that_of_f64() {
    all_hold(|tell| product_cases(&device(), Products::Reference, kinds(), tell));
}
