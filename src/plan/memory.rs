//! Peak memory of a cell before it runs, from its dimensions [bytes].

use crate::plan::Cell;

/// Bytes of one f32.
const F32: f64 = 4.0;

/// Rows whose activations are held at once on the CPU, where a context is shorter.
const ROWS: f64 = 1024.0;

/// Whose memory a cell is trained in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// The machine's.
    Cpu,
    /// A GPU's, where the activations of a cell may take so many bytes at most.
    Gpu(u64),
}

impl Room {
    /// Peak memory of training a cell [bytes].
    pub fn of(self, cell: &Cell) -> f64 {
        match self {
            Self::Cpu => memory_bytes(cell),
            Self::Gpu(activations) => gpu_memory_bytes(cell, activations),
        }
    }

    /// That of the `workers` cells that need most, side by side [bytes].
    pub fn side_by_side(self, cells: &[&Cell], workers: usize) -> f64 {
        let mut each: Vec<f64> = cells.iter().map(|c| self.of(c)).collect();
        each.sort_by(|l, r| r.total_cmp(l));
        each.iter().take(workers.max(1)).sum()
    }
}

/// Peak memory of training a cell on one thread of the CPU, estimated from its dimensions [bytes].
///
/// Weights, gradients in sum and in part, two moments (20 bytes a parameter), and the activations that the
/// backward pass reads: per token and block about 6 widths, the packed queries, keys and values, two hidden
/// layers of twice `ff`, and once the logits. Another thread adds its gradients and activations. An
/// estimate for planning (a factor of two either way), not an accounting.
fn memory_bytes(cell: &Cell) -> f64 {
    let shape = &cell.recipe.shape;
    let (d, ff, v) = (shape.width as f64, shape.ff as f64, shape.vocab as f64);
    let per_token = shape.layers as f64 * (9.0 * d + 3.0 * ff) + v + 10.0 * d + 3.0 * ff;
    let rows = ROWS.max(shape.context as f64).min(cell.recipe.batch_tokens() as f64);
    F32 * (5.0 * shape.counts().total + per_token * rows)
}

/// Peak memory of training a cell on a GPU, estimated from its dimensions [bytes].
///
/// Weights, gradients and two moments in f32 and the copies of bf16 (18 bytes a parameter), and the activations
/// of a micro-batch (`Shape::activation_bytes`), at least of one sequence. What the pools of the runtime keep
/// beyond that is not counted.
fn gpu_memory_bytes(cell: &Cell, activations: u64) -> f64 {
    let shape = &cell.recipe.shape;
    let row = shape.activation_bytes(2) as u64;
    let sequence = row * shape.context as u64;
    let batch = row * cell.recipe.batch_tokens();
    18.0 * shape.counts().total + batch.min(activations.max(sequence)) as f64
}
