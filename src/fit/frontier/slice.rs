//! One budget as approach 2 takes it: its parabola of L over ln N, the sizes near enough to its vertex to be in it, and
//! whether its minimum was seen.

use crate::fit::data::budgets::{self, Group};
use crate::points::Point;

/// L = mean + slope u + curve (u^2 - s u - m), u = ln N - centre, in orthogonal polynomials.
#[derive(Debug, Clone, Copy)]
pub(in crate::fit) struct Parabola {
    centre: f64,
    /// c0, c1, c2 in powers of u.
    c: [f64; 3],
}

impl Parabola {
    /// Least-squares parabola through `(ln N, L)`. The caller has seen three distinct ln N.
    pub(in crate::fit) fn through(points: &[(f64, f64)]) -> Self {
        let n = points.len() as f64;
        let centre = points.iter().map(|p| p.0).sum::<f64>() / n;
        let mean = points.iter().map(|p| p.1).sum::<f64>() / n;
        let (mut s2, mut s3, mut sl) = (0.0, 0.0, 0.0);
        for (x, loss) in points {
            let u = x - centre;
            s2 += u * u;
            s3 += u * u * u;
            sl += u * (loss - mean);
        }
        let (skew, spread) = (s3 / s2, s2 / n);
        let (mut qq, mut ql) = (0.0, 0.0);
        for (x, loss) in points {
            let u = x - centre;
            let q = u * u - skew * u - spread;
            qq += q * q;
            ql += q * (loss - mean);
        }
        let (slope, curve) = (sl / s2, ql / qq);
        Self { centre, c: [mean - curve * spread, slope - curve * skew, curve] }
    }

    pub(super) fn at(&self, x: f64) -> f64 {
        let u = x - self.centre;
        self.c[0] + u * (self.c[1] + u * self.c[2])
    }

    /// ln N of the vertex, where the parabola opens upwards.
    pub(in crate::fit) fn vertex(&self) -> Option<f64> {
        let x = self.centre - self.c[1] / (2.0 * self.c[2]);
        (self.c[2] > 0.0 && x.is_finite()).then_some(x)
    }

    /// Coefficients in powers of ln N itself.
    pub(super) fn plain(&self) -> [f64; 3] {
        let ([a, b, c], m) = (self.c, self.centre);
        [a - b * m + c * m * m, b - 2.0 * c * m, c]
    }
}

/// How far from the vertex sizes are in its parabola, in ln N: a factor of 8.
const REACH: f64 = 2.08;

/// So many sizes at least, however far: a parabola through three shows no error.
const LEAST: usize = 5;

/// Times that the parabola is moved to its own vertex.
const MOVES: usize = 4;

/// One budget as it goes into the line.
pub(super) struct Slice<'a> {
    pub(super) group: &'a Group,
    /// The runs that are in the parabola, as indices.
    pub(super) rows: Vec<usize>,
    /// (ln N, L) of them.
    pub(super) near: Vec<(f64, f64)>,
    /// Smallest and largest ln N of all runs.
    pub(super) range: (f64, f64),
    pub(super) sizes: usize,
    pub(super) parabola: Option<Parabola>,
    pub(super) rejected: Option<String>,
}

impl<'a> Slice<'a> {
    pub(super) fn new(points: &[Point], group: &'a Group) -> Self {
        let of = |rows: &[usize]| -> Vec<(f64, f64)> {
            rows.iter().map(|i| (points[*i].params.ln(), points[*i].loss)).collect()
        };
        let runs = of(&group.rows);
        let range = runs.iter().fold((f64::MAX, f64::MIN), |(l, h), r| (l.min(r.0), h.max(r.0)));
        let sizes = budgets::sizes(points, &group.rows);
        let rows = near(points, group);
        let near = of(&rows);
        let parabola = (sizes.len() >= 3).then(|| Parabola::through(&near));
        let rejected = match parabola {
            Some(p) => edge(&sizes).or_else(|| outside(&near, &p)),
            None if sizes.len() == 1 => Some("one size: a parabola needs 3".into()),
            None => Some(format!("{} sizes: a parabola needs 3", sizes.len())),
        };
        Self { group, rows, near, range, sizes: sizes.len(), parabola, rejected }
    }
}

/// Rows of the runs of a budget that are in its parabola: those within a factor of 8 of its vertex, which
/// starts at the lowest size and moves to the vertex of its own parabola; the [`LEAST`] nearest sizes at least.
pub(in crate::fit) fn near(points: &[Point], group: &Group) -> Vec<usize> {
    let sizes = budgets::sizes(points, &group.rows);
    let Some(mut middle) = sizes.iter().min_by(|l, r| l.1.total_cmp(&r.1)).map(|s| s.0) else {
        return Vec::new();
    };
    let around = |middle: f64| -> Vec<usize> {
        let mut far: Vec<f64> = sizes.iter().map(|s| (s.0 - middle).abs()).collect();
        far.sort_by(f64::total_cmp);
        let least = far.get(LEAST - 1).or(far.last()).copied().unwrap_or(0.0);
        // Runs of one size are within 3% of its mean.
        let reach = REACH.max(least) + 0.03;
        let within = |i: &usize| (points[*i].params.ln() - middle).abs() <= reach;
        group.rows.iter().copied().filter(within).collect()
    };
    let mut rows = around(middle);
    for _ in 0..if sizes.len() > LEAST { MOVES } else { 0 } {
        let runs: Vec<(f64, f64)> =
            rows.iter().map(|i| (points[*i].params.ln(), points[*i].loss)).collect();
        match Parabola::through(&runs).vertex() {
            Some(vertex) if outside(&runs, &Parabola::through(&runs)).is_none() => middle = vertex,
            _ => break,
        }
        let moved = around(middle);
        if moved == rows {
            break;
        }
        rows = moved;
    }
    rows
}

/// Why the minimum is not among these sizes (mean ln N and mean loss, so that one lucky run at the edge is
/// not a minimum there), or nothing when it is.
fn edge(sizes: &[(f64, f64)]) -> Option<String> {
    let lowest = (0..sizes.len()).min_by(|l, r| sizes[*l].1.total_cmp(&sizes[*r].1))?;
    match lowest {
        0 => Some("lowest loss at the smallest size".into()),
        l if l == sizes.len() - 1 => Some("lowest loss at the largest size".into()),
        _ => None,
    }
}

/// Why the vertex is not among the runs of the parabola, or nothing when it is.
pub(super) fn outside(runs: &[(f64, f64)], parabola: &Parabola) -> Option<String> {
    let (low, high) = runs.iter().fold((f64::MAX, f64::MIN), |(l, h), r| (l.min(r.0), h.max(r.0)));
    match parabola.vertex() {
        None => Some("the parabola opens downwards".into()),
        Some(vertex) if vertex < low => Some("vertex below the smallest size".into()),
        Some(vertex) if vertex > high => Some("vertex above the largest size".into()),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::frontier::parabola::tests::runs;
    use crate::fit::result::{Compute, Surface};

    #[test]
    fn five_sizes_are_used_however_far_apart() {
        let s = Surface { a: 406.4, b: 410.7, e: 1.69, alpha: 0.34, beta: 0.28 };
        let (best, _) = s.optimum(&Compute::SixNd, 1e18).unwrap();
        let sizes: Vec<(f64, f64)> = (-3..=3)
            .map(|i| best * 6.0_f64.powi(i))
            .map(|n| (n, s.loss(n, 1e18 / (6.0 * n))))
            .collect();
        let points = runs(1e18, &sizes);
        let group = &budgets::budgets(&points)[0];
        assert_eq!(
            (
                near(&points, group).len(),
                near(&points[..4], &Group { rows: vec![0, 1, 2, 3], ..group.clone() }).len()
            ),
            (5, 4)
        );
    }
}
