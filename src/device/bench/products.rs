//! Every kernel for the matrix products of a model, timed on a GPU: which one the fixed choice should be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::tensor::{Device, Distribution, FloatDType, Int, Tensor};
use serde::Serialize;

use super::job::Job;
use crate::ops::{CANDIDATES, Case, Cubes, Primitives as _, Products, product_by};

/// The fixed choice, timed beside the kernels it chooses from.
pub const FIXED: &str = "fixed";
/// Rows of a result that are compared.
const ROWS: usize = 16;
/// What they may be off by: a result in bf16, or a long sum of f32 in another order.
const TOLERANCE: f64 = 1e-2;
/// Launches in one measurement.
const LAUNCHES: usize = 10;
/// Measurements.
const TIMES: usize = 3;

/// One kernel on one product.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProductRow {
    /// Layer and direction.
    pub product: String,
    /// Batch, rows, columns, inner length.
    pub shape: [usize; 4],
    /// Name of the kernel.
    pub kernel: &'static str,
    /// The best of a few measurements [s].
    pub seconds: Option<f64>,
    /// 2 m n k over that [FLOP/s].
    pub flops_per_second: Option<f64>,
    /// Time to the first result, compilation included [s].
    pub first_seconds: f64,
    /// Why there is no time.
    pub why: Option<String>,
}

/// Operands, whether each is turned, and the type of the result.
struct Product {
    name: String,
    shape: [usize; 4],
    turned: [bool; 2],
    to: FloatDType,
}

/// The products of a step: each linear layer forward (NN), by its input (NT) and by its weight (TN), and those of
/// attention.
fn of(job: &Job) -> Vec<Product> {
    use FloatDType::{BF16, F32};
    let shape = &job.recipe.shape;
    let (d, ff, t) = (shape.width, shape.ff, shape.context);
    let rows = job.recipe.batch_tokens() as usize;
    let mut out = Vec::new();
    let layers = [
        ("qkv", d, 3 * d),
        ("out", d, d),
        ("gate_up", d, 2 * ff),
        ("down", ff, d),
        ("head", d, shape.vocab),
    ];
    for (name, from, to) in layers {
        for (way, [m, n, k], turned, kind) in [
            ("forward", [rows, to, from], [false, false], BF16),
            ("by input", [rows, from, to], [false, true], BF16),
            ("by weight", [from, to, rows], [true, false], F32),
        ] {
            let name = format!("{name} {way}");
            out.push(Product { name, shape: [1, m, n, k], turned, to: kind });
        }
    }
    let (batch, hd) = (job.recipe.batch_sequences as usize * shape.heads, shape.head_dim());
    for (name, [m, n, k], turned, to) in [
        ("scores", [t, t, hd], [false, true], F32),
        ("seen", [t, hd, t], [false, false], BF16),
        ("by values", [t, hd, t], [true, false], BF16),
    ] {
        out.push(Product { name: name.to_owned(), shape: [batch, m, n, k], turned, to });
    }
    out
}

/// Times every kernel on every product of a job, and tells each; ends early when `enough` says so.
pub fn products(
    device: &Device,
    job: &Job,
    enough: &dyn Fn() -> bool,
    tell: &mut dyn FnMut(ProductRow),
) {
    for product in of(job) {
        let operands = product.operands(device);
        for kernel in CANDIDATES.into_iter().chain([FIXED]) {
            if enough() {
                return;
            }
            let run = || product.by(kernel, &operands);
            let begin = Instant::now();
            let first = attempt(|| product.holds(&run()?, &operands));
            let first_seconds = begin.elapsed().as_secs_f64();
            let seconds = first.and_then(|()| {
                let mut best = f64::INFINITY;
                for _ in 0..TIMES {
                    let begin = Instant::now();
                    attempt(|| {
                        (0..LAUNCHES)
                            .try_for_each(|_| run().map(|_| ()))
                            .and_then(|()| wait(device))
                    })?;
                    best = best.min(begin.elapsed().as_secs_f64() / LAUNCHES as f64);
                }
                Ok(best)
            });
            let [batch, m, n, k] = product.shape;
            let flops = 2.0 * (batch * m * n * k) as f64;
            tell(ProductRow {
                product: product.name.clone(),
                shape: product.shape,
                kernel,
                flops_per_second: seconds.as_ref().ok().map(|s| flops / s),
                first_seconds,
                why: seconds.as_ref().err().map(|why| why.chars().take(200).collect()),
                seconds: seconds.ok(),
            });
        }
    }
}

impl Product {
    /// Standard normal numbers in bf16, as they lie in a step.
    fn operands(&self, device: &Device) -> [Tensor<3>; 2] {
        let [batch, m, n, k] = self.shape;
        let make = |rows, columns, turned| {
            let lying = if turned { [batch, columns, rows] } else { [batch, rows, columns] };
            let x = Tensor::<3>::random(lying, Distribution::Normal(0.0, 1.0), device);
            let x = x.cast(FloatDType::BF16);
            if turned { x.transpose() } else { x }
        };
        [make(m, k, self.turned[0]), make(k, n, self.turned[1])]
    }

    /// By the kernel of that name, a single matrix as such.
    fn by(&self, kernel: &str, [a, b]: &[Tensor<3>; 2]) -> Result<Tensor<3>, String> {
        if self.shape[0] > 1 {
            return one(kernel, a.clone(), b.clone(), self.to);
        }
        let [a, b] = [a, b].map(|x| x.clone().squeeze_dim::<2>(0));
        one(kernel, a, b, self.to).map(|x| x.unsqueeze_dim(0))
    }

    /// Rows of the last matrix against those summed one element a unit.
    fn holds(&self, out: &Tensor<3>, [a, b]: &[Tensor<3>; 2]) -> Result<(), String> {
        let [batch, m, _, _] = self.shape;
        let rows = 0..m.cast_signed() as i64;
        let rows = Tensor::<1, Int>::arange_step(rows, m.div_ceil(ROWS), &a.device());
        let last = |x: &Tensor<3>| x.clone().narrow(0, batch - 1, 1).squeeze_dim::<2>(0);
        let reference = Cubes(Products::Reference);
        let a = last(a).select(0, rows.clone());
        let want = values(reference.product(a, last(b), FloatDType::F32))?;
        let got = values(last(out).select(0, rows))?;
        let case = Case::of(self.name.clone(), &want, &got, TOLERANCE);
        if case.holds() { Ok(()) } else { Err(format!("wrong: off by {:.1e}", case.worst)) }
    }
}

fn one<const D: usize>(
    kernel: &str,
    a: Tensor<D>,
    b: Tensor<D>,
    to: FloatDType,
) -> Result<Tensor<D>, String> {
    if kernel == FIXED {
        return Ok(Cubes(Products::Fixed).product(a, b, to));
    }
    product_by(kernel, a, b, to)
}

fn values(x: Tensor<2>) -> Result<Vec<f32>, String> {
    x.cast(FloatDType::F32).into_data().try_to_vec().map_err(|e| e.to_string())
}

/// A panic of a kernel's choice is an answer.
fn attempt(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|p| Err(crate::error::panic_text(&*p)))
}

/// Until the device has done all.
fn wait(device: &Device) -> Result<(), String> {
    device.sync().map_err(|e| e.to_string())
}
