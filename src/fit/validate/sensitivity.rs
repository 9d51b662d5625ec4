//! The same law under other choices: how much of the answer is the analyst's.
//!
//! An interval says how far the answer would move on other data of the same kind. It says nothing of
//! the choices made before: Huber's delta, the objective, which budgets, sizes and runs are in the
//! table. Each choice is made otherwise here, one at a time, and the law refitted (design sensitivity,
//! after Gemstones, arXiv:2502.06857, where such choices move the exponent from .46 to .97).
//!
//! Every refit starts from the leading fit and from an independent place, as a bootstrap's does.
//!
//! Limits: of more than 60 runs only the 12 farthest from the law are left out in turn, so a run of
//! great leverage that lies on the law may be missed; one choice at a time, so choices that matter only together are not seen. Not an interval:
//! the rows are not draws, and their range has no level.

use rayon::prelude::*;

use crate::fit::data::budgets::Group;
use crate::fit::data::sample::{Sample, SurfaceFit};
use crate::fit::result::{Analysis, Compute, Fit, SensitivityRow, Surface};
use crate::fit::surface::lse;
use crate::fit::surface::varpro;
use crate::fit::{Code, Method, Options, Pins, Warning};
use crate::points::{AHEAD, Point};
use crate::units::{count, few};

/// Sizes within 10% are one size: a family is built at the nearest width that its heads divide.
const SAME_SIZE: f64 = 0.1;

/// Up to this many runs each is left out in turn; of more, only the candidates.
const EACH_RUN: usize = 60;

/// Of more runs than that, those with the largest residuals that are left out in turn.
const CANDIDATES: usize = 12;

/// How many of the most influential runs are reported.
const INFLUENTIAL: usize = 5;

/// What is minimised.
#[derive(Debug, Clone, Copy)]
enum Objective {
    /// Huber's function of the residual in ln L, with this delta [-].
    Huber(f64),
    /// Squares of the residual in L.
    Squares,
}

/// One choice made otherwise.
struct Choice {
    group: &'static str,
    name: String,
    objective: Objective,
    /// Rows left out, ascending.
    without: Vec<usize>,
}

impl SensitivityRow {
    /// How far the answer is from that of `other`: |change of a| + |relative change of the loss
    /// ahead| [-]. The two are of like size where the frontier is well determined.
    pub fn distance(&self, other: &Self) -> f64 {
        (self.exponents.a - other.exponents.a).abs()
            + (self.loss_ahead / other.loss_ahead - 1.0).abs()
    }
}

impl Analysis {
    /// The choice that takes the answer farthest from the leading fit ([`SensitivityRow::distance`]).
    pub fn widest_choice(&self) -> Option<&SensitivityRow> {
        let (first, others) = self.sensitivity.split_first()?;
        others.iter().max_by(|l, r| l.distance(first).total_cmp(&r.distance(first)))
    }
}

/// The leading surface fit of `fits` and its refits, `points` being sorted by compute. Empty without a
/// surface fit. A choice after which the runs could determine no law is left out; one after which they
/// should have and did not is left out with a warning.
///
/// - `options`: those of the leading fit; pinned parameters stay pinned.
pub(in crate::fit) fn compare(
    points: &[Point],
    groups: &[Group],
    compute: &Compute,
    options: &Options,
    fits: &[Fit],
    warnings: &mut Vec<Warning>,
) -> Vec<SensitivityRow> {
    let Some((method, lead)) = fits.iter().find_map(|f| Some((&f.method, f.params?))) else {
        return Vec::new();
    };
    let (delta, pins) = (options.delta, options.pins);
    let huber = *method == Method::LseHuber.name();
    let objective = if huber { Objective::Huber(delta) } else { Objective::Squares };
    let as_fitted = Choice { group: "", name: "as fitted".into(), objective, without: Vec::new() };
    let Some(first) = row(points, compute, &as_fitted, &lead) else { return Vec::new() };

    let mut choices = objectives(huber, delta);
    choices.extend(budgets(groups, objective));
    choices.extend(sizes(points, objective));
    let planned = choices.len();
    choices.extend(runs(points, objective, &lead));
    // Collected in the order of the choices, so the number of threads changes nothing.
    let refitted: Vec<Refit> =
        choices.par_iter().map(|c| refit(points, compute, c, &lead, pins)).collect();

    let failed: Vec<&str> = choices
        .iter()
        .zip(&refitted)
        .filter(|(_, r)| matches!(r, Refit::NoLaw))
        .map(|(c, _)| c.name.as_str())
        .collect();
    if !failed.is_empty() {
        let named = few(&failed, 5);
        warnings.push(Warning::new(
            Code::ChoicesFail,
            format!(
                "{method}: {} of {} refits determine no law and are left out of the comparison of choices: {named}",
                failed.len(),
                refitted.len()
            ),
        ));
    }
    let mut rows: Vec<Option<SensitivityRow>> = refitted.into_iter().map(Refit::row).collect();
    let mut influential: Vec<SensitivityRow> = rows.drain(planned..).flatten().collect();
    // A stable sort: equals stay in the order of the table, which their values decide.
    influential.sort_by(|l, r| r.distance(&first).total_cmp(&l.distance(&first)));
    influential.truncate(INFLUENTIAL);
    std::iter::once(first).chain(rows.into_iter().flatten()).chain(influential).collect()
}

/// Other deltas, and the objective of the other surface method.
fn objectives(huber: bool, delta: f64) -> Vec<Choice> {
    let all =
        |group, name: String, objective| Choice { group, name, objective, without: Vec::new() };
    let mut choices: Vec<Choice> = [("1e-4", 1e-4), ("1e-3", 1e-3), ("1e-2", 1e-2)]
        .map(|(name, d)| all("huber delta", format!("delta {name}"), Objective::Huber(d)))
        .into();
    // Beyond the largest residual Huber's function is half the square.
    choices.push(all("huber delta", "squares of ln L".into(), Objective::Huber(f64::MAX)));
    choices.push(if huber {
        all("objective", "squares of L".into(), Objective::Squares)
    } else {
        all("objective", format!("Huber of ln L, delta {delta:e}"), Objective::Huber(delta))
    });
    choices
}

/// Each budget left out, where three remain: two budgets hardly tell E from the rest.
fn budgets(groups: &[Group], objective: Objective) -> Vec<Choice> {
    if groups.len() < 4 {
        return Vec::new();
    }
    let without = |g: &Group| Choice {
        group: "leave out a budget",
        name: format!("without {} FLOP", scientific(g.label)),
        objective,
        without: g.rows.clone(),
    };
    groups.iter().map(without).collect()
}

/// Each size left out, in a study that trains 4 to 12 sizes; beyond, a size is a run or two.
fn sizes(points: &[Point], objective: Objective) -> Vec<Choice> {
    let mut by_size: Vec<usize> = (0..points.len()).collect();
    by_size.sort_by(|l, r| points[*l].params.total_cmp(&points[*r].params).then(l.cmp(r)));
    let mut sizes: Vec<Vec<usize>> = Vec::new();
    for i in by_size {
        match sizes.last_mut() {
            Some(size) if points[i].params <= (1.0 + SAME_SIZE) * points[size[0]].params => {
                size.push(i);
            }
            _ => sizes.push(vec![i]),
        }
    }
    if !(4..=12).contains(&sizes.len()) {
        return Vec::new();
    }
    let without = |mut rows: Vec<usize>| {
        let mean = rows.iter().map(|i| points[*i].params.ln()).sum::<f64>() / rows.len() as f64;
        rows.sort_unstable();
        Choice {
            group: "leave out a size",
            name: format!("without N {}", count(mean.exp())),
            objective,
            without: rows,
        }
    };
    sizes.into_iter().map(without).collect()
}

/// Each run left out, or each of those with the largest residuals where there are many runs.
fn runs(points: &[Point], objective: Objective, lead: &Surface) -> Vec<Choice> {
    let mut rows: Vec<usize> = (0..points.len()).collect();
    if points.len() > EACH_RUN {
        let residuals = Sample::new(points).residuals(lead);
        rows.sort_by(|l, r| residuals[*r].abs().total_cmp(&residuals[*l].abs()).then(l.cmp(r)));
        rows.truncate(CANDIDATES);
        rows.sort_unstable();
    }
    let without = |i: usize| {
        let Point { id, params, tokens, .. } = &points[i];
        Choice {
            group: "leave out a run",
            name: format!("without {id} (N {}, D {})", count(*params), count(*tokens)),
            objective,
            without: vec![i],
        }
    };
    rows.into_iter().map(without).collect()
}

/// What came of a choice.
enum Refit {
    /// The runs that are left could determine no law.
    TooLittle,
    /// They might have, and did not: a term vanished, or an exponent ended at a bound.
    NoLaw,
    /// Another answer.
    Row(SensitivityRow),
}

impl Refit {
    fn row(self) -> Option<SensitivityRow> {
        if let Self::Row(row) = self { Some(row) } else { None }
    }
}

fn refit(
    points: &[Point],
    compute: &Compute,
    choice: &Choice,
    lead: &Surface,
    pins: Pins,
) -> Refit {
    let kept: Vec<Point> = points
        .iter()
        .enumerate()
        .filter(|(i, _)| choice.without.binary_search(i).is_err())
        .map(|(_, p)| p.clone())
        .collect();
    let sample = Sample::pinned(&kept, pins);
    if sample.unfit().is_some() {
        return Refit::TooLittle;
    }
    let fit = surface(&sample, choice.objective, lead);
    // E at zero is an answer; an exponent at its bound is none.
    let determined = fit.has_frontier() && fit.at_bound.iter().all(|name| name == "E");
    let found = determined.then(|| row(points, compute, choice, &fit.surface)).flatten();
    found.map_or(Refit::NoLaw, Refit::Row)
}

fn surface(sample: &Sample, objective: Objective, lead: &Surface) -> SurfaceFit {
    let squares = varpro::refit(sample, lead);
    match objective {
        Objective::Squares => squares,
        Objective::Huber(delta) => lse::refit(sample, delta, &[*lead, squares.surface]),
    }
}

/// The answer of one surface over the compute of the full table, whatever was left out to fit it.
fn row(
    points: &[Point],
    compute: &Compute,
    choice: &Choice,
    surface: &Surface,
) -> Option<SensitivityRow> {
    let (least, most) = (points.first()?.flops, points.last()?.flops);
    let frontier = surface.frontier(compute, least, most)?;
    let (params, tokens) = surface.optimum(compute, most)?;
    let (params_ahead, tokens_ahead) = surface.optimum(compute, AHEAD * most)?;
    Some(SensitivityRow {
        group: choice.group.into(),
        choice: choice.name.clone(),
        n: points.len() - choice.without.len(),
        exponents: frontier.exponents(),
        e: surface.e,
        tokens_per_param: tokens / params,
        loss_ahead: surface.loss(params_ahead, tokens_ahead),
    })
}

/// `3e11`, `6.03e18`: three significant digits, without the zeros at their end.
fn scientific(value: f64) -> String {
    let text = format!("{value:.2e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            format!("{}e{exponent}", digits.trim_end_matches('0').trim_end_matches('.'))
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::tests::table;
    use crate::fit::{Options, analyse};

    const BUDGETS: [f64; 5] = [1e18, 3e18, 1e19, 3e19, 1e20];

    fn analysis(points: Vec<Point>) -> Analysis {
        by(&Method::ALL, points)
    }

    fn by(methods: &[Method], points: Vec<Point>) -> Analysis {
        let methods = methods.to_vec();
        let options = Options { bootstrap: 0, holdout: 0, methods, ..Options::default() };
        analyse(&table(points), Compute::SixNd, &options).unwrap()
    }

    fn of<'a>(rows: &'a [SensitivityRow], group: &str) -> Vec<&'a SensitivityRow> {
        rows.iter().filter(|r| r.group == group).collect()
    }

    /// Oracle: the constants the losses were made with.
    #[test]
    fn runs_without_noise_give_one_answer_whatever_is_chosen() {
        let rows = analysis(study(&BUDGETS, 6, 4.0, 0.0, 1)).sensitivity;
        let groups = ["", "huber delta", "objective", "leave out a budget", "leave out a run"];
        assert_eq!(groups.map(|g| of(&rows, g).len()), [1, 4, 1, 5, 5]);
        let a = TRUTH.beta / (TRUTH.alpha + TRUTH.beta);
        let (n, d) = TRUTH.optimum(&Compute::SixNd, 1e20).unwrap();
        let (n10, d10) = TRUTH.optimum(&Compute::SixNd, 1e21).unwrap();
        for r in &rows {
            assert!((r.exponents.a - a).abs() < 1e-5 && (r.e - TRUTH.e).abs() < 1e-4, "{r:?}");
            assert!((r.tokens_per_param / (d / n) - 1.0).abs() < 1e-4, "{r:?}");
            assert!((r.loss_ahead / TRUTH.loss(n10, d10) - 1.0).abs() < 1e-5, "{r:?}");
        }
        assert_eq!(rows[0].choice, "as fitted");
        assert_eq!(of(&rows, "leave out a budget")[1].choice, "without 3e18 FLOP");
        assert_eq!(of(&rows, "leave out a budget")[1].n, 24);
    }

    /// By squares, where nothing bounds what one run can do. Huber's delta bounds it, and then a run at
    /// the edge of the design may move the answer as much as one far from the law.
    #[test]
    fn a_planted_outlier_is_the_most_influential_run() {
        let mut points = study(&BUDGETS, 6, 4.0, 0.001, 11);
        points[24].loss *= 1.15;
        let rows = by(&[Method::Varpro], points).sensitivity;
        assert_eq!(of(&rows, "objective")[0].choice, "Huber of ln L, delta 1e-3");
        let runs = of(&rows, "leave out a run");
        assert!(runs[0].choice.starts_with("without cell 4.0 (N "), "{runs:?}");
        let far: Vec<f64> = runs.iter().map(|r| r.distance(&rows[0])).collect();
        assert!(far.is_sorted_by(|l, r| l >= r) && far[0] > 1.5 * far[1], "{far:?}");
    }

    /// The same among more runs than are left out in turn: the outlier is a candidate.
    #[test]
    fn an_outlier_among_many_runs_is_found_by_its_residual() {
        let mut points = study(&BUDGETS, 16, 6.0, 0.001, 12);
        points[64].loss *= 1.15;
        let rows = analysis(points).sensitivity;
        let runs = of(&rows, "leave out a run");
        assert_eq!((runs.len(), runs[0].n), (5, 79));
        assert!(runs[0].choice.starts_with("without cell 4.0 (N "), "{runs:?}");
    }

    /// Three sizes of seven tokens counts and one run of a fourth: without any of the three, two sizes
    /// and a single run are left, and so on. What remains of D must have three values, too.
    #[test]
    fn what_leaves_nothing_identifiable_gives_no_row() {
        let mut points = study(&[1e18, 1e19, 1e20], 3, 4.0, 0.001, 3);
        for (i, p) in points.iter_mut().enumerate() {
            p.params = [1e8, 4e8, 16e8][i % 3];
            p.tokens = [2e9, 8e9, 32e9][i / 3];
            p.flops = 6.0 * p.params * p.tokens;
            p.loss = TRUTH.loss(p.params, p.tokens) * (1.0 + 1e-3 * (i as f64 * 1.7).sin());
            p.budget = None;
        }
        let mut more = points[0].clone();
        (more.id, more.params) = ("fourth".into(), 2e8);
        more.flops = 6.0 * more.params * more.tokens;
        more.loss = TRUTH.loss(more.params, more.tokens);
        points.push(more);
        let rows = analysis(points.clone()).sensitivity;
        // Four sizes, of which any may go; three are left.
        let sizes = of(&rows, "leave out a size");
        assert!(sizes.iter().any(|r| r.choice == "without N 200M" && r.n == 9), "{sizes:?}");
        points.pop();
        let rows = analysis(points[..].to_vec()).sensitivity;
        assert!(!rows.is_empty() && of(&rows, "leave out a size").is_empty());
        // Six runs: one fewer cannot determine five parameters.
        let six = [0, 1, 2, 4, 6, 8].map(|i: usize| points[i].clone()).to_vec();
        let rows = analysis(six).sensitivity;
        assert!(of(&rows, "leave out a run").is_empty(), "{rows:?}");
        assert!(rows.iter().all(|r| r.n == 6));
    }

    #[test]
    fn three_budgets_are_too_few_to_leave_one_out() {
        let rows = analysis(study(&BUDGETS[..3], 8, 4.0, 0.001, 5)).sensitivity;
        assert!(rows.len() > 1 && of(&rows, "leave out a budget").is_empty());
    }

    #[test]
    fn without_a_surface_there_is_no_comparison() {
        assert!(analysis(study(&[1e18], 7, 4.0, 0.001, 3)).sensitivity.is_empty());
    }

    #[test]
    fn a_shuffle_and_the_number_of_threads_change_no_bit() {
        let points = study(&BUDGETS, 6, 4.0, 0.003, 7);
        // 7 is prime to 30, so this is a permutation.
        let shuffled: Vec<Point> = (0..30).map(|i| points[(7 * i + 4) % 30].clone()).collect();
        let run = |threads, points: &[Point]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| serde_json::to_string(&analysis(points.to_vec()).sensitivity).unwrap())
        };
        assert_eq!(run(1, &points), run(3, &shuffled));
    }

    #[test]
    fn a_budget_is_named_as_it_was_planned() {
        let names = [3e11, 6.0312e18, 1.5e20].map(scientific);
        assert_eq!(names, ["3e11", "6.03e18", "1.5e20"]);
    }
}
