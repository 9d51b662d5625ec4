//! Nonlinear least squares for any law: at most ten parameters, in a box.
//!
//! Minimises sum w_i r_i(theta)^2 by Levenberg-Marquardt steps (Moré 1978, doi:10.1007/BFb0067700) with
//! exact derivatives (`dual`), a QR factorisation (`qr`) and geodesic acceleration. The stopping rule is free of scale: it
//! compares the decrease that the linear model still promises with the sum of squares itself (the
//! relative offset of Bates & Watts 1981, doi:10.1080/00401706.1981.10487650), so it cannot stop early
//! because residuals are small, and then plain Gauss-Newton steps take the parameters from half to full
//! precision.
//!
//! Limits: finds the minimum of the basin it starts in; [`best`] tries several starts and says how many
//! of them agree. Standard deviations are those of the linear model at the optimum.

mod descent;
mod residuals;

use rayon::prelude::*;

use descent::{EXACT, Until, clamp, descend};

pub use descent::{Bounds, Solution, minimise, near, value};
pub use residuals::{ByRow, Residuals};

/// Steps of a descent before the higher half of the places is given up: with ten the minimum found is the lowest
/// known on each of the reference tables.
const SCREENED: usize = 10;

/// Places whose parameters all agree to this are one place [-].
const APART: f64 = 1e-3;

/// The best of the minima that descents from `starts` reach, by the sum of squares at the start: only
/// the `keep` best starts are followed. Nothing when no start has a finite sum of squares.
///
/// `starts` of the solution counts those followed.
pub fn best(
    problem: &impl Residuals,
    starts: &[Vec<f64>],
    keep: usize,
    bounds: &Bounds,
) -> Option<Solution> {
    let mut order: Vec<(f64, usize)> = starts
        .iter()
        .enumerate()
        .map(|(i, start)| (value(problem, &clamp(start, bounds)), i))
        .filter(|(rss, _)| rss.is_finite())
        .collect();
    order.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.cmp(&r.1)));
    order.truncate(keep);
    let found: Vec<Solution> =
        order.iter().filter_map(|(_, i)| minimise(problem, &starts[*i], bounds)).collect();
    Some(Solution { starts: order.len(), ..lowest(problem, &found)? })
}

/// The lowest of `found`, and how many of them are as low.
fn lowest(problem: &impl Residuals, found: &[Solution]) -> Option<Solution> {
    let lead = found.iter().min_by(|l, r| l.rss.total_cmp(&r.rss))?;
    let reach = lead.rss * (1.0 + 1e-6) + EXACT * problem.floor();
    let starts_at_best = found.iter().filter(|s| s.rss <= reach).count();
    Some(Solution { starts: found.len(), starts_at_best, ..lead.clone() })
}

/// The same for a sum of squares with several minima, where its value at a start says little of the minimum
/// below. Every start is descended a little way and the lower half of the places reached goes on, until
/// `keep` are left, which are followed to the end (successive halving). Places that come together are one,
/// so that the certificate does not count one descent many times.
///
/// `starts` of the solution counts the places followed to the end.
pub fn search(
    problem: &(impl Residuals + Sync),
    starts: &[Vec<f64>],
    keep: usize,
    bounds: &Bounds,
) -> Option<Solution> {
    let mut places = starts.to_vec();
    // Collected in the order of the places, so the number of threads changes nothing.
    let onward = |places: &[Vec<f64>], until: Until| -> Vec<Solution> {
        places.par_iter().filter_map(|p| descend(problem, p, bounds, until)).collect()
    };
    while places.len() > keep {
        let many = keep.max(places.len() / 2);
        let mut reached = onward(&places, Until::Steps(SCREENED));
        reached.sort_by(|l, r| l.rss.total_cmp(&r.rss));
        places.clear();
        for place in reached {
            if places.len() < many && !places.iter().any(|other| at_one_place(other, &place.theta))
            {
                places.push(place.theta);
            }
        }
    }
    lowest(problem, &onward(&places, Until::Minimum))
}

/// Whether two places are one.
fn at_one_place(one: &[f64], other: &[f64]) -> bool {
    one.iter().zip(other).all(|(l, r)| (l - r).abs() <= APART * (1.0 + l.abs()))
}

#[cfg(test)]
mod tests;
