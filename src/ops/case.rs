//! One comparison of a result with what it should be.

use serde::Serialize;

use super::AdamStep;
use crate::random::Stream;

/// How far a result is from what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Case {
    /// What was computed: operation, shape and type.
    pub name: String,
    /// The difference, as a share of the largest or of the norm; endless where a result is not a number.
    pub worst: f64,
    /// What it may be.
    pub tolerance: f64,
}

impl Case {
    /// What is no number is as far off as can be.
    pub fn new(name: String, worst: f64, tolerance: f64) -> Self {
        Self { name, worst: if worst.is_nan() { f64::INFINITY } else { worst }, tolerance }
    }

    /// By the relative difference of what should be and what is.
    pub fn of(name: String, want: &[f32], got: &[f32], tolerance: f64) -> Self {
        Self::new(name, relative_difference(want, got), tolerance)
    }

    /// Whether the result may be trusted.
    pub fn holds(&self) -> bool {
        self.worst <= self.tolerance
    }
}

/// So many standard normal numbers, the same for a name every time.
pub(super) fn drawn(name: &str, n: usize) -> Vec<f32> {
    let stream = Stream::new(7, name);
    (0..n).map(|i| stream.normal(i as u64) as f32).collect()
}

/// Step `t`, from 1, of an optimiser that clips at the second.
pub(super) fn adam_step(t: i32) -> AdamStep {
    AdamStep {
        clip: if t == 2 { 0.3 } else { 1.0 },
        betas: [0.9, 0.95],
        corrections: [1.0 - 0.9_f64.powi(t), 1.0 - 0.95_f64.powi(t)],
        eps: 1e-8,
        rate: 0.01,
        decay: 0.1,
    }
}

/// Largest difference; endless where one is no number or not there.
pub fn largest_difference(want: &[f32], got: &[f32]) -> f64 {
    if want.len() != got.len() {
        return f64::INFINITY;
    }
    let off = want.iter().zip(got).map(|(w, g)| (w - g).abs());
    f64::from(off.fold(0.0_f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) }))
}

/// Largest difference, as a share of the largest magnitude of what should be.
pub fn relative_difference(want: &[f32], got: &[f32]) -> f64 {
    let scale = want.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
    largest_difference(want, got) / f64::from(scale)
}

/// Rows, columns and inner length of products that fill no tile, and of some whose rows a GPU would pad.
pub(super) const PRODUCTS: [[usize; 3]; 6] =
    [[1, 1, 1], [5, 7, 3], [33, 65, 17], [130, 96, 257], [64, 1376, 384], [96, 2752, 48]];

/// How a matrix of a batch lies in memory before it is turned.
#[cfg(feature = "cube")]
pub(super) fn lying(batch: usize, rows: usize, columns: usize, turned: bool) -> [usize; 3] {
    if turned { [batch, columns, rows] } else { [batch, rows, columns] }
}

/// Products of a batch, summed in f64.
pub(super) fn by_hand(
    a: &[f32],
    b: &[f32],
    [m, n, k]: [usize; 3],
    [turn_a, turn_b]: [bool; 2],
) -> Vec<f32> {
    let mut out = Vec::with_capacity(a.len() / k * n);
    for (a, b) in a.chunks_exact(m * k).zip(b.chunks_exact(k * n)) {
        for row in 0..m {
            for column in 0..n {
                let a = |i: usize| a[if turn_a { i * m + row } else { row * k + i }];
                let b = |i: usize| b[if turn_b { column * k + i } else { i * n + column }];
                let sum: f64 = (0..k).map(|i| f64::from(a(i)) * f64::from(b(i))).sum();
                out.push(sum as f32);
            }
        }
    }
    out
}
