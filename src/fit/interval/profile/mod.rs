//! Intervals by profile likelihood: no draws, and an end that the runs do not set is said to be open.
//!
//! The likelihood is normal in ln L with unknown variance, so its maximum is the least-squares fit of
//! ln L; Huber's objective is no likelihood, and its fit is not the centre of these intervals. For a
//! quantity q (the frontier exponent a, E, D*/N* at a compute) the sum of squares is minimised over all
//! other parameters at every fixed value of q. A value belongs to the interval when
//! S(q) <= S_min (1 + F / (n - 5)), F being the quantile of F(1, n - 5) at the level: exact where the
//! law is linear in its parameters, and close where it is bent, because no normal shape is assumed for
//! the estimate of q itself (Bates & Watts 1988, "Nonlinear regression analysis and its applications",
//! section 6.1; Venzon & Moolgavkar 1988, doi:10.2307/2347496).
//!
//! Fixing q is exact, by substitution: E is a parameter; with N*(C) given, the first-order condition
//! gives B from A, alpha and beta; with a and N* at the least compute given, it holds at both ends of
//! the range and gives beta and B from A and alpha.
//!
//! Limits: runs that share noise enter by their number alone, n being what they are worth as independent
//! runs; as far as the law and equal normal noise hold, and no farther. Each minimisation starts from its
//! neighbour's optimum: the interval is that of the basin of the best fit.

mod quantity;

use rayon::prelude::*;

use crate::fit::data::clusters::Clusters;
use crate::fit::data::sample::{Sample, is_law, scaled};
use crate::fit::numeric::newton::{self, P, Vector};
use crate::fit::numeric::stats;
use crate::fit::result::{Compute, Draws, Fit, Profile, Surface};
use crate::fit::surface::lse;
use crate::fit::{Code, Pins, Warning};
use crate::points::{AHEAD, Point};
use quantity::{EDGE, FAR, Held, Quantity, vanished};

/// Widths of two intervals of one quantity that differ by more than this factor are told [-].
const DIFFER: f64 = 2.0;

/// The likelihood at its maximum: least squares of ln L.
#[derive(Debug, Clone)]
pub(in crate::fit) struct Likelihood {
    sample: Sample,
    /// [ln A at the centre, alpha, ln B at the centre, beta, ln E], as in `lse`.
    at: Vector,
    surface: Surface,
    /// Degrees of freedom of the scatter, fewer where clusters share it.
    dof: f64,
    /// Sum of squares of ln(measured / fitted) over the runs [-].
    squares: f64,
}

impl Likelihood {
    /// Of `points` in their order, from the surfaces among `fits`. Nothing without a surface, where the
    /// least-squares fit has no frontier, or where it goes through every run.
    pub(in crate::fit) fn new(points: &[Point], fits: &[Fit], pins: Pins) -> Option<Self> {
        let starts: Vec<Surface> = fits.iter().filter_map(|f| f.params).collect();
        if starts.is_empty() {
            return None;
        }
        let sample = Sample::pinned(points, pins);
        let surface = lse::refit(&sample, f64::MAX, &starts).surface;
        let residuals = sample.residuals(&surface);
        let squares = residuals.iter().map(|r| r * r).sum();
        let clusters = Clusters::of_points(points);
        let dof = clusters.dof(clusters.shared(&residuals), pins.free());
        let scatters = squares > 1e-20 * sample.len() as f64;
        if !is_law(&surface) || !scatters || sample.len() <= pins.free() {
            return None;
        }
        let floor = vanished(&sample);
        let at = [
            scaled(surface.a, surface.alpha, sample.mean_x).ln(),
            surface.alpha,
            scaled(surface.b, surface.beta, sample.mean_y).ln(),
            surface.beta,
            surface.e.ln().max(floor),
        ];
        Some(Self { sample, at, surface, dof, squares })
    }

    /// Parameters of the law that were fitted [count].
    pub(in crate::fit) fn free(&self) -> usize {
        self.sample.pins.free()
    }

    /// ln of the law at a run.
    pub(in crate::fit) fn ln_law(&self, point: &Point) -> f64 {
        self.surface.loss(point.params, point.tokens).ln()
    }

    /// sqrt(ln(S / S_min)) at the ends of an interval at `level`.
    fn reach(&self, level: f64) -> Option<f64> {
        // F(1, dof) is the square of Student's t.
        let t = stats::student(0.5 * (1.0 + level), self.dof)?;
        Some((t * t / self.dof).ln_1p().sqrt())
    }
}

/// The profile intervals, with what a reader must know of them; none without a likelihood.
pub(in crate::fit) fn of(
    likelihood: Option<&Likelihood>,
    points: &[Point],
    fits: &[Fit],
    compute: &Compute,
    level: f64,
    told: &mut Vec<Warning>,
) -> Vec<Profile> {
    let profiles = likelihood.map_or_else(Vec::new, |l| intervals(l, points, compute, level));
    warnings(&profiles, fits, compute, told);
    profiles
}

/// Profile intervals at `level` of a, of E, and of D*/N* at the largest compute and at ten times it.
/// `points` must be sorted by compute.
fn intervals(
    likelihood: &Likelihood,
    points: &[Point],
    compute: &Compute,
    level: f64,
) -> Vec<Profile> {
    let Some(reach) = likelihood.reach(level) else { return Vec::new() };
    let (from, to) = (points[0].flops, points[points.len() - 1].flops);
    let ahead = [Quantity::size(to, compute), Quantity::size(AHEAD * to, compute)];
    // Collected in this order, so the number of threads changes nothing.
    [Quantity::exponent(from, to, compute), Quantity::Floor, ahead[0], ahead[1]]
        .par_iter()
        .filter(|quantity| quantity.is_open(likelihood.sample.pins))
        .filter_map(|quantity| profile(likelihood, quantity, reach, level))
        .collect()
}

/// One quantity's interval, as a reader gets it.
fn profile(best: &Likelihood, q: &Quantity, reach: f64, level: f64) -> Option<Profile> {
    let start = q.coordinates(best)?;
    let value = start[P - 1];
    let limits = q.limits(&best.sample, value);
    let [lo, hi] = limits.map(|limit| end(best, q, &start, limit, reach));
    let plain = |quantity: &str| Profile {
        quantity: quantity.into(),
        flops: None,
        value,
        lo,
        hi,
        level,
        note: None,
    };
    let open = |what: [String; 2]| {
        let ends = [lo, hi].into_iter().zip(what).filter(|(end, _)| end.is_none());
        let told: Vec<String> = ends.map(|(_, what)| what).collect();
        (!told.is_empty()).then(|| told.join("; "))
    };
    Some(match q {
        Quantity::Exponent { .. } => Profile {
            note: open([
                format!("no lower end above {EDGE}"),
                format!("no upper end below {}", 1.0 - EDGE),
            ]),
            ..plain("a")
        },
        Quantity::Floor => Profile {
            note: open([
                "the runs do not rule out E = 0".into(),
                "no upper end below the lowest loss".into(),
            ]),
            ..plain("E")
        },
        Quantity::Size { ln_c, compute } => {
            // Falls as N* rises: the ends change places.
            let ratio = |ln_n: f64| (ln_c - compute.log_per_token(ln_n).0 - ln_n).exp();
            let far = |side: &str| format!("no {side} end within a factor {FAR:.0e} of N*");
            Profile {
                flops: Some(ln_c.exp()),
                value: ratio(value),
                lo: hi.map(ratio),
                hi: lo.map(ratio),
                note: open([far("upper"), far("lower")]),
                ..plain("tokens_per_param")
            }
        }
    })
}

/// Where between the best value and `limit` the profile leaves the interval; nothing when it does not.
///
/// The signed root of the log ratio is nearly a straight line, so a few secant steps suffice; they are
/// kept inside a bracket (regula falsi with halving, "Illinois", Dowell & Jarratt 1971,
/// doi:10.1007/BF01934364).
fn end(best: &Likelihood, q: &Quantity, start: &Vector, limit: f64, reach: f64) -> Option<f64> {
    let origin = start[P - 1];
    let mut warm = *start;
    let mut excess = |value: f64| {
        let mut from = warm;
        from[P - 1] = value;
        let (squares, at) = minimum(best, q, from);
        warm = at;
        (squares / best.squares).ln().max(0.0).sqrt() - reach
    };
    let whole = limit - origin;
    if whole == 0.0 {
        return None;
    }
    // Outwards until the interval is left.
    let (mut inside, mut below) = (origin, -reach);
    let mut share = (0.01 / whole.abs()).min(0.1);
    let (mut outside, mut above) = loop {
        let value = if share >= 1.0 { limit } else { origin + share * whole };
        let height = excess(value);
        if height >= 0.0 {
            break (value, height);
        }
        if share >= 1.0 || height.is_nan() {
            return None;
        }
        (inside, below) = (value, height);
        let slope = (height + reach) / share;
        share *= (1.05 * reach / (slope * share).max(1e-300)).clamp(1.3, 8.0);
    };
    for _ in 0..40 {
        if (outside - inside).abs() <= 1e-5 * (outside - origin).abs() {
            break;
        }
        // A profile that jumps to infinity has no secant.
        let weight = if above.is_finite() { -below / (above - below) } else { 0.5 };
        let value = inside + weight.clamp(0.01, 0.99) * (outside - inside);
        let height = excess(value);
        if height.abs() <= 1e-6 * reach {
            return Some(value);
        }
        if height < 0.0 {
            (inside, below) = (value, height);
            above *= 0.5;
        } else {
            (outside, above) = (value, height);
            below *= 0.5;
        }
    }
    Some(0.5 * (inside + outside))
}

/// Least sum of squares with the quantity held where `from` has it, and where that is.
fn minimum(best: &Likelihood, q: &Quantity, from: Vector) -> (f64, Vector) {
    let sample = &best.sample;
    let (mut lower, mut upper) = q.bounds(sample);
    q.hold(sample.pins, &mut lower, &mut upper);
    (lower[P - 1], upper[P - 1]) = (from[P - 1], from[P - 1]);
    let floor = 1e-30 * sample.len() as f64;
    let squares = lse::Squares::of(sample);
    let mut held = Held::new(q, sample, squares.objective());
    let found = newton::minimise(&mut held, from, &lower, &upper, floor, None);
    (2.0 * found.value, found.at)
}

/// What a reader must know of these intervals, alone and beside the bootstrap's of the leading fit.
fn warnings(profiles: &[Profile], fits: &[Fit], compute: &Compute, warnings: &mut Vec<Warning>) {
    let lead = fits.iter().find(|f| f.params.is_some());
    let mut unlike = Vec::new();
    for p in profiles {
        let name = match p.flops {
            Some(flops) => format!("D*/N* at {flops:.2e} FLOP"),
            None => p.quantity.clone(),
        };
        if let Some(note) = &p.note {
            let text = format!("{name} has an open {:.0}% interval: {note}", 100.0 * p.level);
            warnings.push(Warning::new(Code::OpenInterval, text));
        }
        let (Some(lo), Some(hi)) = (p.lo, p.hi) else { continue };
        let Some([low, high]) = lead.and_then(|f| p.bootstrap(f, compute)) else { continue };
        // Ratios have widths in the logarithm.
        let width = |lo: f64, hi: f64| if p.flops.is_some() { (hi / lo).ln() } else { hi - lo };
        let factor = width(lo, hi) / width(low, high);
        if !(1.0 / DIFFER..=DIFFER).contains(&factor) {
            unlike.push(format!("{name} {factor:.2} times as wide"));
        }
    }
    if let Some(lead) = lead.filter(|_| !unlike.is_empty()) {
        let text = format!(
            "profile likelihood and {}'s bootstrap disagree on how much is known: {}; the scatter is \
             unlike from run to run, or not normal, or the law bends within its interval",
            lead.method,
            unlike.join(", ")
        );
        warnings.push(Warning::new(Code::IntervalsDiffer, text));
    }
}

impl Profile {
    /// The bootstrap's interval of the same quantity under `fit`, a surface fit of the same analysis.
    pub fn bootstrap(&self, fit: &Fit, compute: &Compute) -> Option<[f64; 2]> {
        let Some(flops) = self.flops else { return fit.intervals.get(&self.quantity).copied() };
        let Draws::Surfaces(draws) = &fit.draws else { return None };
        let ratio = |s: &Surface| s.optimum(compute, flops).map(|(n, d)| d / n);
        let ratios: Vec<f64> = draws.iter().filter_map(ratio).collect();
        stats::percentile_interval(&ratios, fit.level)
    }
}

#[cfg(test)]
pub(in crate::fit) mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::tests::table;
    use crate::fit::{Analysis, Options, analyse};

    pub(in crate::fit) const COMPUTES: [Compute; 2] =
        [Compute::SixNd, Compute::Attention { k: 2e5, q: 0.6, max_error: 0.0 }];

    pub(in crate::fit) fn runs(sigma: f64) -> Vec<Point> {
        study(&[1e18, 3e18, 1e19, 3e19, 1e20], 6, 4.0, sigma, 11)
    }

    fn analysis(points: Vec<Point>, compute: Compute) -> Analysis {
        let options = Options { bootstrap: 0, holdout: 0, ..Options::default() };
        analyse(&table(points), compute, &options).unwrap()
    }

    /// The profiled quantities of a surface, by its own functions.
    pub(in crate::fit) fn quantities(s: &Surface, compute: &Compute) -> [f64; 4] {
        let size = |flops: f64| s.optimum(compute, flops).unwrap().0.ln();
        [s.frontier(compute, 1e18, 1e20).unwrap().a, s.e, size(1e20), size(1e21)]
    }

    pub(in crate::fit) fn all(compute: &Compute) -> [Quantity<'_>; 4] {
        [
            Quantity::exponent(1e18, 1e20, compute),
            Quantity::Floor,
            Quantity::size(1e20, compute),
            Quantity::size(1e21, compute),
        ]
    }

    pub(in crate::fit) fn likelihood(points: &[Point], compute: Compute) -> Likelihood {
        Likelihood::new(points, &analysis(points.to_vec(), compute).fits, Pins::default()).unwrap()
    }

    /// Where noise is so small that the law is a plane, the interval is the linear model's
    /// q +- t s sqrt(g' (J'J)^-1 g) (Bates & Watts 1988, section 2.3), with J and g by differences of
    /// the surface's own functions.
    #[test]
    fn small_noise_gives_the_linear_models_interval() {
        for compute in COMPUTES {
            let points = runs(1e-6);
            let found = analysis(points.clone(), compute);
            let best = Likelihood::new(&points, &found.fits, Pins::default()).unwrap();
            let s = best.surface;
            let moved = |j: usize, by: f64| {
                let mut s = s;
                match j {
                    0 => s.e *= by.exp(),
                    1 => s.a *= by.exp(),
                    2 => s.b *= by.exp(),
                    // Turned about the middle of the runs, or the matrix is all but singular.
                    3 => {
                        s.alpha += by;
                        s.a *= (by * best.sample.mean_x).exp();
                    }
                    _ => {
                        s.beta += by;
                        s.b *= (by * best.sample.mean_y).exp();
                    }
                }
                s
            };
            let h = 1e-5;
            let difference = |j: usize, of: &dyn Fn(&Surface) -> f64| {
                (of(&moved(j, h)) - of(&moved(j, -h))) / (2.0 * h)
            };
            let mut gram = [[0.0; P]; P];
            for p in &points {
                let row: Vector =
                    std::array::from_fn(|j| difference(j, &|s| s.loss(p.params, p.tokens).ln()));
                for i in 0..P {
                    for j in 0..P {
                        gram[i][j] += row[i] * row[j];
                    }
                }
            }
            let (dof, t) = (25.0, 1.7081407613); // t(.95, 25), any table
            let sd = (best.squares / dof).sqrt();
            for (k, p) in found.profile.iter().enumerate() {
                let g: Vector =
                    std::array::from_fn(|j| difference(j, &|s| quantities(s, &compute)[k]));
                let x = gauss(gram, g);
                let half = t * sd * (0..P).map(|j| g[j] * x[j]).sum::<f64>().sqrt();
                let (lo, hi) = (p.lo.unwrap(), p.hi.unwrap());
                let got = match p.flops {
                    None => 0.5 * (hi - lo),
                    // d ln(D/N) / d ln N = -(1 + growth).
                    Some(c) => {
                        let ln_n = s.optimum(&compute, c).unwrap().0.ln();
                        0.5 * (hi / lo).ln() / (1.0 + compute.log_per_token(ln_n).1)
                    }
                };
                assert!((got / half - 1.0).abs() < 1e-3, "{k}: {got} {half}");
                assert!((p.value / (0.5 * (lo + hi)) - 1.0).abs() < 1e-5, "{p:?}");
            }
        }
    }

    /// Solves by elimination with pivots.
    fn gauss(mut m: [[f64; P]; P], mut b: Vector) -> Vector {
        for c in 0..P {
            let pivot = (c..P).max_by(|l, r| m[*l][c].abs().total_cmp(&m[*r][c].abs())).unwrap();
            m.swap(c, pivot);
            b.swap(c, pivot);
            for r in 0..P {
                if r != c {
                    let (f, row) = (m[r][c] / m[c][c], m[c]);
                    m[r].iter_mut().zip(row).for_each(|(v, p)| *v -= f * p);
                    b[r] -= f * b[c];
                }
            }
        }
        std::array::from_fn(|i| b[i] / m[i][i])
    }

    /// At the ends the sum of squares is what F(1, n - 5) says, and no start finds a lower one.
    #[test]
    fn no_start_finds_a_lower_sum_at_an_end() {
        for compute in COMPUTES {
            let points = runs(0.01);
            let best = likelihood(&points, compute);
            let reach = best.reach(0.9).unwrap();
            // F(.9; 1, 25) is the square of t(.95, 25) = 1.7081408.
            let want = best.squares * (1.0 + 1.7081408_f64.powi(2) / 25.0);
            for q in all(&compute) {
                let start = q.coordinates(&best).unwrap();
                for limit in q.limits(&best.sample, start[P - 1]) {
                    let Some(at) = end(&best, &q, &start, limit, reach) else { continue };
                    let mut least = f64::MAX;
                    for i in 0..60 {
                        let mut from = start;
                        from[P - 1] = at;
                        for (j, v) in from.iter_mut().enumerate().take(P - 1) {
                            *v *= 1.0 + 0.3 * (f64::from(i) * (1.3 + j as f64)).sin();
                        }
                        least = least.min(minimum(&best, &q, from).0);
                    }
                    assert!((least / want - 1.0).abs() < 1e-5, "{q:?} {at}: {least} {want}");
                }
            }
        }
    }

    /// Losses that fall to nothing: E = 0 is the truth, cannot be ruled out, and is said to be so.
    #[test]
    fn a_floor_that_may_be_zero_has_an_open_end() {
        let mut points = runs(0.0);
        for (i, p) in points.iter_mut().enumerate() {
            let wobble = 0.003 * (i as f64 * 1.7).sin();
            p.loss = (TRUTH.loss(p.params, p.tokens) - TRUTH.e) * f64::exp(wobble);
        }
        let found = analysis(points, Compute::SixNd);
        let floor = found.profile.iter().find(|p| p.quantity == "E").unwrap();
        assert!(floor.lo.is_none() && floor.hi.is_some_and(|hi| hi > 0.0), "{floor:?}");
        let told: Vec<&Warning> =
            found.warnings.iter().filter(|w| w.code == Code::OpenInterval).collect();
        assert!(told[0].text.contains("do not rule out E = 0"), "{told:?}");
    }

    #[test]
    fn intervals_of_unlike_width_are_told() {
        let told = |stretch: f64| {
            let options = Options { bootstrap: 100, holdout: 0, ..Options::default() };
            let mut found = analyse(&table(runs(0.003)), Compute::SixNd, &options).unwrap();
            let a = found.fits[0].exponents.a;
            let [lo, hi] = found.fits[0].intervals["a"];
            let scaled = [lo, hi].map(|end| a + stretch * (end - a));
            found.fits[0].intervals.insert("a".into(), scaled);
            let mut all = Vec::new();
            warnings(&found.profile, &found.fits, &Compute::SixNd, &mut all);
            all.iter().any(|w| w.code == Code::IntervalsDiffer && w.text.contains(": a "))
        };
        assert!(!told(1.0) && told(5.0) && told(0.2));
    }

    #[test]
    fn runs_without_scatter_have_no_profile() {
        assert!(analysis(runs(0.0), Compute::SixNd).profile.is_empty());
    }
}
