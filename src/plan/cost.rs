//! What a cell costs before it runs: memory from its dimensions, time from a short probe.

use crate::plan::Cell;

/// Bytes of one f32.
const F32: f64 = 4.0;

/// Rows whose activations are held at once on the CPU, where a context is shorter.
const ROWS: f64 = 1024.0;

/// Peak memory of training a cell on one thread of the CPU, estimated from its dimensions [bytes].
///
/// Weights, gradients in sum and in part, two moments (20 bytes a parameter), and the activations that the
/// backward pass reads: per token and block about 6 widths, the packed queries, keys and values, two hidden
/// layers of twice `ff`, and once the logits. Another thread adds its gradients and activations. An
/// estimate for planning (a factor of two either way), not an accounting.
pub fn memory_bytes(cell: &Cell) -> f64 {
    let shape = &cell.recipe.shape;
    let (d, ff, v) = (shape.width as f64, shape.ff as f64, shape.vocab as f64);
    let per_token = shape.layers as f64 * (9.0 * d + 3.0 * ff) + v + 10.0 * d + 3.0 * ff;
    let rows = ROWS.max(shape.context as f64).min(cell.recipe.batch_tokens() as f64);
    F32 * (5.0 * shape.counts().total + per_token * rows)
}

/// Seconds per step as a function of the FLOPs of a step, interpolated between probed cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// (FLOPs of one step, seconds of one step), by FLOPs, measured with all workers busy.
    points: Vec<(f64, f64)>,
}

impl Probe {
    /// From measured steps; `None` without any.
    pub fn new(mut points: Vec<(f64, f64)>) -> Option<Self> {
        points.sort_by(|l, r| l.0.total_cmp(&r.0));
        points.dedup_by(|l, r| l.0 == r.0);
        (!points.is_empty()).then_some(Self { points })
    }

    /// Predicted seconds of one step. FLOP/s is interpolated linearly in the logarithm of the step's
    /// FLOPs and held constant outside the probed range.
    pub fn step_seconds(&self, step_flops: f64) -> f64 {
        let rate = |i: usize| self.points[i].0 / self.points[i].1;
        let last = self.points.len() - 1;
        let above = self.points.partition_point(|p| p.0 < step_flops);
        let rate = match above {
            0 => rate(0),
            i if i > last => rate(last),
            i => {
                let (low, high) = (self.points[i - 1].0.ln(), self.points[i].0.ln());
                let t = (step_flops.ln() - low) / (high - low);
                rate(i - 1).powf(1.0 - t) * rate(i).powf(t)
            }
        };
        step_flops / rate
    }

    /// Predicted seconds of a whole cell.
    pub fn cell_seconds(&self, cell: &Cell) -> f64 {
        let recipe = &cell.recipe;
        self.step_seconds(recipe.flops() / recipe.steps as f64) * recipe.steps as f64
    }
}

/// Wall-clock of cells handed out in order to `workers` that take the next when free [s].
pub fn makespan(seconds: impl IntoIterator<Item = f64>, workers: usize) -> f64 {
    let mut busy = vec![0.0_f64; workers.max(1)];
    for cell in seconds {
        if let Some(first) = busy.iter_mut().min_by(|l, r| l.total_cmp(r)) {
            *first += cell;
        }
    }
    busy.into_iter().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_reproduces_its_points_and_interpolates_between_them() {
        let probe = Probe::new(vec![(1e9, 0.1), (1e7, 0.01)]).unwrap();
        assert!((probe.step_seconds(1e7) - 0.01).abs() < 1e-12);
        assert!((probe.step_seconds(1e9) - 0.1).abs() < 1e-12);
        let middle = probe.step_seconds(1e8);
        assert!((0.01..0.1).contains(&middle), "{middle}");
        assert!((probe.step_seconds(1e10) - 1.0).abs() < 1e-9, "constant FLOP/s beyond");
        assert_eq!(Probe::new(Vec::new()), None);
    }

    #[test]
    fn workers_take_the_next_cell_when_free() {
        assert_eq!(makespan([3.0, 2.0, 2.0, 1.0], 2), 4.0);
        assert_eq!(makespan([3.0, 2.0], 1), 5.0);
        assert_eq!(makespan([], 2), 0.0);
    }
}
