//! Curves with known minima, in a box and out of it.

use super::*;
use crate::fit::numeric::dual::{Dual, Number};

/// y = a exp(b x) + c at eight places, c being a parameter that may be fixed by its bounds.
struct Decay {
    y: Vec<f64>,
    weight: Vec<f64>,
}

fn decay<T: Number>(p: &[T], x: f64) -> T {
    p[0] * (p[1] * x).exp() + p[2]
}

impl ByRow for Decay {
    fn rows(&self) -> usize {
        self.y.len()
    }

    fn weight(&self, row: usize) -> f64 {
        self.weight[row]
    }

    fn residual(&self, row: usize, theta: &[f64]) -> f64 {
        decay(theta, row as f64) - self.y[row]
    }

    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
        decay(theta, row as f64) - self.y[row]
    }
}

const FREE: [(f64, f64); 3] = [(-1e3, 1e3), (-5.0, 5.0), (-1e3, 1e3)];

fn exact() -> Decay {
    Decay {
        y: (0..8).map(|x| decay(&[3.0, -0.5, 1.0], f64::from(x))).collect(),
        weight: vec![1.0; 8],
    }
}

#[test]
fn an_exact_curve_gives_its_constants_and_a_small_gradient() {
    let found = minimise(&exact(), &[1.0, 0.2, 0.0], &FREE).unwrap();
    for (got, want) in found.theta.iter().zip([3.0, -0.5, 1.0]) {
        assert!((got - want).abs() < 1e-12, "{found:?}");
    }
    assert!(found.gradient < 1e-4 && found.held == [false; 3]);
}

/// With c held at 2 the others must be those of the two-parameter problem: the gradient in them is
/// zero by central differences, and that of c points outward.
#[test]
fn a_bound_holds_its_parameter_and_frees_the_others() {
    let problem = exact();
    let box_ = [FREE[0], FREE[1], (2.0, 9.0)];
    let found = minimise(&problem, &[1.0, -0.3, 2.5], &box_).unwrap();
    assert_eq!((found.theta[2], &found.held[..]), (2.0, &[false, false, true][..]));
    let slope = |i: usize| {
        let shifted = |h: f64| {
            let mut theta = found.theta.clone();
            theta[i] += h;
            value(&problem, &theta)
        };
        (shifted(1e-6) - shifted(-1e-6)) / 2e-6
    };
    assert!(slope(0).abs() < 1e-8 && slope(1).abs() < 1e-8 && slope(2) > 1.0);
    let deviations = found.deviations().unwrap();
    assert!(deviations[0] > 0.0 && deviations[1] > 0.0 && deviations[2] == 0.0);
}

/// The same curve at given places.
struct Rows(Vec<(f64, f64)>);

impl ByRow for Rows {
    fn rows(&self) -> usize {
        self.0.len()
    }
    fn residual(&self, row: usize, theta: &[f64]) -> f64 {
        decay(theta, self.0[row].0) - self.0[row].1
    }
    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
        decay(theta, self.0[row].0) - self.0[row].1
    }
}

/// A weight of two is a row given twice; a weight of zero is no row.
#[test]
fn weights_count_rows() {
    let mut weighted = exact();
    for (i, y) in weighted.y.iter_mut().enumerate() {
        *y += 0.01 * (i as f64 * 2.3).sin();
    }
    weighted.weight = vec![1.0, 2.0, 1.0, 1.0, 0.0, 1.0, 1.0, 1.0];
    let rows = [0, 1, 1, 2, 3, 5, 6, 7].map(|i: usize| (i as f64, weighted.y[i])).to_vec();
    let one = minimise(&weighted, &[1.0, 0.2, 0.0], &FREE).unwrap();
    let two = minimise(&Rows(rows), &[1.0, 0.2, 0.0], &FREE).unwrap();
    for (l, r) in one.theta.iter().zip(&two.theta) {
        assert!((l - r).abs() < 1e-11, "{one:?} {two:?}");
    }
    assert!((one.rss / two.rss - 1.0).abs() < 1e-11);
}

#[test]
fn the_scale_of_the_residuals_does_not_stop_a_descent() {
    let mut problem = exact();
    problem.y[3] += 0.02;
    let full = minimise(&problem, &[1.0, 0.2, 0.0], &FREE).unwrap();
    problem.weight = vec![1e-9; 8];
    let tiny = minimise(&problem, &[1.0, 0.2, 0.0], &FREE).unwrap();
    assert!((full.theta[1] / tiny.theta[1] - 1.0).abs() < 1e-10, "{full:?} {tiny:?}");
    assert!(full.gradient < 1e-9 && tiny.gradient < 1e-9);
}

/// At b = 0 the factor and the offset are one parameter: the fit goes on, and says so.
#[test]
fn parameters_that_cannot_be_told_apart_have_no_deviations() {
    let level = Decay { y: vec![2.0, 2.1, 1.9, 2.0], weight: vec![1.0; 4] };
    let box_ = [FREE[0], (0.0, 0.0), FREE[2]];
    let found = minimise(&level, &[1.0, 0.0, 0.5], &box_).unwrap();
    assert!((found.theta[0] + found.theta[2] - 2.0).abs() < 1e-9, "{found:?}");
    assert!(found.deviations().is_none() && found.condition > 1e29, "{found:?}");
}

#[test]
fn the_share_of_starts_at_the_best_is_counted() {
    // Two minima in b: from above 5 the exponential overflows and is left out at once.
    let starts = [vec![1.0, 0.2, 0.0], vec![2.0, -1.0, 0.0], vec![1.0, 4.0, 1e3]];
    let found = best(&exact(), &starts, 2, &FREE).unwrap();
    assert_eq!((found.starts, found.starts_at_best), (2, 2));
    assert_eq!(best(&exact(), &[vec![f64::NAN; 3]], 2, &FREE), None);
    assert_eq!(minimise(&exact(), &[0.0; 2], &FREE), None);
}

/// r = (1 - cos 3x + x^2/50, y): the lowest of its minima is at 0, and starts far out have lower ones near.
struct Waves;

fn waves<T: Number<Real = f64>>(p: &[T]) -> T {
    let x = p[0].value();
    p[0].chain(1.0 - (3.0 * x).cos() + 0.02 * x * x + 0.01, 3.0 * (3.0 * x).sin() + 0.04 * x)
}

impl ByRow for Waves {
    fn rows(&self) -> usize {
        2
    }
    fn residual(&self, row: usize, theta: &[f64]) -> f64 {
        if row == 0 { waves(theta) } else { theta[1] }
    }
    fn gradient(&self, row: usize, theta: &[Dual]) -> Dual {
        if row == 0 { waves(theta) } else { theta[1] }
    }
}

/// Starts in the troughs far out are lower than the one on the slope to the lowest minimum.
#[test]
fn a_search_finds_a_minimum_that_the_lowest_starts_miss() {
    let mut starts: Vec<Vec<f64>> =
        (1..=6).map(|i| vec![2.0943951 * f64::from(i), 0.01 * f64::from(i)]).collect();
    starts.push(vec![0.9, 3.0]);
    let box_ = [(-20.0, 20.0), (-5.0, 5.0)];
    let missed = best(&Waves, &starts, 3, &box_).unwrap();
    let found = search(&Waves, &starts, 3, &box_).unwrap();
    assert!(missed.theta[0] > 1.0 && found.theta[0].abs() < 1e-3, "{missed:?} {found:?}");
    assert!(found.starts > 1 && found.starts_at_best == 1, "{found:?}");
}
