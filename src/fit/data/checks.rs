//! What is refused at the door, and what a reader is told besides the numbers.

use crate::fit::data::budgets::Group;
use crate::fit::data::sample::{MAX_EXPONENT, MIN_EXPONENT, Sample};
use crate::fit::result::{Analysis, BudgetFit, Compute, Fit};
use crate::fit::{Code, FitError, Options, Pins, Warning};
use crate::points::{Point, Table};
use crate::units::few;

/// More budgets than anybody keeps out.
const MAX_HOLDOUT: usize = 1000;
/// More runs take too long to fit.
const MAX_RUNS: usize = 50_000;

/// A miss below this is rounding in print, however well the others fit [-].
const LEAST_MISS: f64 = 1e-4;

/// Refuses values that no fit can use, by row. The makers of tables exclude such rows by name, so this
/// is the second lock, not the first.
pub(in crate::fit) fn values(table: &Table) -> Result<(), FitError> {
    for p in &table.points {
        let columns = [
            ("params", p.params),
            ("tokens", p.tokens),
            ("flops", p.flops),
            ("loss", p.loss),
            ("budget", p.budget.unwrap_or(1.0)),
            ("unique tokens", p.unique_tokens.unwrap_or(1.0)),
        ];
        for (column, value) in columns {
            if !(value.is_finite() && value > 0.0) {
                return Err(FitError::BadValue { row: p.id.clone(), column, value });
            }
        }
    }
    Ok(())
}

/// Names the rows that are not in the fit: an interval knows nothing of them.
pub(in crate::fit) fn excluded(table: &Table, warnings: &mut Vec<Warning>) {
    const NAMED: usize = 3;
    let rows = &table.excluded;
    if rows.is_empty() {
        return;
    }
    let named: Vec<String> = rows.iter().map(|r| format!("{} ({})", r.id, r.reason)).collect();
    let text = format!(
        "{} of {} not in the fit: {}{}",
        rows.len(),
        count(rows.len() + table.points.len(), "row"),
        few(&named, NAMED),
        if rows.len() > NAMED {
            "; all are under `excluded` in fit.json and in the report"
        } else {
            ""
        }
    );
    warnings.push(Warning::new(Code::RowsExcluded, text));
}

/// Refuses options out of range.
pub(in crate::fit) fn options(options: &Options) -> Result<(), FitError> {
    let bad = |option, value, want| Err(FitError::BadOption { option, value, want });
    if !(options.delta.is_finite() && options.delta > 0.0) {
        return bad("delta", options.delta, "a finite number above 0");
    }
    if !(options.level > 0.0 && options.level < 1.0) {
        return bad("level", options.level, "a number between 0 and 1");
    }
    if options.bootstrap != 0 && !(20..=1_000_000).contains(&options.bootstrap) {
        return bad("bootstrap", options.bootstrap as f64, "0 for none, or 20 to 1000000");
    }
    if options.holdout > MAX_HOLDOUT {
        return bad("holdout", options.holdout as f64, "0 for none, or 1 to 1000 budgets");
    }
    Ok(())
}

/// Refuses more runs than the methods can be waited for; two of them look at pairs of runs.
pub(in crate::fit) fn few_enough(table: &Table) -> Result<(), FitError> {
    let have = table.points.len();
    if have > MAX_RUNS { Err(FitError::TooManyPoints { have, most: MAX_RUNS }) } else { Ok(()) }
}

/// Points in an order that their values alone decide, so any shuffle of the rows gives the same bits.
pub(in crate::fit) fn sorted(points: &[Point]) -> Vec<Point> {
    let mut points = points.to_vec();
    points.sort_by(|l, r| {
        l.flops
            .total_cmp(&r.flops)
            .then(l.params.total_cmp(&r.params))
            .then(l.tokens.total_cmp(&r.tokens))
            .then(l.loss.total_cmp(&r.loss))
            .then_with(|| l.cluster.cmp(&r.cluster))
            .then_with(|| l.id.cmp(&r.id))
    });
    points
}

/// Warnings about the design: what these runs can show, whatever is fitted to them.
pub(in crate::fit) fn design(
    points: &[Point],
    groups: &[Group],
    budgets: &[BudgetFit],
    compute: &Compute,
    warnings: &mut Vec<Warning>,
) {
    if !groups.is_empty() {
        let usable = budgets.iter().filter(|b| b.excluded.is_none()).count();
        if usable == 2 {
            warnings.push(Warning::new(
                Code::FewBudgets,
                format!(
                    "2 of {} budgets have an interior minimum, approach 2 needs 3 for an interval",
                    budgets.len()
                ),
            ));
        }
        let span = (groups[groups.len() - 1].flops / groups[0].flops).log10();
        // Below 2 as it is printed: compute is counted, and may miss its budget by a hair.
        if groups.len() < 5 || span < 1.95 {
            warnings.push(Warning::new(Code::FewBudgets, format!(
                "{} over {span:.1} decades of compute: a study to extrapolate from wants at least 5 \
                 budgets over 2 decades",
                count(groups.len(), "budget")
            )));
        }
        off_budget(points, groups, warnings);
    }
    if let Compute::Attention { max_error, .. } = compute
        && *max_error > 0.02
    {
        warnings.push(Warning::new(Code::ComputeFormula, format!(
            "FLOPs per token as a function of N alone are off by up to {:.1}%: N* and D* at a given \
             compute are no better than that",
            100.0 * max_error
        )));
    }
}

/// `1 budget`, `2 budgets`.
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn off_budget(points: &[Point], groups: &[Group], warnings: &mut Vec<Warning>) {
    let off = groups
        .iter()
        .flat_map(|g| g.rows.iter().map(|i| (points[*i].flops / g.label - 1.0).abs()))
        .fold(0.0, f64::max);
    if off > 0.1 {
        warnings.push(Warning::new(Code::OffBudget, format!(
            "a run's compute is {:.0}% off its budget: the parabolas of approach 2 compare runs of \
             unlike compute",
            100.0 * off
        )));
    }
}

/// Whether an optimum is in doubt: the descent stopped short of it, or hardly any other start came to it. Such
/// a fit never leads where there is another. Of an exact fit no gradient tells anything.
pub(in crate::fit) fn in_doubt(fit: &Fit) -> bool {
    let c = &fit.certificate;
    let exact = fit.residual_sd.is_some_and(|sd| sd < 1e-8);
    (c.gradient > 1e-4 && !exact) || (c.starts > 10 && 10 * c.starts_at_best < c.starts)
}

/// Warnings about one surface fit.
pub(in crate::fit) fn surface(
    fit: &Fit,
    sample: &Sample,
    points: &[Point],
    warnings: &mut Vec<Warning>,
) {
    let method = &fit.method;
    let c = &fit.certificate;
    if !c.at_bound.is_empty() {
        warnings.push(Warning::new(
            Code::AtBound,
            format!(
                "{method}: {} ended at a bound and is not determined by these runs",
                c.at_bound.join(", ")
            ),
        ));
    }
    if 2 * c.starts_at_best < c.starts {
        warnings.push(Warning::new(
            Code::FewStartsAgree,
            format!(
                "{method}: {} of {} starts reach the best objective, there may be a better one",
                c.starts_at_best, c.starts
            ),
        ));
    }
    if c.condition > 1e6 {
        warnings.push(Warning::new(
            Code::IllConditioned,
            format!(
                "{method}: condition number {:.0e}, some parameters trade off almost freely; the \
             frontier is better determined than they are",
                c.condition
            ),
        ));
    }
    if c.gradient > 1e-4 {
        warnings.push(Warning::new(
            Code::NotConverged,
            format!(
                "{method}: the optimiser stopped at a scale-free gradient of {:.0e}",
                c.gradient
            ),
        ));
    }
    let Some(surface) = &fit.params else { return };
    let residuals = sample.residuals(surface);
    let mut sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    // 1.4826 times the median absolute deviation is the standard deviation of a normal.
    let robust = 1.4826 * sizes[sizes.len() / 2];
    let mut far: Vec<(f64, &str)> = residuals
        .iter()
        .zip(points)
        .filter(|(r, _)| r.abs() > 6.0 * robust && r.abs() > LEAST_MISS)
        .map(|(r, p)| (*r, p.id.as_str()))
        .collect();
    if !far.is_empty() {
        far.sort_by(|l, r| r.0.abs().total_cmp(&l.0.abs()).then(l.1.cmp(r.1)));
        let named: Vec<String> =
            far.iter().map(|(r, id)| format!("{id} ({:+.1}%)", 100.0 * r)).collect();
        warnings.push(Warning::new(
            Code::Outliers,
            format!(
                "{method}: {} more than 6 robust standard deviations from the law: {}",
                count(far.len(), "run"),
                few(&named, 5)
            ),
        ));
    }
}

/// Warnings that compare fits with their draws, and with the truth where it is known.
pub(in crate::fit) fn verdicts(analysis: &Analysis, warnings: &mut Vec<Warning>) {
    for fit in &analysis.fits {
        let tried = fit.draws.len() + fit.draws_failed;
        if 20 * fit.draws_failed > tried {
            warnings.push(Warning::new(Code::DrawsFailed, format!(
                "{}: {} of {tried} bootstrap refits failed; the intervals are those of the rest",
                fit.method, fit.draws_failed
            )));
        }
    }
    let Some(entropy) = analysis.entropy else { return };
    for fit in &analysis.fits {
        if let (Some(e), Some(surface)) = (fit.intervals.get("E"), &fit.params)
            && !(e[0]..=e[1]).contains(&entropy)
        {
            warnings.push(Warning::new(
                Code::EntropyOutside,
                format!(
                    "{}: E {:.4} [{:.4}, {:.4}] does not contain the known entropy {entropy:.4}",
                    fit.method, surface.e, e[0], e[1]
                ),
            ));
        }
    }
    let lowest = analysis.points.iter().map(|p| p.loss).fold(f64::MAX, f64::min);
    if lowest < entropy {
        warnings.push(Warning::new(Code::BelowEntropy, format!(
            "a measured loss of {lowest:.4} is below the known entropy {entropy:.4}: the evaluation \
             leaks or is too small"
        )));
    }
}

/// Whether the runs of `table` allow these pins.
///
/// # Errors
///
/// [`FitError::BadPin`]: not finite, not above 0, E not below the lowest loss, or an exponent that is none.
pub fn allowed(pins: &Pins, table: &Table) -> Result<(), FitError> {
    let lowest = table.points.iter().map(|p| p.loss).fold(f64::INFINITY, f64::min);
    for (name, value) in pins.named() {
        let want = match name {
            _ if !(value.is_finite() && value > 0.0) => "a finite number above 0".to_owned(),
            "E" if value >= lowest => format!(
                "less than the lowest loss, {lowest:.4} {}: E is what is left over with infinite N and D",
                table.convention.loss_unit()
            ),
            "E" => continue,
            _ if value > MIN_EXPONENT && value < MAX_EXPONENT => continue,
            _ => format!("an exponent between {MIN_EXPONENT} and {MAX_EXPONENT}"),
        };
        return Err(FitError::BadPin { name, value, want });
    }
    Ok(())
}
