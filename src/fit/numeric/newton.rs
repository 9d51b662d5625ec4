//! The optimiser of both surface fits: damped Newton with exact second derivatives, in a box.
//!
//! Five parameters, so every matrix is 5 by 5 and lives on the stack. The stopping rule is free of
//! scale: it compares the decrease that Newton's model still promises with the objective itself, so
//! it cannot stop early because a loss was averaged instead of summed (the defect of Hoffmann et al.
//! 2022, found by Besiroglu et al. 2024, arXiv:2404.10102).

/// Parameters of the law.
pub(in crate::fit) const P: usize = 5;
pub(in crate::fit) type Vector = [f64; P];
pub(in crate::fit) type Matrix = [[f64; P]; P];

/// What is minimised. A third of all steps are rejected by their value alone, so derivatives are a
/// question of their own.
pub(in crate::fit) trait Objective {
    /// The value at `v`.
    fn value(&mut self, v: &Vector) -> f64;

    /// The derivatives at the point of the last [`Self::value`].
    fn derivatives(&mut self) -> Derivatives;
}

/// First and second derivatives of an objective at one point.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Derivatives {
    pub(in crate::fit) gradient: Vector,
    pub(in crate::fit) hessian: Matrix,
    /// Diagonal of J'J of the model: the scale of each parameter.
    pub(in crate::fit) scale: Vector,
}

/// Where a descent ended.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Minimum {
    pub(in crate::fit) at: Vector,
    pub(in crate::fit) value: f64,
    /// sqrt(g' H^-1 g / f) over the free parameters: the scale-free gradient norm [-].
    pub(in crate::fit) gradient: f64,
    pub(in crate::fit) iterations: usize,
    /// Parameters held by their bound.
    pub(in crate::fit) held: [bool; P],
}

/// No descent seen so far took a tenth of this.
const MAX_ITERATIONS: usize = 400;

/// Minimises `objective` from `start` within `[lower, upper]`.
///
/// Levenberg-Marquardt damping on the exact Hessian with Nielsen's update (Madsen, Nielsen & Tingleff
/// 2004, "Methods for non-linear least squares problems", eq. 2.21); a parameter at its bound whose
/// gradient points outward is held there (projected Newton, Bertsekas 1982, doi:10.1137/0320018).
/// `floor` is the objective below which nothing but rounding is left. A descent that is seen to end at `known` ends
/// there at once: Newton's step from a point above it leads there but for a tenth of its length.
///
/// Limits: finds the minimum of the basin it starts in. Which basin is the caller's business.
pub(in crate::fit) fn minimise(
    objective: &mut impl Objective,
    start: Vector,
    lower: &Vector,
    upper: &Vector,
    floor: f64,
    known: Option<&Minimum>,
) -> Minimum {
    let mut at = clamp(start, lower, upper);
    let mut value = objective.value(&at);
    let mut here = objective.derivatives();
    let (mut damping, mut growth) = (1e-3, 2.0);
    let mut polish = 0;
    let mut iterations = 0;
    while iterations < MAX_ITERATIONS && value.is_finite() {
        iterations += 1;
        let held = held(&at, &here.gradient, lower, upper);
        let undamped = newton_step(&here, held, 0.0);
        let promised = undamped.map_or(f64::INFINITY, |s| -0.5 * dot(&s, &here.gradient));
        if let (Some(known), Some(step)) = (known, undamped)
            && leads(&here, &at, &step, value, known)
        {
            return Minimum { iterations, ..known.clone() };
        }
        let nearly = promised <= 1e-12 * value.max(floor);
        if nearly {
            // The objective can no longer tell better from worse, but the gradient can: a few plain
            // Newton steps take the parameters from half to full precision.
            let Some(step) = undamped.filter(|_| polish < 4) else { break };
            polish += 1;
            let trial = clamp(add(&at, &step), lower, upper);
            let reached = objective.value(&trial);
            if reached > value * (1.0 + 1e-12) + floor {
                break;
            }
            let there = objective.derivatives();
            if norm(&there.gradient, held) < norm(&here.gradient, held) {
                (at, value, here) = (trial, reached, there);
                continue;
            }
            break;
        }
        let step = match newton_step(&here, held, damping) {
            Some(step) => step,
            None if damping < 1e20 => {
                damping = (damping * growth).max(1e-6);
                growth *= 2.0;
                continue;
            }
            None => break,
        };
        let trial = clamp(add(&at, &step), lower, upper);
        let moved: Vector = std::array::from_fn(|i| trial[i] - at[i]);
        let reached = objective.value(&trial);
        let gain = value - reached;
        let model = -dot(&moved, &here.gradient) - 0.5 * quadratic(&here.hessian, &moved);
        if reached.is_finite() && gain > 0.0 {
            let ratio = if model > 0.0 { gain / model } else { 0.5 };
            damping *= (1.0 - (2.0 * ratio - 1.0).powi(3)).clamp(0.1, 2.0);
            if damping < 1e-14 {
                damping = 0.0;
            }
            growth = 2.0;
            (at, value, here) = (trial, reached, objective.derivatives());
        } else {
            damping = (damping * growth).max(1e-9);
            growth *= 2.0;
            let still = (0..P).all(|i| moved[i].abs() <= 1e-15 * (1.0 + at[i].abs()));
            if still || damping > 1e20 {
                break;
            }
        }
    }
    let held = held(&at, &here.gradient, lower, upper);
    let left = newton_step(&here, held, 1e-12)
        .map_or(0.0, |s| (-dot(&s, &here.gradient)).max(0.0) / value.max(floor));
    Minimum { at, value, gradient: left.sqrt(), iterations, held }
}

/// Whether a Newton step leads to a known minimum that is lower, in the metric of the Hessian.
fn leads(here: &Derivatives, at: &Vector, step: &Vector, value: f64, known: &Minimum) -> bool {
    let missed: Vector = std::array::from_fn(|i| known.at[i] - at[i] - step[i]);
    known.value <= value
        && quadratic(&here.hessian, &missed) <= 1e-2 * quadratic(&here.hessian, step)
}

fn held(at: &Vector, gradient: &Vector, lower: &Vector, upper: &Vector) -> [bool; P] {
    std::array::from_fn(|i| {
        (at[i] <= lower[i] && gradient[i] >= 0.0) || (at[i] >= upper[i] && gradient[i] <= 0.0)
    })
}

/// Solves (H + damping diag(J'J)) step = -g over the free parameters, by Cholesky. Nothing when that
/// matrix is not positive definite.
fn newton_step(here: &Derivatives, held: [bool; P], damping: f64) -> Option<Vector> {
    let most = here.scale.iter().copied().fold(0.0, f64::max);
    // Scale to unit diagonal first: the factor is then as accurate as the scaled condition allows.
    let scale = here.scale.map(|s| s.max(1e-12 * most).max(1e-300).sqrt());
    // The Hessian is in units of the objective's second derivative; so must the damping be.
    let size = (0..P)
        .filter(|i| !held[*i])
        .map(|i| here.hessian[i][i].abs() / (scale[i] * scale[i]))
        .fold(1e-300, f64::max);
    let mut m = [[0.0; P]; P];
    let mut rhs = [0.0; P];
    for i in 0..P {
        if held[i] {
            m[i][i] = 1.0;
            continue;
        }
        for j in 0..P {
            if !held[j] {
                m[i][j] = here.hessian[i][j] / (scale[i] * scale[j]) / size;
            }
        }
        m[i][i] += damping;
        rhs[i] = -here.gradient[i] / scale[i] / size;
    }
    let solved = cholesky_solve(m, rhs)?;
    let step: Vector = std::array::from_fn(|i| if held[i] { 0.0 } else { solved[i] / scale[i] });
    step.iter().all(|s| s.is_finite()).then_some(step)
}

fn cholesky_solve(mut m: Matrix, mut b: Vector) -> Option<Vector> {
    for j in 0..P {
        let pivot = m[j][j] - (0..j).map(|k| m[j][k] * m[j][k]).sum::<f64>();
        // Below this the pivot is rounding noise of a unit-diagonal matrix.
        if pivot.is_nan() || pivot <= 1e-15 {
            return None;
        }
        let root = pivot.sqrt();
        m[j][j] = root;
        for i in j + 1..P {
            let s = m[i][j] - (0..j).map(|k| m[i][k] * m[j][k]).sum::<f64>();
            m[i][j] = s / root;
        }
    }
    for i in 0..P {
        b[i] = (b[i] - (0..i).map(|k| m[i][k] * b[k]).sum::<f64>()) / m[i][i];
    }
    for i in (0..P).rev() {
        b[i] = (b[i] - (i + 1..P).map(|k| m[k][i] * b[k]).sum::<f64>()) / m[i][i];
    }
    Some(b)
}

/// J'J of a model: the sum over runs of weight times gradient times gradient.
pub(in crate::fit) fn gram(rows: impl Iterator<Item = (f64, Vector)>) -> Matrix {
    let mut sum = [[0.0; P]; P];
    for (weight, g) in rows {
        for j in 0..P {
            for k in 0..P {
                sum[j][k] += weight * g[j] * g[k];
            }
        }
    }
    sum
}

/// Condition number of J'J scaled to unit diagonal, over the free parameters: by how much the design
/// lets one combination of parameters hide behind another [-]. Eigenvalues by Jacobi rotations.
pub(in crate::fit) fn condition(gauss_newton: &Matrix, held: [bool; P]) -> f64 {
    let free: Vec<usize> = (0..P).filter(|i| !held[*i] && gauss_newton[*i][*i] > 0.0).collect();
    let n = free.len();
    if n == 0 {
        return 1.0;
    }
    let mut m: Vec<Vec<f64>> = free
        .iter()
        .map(|&i| {
            free.iter()
                .map(|&j| gauss_newton[i][j] / (gauss_newton[i][i] * gauss_newton[j][j]).sqrt())
                .collect()
        })
        .collect();
    for _ in 0..60 {
        let mut off = 0.0;
        for p in 0..n {
            for q in p + 1..n {
                off += m[p][q] * m[p][q];
                if m[p][q].abs() < 1e-300 {
                    continue;
                }
                let theta = (m[q][q] - m[p][p]) / (2.0 * m[p][q]);
                let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                let c = 1.0 / (t * t + 1.0).sqrt();
                let s = t * c;
                for row in &mut m {
                    let (a, b) = (row[p], row[q]);
                    (row[p], row[q]) = (c * a - s * b, s * a + c * b);
                }
                let (above, below) = m.split_at_mut(q);
                for (a, b) in above[p].iter_mut().zip(&mut below[0]) {
                    (*a, *b) = (c * *a - s * *b, s * *a + c * *b);
                }
            }
        }
        if off < 1e-28 {
            break;
        }
    }
    let (least, most) =
        (0..n).fold((f64::MAX, 0.0_f64), |(l, h), i| (l.min(m[i][i]), h.max(m[i][i])));
    // An eigenvalue below rounding says only "at least this".
    most / least.max(1e-16 * most)
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    (0..P).map(|i| a[i] * b[i]).sum()
}

fn quadratic(m: &Matrix, v: &Vector) -> f64 {
    (0..P).map(|i| v[i] * dot(&m[i], v)).sum()
}

fn add(a: &Vector, b: &Vector) -> Vector {
    std::array::from_fn(|i| a[i] + b[i])
}

fn norm(v: &Vector, held: [bool; P]) -> f64 {
    (0..P).filter(|i| !held[*i]).map(|i| v[i] * v[i]).sum::<f64>().sqrt()
}

fn clamp(v: Vector, lower: &Vector, upper: &Vector) -> Vector {
    std::array::from_fn(|i| v[i].clamp(lower[i], upper[i]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quadratic whose minimum lies outside the box in the first parameter only.
    #[test]
    fn a_bound_holds_its_parameter_and_frees_the_others() {
        struct Quadratic(Vector);
        const TARGET: Vector = [-3.0, 1.0, 2.0, 3.0, 4.0];
        impl Objective for Quadratic {
            fn value(&mut self, v: &Vector) -> f64 {
                self.0 = std::array::from_fn(|i| v[i] - TARGET[i]);
                1.0 + dot(&self.0, &self.0)
            }
            fn derivatives(&mut self) -> Derivatives {
                let mut hessian = [[0.0; P]; P];
                for (i, row) in hessian.iter_mut().enumerate() {
                    row[i] = 2.0;
                }
                Derivatives { gradient: self.0.map(|d| 2.0 * d), hessian, scale: [1.0; P] }
            }
        }
        let mut quadratic = Quadratic([0.0; P]);
        let found = minimise(&mut quadratic, [5.0; P], &[0.0; P], &[9.0; P], 1e-30, None);
        assert_eq!(found.held, [true, false, false, false, false]);
        assert!(found.at[0] == 0.0 && (found.at[4] - 4.0).abs() < 1e-12, "{found:?}");
        assert!(found.gradient < 1e-8);
    }

    /// Equal correlation r in five dimensions has the eigenvalues 1 + 4r and 1 - r (exact).
    #[test]
    fn condition_of_a_correlation_matrix_is_exact() {
        let r = 0.999;
        let m: Matrix = std::array::from_fn(|i| {
            std::array::from_fn(|j| {
                let d = [1.0, 10.0, 0.1, 7.0, 3.0];
                d[i] * d[j] * if i == j { 1.0 } else { r }
            })
        });
        let want = (1.0 + 4.0 * r) / (1.0 - r);
        let got = condition(&m, [false; P]);
        assert!((got / want - 1.0).abs() < 1e-10, "{got} {want}");
    }
}
