//! What a CPU reaches in matrix products alone: what its shares are shares of.

use std::time::{Duration, Instant};

use gemm::Parallelism;
use rayon::prelude::*;
use serde::Serialize;

use super::job::Job;

/// Least time spent on one shape of matrix product.
const ENOUGH: Duration = Duration::from_millis(60);

/// f32 matrix products by the `gemm` crate [GFLOP/s].
#[derive(Debug, Clone, Serialize)]
pub struct Gemm {
    /// Threads of "all".
    pub threads: usize,
    /// The best of one thread.
    pub peak_gflops_one_thread: f64,
    /// The best of all threads together.
    pub peak_gflops: f64,
    /// Each shape.
    pub products: Vec<Product>,
}

/// One shape.
#[derive(Debug, Clone, Serialize)]
pub struct Product {
    /// `[m, k]` times `[k, n]`.
    pub m_n_k: [usize; 3],
    /// On one thread.
    pub one_thread: f64,
    /// One product on all threads.
    pub one_on_all_threads: f64,
    /// One product on each thread.
    pub one_on_each_thread: f64,
}

/// Squares, and the shapes of the linear layers with their two gradients, of some models.
pub fn gemm(jobs: &[Job]) -> Gemm {
    let mut shapes: Vec<[usize; 3]> = [512, 1024, 2048].map(|n| [n; 3]).to_vec();
    for job in jobs {
        let (width, ff) = (job.recipe.shape.width, job.recipe.shape.ff);
        let rows = job.recipe.batch_tokens() as usize;
        for (from, to) in [(width, 3 * width), (width, width), (width, 2 * ff), (ff, width)] {
            shapes.extend([[rows, to, from], [rows, from, to], [from, to, rows]]);
        }
    }
    let threads = rayon::current_num_threads();
    let products: Vec<Product> = shapes
        .into_iter()
        .map(|shape| Product {
            m_n_k: shape,
            one_thread: best(shape, 1, Parallelism::None),
            one_on_all_threads: best(shape, 1, Parallelism::Rayon(0)),
            one_on_each_thread: best(shape, threads, Parallelism::None),
        })
        .collect();
    let most = |of: &dyn Fn(&Product) -> f64| products.iter().map(of).fold(0.0, f64::max);
    let one = most(&|p| p.one_thread);
    let all = most(&|p| p.one_on_all_threads.max(p.one_on_each_thread));
    Gemm { threads, peak_gflops_one_thread: one, peak_gflops: all.max(one), products }
}

/// The best of repeated runs [GFLOP/s], `copies` products at once.
fn best([m, n, k]: [usize; 3], copies: usize, parallelism: Parallelism) -> f64 {
    let mut buffers: Vec<[Vec<f32>; 3]> =
        (0..copies).map(|_| [vec![0.0; m * n], vec![0.5; m * k], vec![0.5; k * n]]).collect();
    let mut least = f64::INFINITY;
    let begin = Instant::now();
    while begin.elapsed() < ENOUGH {
        let start = Instant::now();
        if copies == 1 {
            product(&mut buffers[0], [m, n, k], parallelism);
        } else {
            buffers.par_iter_mut().for_each(|b| product(b, [m, n, k], parallelism));
        }
        least = least.min(start.elapsed().as_secs_f64());
    }
    2e-9 * (copies * m * n * k) as f64 / least
}

#[expect(unsafe_code, reason = "gemm takes pointers and strides")]
fn product([c, a, b]: &mut [Vec<f32>; 3], [m, n, k]: [usize; 3], parallelism: Parallelism) {
    let width = usize::cast_signed;
    // SAFETY: c is [m, n], a [m, k] and b [k, n], all row-major and of that length.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            width(n),
            false,
            a.as_ptr(),
            1,
            width(k),
            b.as_ptr(),
            1,
            width(n),
            0.0_f32,
            1.0_f32,
            false,
            false,
            false,
            parallelism,
        );
    }
}
