//! The scatter of seeds, and whether the law misses by more than that.
//!
//! Runs of equal N and D (and equal unique tokens, where known) differ by their seed. Their scatter is
//! pure error: it needs no law. Against it the law's own misses are tested (lack of fit, Draper & Smith
//! 1998, "Applied regression analysis", section 2.1): F = [(S - S_pure) / (m - 5)] / [S_pure / dof],
//! S being the least sum of squares of ln L under the law, m the number of distinct (N, D).
//!
//! The scatter of each size is given beside the pooled one: it often shrinks or grows with N, which one
//! number does not show. The scatter of a run that is predicted is never taken to be less than the pooled
//! one, however well the law goes through its runs (`holdout`, and `predict`'s intervals).
//!
//! Runs of one cluster at one N and D are one measurement, their mean: copies and jitter tell nothing of seeds.
//! Trunks measure at several D, and what they have in common there takes its share of the degrees of freedom
//! (`clusters`).
//!
//! Limits: normal scatter, equal for every run; runs that differ in more than the seed (rates, batches) put that
//! into the pure error, and the test then passes too easily.

use std::collections::BTreeMap;

use statrs::distribution::{ContinuousCDF, FisherSnedecor};

use crate::fit::data::clusters::Clusters;
use crate::fit::interval::profile::Likelihood;
use crate::fit::result::{LackOfFit, Noise, SizeNoise};
use crate::fit::{Code, Warning};
use crate::points::Point;
use crate::units::few;

/// A lack of fit less likely than this is worth a warning.
const WORTH_SAYING: f64 = 0.01;

/// What was measured at one N and D: mean ln L of each cluster, equal ones of several clusters once.
struct Cell<'a> {
    at: &'a Point,
    measured: Vec<(f64, &'a str)>,
}

impl<'a> Cell<'a> {
    fn of(points: &'a [Point], rows: &[usize]) -> Self {
        let mut logs: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for p in rows.iter().map(|i| &points[*i]) {
            let (sum, runs) = logs.entry(p.cluster.as_str()).or_default();
            (*sum, *runs) = (*sum + p.loss.ln(), *runs + 1.0);
        }
        let mut measured: Vec<(f64, &str)> =
            logs.into_iter().map(|(cluster, (sum, runs))| (sum / runs, cluster)).collect();
        measured.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.cmp(r.1)));
        measured.dedup_by(|l, r| l.0 == r.0);
        Self { at: &points[rows[0]], measured }
    }

    fn mean(&self) -> f64 {
        self.measured.iter().map(|m| m.0).sum::<f64>() / self.measured.len() as f64
    }

    /// Sum of squares about the mean.
    fn squares(&self) -> f64 {
        let mean = self.mean();
        self.measured.iter().map(|m| (m.0 - mean).powi(2)).sum()
    }

    fn replicated(&self) -> bool {
        self.measured.len() > 1
    }
}

/// The scatter among replicates of `points`, or nothing without any; and copies of runs, told.
///
/// A run that is there twice, to the digit, says nothing of seeds: copies are left out of the scatter.
pub(in crate::fit) fn estimate(
    points: &[Point],
    likelihood: Option<&Likelihood>,
    warnings: &mut Vec<Warning>,
) -> Option<Noise> {
    let groups = groups(points);
    let cells: Vec<Cell> = groups.iter().map(|group| Cell::of(points, group)).collect();
    let copies: Vec<&str> = groups
        .iter()
        .flat_map(|group| {
            let earlier = |at: usize| {
                let same = |p: &Point, q: &Point| p.loss == q.loss && p.cluster != q.cluster;
                group[..at].iter().any(|j| same(&points[*j], &points[group[at]]))
            };
            (0..group.len()).filter(move |at| earlier(*at)).map(|at| points[group[at]].id.as_str())
        })
        .collect();
    if !copies.is_empty() {
        let named = few(&copies, 5);
        let text = format!(
            "{} of {} rows repeat the N, D and loss of another to the digit: {named}; copies of a run \
             are not seeds, and every interval counts them as runs of their own",
            copies.len(),
            points.len()
        );
        warnings.push(Warning::new(Code::Copies, text));
    }
    let effect = design_effect(&cells);
    let by_size = by_size(&cells, effect);
    let replicates = by_size.iter().map(|s| s.replicates).sum();
    let spare: usize = cells.iter().map(|c| c.measured.len() - 1).sum();
    if spare == 0 {
        return None;
    }
    let pure: f64 = cells.iter().map(Cell::squares).sum();
    let lack_of_fit = likelihood.filter(|_| copies.is_empty()).and_then(|l| {
        lack_of_fit((squares(&cells, l), l.free()), pure, [cells.len(), spare], effect)
    });
    let (sd, dof) = ((pure / spare as f64).sqrt(), worth(spare, effect));
    let noise = Noise { replicates, sd, dof, by_size, lack_of_fit };
    if let Some(LackOfFit { f, p, .. }) = lack_of_fit
        && p < WORTH_SAYING
    {
        let text = format!(
            "the law misses by more than seeds scatter (lack of fit: F = {f:.2}, p = {p:.1e}; sd of ln L \
             between seeds {:.5}): the intervals take the excess for noise, and it is not",
            noise.sd
        );
        warnings.push(Warning::new(Code::LackOfFit, text));
    }
    Some(noise)
}

/// How many times fewer degrees of freedom there are than replicates say: trunks that run above their cell's mean
/// at one D do so at the others.
fn design_effect(cells: &[Cell]) -> f64 {
    let replicated = || cells.iter().filter(|c| c.replicated());
    let (mut off, mut names) = (Vec::new(), Vec::new());
    for cell in replicated() {
        let mean = cell.mean();
        off.extend(cell.measured.iter().map(|m| m.0 - mean));
        names.extend(cell.measured.iter().map(|m| m.1));
    }
    let clusters = Clusters::new(names.into_iter());
    clusters.design_effect(clusters.shared(&off))
}

/// Degrees of freedom that are left of `dof`.
fn worth(dof: usize, effect: f64) -> usize {
    (dof as f64 / effect).max(1.0) as usize
}

/// Sum of squares about the law of all that was measured.
fn squares(cells: &[Cell], law: &Likelihood) -> f64 {
    let of = |c: &Cell| {
        let law = law.ln_law(c.at);
        c.measured.iter().map(|m| (m.0 - law).powi(2)).sum::<f64>()
    };
    cells.iter().map(of).sum()
}

/// Rows of equal N, D and unique tokens, in the order of the table.
fn groups(points: &[Point]) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..points.len()).collect();
    let key = |i: usize| {
        let p = &points[i];
        [p.params, p.tokens, p.unique_tokens.unwrap_or(0.0)]
    };
    rows.sort_by(|l, r| {
        let (one, two) = (key(*l), key(*r));
        let first = (0..3).map(|k| one[k].total_cmp(&two[k])).find(|o| o.is_ne());
        first.unwrap_or_else(|| l.cmp(r))
    });
    rows.chunk_by(|l, r| key(*l) == key(*r)).map(<[usize]>::to_vec).collect()
}

/// The scatter of every size that has replicates; cells of one N follow each other.
fn by_size(cells: &[Cell], effect: f64) -> Vec<SizeNoise> {
    let of = |size: &[Cell]| {
        let replicated = || size.iter().filter(|c| c.replicated());
        let replicates: usize = replicated().map(|c| c.measured.len()).sum();
        let spare = replicates - replicated().count();
        let pure: f64 = replicated().map(Cell::squares).sum();
        (spare > 0).then(|| SizeNoise {
            params: size[0].at.params,
            replicates,
            sd: (pure / spare as f64).sqrt(),
            dof: worth(spare, effect),
        })
    };
    cells.chunk_by(|l, r| l.at.params == r.at.params).filter_map(of).collect()
}

/// The pooled scatter of seeds among `points`, 0 where no two tell of it [-].
pub(in crate::fit) fn pooled_sd(points: &[Point]) -> f64 {
    estimate(points, None, &mut Vec::new()).map_or(0.0, |noise| noise.sd)
}

/// `squares`: the law's, and how many of its parameters were fitted; `pure` within cells, of so many cells with so many spare
/// replicates.
fn lack_of_fit(
    (squares, free): (f64, usize),
    pure: f64,
    [cells, spare]: [usize; 2],
    effect: f64,
) -> Option<LackOfFit> {
    let lack = cells.checked_sub(free).filter(|d| *d > 0)?;
    let f = ((squares - pure) / lack as f64).max(0.0) / (pure / spare as f64);
    let (dof, below) = (worth(lack, effect), worth(spare, effect));
    let p = FisherSnedecor::new(dof as f64, below as f64).ok()?.sf(f);
    (f.is_finite() && p.is_finite()).then_some(LackOfFit { f, dof, p })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::tests::table;
    use crate::fit::{Analysis, Compute, Options, analyse};

    /// Three seeds of every cell, with seed scatter `sd` and a miss of the law that all three share.
    fn seeds(sd: f64, miss: f64) -> Vec<Point> {
        let cells = study(&[1e18, 1e19, 1e20], 6, 4.0, 0.0, 1);
        let noisy = study(&[1e18, 1e19, 1e20], 18, 4.0, sd, 5);
        let noise = noisy.iter().map(|p| p.loss / TRUTH.loss(p.params, p.tokens));
        let points = cells.iter().enumerate().flat_map(|(i, cell)| {
            let shared = (miss * (i as f64 * 2.1).sin()).exp();
            (0..3).map(move |seed| Point {
                id: format!("{} seed {seed}", cell.id),
                cluster: format!("{} seed {seed}", cell.id),
                loss: cell.loss * shared,
                ..cell.clone()
            })
        });
        points.zip(noise).map(|(p, noise)| Point { loss: p.loss * noise, ..p }).collect()
    }

    fn analysis(points: Vec<Point>) -> Analysis {
        let options = Options { bootstrap: 0, holdout: 0, ..Options::default() };
        analyse(&table(points), Compute::SixNd, &options).unwrap()
    }

    fn told(analysis: &Analysis, code: Code) -> bool {
        analysis.warnings.iter().any(|w| w.code == code)
    }

    /// 54 runs in 18 cells have 36 degrees of freedom; the standard error of their sd is 12%.
    #[test]
    fn seeds_give_their_scatter_and_do_not_contradict_a_true_law() {
        let found = analysis(seeds(0.003, 0.0));
        let noise = found.noise.as_ref().unwrap();
        assert_eq!((noise.replicates, noise.dof), (54, 36));
        assert!((0.002..0.004).contains(&noise.sd), "{noise:?}");
        let test = noise.lack_of_fit.unwrap();
        assert!(test.dof == 13 && test.p > 0.01, "{noise:?}");
        assert!(!told(&found, Code::LackOfFit) && !told(&found, Code::Copies));
        // With a copy the sum of squares counts one run twice: no test.
        let mut copied = seeds(0.003, 0.0);
        copied.push(Point { id: "copy".into(), cluster: "copy".into(), ..copied[7].clone() });
        let found = analysis(copied);
        assert!(told(&found, Code::Copies));
        assert_eq!(found.noise.unwrap(), Noise { lack_of_fit: None, ..noise.clone() });
    }

    /// The same scatter, but all seeds of a cell miss the law together.
    #[test]
    fn a_law_that_misses_what_seeds_agree_on_is_told() {
        let found = analysis(seeds(0.003, 0.02));
        let noise = found.noise.as_ref().unwrap();
        assert!((0.002..0.004).contains(&noise.sd), "{noise:?}");
        assert!(noise.lack_of_fit.unwrap().p < 1e-6, "{noise:?}");
        assert!(told(&found, Code::LackOfFit));
    }

    /// By hand: ln L = 0, 2 and 5, 6, 7 leave 1 + 2 degrees of freedom and the squares 2 + 2.
    #[test]
    fn pure_error_is_the_pooled_scatter_within_cells() {
        let of = |id: usize, params: f64, log: f64, unique_tokens| Point {
            id: id.to_string(),
            cluster: id.to_string(),
            params,
            tokens: 1e9,
            flops: 6e9 * params,
            loss: f64::exp(log),
            budget: None,
            unique_tokens,
            counts: None,
        };
        let runs = [(1e6, 0.0), (1e6, 2.0), (2e6, 5.0), (2e6, 6.0), (2e6, 7.0), (3e6, 1.0)];
        let size = |params, replicates, sd, dof| SizeNoise { params, replicates, sd, dof };
        let mut points: Vec<Point> =
            runs.iter().enumerate().map(|(i, (n, l))| of(i, *n, *l, None)).collect();
        let noise = estimate(&points, None, &mut Vec::new()).unwrap();
        assert_eq!((noise.replicates, noise.dof, noise.lack_of_fit), (5, 3, None));
        assert!((noise.sd - (4.0_f64 / 3.0).sqrt()).abs() < 1e-12, "{noise:?}");
        let near = |got: &SizeNoise, want: SizeNoise| {
            assert!((got.sd - want.sd).abs() < 1e-12, "{got:?}, {want:?}");
            assert_eq!(SizeNoise { sd: want.sd, ..*got }, want);
        };
        assert_eq!(noise.by_size.len(), 2, "3e6 ran once");
        near(&noise.by_size[0], size(1e6, 2, 2.0_f64.sqrt(), 1));
        near(&noise.by_size[1], size(2e6, 3, 1.0, 2));
        // 1e6 again at another D, ln L = 1 and 5: squares 2 + 8 on two degrees of freedom, not the
        // scatter about one mean.
        let mut wider = points.clone();
        wider
            .extend([1.0, 5.0].map(|l| Point { tokens: 2e9, ..of(20 + l as usize, 1e6, l, None) }));
        let wide = estimate(&wider, None, &mut Vec::new()).unwrap();
        near(&wide.by_size[0], size(1e6, 4, 5.0_f64.sqrt(), 2));
        near(&wide.by_size[1], size(2e6, 3, 1.0, 2));
        assert!((wide.sd - 3.0_f64.sqrt()).abs() < 1e-12 && wide.dof == 4, "{wide:?}");
        // The same tokens drawn from fewer are not another seed.
        points.push(of(9, 3e6, 4.0, Some(1e7)));
        assert_eq!(estimate(&points, None, &mut Vec::new()).unwrap(), noise);
        // A copy is counted as one, and told.
        points.push(of(10, 1e6, 2.0, None));
        let mut warnings = Vec::new();
        assert_eq!(estimate(&points, None, &mut warnings).unwrap(), noise);
        assert!(warnings.len() == 1 && warnings[0].code == Code::Copies, "{warnings:?}");
        assert!(warnings[0].text.starts_with("1 of 8 rows"), "{warnings:?}");
        assert_eq!(estimate(&points[5..7], None, &mut Vec::new()), None);
    }

    /// With two degrees of freedom above, the tail is (1 + 2 f / d)^(-d/2), exactly.
    #[test]
    fn the_test_has_the_tail_of_f() {
        // S - S_pure = 6 over 2, S_pure = 4 over 8: f = 6.
        let test = lack_of_fit((10.0, 5), 4.0, [7, 8], 1.0).unwrap();
        assert!((test.f - 6.0).abs() < 1e-12 && test.dof == 2);
        assert!((test.p - (1.0_f64 + 12.0 / 8.0).powi(-4)).abs() < 1e-10, "{test:?}");
        assert_eq!(lack_of_fit((10.0, 5), 4.0, [5, 8], 1.0), None);
        // Trunks that agree at four D each: a quarter of both, and the same F.
        let trunks = lack_of_fit((10.0, 5), 4.0, [13, 32], 4.0).unwrap();
        assert_eq!((trunks.dof, trunks.f), (2, 6.0));
        assert!((trunks.p - (1.0_f64 + 12.0 / 8.0).powi(-4)).abs() < 1e-10, "{trunks:?}");
    }

    /// Two trunks of one size, always half a percent apart, at four D: one comparison of seeds and not four.
    #[test]
    fn trunks_that_agree_at_every_length_are_one_comparison() {
        let mut points = Vec::new();
        for (trunk, off) in [("a", 0.0025), ("b", -0.0025)] {
            for d in [1e9, 2e9, 4e9, 8e9] {
                let run = |loss: f64, i: usize| Point {
                    id: format!("{trunk} {d} {i}"),
                    cluster: trunk.into(),
                    params: 1e6,
                    tokens: d,
                    flops: 6e6 * d,
                    loss,
                    budget: None,
                    unique_tokens: None,
                    counts: None,
                };
                // Each is there twice, the second a hair off: one measurement.
                let loss = (1.0_f64 - (d / 1e9).ln() / 10.0 + off).exp();
                points.extend([run(loss, 0), run(loss * (1.0 + 1e-9), 1)]);
            }
        }
        let noise = estimate(&points, None, &mut Vec::new()).unwrap();
        assert_eq!((noise.replicates, noise.dof), (8, 1));
        assert!((noise.sd / (0.005 / 2.0_f64.sqrt()) - 1.0).abs() < 1e-6, "{noise:?}");
    }

    #[test]
    fn a_record_without_sizes_is_read() {
        let old = r#"{"replicates":5,"sd":0.1,"dof":3,"lack_of_fit":null}"#;
        let noise: Noise = serde_json::from_str(old).unwrap();
        assert!(noise.by_size.is_empty() && noise.dof == 3);
    }
}
