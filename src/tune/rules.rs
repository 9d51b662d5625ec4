//! From the best values at a few cells to a rule in (N, D), and how far the best rate moves with N alone.

use serde::{Deserialize, Serialize};

use super::{Noise, Place, Vertex, VertexState, quantile};
use crate::fit::numeric::qr::ordinary;

/// N and D of the tuning cells rise together beyond this correlation of their logarithms.
const COLLINEAR: f64 = 0.95;
/// Smallest range of ln N or ln D that shows an exponent.
const RANGE: f64 = 0.5;

/// One number of a rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Term {
    /// `value`, `params_exponent` or `tokens_exponent`.
    pub name: String,
    /// Least squares.
    pub value: f64,
    /// Its interval; none with as many numbers as cells, or where the value is 0.
    pub interval: Option<[f64; 2]>,
}

/// `value * (N / params_ref)^params_exponent * (D / tokens_ref)^tokens_exponent`, fitted to vertices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FittedRule {
    /// Key of `[optim]`.
    pub name: String,
    /// The value at the references, then as many exponents as the cells determine; none without a resolved
    /// vertex.
    pub terms: Vec<Term>,
    /// Geometric mean of the cells' N [parameters].
    pub params_ref: f64,
    /// Geometric mean of the cells' D [tokens].
    pub tokens_ref: f64,
    /// Cells whose vertex is resolved.
    pub resolved: usize,
    /// Cells at which it was searched.
    pub searched: usize,
    /// Standard deviation of ln value about the rule; none where no degree of freedom is left.
    pub residual_sd: Option<f64>,
    /// Why there are fewer exponents than two, or none.
    pub note: Option<String>,
}

impl FittedRule {
    fn term(&self, name: &str) -> Option<&Term> {
        self.terms.iter().find(|t| t.name == name)
    }

    /// The value at a place.
    pub fn at(&self, params: f64, tokens: f64) -> Option<f64> {
        let exponent = |name| self.term(name).map_or(0.0, |t| t.value);
        Some(
            self.term("value")?.value
                * (params / self.params_ref).powf(exponent("params_exponent"))
                * (tokens / self.tokens_ref).powf(exponent("tokens_exponent")),
        )
    }

    /// A line of `[optim]`, three digits; none without a value.
    pub fn toml(&self) -> Option<String> {
        let value = digits(self.term("value")?.value);
        let mut fields = vec![format!("value = {value}")];
        for (axis, reference) in [("params", self.params_ref), ("tokens", self.tokens_ref)] {
            if let Some(term) = self.term(&format!("{axis}_exponent")) {
                fields.push(format!("{axis}_exponent = {:.3}", term.value));
                fields.push(format!("{axis}_ref = {}", digits(reference)));
            }
        }
        Some(match fields.len() {
            1 => format!("{} = {value}", self.name),
            _ => format!("{} = {{ {} }}", self.name, fields.join(", ")),
        })
    }
}

/// Three significant digits, as TOML reads them.
fn digits(v: f64) -> String {
    let text = format!("{v:.2e}");
    let plain = |v: f64| v == 0.0 || (1e-3..1e4).contains(&v);
    text.parse::<f64>().map_or(text, |v| if plain(v) { v.to_string() } else { format!("{v:e}") })
}

/// Least squares of ln value on what the resolved cells determine.
pub(super) fn fit(name: &str, at: &[(Place, Vertex)], noise: Option<&Noise>) -> FittedRule {
    let searched = at.len();
    let zero = at.iter().filter(|(_, v)| v.state == VertexState::Zero).count();
    let at: Vec<&(Place, Vertex)> =
        at.iter().filter(|(_, v)| v.state == VertexState::Resolved).collect();
    let mean = |of: &dyn Fn(&Place) -> f64| {
        at.iter().map(|(p, _)| of(p).ln()).sum::<f64>() / at.len().max(1) as f64
    };
    let (n, d) = (mean(&|p| p.params), mean(&|p| p.tokens));
    let mut rule = FittedRule {
        name: name.to_owned(),
        terms: Vec::new(),
        params_ref: n.exp(),
        tokens_ref: d.exp(),
        resolved: at.len(),
        searched,
        residual_sd: None,
        note: None,
    };
    if zero > 0 {
        // A power law has no zero: where zero is the answer somewhere, what the other cells say is no rule.
        rule.note = Some(format!("0 was best at {zero} of {searched} cells"));
        if zero == searched {
            rule.terms = vec![Term { name: "value".to_owned(), value: 0.0, interval: None }];
        }
        return rule;
    }
    if at.is_empty() {
        rule.note = Some("no vertex is resolved".to_owned());
        return rule;
    }
    let rows: Vec<[f64; 3]> =
        at.iter().map(|(p, _)| [1.0, p.params.ln() - n, p.tokens.ln() - d]).collect();
    let (columns, note) = determined(&rows);
    rule.note = note;
    let y: Vec<f64> = at.iter().map(|(_, v)| v.value.ln()).collect();
    let chosen = columns.iter().map(|c| rows.iter().map(|r| r[*c]).collect()).collect();
    let Some((theta, inverse)) = ordinary(chosen, &y) else {
        rule.note = Some("the cells do not determine a rule".to_owned());
        return rule;
    };
    let miss = |i: usize| {
        y[i] - columns.iter().enumerate().map(|(k, c)| theta[k] * rows[i][*c]).sum::<f64>()
    };
    let rss: f64 = (0..y.len()).map(|i| miss(i).powi(2)).sum();
    let dof = y.len() - columns.len();
    let own = at.iter().map(|(_, v)| v.se.map_or(0.0, |s| s * s)).sum::<f64>() / y.len() as f64;
    let about = about(rss, dof, own, noise);
    rule.residual_sd = (dof > 0).then(|| (rss / dof as f64).sqrt());
    let names = ["value", "params_exponent", "tokens_exponent"];
    rule.terms = columns
        .iter()
        .enumerate()
        .map(|(k, c)| {
            let width = about.map_or(0.0, |(v, quantile)| quantile * (v * inverse[k][k]).sqrt());
            let ends = [theta[k] - width, theta[k], theta[k] + width];
            let [lo, value, hi] = if *c == 0 { ends.map(f64::exp) } else { ends };
            Term { name: names[*c].to_owned(), value, interval: about.map(|_| [lo, hi]) }
        })
        .collect();
    if dof == 0 {
        let note = match about {
            Some(_) => {
                "as many cells as numbers: the intervals hold the vertices' own errors alone"
            }
            None => "as many cells as numbers: no interval is known",
        };
        rule.note = Some(rule.note.map_or(note.to_owned(), |n| format!("{n}; {note}")));
    }
    rule
}

/// Which of the columns (1, ln N, ln D) of `rows`, both about their means, the cells determine, and why not all.
fn determined(rows: &[[f64; 3]]) -> (Vec<usize>, Option<String>) {
    let range = |k: usize| {
        let (lo, hi) = rows.iter().fold((0.0_f64, 0.0_f64), |e, r| (e.0.min(r[k]), e.1.max(r[k])));
        hi - lo
    };
    let dot = |i: usize, j: usize| rows.iter().map(|r| r[i] * r[j]).sum::<f64>();
    let (mut columns, mut note) = (vec![0], None);
    let varies = [1, 2].map(|k| range(k) > RANGE);
    match varies {
        [true, true] if (dot(1, 2) / (dot(1, 1) * dot(2, 2)).sqrt()).abs() > COLLINEAR => {
            columns.push(1);
            note = Some("N and D of the cells rise together: their exponents cannot be told apart, and what is given for N holds along that line".to_owned());
        }
        _ => {
            columns.extend([1, 2].into_iter().filter(|k| varies[k - 1]));
            let equal = ["N", "D"].into_iter().zip(varies).filter(|(_, v)| !v).map(|(n, _)| n);
            let equal: Vec<&str> = equal.collect();
            if !equal.is_empty() {
                note = Some(format!(
                    "{} of the cells hardly varies: no exponent for it",
                    equal.join(" and ")
                ));
            }
        }
    }
    if columns.len() > rows.len() {
        columns.truncate(rows.len());
        note = Some(format!("{} resolved cells determine no more exponents", rows.len()));
    }
    (columns, note)
}

/// Variance of ln vertices about a rule that misses them by `rss` on `dof` degrees of freedom, and how many
/// standard deviations an interval takes. The vertices' `own` variance where it explains the misses, known as well
/// as the `noise` behind it; else the misses, known by their few degrees of freedom. Nothing where neither is.
fn about(rss: f64, dof: usize, own: f64, noise: Option<&Noise>) -> Option<(f64, f64)> {
    match noise {
        Some(noise) if own > 0.0 && rss <= own * dof.max(1) as f64 => {
            Some((own, quantile(noise.dof)))
        }
        _ => (dof > 0).then(|| ((rss / dof as f64).max(own), quantile(dof as f64))),
    }
}

/// Drift of the best learning rate with N at equal D: near 0 is what a width parametrisation promises.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Exponent of N of the best rate, as `optim.learning_rate` means it [-].
    pub exponent: f64,
    /// Its interval; none with as many numbers as cells.
    pub interval: Option<[f64; 2]>,
    /// The D at which sizes were compared [tokens].
    pub tokens: Vec<f64>,
    /// Least and largest N [parameters].
    pub params: [f64; 2],
    /// Cells.
    pub cells: usize,
}

/// From all resolved cells that share their D with another size: a level for each D, one slope.
pub(super) fn transfer(at: &[(Place, Vertex)], noise: Option<&Noise>) -> Option<Transfer> {
    let mut resolved: Vec<&(Place, Vertex)> =
        at.iter().filter(|(_, v)| v.state == VertexState::Resolved).collect();
    resolved.sort_by(|l, r| l.0.tokens.total_cmp(&r.0.tokens));
    let groups: Vec<_> = resolved
        .chunk_by(|l, r| r.0.tokens / l.0.tokens < 1.02)
        .filter(|group| group.iter().any(|c| c.0.params != group[0].0.params))
        .collect();
    // Each about the mean of its D.
    let (mut points, mut own) = (Vec::new(), 0.0);
    for group in &groups {
        let mean = |of: &dyn Fn(&(Place, Vertex)) -> f64| {
            group.iter().map(|c| of(c)).sum::<f64>() / group.len() as f64
        };
        let (n, v) = (mean(&|c| c.0.params.ln()), mean(&|c| c.1.value.ln()));
        for cell in *group {
            points.push((cell.0.params.ln() - n, cell.1.value.ln() - v));
            own += cell.1.se.map_or(0.0, |se| se * se);
        }
    }
    let spread: f64 = points.iter().map(|p| p.0 * p.0).sum();
    let exponent = points.iter().map(|p| p.0 * p.1).sum::<f64>() / spread;
    let rss: f64 = points.iter().map(|p| (p.1 - exponent * p.0).powi(2)).sum();
    let dof = points.len().checked_sub(groups.len() + 1)?;
    let about = about(rss, dof, own / points.len() as f64, noise);
    let half = about.map(|(variance, quantile)| quantile * (variance / spread).sqrt());
    let sizes = groups.iter().flat_map(|g| g.iter()).map(|c| c.0.params);
    let ends = sizes.fold([f64::MAX, 0.0_f64], |e, n| [e[0].min(n), e[1].max(n)]);
    Some(Transfer {
        exponent,
        interval: half.map(|half| [exponent - half, exponent + half]),
        tokens: groups.iter().map(|g| g[0].0.tokens).collect(),
        params: ends,
        cells: points.len(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vertex(value: f64) -> Vertex {
        Vertex {
            value,
            interval: None,
            se: Some(0.01),
            loss: 2.0,
            loss_se: None,
            curvature: Some(0.05),
            points: 5,
            state: VertexState::Resolved,
        }
    }

    fn place(params: f64, tokens: f64) -> Place {
        Place { params, tokens, learning_rate: 0.01, batch_tokens: 512.0, weight_decay: 0.0 }
    }

    #[test]
    fn a_rule_is_found_and_written_as_it_is_read() {
        let law = |n: f64, d: f64| 0.0123 * (n / 2e4).powf(-0.25) * (d / 1e6).powf(0.31);
        let cells = [(1e4, 5e5), (1e4, 2e6), (4e4, 5e5), (4e4, 2e6), (2e4, 1e6)];
        let at: Vec<_> = cells.map(|(n, d)| (place(n, d), vertex(law(n, d)))).into();
        let rule = fit("learning_rate", &at, None);
        assert!((rule.at(3e4, 3e6).unwrap() / law(3e4, 3e6) - 1.0).abs() < 1e-10);
        let line = rule.toml().unwrap();
        let want = "learning_rate = { value = 0.0123, params_exponent = -0.250, params_ref = 2e4, tokens_exponent = 0.310, tokens_ref = 1e6 }";
        assert_eq!(line, want);
        let parsed: toml::Table = line.parse().unwrap();
        let read: crate::spec::Rule = parsed["learning_rate"].clone().try_into().unwrap();
        assert!((read.at(3e4, 3e6) / law(3e4, 3e6) - 1.0).abs() < 1e-3);
        // The vertices' own errors of 1% leave each exponent an interval although the fit is exact.
        let [lo, hi] = rule.terms[1].interval.unwrap();
        assert!(hi - lo > 0.01 && hi - lo < 0.2, "{lo} {hi}");
    }

    #[test]
    fn an_unresolved_cell_is_not_used() {
        let edge = Vertex { state: VertexState::AtEdge, ..vertex(9.0) };
        let at = [
            (place(1e4, 1e6), vertex(0.01)),
            (place(4e4, 1e6), edge),
            (place(8e4, 1e6), vertex(0.01)),
        ];
        let rule = fit("learning_rate", &at, None);
        assert_eq!((rule.resolved, rule.searched, rule.terms.len()), (2, 3, 2));
        assert!(rule.note.unwrap().contains("no interval is known"));
        assert!(rule.terms.iter().all(|t| t.interval.is_none()));
        assert_eq!(fit("x", &at[1..2], None).terms.len(), 0);
        let t = transfer(&at, None).unwrap();
        assert!(t.exponent.abs() < 1e-12 && t.interval.is_none() && t.cells == 2);
    }

    /// A known noise that explains what a rule misses is worth its own degrees of freedom; one that does not
    /// leaves the misses with theirs. 1% about a line through four sizes two apart: 1.645 · 0.01 / sqrt(5 ln²2).
    #[test]
    fn the_errors_of_the_vertices_count_where_they_explain_the_misses() {
        let noise = Noise { sd: 0.01, dof: 1e6, from_seeds: true };
        let width = |miss: f64, noise: Option<&Noise>| {
            let sizes = [1e4, 2e4, 4e4, 8e4];
            let sign = [1.0, -1.0, -1.0, 1.0];
            let at: Vec<_> = sizes
                .iter()
                .zip(sign)
                .map(|(n, s)| (place(*n, 1e6), vertex(0.01 * (s * miss).exp())))
                .collect();
            let [lo, hi] = transfer(&at, noise).unwrap().interval.unwrap();
            let [a, b] = fit("x", &at, noise).terms[1].interval.unwrap();
            assert!(((b - a) / (hi - lo) - 1.0).abs() < 1e-9);
            hi - lo
        };
        let known = 2.0 * 1.6449 * 0.01 / (5.0_f64 * 2.0_f64.ln().powi(2)).sqrt();
        assert!((width(0.001, Some(&noise)) / known - 1.0).abs() < 1e-3);
        assert!(width(0.001, None) > 1.5 * known);
        assert!((width(0.1, Some(&noise)) / width(0.1, None) - 1.0).abs() < 1e-12);
    }

    /// Zero at every cell is the rule 0; zero at one forbids a power law through the others.
    #[test]
    fn zero_is_an_answer_and_no_power_law() {
        let zero = Vertex { value: 0.0, state: VertexState::Zero, ..vertex(1.0) };
        let all = [(place(1e4, 1e6), zero), (place(4e4, 1e6), zero)];
        let rule = fit("weight_decay", &all, None);
        assert_eq!(rule.toml().as_deref(), Some("weight_decay = 0"));
        assert_eq!(rule.at(3e4, 1e6), Some(0.0));
        let some = [all[0], (place(4e4, 1e6), vertex(0.1)), (place(8e4, 1e6), vertex(0.2))];
        let rule = fit("weight_decay", &some, None);
        assert_eq!((rule.toml(), rule.terms.len()), (None, 0));
        assert!(rule.note.unwrap().contains("1 of 3"));
    }

    /// Two horizons with other levels and one slope; against the textbook's within-group slope.
    #[test]
    fn every_horizon_has_its_level_and_all_one_slope() {
        let miss = [0.01, -0.02, 0.01, -0.01, 0.01, 0.5_f64];
        let cells = [(1e4, 5e5), (2e4, 5e5), (4e4, 5e5), (1e4, 2e6), (4e4, 2e6), (2e4, 1e6)];
        let law = |n: f64, d: f64| 0.01 * (n / 1e4).powf(-0.4) * (d / 5e5).powf(-0.3);
        let at: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(i, &(n, d))| (place(n, d), vertex(law(n, d) * miss[i].exp())))
            .collect();
        let t = transfer(&at, None).unwrap();
        assert_eq!((t.cells, t.tokens.as_slice()), (5, &[5e5, 2e6][..]), "{t:?}");
        assert_eq!(t.params, [1e4, 4e4]);
        // Sum of x y within the groups over sum of x^2, x = ln N about the group: (-a, 0, a), (-a, a), a = ln 2.
        let a = 2_f64.ln();
        let slope = (a * (0.01 - 0.01) + a * (0.01 + 0.01)) / (4.0 * a * a);
        assert!((t.exponent - (slope - 0.4)).abs() < 1e-9, "{t:?}");
        let [lo, hi] = t.interval.unwrap();
        assert!(lo < -0.4 && -0.4 < hi && hi - lo < 0.2, "{t:?}");
        assert_eq!(transfer(&at[4..], None), None);
    }
}
