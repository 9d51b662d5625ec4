//! Which runs belong to one compute budget.
//!
//! A study of our own says so. An imported table may not, and then the budgets are looked for: a
//! budget is a place on the compute axis where many different sizes meet.

use crate::points::Point;

/// Runs of one budget.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::fit) struct Group {
    /// The planned budget, or the geometric mean of the runs' compute where none was planned [FLOP].
    pub(in crate::fit) label: f64,
    /// Geometric mean of what the runs really cost [FLOP].
    pub(in crate::fit) flops: f64,
    /// Indices of the runs, ascending.
    pub(in crate::fit) rows: Vec<usize>,
}

/// Runs within 15% of compute may be one budget: digitised tables scatter that much.
const WINDOW: f64 = 0.15;

/// Computes that agree to this are equal to the digit: what rounding N and D to whole numbers or to five
/// digits leaves.
const DIGIT: f64 = 3e-5;

/// Sizes within 3% are one size, for the same reason.
const SAME_SIZE: f64 = 0.03;

/// A window with fewer sizes than this share of the second fullest one is background (trunks that
/// happen to pass the same compute). On the digitised Chinchilla runs the nine budgets hold 18, 16, 14,
/// ..., 8 sizes and the fullest window of the rest 6. The second, as one budget may be sampled twice.
const SHARE: f64 = 0.45;

/// The budgets of `points`, by compute. Points must be sorted by compute.
///
/// Planned budgets are taken as they are, and runs without one are left out. Where no run has one, but half of
/// them or more share their compute to the digit with two other sizes, those computes are the budgets, however
/// few sizes the sparsest has. Otherwise they are looked for: the window of 15% with the most distinct sizes (at least four) is a budget; its runs are taken out
/// and the search goes on until a window holds fewer than 45% of the second one's sizes. Windows that
/// would touch a budget already found are its fringe, not another budget.
pub(in crate::fit) fn budgets(points: &[Point]) -> Vec<Group> {
    let mut groups = if points.iter().any(|p| p.budget.is_some()) {
        planned(points)
    } else {
        given(points).unwrap_or_else(|| found(points))
    };
    groups.sort_by(|l, r| l.flops.total_cmp(&r.flops));
    groups
}

/// The budget of each run, planned or looked for [FLOP]: those of approach 2, whoever asks. Nothing for a run of
/// no budget.
pub fn budget_of_each(points: &[Point]) -> Vec<Option<f64>> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|l, r| points[*l].flops.total_cmp(&points[*r].flops));
    let sorted: Vec<Point> = order.iter().map(|i| points[*i].clone()).collect();
    let mut out = vec![None; points.len()];
    for group in budgets(&sorted) {
        for row in group.rows {
            out[order[row]] = Some(group.label);
        }
    }
    out
}

fn planned(points: &[Point]) -> Vec<Group> {
    let mut labels: Vec<f64> = points.iter().filter_map(|p| p.budget).collect();
    labels.sort_by(f64::total_cmp);
    labels.dedup_by(|b, a| (*b / *a - 1.0).abs() < 1e-9);
    labels
        .into_iter()
        .map(|label| {
            let rows = (0..points.len())
                .filter(|i| points[*i].budget.is_some_and(|b| (b / label - 1.0).abs() < 1e-9))
                .collect();
            group(points, rows, Some(label))
        })
        .collect()
}

/// Computes that several sizes share to the digit, where half of the runs are at one with three sizes or more.
/// A compute of two sizes is a budget too: it is listed with its lack, not passed over.
fn given(points: &[Point]) -> Option<Vec<Group>> {
    let (mut groups, mut full, mut rest) = (Vec::new(), 0, 0..points.len());
    while let Some(first) = rest.next() {
        let same = |i: &usize| points[*i].flops <= points[first].flops * (1.0 + DIGIT);
        let last = rest.clone().take_while(same).last().unwrap_or(first);
        let rows: Vec<usize> = (first..=last).collect();
        rest = last + 1..points.len();
        let many = sizes(points, &rows).len();
        full += if many >= 3 { rows.len() } else { 0 };
        if many >= 2 {
            groups.push(group(points, rows, None));
        }
    }
    (2 * full >= points.len() && full > 0).then_some(groups)
}

fn found(points: &[Point]) -> Vec<Group> {
    let width = WINDOW.ln_1p();
    let ln_flops: Vec<f64> = points.iter().map(|p| p.flops.ln()).collect();
    let window = |free: &[usize]| -> Vec<usize> {
        let low = ln_flops[free[0]];
        free.iter().copied().take_while(|i| ln_flops[*i] - low <= width).collect()
    };
    let mut free: Vec<usize> = (0..points.len()).collect();
    let (mut groups, mut many_sizes): (Vec<Group>, Vec<usize>) = (Vec::new(), Vec::new());
    // The sizes and the span of the window that starts at a run, while none of its runs was taken out.
    let mut known: Vec<Option<(usize, f64)>> = vec![None; points.len()];
    loop {
        let mut best: Option<(usize, f64, usize)> = None;
        for (first, &start) in free.iter().enumerate() {
            let (many, span) = *known[start].get_or_insert_with(|| {
                let rows = window(&free[first..]);
                let span = rows.last().map_or(0.0, |i| ln_flops[*i] - ln_flops[start]);
                (sizes(points, &rows).len(), span)
            });
            // More sizes win; then the tighter window; then the smaller compute.
            if best.is_none_or(|(m, s, _)| many > m || (many == m && span < s)) {
                best = Some((many, span, first));
            }
        }
        let Some((many, span, first)) = best else { break };
        let typical = many_sizes.get(1).copied().unwrap_or(0);
        if many < 4 || (many as f64) < SHARE * typical as f64 {
            break;
        }
        let rows = window(&free[first..]);
        let low = ln_flops[free[first]];
        free.drain(first..first + rows.len());
        for (known, at) in known.iter_mut().zip(&ln_flops) {
            if (low - width..=low + span).contains(at) {
                *known = None;
            }
        }
        let candidate = group(points, rows, None);
        if groups.iter().any(|g| (g.flops / candidate.flops).ln().abs() < 1.5 * width) {
            continue;
        }
        many_sizes.push(many);
        groups.push(candidate);
    }
    groups
}

fn group(points: &[Point], mut rows: Vec<usize>, label: Option<f64>) -> Group {
    rows.sort_unstable();
    let mean = rows.iter().map(|i| points[*i].flops.ln()).sum::<f64>() / rows.len() as f64;
    let flops = mean.exp();
    Group { label: label.unwrap_or(flops), flops, rows }
}

/// The distinct sizes among `rows`, smallest first: mean ln N and mean loss of each.
pub(in crate::fit) fn sizes(points: &[Point], rows: &[usize]) -> Vec<(f64, f64)> {
    let mut runs: Vec<(f64, f64)> =
        rows.iter().map(|i| (points[*i].params.ln(), points[*i].loss)).collect();
    runs.sort_by(|l, r| l.0.total_cmp(&r.0).then(l.1.total_cmp(&r.1)));
    let mut means: Vec<(f64, f64, f64)> = Vec::new();
    let mut last = f64::MIN;
    for (x, loss) in runs {
        match means.last_mut() {
            Some(m) if x - last < SAME_SIZE => *m = (m.0 + x, m.1 + loss, m.2 + 1.0),
            _ => means.push((x, loss, 1.0)),
        }
        last = x;
    }
    means.into_iter().map(|(x, loss, n)| (x / n, loss / n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(params: f64, flops: f64, budget: Option<f64>) -> Point {
        Point {
            id: format!("{params}/{flops}"),
            cluster: format!("{params}/{flops}"),
            params,
            tokens: flops / (6.0 * params),
            flops,
            loss: 2.0,
            budget,
            unique_tokens: None,
            counts: None,
        }
    }

    #[test]
    fn planned_budgets_are_taken_as_planned() {
        let points: Vec<Point> = (0..8)
            .map(|i| {
                point(
                    1e6 * f64::from(1 + i % 4),
                    1e15 * (1.0 + 0.01 * f64::from(i)),
                    Some(if i < 4 { 1e15 } else { 1.05e15 }),
                )
            })
            .collect();
        let groups = budgets(&points);
        assert_eq!(groups.iter().map(|g| g.label).collect::<Vec<_>>(), [1e15, 1.05e15]);
        assert_eq!(groups[1].rows, [4, 5, 6, 7]);
    }

    #[test]
    fn scattered_budgets_are_found_and_the_background_is_not() {
        let mut points = Vec::new();
        for (b, budget) in [(0, 1e18), (1, 3e18), (2, 1e19)] {
            for i in 0..8 {
                let jitter = 1.0 + 0.01 * f64::from((i * 5 + b * 3) % 9);
                points.push(point(1e7 * 1.5_f64.powi(i), budget * jitter, None));
            }
        }
        for i in 0..9 {
            points.push(point(3e7, 1.3e18 * 1.25_f64.powi(i), None));
        }
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops));
        let found: Vec<f64> = budgets(&points).iter().map(|g| g.flops).collect();
        assert_eq!(found.len(), 3, "{found:?}");
        for (got, want) in found.iter().zip([1e18, 3e18, 1e19]) {
            assert!((got / want).ln().abs() < 0.09, "{got} {want}");
        }
    }

    /// Eight budgets equal to the digit, the largest of three sizes; another compute has two sizes, some one.
    #[test]
    fn budgets_that_are_equal_to_the_digit_are_all_taken() {
        let mut points = Vec::new();
        for (b, sizes) in (0..).zip([14, 14, 13, 12, 9, 6, 4, 3]) {
            let budget = 1e18 * 3.0_f64.powi(b);
            for i in 0..sizes {
                let rounded = budget * (1.0 + 1e-9 * f64::from(i));
                points.push(point(1e7 * 1.5_f64.powi(i), rounded, None));
            }
        }
        points.extend([1e7, 2e7].map(|n| point(n, 5e17, None)));
        points.extend([0.9e18, 1.7e18, 4e19].map(|c| point(3e7, c, None)));
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops));
        let groups = budgets(&points);
        let rows: Vec<usize> = groups.iter().map(|g| g.rows.len()).collect();
        assert_eq!(rows, [2, 14, 14, 13, 12, 9, 6, 4, 3]);
        assert!((groups[8].label / 2.187e21 - 1.0).abs() < 1e-8);
    }

    #[test]
    fn a_grid_of_ratios_has_no_budgets() {
        let mut points = Vec::new();
        for i in 0..6 {
            for ratio in [5.0, 13.0, 37.0] {
                let n = 1e7 * 2.3_f64.powi(i);
                points.push(point(n, 6.0 * n * n * ratio, None));
            }
        }
        points.sort_by(|l, r| l.flops.total_cmp(&r.flops));
        assert_eq!(budgets(&points), []);
    }
}
