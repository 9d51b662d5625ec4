//! Where Farseer's law starts from: its sum of squares has many minima, most of them poor.
//!
//! Two kinds of start, so that no basin of either kind is missed:
//!
//! - By variable projection. Once the exponent of the data as a function of N is given, the loss is linear
//!   in the other two coefficients. They are taken for parabolas in ln N, found by ordinary least squares
//!   for each of a grid of exponents, and put into the law's form at three sizes.
//! - Chinchilla's law for four ranges of the data's exponent, with each coefficient bent either way.

use crate::fit::law::box_cox::box_cox;
use crate::fit::law::chinchilla;
use crate::fit::law::formula::{Form, log_sum};
use crate::fit::law::run::{data, size};
use crate::fit::law::runs::{GRID, Runs};
use crate::fit::numeric::qr;

/// How much steeper the data term gets with ln N.
const STEEPER: [f64; 7] = [-0.4, -0.2, -0.1, 0.0, 0.1, 0.2, 0.4];

/// Exponents of the coefficients: each bends either way.
const EITHER: [f64; 2] = [-1.0, 0.5];

/// Exponents of that of the data.
const BENDS: [f64; 3] = [-1.5, -0.5, 0.5];

/// Every start.
pub(in crate::fit) fn starts(runs: &Runs, form: &Form) -> Vec<Vec<f64>> {
    let mut starts = projected(runs, form);
    starts.extend(straightened(runs, form));
    starts
}

/// The sum of squares of a start.
fn rss(runs: &Runs, form: &Form, theta: &[f64]) -> f64 {
    let fitted = runs.ln_losses(form, theta);
    fitted.iter().zip(&runs.log_loss).map(|(l, r)| (l - r).powi(2)).sum()
}

/// The lowest of some starts; one whose sum of squares is no number is none.
fn lowest(runs: &Runs, form: &Form, starts: impl Iterator<Item = Vec<f64>>) -> Option<Vec<f64>> {
    let told =
        starts.map(|theta| (rss(runs, form, &theta), theta)).filter(|(rss, _)| rss.is_finite());
    told.min_by(|l, r| l.0.total_cmp(&r.0)).map(|(_, theta)| theta)
}

/// For each exponent at the centre, each sign of its slope and each bend the best start by projection.
fn projected(runs: &Runs, form: &Form) -> Vec<Vec<f64>> {
    let mut starts = Vec::new();
    for exponent in GRID {
        for bend in BENDS {
            for slopes in [&STEEPER[..4], &STEEPER[3..]] {
                let of = slopes.iter().filter_map(|s| project(runs, [exponent.ln(), *s, bend]));
                starts.extend(lowest(runs, form, of));
            }
        }
    }
    starts
}

/// The other six parameters for given ones of the data's exponent. Nothing where a term is not above zero
/// at the three sizes, one spread below the centre, there, and one above.
fn project(runs: &Runs, [level, slope, bend]: [f64; 3]) -> Option<Vec<f64>> {
    let size: Vec<f64> = runs.rows.iter().map(|run| size(run, &runs.centre)).collect();
    let spread = (size.iter().map(|x| x * x).sum::<f64>() / size.len() as f64).sqrt();
    let steepness = |x: f64| (level + slope * box_cox(bend, x)).exp();
    let mut columns = vec![Vec::new(); 6];
    for ((run, x), loss) in runs.rows.iter().zip(&size).zip(&runs.loss) {
        let data = (-steepness(*x) * data(run, &runs.centre)).exp();
        // Errors count in proportion to the loss.
        for (k, u) in [1.0, x / spread, (x / spread).powi(2)].into_iter().enumerate() {
            columns[k].push(u / loss);
            columns[k + 3].push(data * u / loss);
        }
    }
    let (c, _) = qr::ordinary(columns, &vec![1.0; size.len()])?;
    let at = |c: &[f64], u: f64| Some(c[0] + u * (c[1] + u * c[2])).filter(|v| *v > 0.0);
    let three = |c: &[f64]| Some([at(c, -1.0)?.ln(), at(c, 0.0)?.ln(), at(c, 1.0)?.ln()]);
    let floor = through(three(&c[..3])?, spread);
    // The data term at the centre of D, as the coefficient of D in tokens.
    let own = three(&c[3..])?;
    let factor = [-1.0, 0.0, 1.0].map(|u| steepness(u * spread) * runs.centre.d);
    let [height, rise, b] =
        through([own[0] + factor[0], own[1] + factor[1], own[2] + factor[2]], spread);
    let steep = level.exp() * runs.centre.d;
    let theta =
        [floor[0], floor[1], floor[2], height - steep, rise - steep * slope, b, level, slope, bend];
    Some(theta.to_vec())
}

/// Level, slope and exponent of the coefficient through three values at -w, 0 and w.
fn through([low, mid, high]: [f64; 3], w: f64) -> [f64; 3] {
    let ratio = (high - mid) / (mid - low);
    if ratio.is_finite() && ratio > 0.0 {
        let q = (ratio.ln() / w).clamp(-1.9, 1.9);
        return [mid, (high - low) / (box_cox(q, w) - box_cox(q, -w)), q];
    }
    // No such curve turns back: a straight line.
    [mid, (high - low) / (2.0 * w), 0.1]
}

/// Chinchilla's law for four ranges of the data's exponent, each with the three coefficients bent either
/// way.
fn straightened(runs: &Runs, form: &Form) -> Vec<Vec<f64>> {
    let plain: Vec<Vec<f64>> = chinchilla::starts(runs).iter().map(|s| straight(s)).collect();
    let mut starts = Vec::new();
    for betas in GRID.chunks(2) {
        let near = |s: &&Vec<f64>| betas.iter().any(|beta| s[6] == beta.ln());
        let Some(straight) = lowest(runs, form, plain.iter().filter(near).cloned()) else {
            continue;
        };
        for [q, b, a] in octants() {
            let bent = |steeper: &f64| {
                let mut theta = straight.clone();
                (theta[2], theta[5], theta[7], theta[8]) = (q, b, *steeper, a);
                theta
            };
            starts.extend(lowest(runs, form, STEEPER.iter().map(bent)));
        }
    }
    starts
}

/// Every choice of three exponents from [`BENDS`].
fn octants() -> impl Iterator<Item = [f64; 3]> {
    (0..8).map(|i: usize| [EITHER[i >> 2], EITHER[(i >> 1) & 1], EITHER[i & 1]])
}

/// Chinchilla's law as one of this kind, to first order in ln N at the centre.
fn straight(start: &[f64]) -> Vec<f64> {
    let [e, a, b, alpha, beta] = [start[0], start[1], start[2], start[3], start[4]];
    let share = 1.0 / (1.0 + (e - a).exp());
    let slopes = [-alpha * share, -alpha * (1.0 - share)];
    vec![log_sum([e, a]), slopes[0], slopes[1], b, 0.0, -0.1, beta.ln(), 0.0, 0.1]
}
