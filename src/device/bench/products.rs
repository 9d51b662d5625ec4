//! Every kernel for the matrix products of a model, timed on a GPU: which one the fixed choice should be.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use burn::tensor::{Device, Distribution, FloatDType, Tensor};
use serde::Serialize;

use super::job::Job;
use crate::ops::{CANDIDATES, product_by};

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
        let [batch, m, n, k] = product.shape;
        let lying = |rows, columns, turned| {
            if turned { [batch, columns, rows] } else { [batch, rows, columns] }
        };
        let make = |rows, columns, turned| {
            let x = Tensor::<3>::random(
                lying(rows, columns, turned),
                Distribution::Normal(0.0, 1.0),
                device,
            )
            .cast(FloatDType::BF16);
            if turned { x.transpose() } else { x }
        };
        let (a, b) = (make(m, k, product.turned[0]), make(k, n, product.turned[1]));
        for kernel in CANDIDATES {
            if enough() {
                return;
            }
            let run = || {
                if batch == 1 {
                    let [a, b] = [&a, &b].map(|x| x.clone().squeeze_dim::<2>(0));
                    product_by(kernel, a, b, product.to).map(|_| ())
                } else {
                    product_by(kernel, a.clone(), b.clone(), product.to).map(|_| ())
                }
            };
            let begin = Instant::now();
            let first = attempt(|| run().and_then(|()| wait(device)));
            let first_seconds = begin.elapsed().as_secs_f64();
            let seconds = first.and_then(|()| {
                let mut best = f64::INFINITY;
                for _ in 0..TIMES {
                    let begin = Instant::now();
                    attempt(|| (0..LAUNCHES).try_for_each(|_| run()).and_then(|()| wait(device)))?;
                    best = best.min(begin.elapsed().as_secs_f64() / LAUNCHES as f64);
                }
                Ok(best)
            });
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

/// A panic of a kernel's choice is an answer.
fn attempt(work: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|p| Err(crate::error::panic_text(&*p)))
}

/// Until the device has done all.
fn wait(device: &Device) -> Result<(), String> {
    device.sync().map_err(|e| e.to_string())
}
