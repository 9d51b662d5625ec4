//! What differs between runs of equal N and D, and is not a seed: rates, batches and the like.
//!
//! A law is about runs that are trained as well as one knows how. Where a rate was swept, the best one of each
//! (N, D) is such a run; the others are left out by name. Taken for seeds they would widen every interval, and
//! the law would go through the mean of good and bad recipes.
//!
//! Limits: the best of several noisy runs is a little better than it is; runs of equal setting and other seeds
//! are averaged before they are compared.

use std::collections::{BTreeMap, BTreeSet};

use crate::points::{Exclusion, Point, Remark, Table, Topic};
use crate::units::{count, few};

/// Whole steps of another batch give tokens that differ by so little [-].
const SAME_TOKENS: f64 = 0.01;
/// Sizes are equal up to rounding in print [-].
const SAME_SIZE: f64 = 1e-6;

/// A column of settings.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Its name, as the table or the sweep file writes it.
    pub name: String,
    /// Whether one searches for its best value, as for a rate or a batch; otherwise it is only told.
    pub tuned: bool,
    /// Its value for each run, by the run's id.
    pub values: BTreeMap<String, String>,
}

impl Setting {
    fn of(&self, point: &Point) -> &str {
        self.values.get(&point.id).map_or("", String::as_str)
    }
}

/// Keeps the best combination of tuned settings of each (N, D); the rest become exclusions.
///
/// Runs are of one (N, D) where N is equal, D equal up to 1%, and the unique tokens are the same.
pub fn keep_best(table: &mut Table, settings: &[Setting]) -> Vec<Remark> {
    let groups = groups(&table.points);
    let tuned: Vec<&Setting> = settings.iter().filter(|s| s.tuned).collect();
    let mut remarks = Vec::new();
    let mut out: BTreeMap<usize, String> = BTreeMap::new();
    for group in &groups {
        let swept: Vec<&&Setting> =
            tuned.iter().filter(|s| distinct(s, group, &table.points) > 1).collect();
        if swept.is_empty() {
            continue;
        }
        let mut recipes: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for i in group {
            let recipe = swept.iter().map(|s| s.of(&table.points[*i])).collect();
            recipes.entry(recipe).or_default().push(*i);
        }
        let mean = |rows: &[usize]| {
            rows.iter().map(|i| table.points[*i].loss.ln()).sum::<f64>() / rows.len() as f64
        };
        let Some((best, kept)) = recipes.iter().min_by(|l, r| mean(l.1).total_cmp(&mean(r.1)))
        else {
            continue;
        };
        let told = |recipe: &[&str]| {
            let pairs = swept.iter().zip(recipe).map(|(s, v)| format!("{} {v}", s.name));
            pairs.collect::<Vec<_>>().join(", ")
        };
        for (recipe, rows) in recipes.iter().filter(|(_, rows)| *rows != kept) {
            let reason =
                format!("{} is not the best of its N and D, which is {}", told(recipe), told(best));
            out.extend(rows.iter().map(|i| (*i, reason.clone())));
        }
    }
    for setting in settings {
        remarks.extend(remark(setting, &groups, &table.points, &out));
    }
    let points = std::mem::take(&mut table.points);
    for (i, point) in points.into_iter().enumerate() {
        match out.remove(&i) {
            None => table.points.push(point),
            Some(reason) => table.excluded.push(Exclusion {
                what: format!("N {}, D {}", count(point.params), count(point.tokens)),
                id: point.id,
                reason,
            }),
        }
    }
    remarks
}

/// Rows of equal N, D and unique tokens, in the order of the table.
fn groups(points: &[Point]) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..points.len()).collect();
    let key = |i: usize| {
        let p = &points[i];
        // A run that repeats nothing has as many unique tokens as tokens.
        let unique = p.unique_tokens.filter(|u| *u < (1.0 - SAME_TOKENS) * p.tokens);
        [p.params, unique.unwrap_or(0.0), p.tokens]
    };
    rows.sort_by(|l, r| {
        let (one, two) = (key(*l), key(*r));
        let first = (0..3).map(|k| one[k].total_cmp(&two[k])).find(|o| o.is_ne());
        first.unwrap_or_else(|| l.cmp(r))
    });
    let mut out: Vec<Vec<usize>> = Vec::new();
    for i in rows {
        let near = |j: usize| {
            let (one, two) = (key(i), key(j));
            (one[0] / two[0] - 1.0).abs() <= SAME_SIZE
                && one[1] == two[1]
                && (one[2] / two[2] - 1.0).abs() <= SAME_TOKENS
        };
        match out.last_mut() {
            Some(group) if near(group[0]) => group.push(i),
            _ => out.push(vec![i]),
        }
    }
    out
}

fn distinct(setting: &Setting, group: &[usize], points: &[Point]) -> usize {
    group.iter().map(|i| setting.of(&points[*i])).collect::<BTreeSet<_>>().len()
}

/// What a reader must know of one setting; nothing where it never differs at equal N and D.
fn remark(
    setting: &Setting,
    groups: &[Vec<usize>],
    points: &[Point],
    out: &BTreeMap<usize, String>,
) -> Option<Remark> {
    let swept: Vec<&Vec<usize>> =
        groups.iter().filter(|g| distinct(setting, g, points) > 1).collect();
    if swept.is_empty() {
        return None;
    }
    let name = &setting.name;
    let text = if setting.tuned {
        let left_out =
            swept.iter().map(|g| g.iter().filter(|i| out.contains_key(i)).count()).sum::<usize>();
        let mut text = format!(
            "`{name}` differs between runs of equal N and D ({} of {} pairs of N and D): the best of each is fitted \
             and {left_out} runs are left out by name, for they are no seeds",
            swept.len(),
            groups.len()
        );
        let edges = swept.iter().filter(|g| at_edge(setting, g, points, out)).count();
        if edges > 0 {
            text += &format!(
                "; at {edges} of {} the best is the smallest or the largest that was tried, so a better one may lie \
                 beyond",
                swept.len()
            );
        }
        text + &untuned(&swept, groups, points)
    } else {
        format!(
            "`{name}` differs between runs of equal N and D ({} of {} pairs of N and D), and they are fitted as if \
             they differed by their seeds; choose with --where \"{name}=VALUE\" if it matters",
            swept.len(),
            groups.len()
        )
    };
    Some(Remark { topic: Topic::Settings, text })
}

/// Whether the best value of a group is its smallest or its largest.
fn at_edge(
    setting: &Setting,
    group: &[usize],
    points: &[Point],
    out: &BTreeMap<usize, String>,
) -> bool {
    let number = |i: &usize| setting.of(&points[*i]).parse::<f64>().ok();
    let Some(all) = group.iter().map(number).collect::<Option<Vec<f64>>>() else { return false };
    let best = group.iter().find(|i| !out.contains_key(i)).and_then(number);
    let low = all.iter().copied().fold(f64::INFINITY, f64::min);
    let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    best.is_some_and(|b| b == low || b == high)
}

/// The sizes at which a setting was never varied, where it was at others.
fn untuned(swept: &[&Vec<usize>], groups: &[Vec<usize>], points: &[Point]) -> String {
    let size = |g: &[usize]| points[g[0]].params;
    let tried: Vec<f64> = swept.iter().map(|g| size(g)).collect();
    let mut sizes: Vec<f64> = groups.iter().map(|g| size(g)).collect();
    sizes.dedup_by(|b, a| (*b / *a - 1.0).abs() <= SAME_SIZE);
    let was = |n: f64| tried.iter().any(|t| (t / n - 1.0).abs() <= SAME_SIZE);
    let never: Vec<String> = sizes.iter().filter(|n| !was(**n)).map(|n| count(*n)).collect();
    if never.is_empty() {
        return String::new();
    }
    format!(
        "; it was never varied at N {} ({} of {} sizes), whose losses may be those of an untuned recipe",
        few(&never, 4),
        never.len(),
        sizes.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::points::Convention;

    fn table(rows: &[(f64, f64, f64)]) -> Table {
        let points = rows.iter().enumerate().map(|(i, (n, d, loss))| Point {
            id: format!("r{i}"),
            cluster: format!("r{i}"),
            params: *n,
            tokens: *d,
            flops: 6.0 * n * d,
            loss: *loss,
            budget: None,
            unique_tokens: None,
            counts: None,
        });
        Table::new("t", Convention::new("as given", "6ND", "as given"), points.collect())
    }

    fn setting(name: &str, tuned: bool, values: &[&str]) -> Setting {
        let values = values.iter().enumerate().map(|(i, v)| (format!("r{i}"), (*v).to_owned()));
        Setting { name: name.into(), tuned, values: values.collect() }
    }

    fn ids(table: &Table) -> Vec<&str> {
        table.points.iter().map(|p| p.id.as_str()).collect()
    }

    #[test]
    fn the_best_rate_of_each_size_and_length_is_kept_with_its_seeds() {
        let rows = [
            (1e6, 1e7, 3.2),
            (1e6, 1e7, 3.0),
            (1e6, 1e7, 3.02),
            (1e6, 1e7, 3.3),
            (2e6, 1e7, 2.9),
            (2e6, 1.005e7, 2.8),
            (4e6, 1e7, 2.7),
        ];
        let mut t = table(&rows);
        let rate =
            setting("lr", true, &["0.001", "0.002", "0.002", "0.004", "0.002", "0.004", "0.002"]);
        let remarks = keep_best(&mut t, &[rate]);
        assert_eq!(ids(&t), ["r1", "r2", "r5", "r6"]);
        let reason = &t.excluded[0].reason;
        assert!(reason.contains("lr 0.001") && reason.ends_with("lr 0.002"), "{reason}");
        let text = &remarks[0].text;
        assert!(text.contains("`lr`") && text.contains("2 of 3 pairs"), "{text}");
        assert!(text.contains("at 1 of 2 the best"), "{text}");
        assert!(text.contains("never varied at N 4.00M (1 of 3 sizes)"), "{text}");
    }

    #[test]
    fn seeds_and_repetition_are_no_settings() {
        let rows = [(1e6, 1e7, 3.2), (1e6, 1e7, 3.0)];
        let mut t = table(&rows);
        assert!(keep_best(&mut t, &[setting("lr", true, &["1", "1"])]).is_empty());
        // Fewer unique tokens are another experiment, not a worse recipe.
        t.points[0].unique_tokens = Some(1e6);
        assert!(keep_best(&mut t, &[setting("lr", true, &["1", "2"])]).is_empty());
        assert_eq!(t.points.len(), 2);
    }

    #[test]
    fn a_setting_that_one_does_not_tune_is_told_and_nothing_is_left_out() {
        let mut t = table(&[(1e6, 1e7, 3.2), (1e6, 1e7, 3.0)]);
        let remarks = keep_best(&mut t, &[setting("depth", false, &["4", "8"])]);
        assert_eq!(t.points.len(), 2);
        assert!(remarks[0].text.contains("`depth`"), "{remarks:?}");
    }

    #[test]
    fn rates_and_batches_swept_together_have_one_best_pair() {
        let mut t = table(&[(1e6, 1e7, 3.2), (1e6, 1e7, 3.0), (1e6, 1e7, 3.1), (1e6, 1e7, 3.3)]);
        let settings = [
            setting("lr", true, &["1", "2", "1", "2"]),
            setting("batch", true, &["8", "8", "16", "16"]),
        ];
        assert_eq!(keep_best(&mut t, &settings).len(), 2);
        assert_eq!(ids(&t), ["r1"]);
    }
}
