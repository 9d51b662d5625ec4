//! From the best values at a few cells to a rule in (N, D), and how far the best rate moves with N alone.

use serde::{Deserialize, Serialize};

use super::{Place, Vertex, VertexState, quantile};
use crate::fit::stats;

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
    /// Lower end of its interval.
    pub lo: f64,
    /// Upper end of its interval.
    pub hi: f64,
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
    text.parse::<f64>()
        .map_or(text, |v| if (1e-3..1e4).contains(&v) { v.to_string() } else { format!("{v:e}") })
}

/// Least squares of ln value on what the resolved cells determine.
pub(super) fn fit(name: &str, at: &[(Place, Vertex)]) -> FittedRule {
    let searched = at.len();
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
    if at.is_empty() {
        rule.note = Some("no vertex is resolved".to_owned());
        return rule;
    }
    let rows: Vec<[f64; 3]> =
        at.iter().map(|(p, _)| [1.0, p.params.ln() - n, p.tokens.ln() - d]).collect();
    let range = |k: usize| {
        let (lo, hi) = rows.iter().fold((0.0_f64, 0.0_f64), |e, r| (e.0.min(r[k]), e.1.max(r[k])));
        hi - lo
    };
    let dot = |i: usize, j: usize| rows.iter().map(|r| r[i] * r[j]).sum::<f64>();
    let mut columns = vec![0];
    let varies = [1, 2].map(|k| range(k) > RANGE);
    match varies {
        [true, true] if (dot(1, 2) / (dot(1, 1) * dot(2, 2)).sqrt()).abs() > COLLINEAR => {
            columns.push(1);
            rule.note = Some("N and D of the cells rise together: their exponents cannot be told apart, and what is given for N holds along that line".to_owned());
        }
        _ => {
            columns.extend([1, 2].into_iter().filter(|k| varies[k - 1]));
            let equal = ["N", "D"].into_iter().zip(varies).filter(|(_, v)| !v).map(|(n, _)| n);
            let equal: Vec<&str> = equal.collect();
            if !equal.is_empty() {
                rule.note = Some(format!(
                    "{} of the cells hardly varies: no exponent for it",
                    equal.join(" and ")
                ));
            }
        }
    }
    if columns.len() > at.len() {
        columns.truncate(at.len());
        rule.note = Some(format!("{} resolved cells determine no more exponents", at.len()));
    }
    let y: Vec<f64> = at.iter().map(|(_, v)| v.value.ln()).collect();
    let Some((theta, inverse)) = least_squares(&rows, &columns, &y) else {
        rule.note = Some("the cells do not determine a rule".to_owned());
        return rule;
    };
    let miss = |i: usize| {
        y[i] - columns.iter().enumerate().map(|(k, c)| theta[k] * rows[i][*c]).sum::<f64>()
    };
    let rss: f64 = (0..y.len()).map(|i| miss(i).powi(2)).sum();
    let dof = y.len() - columns.len();
    // Never less than what the vertices' own errors make.
    let own = at.iter().map(|(_, v)| v.se.map_or(0.0, |s| s * s)).sum::<f64>() / y.len() as f64;
    let variance = if dof > 0 { (rss / dof as f64).max(own) } else { own };
    rule.residual_sd = (dof > 0).then(|| (rss / dof as f64).sqrt());
    let half = if dof > 0 { quantile(dof as f64) } else { f64::INFINITY };
    let names = ["value", "params_exponent", "tokens_exponent"];
    rule.terms = columns
        .iter()
        .enumerate()
        .map(|(k, c)| {
            let width = half * (variance * inverse[k][k]).sqrt();
            // No degree of freedom: the fit is exact and its interval is not known.
            let width = if width.is_finite() { width } else { f64::MAX.ln() / 2.0 };
            let ends = [theta[k] - width, theta[k], theta[k] + width];
            let [lo, value, hi] = if *c == 0 { ends.map(f64::exp) } else { ends };
            Term { name: names[*c].to_owned(), value, lo, hi }
        })
        .collect();
    if dof == 0 {
        let note = "as many cells as numbers: no interval is known";
        rule.note = Some(rule.note.map_or(note.to_owned(), |n| format!("{n}; {note}")));
    }
    rule
}

/// Solution and (X'X)^-1 by elimination, for at most three columns.
fn least_squares(
    rows: &[[f64; 3]],
    columns: &[usize],
    y: &[f64],
) -> Option<(Vec<f64>, Vec<Vec<f64>>)> {
    let k = columns.len();
    // [X'X | 1]
    let mut m: Vec<Vec<f64>> = (0..k)
        .map(|i| {
            let product =
                |j: usize| rows.iter().map(|r| r[columns[i]] * r[columns[j]]).sum::<f64>();
            let identity = (0..k).map(|j| f64::from(u8::from(i == j)));
            (0..k).map(product).chain(identity).collect()
        })
        .collect();
    for i in 0..k {
        let pivot = (i..k).max_by(|l, r| m[*l][i].abs().total_cmp(&m[*r][i].abs()))?;
        m.swap(i, pivot);
        let head = m[i][i];
        if head.abs() < 1e-12 {
            return None;
        }
        m[i].iter_mut().for_each(|v| *v /= head);
        for other in (0..k).filter(|o| *o != i) {
            let factor = m[other][i];
            let row = m[i].clone();
            m[other].iter_mut().zip(row).for_each(|(v, r)| *v -= factor * r);
        }
    }
    let inverse: Vec<Vec<f64>> = m.into_iter().map(|row| row[k..].to_vec()).collect();
    let right: Vec<f64> =
        columns.iter().map(|c| rows.iter().zip(y).map(|(r, y)| r[*c] * y).sum()).collect();
    let theta =
        inverse.iter().map(|row| row.iter().zip(&right).map(|(a, b)| a * b).sum()).collect();
    Some((theta, inverse))
}

/// Drift of the best learning rate with N at equal D: near 0 is what a width parametrisation promises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// Exponent of N of the best rate, as `optim.learning_rate` means it [-].
    pub exponent: f64,
    /// Its interval; none with two cells.
    pub interval: Option<[f64; 2]>,
    /// The cells' D [tokens].
    pub tokens: f64,
    /// Least and largest N [parameters].
    pub params: [f64; 2],
    /// Cells.
    pub cells: usize,
}

/// From the largest group of resolved cells of equal D.
pub(super) fn transfer(at: &[(Place, Vertex)]) -> Option<Transfer> {
    let resolved: Vec<&(Place, Vertex)> =
        at.iter().filter(|(_, v)| v.state == VertexState::Resolved).collect();
    let group = |d: f64| -> Vec<(f64, f64)> {
        let near = resolved.iter().filter(|(p, _)| (p.tokens / d - 1.0).abs() < 0.02);
        near.map(|(p, v)| (p.params.ln(), v.value.ln())).collect()
    };
    let of = |l: &&&(Place, Vertex)| group(l.0.tokens).len();
    let tokens = resolved.iter().max_by_key(of)?.0.tokens;
    let points = group(tokens);
    let line = stats::line(&points)?;
    let mean = points.iter().map(|p| p.0).sum::<f64>() / points.len() as f64;
    let spread: f64 = points.iter().map(|p| (p.0 - mean).powi(2)).sum();
    let rss: f64 = points.iter().map(|p| (p.1 - line.intercept - line.slope * p.0).powi(2)).sum();
    let dof = points.len().checked_sub(2)? as f64;
    let half = quantile(dof) * (rss / dof / spread).sqrt();
    let (lo, hi) = points.iter().fold((f64::MAX, f64::MIN), |e, p| (e.0.min(p.0), e.1.max(p.0)));
    Some(Transfer {
        exponent: line.slope,
        interval: (dof > 0.0).then_some([line.slope - half, line.slope + half]),
        tokens,
        params: [lo.exp(), hi.exp()],
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
        let rule = fit("learning_rate", &at);
        assert!((rule.at(3e4, 3e6).unwrap() / law(3e4, 3e6) - 1.0).abs() < 1e-10);
        let line = rule.toml().unwrap();
        let want = "learning_rate = { value = 0.0123, params_exponent = -0.250, params_ref = 2e4, tokens_exponent = 0.310, tokens_ref = 1e6 }";
        assert_eq!(line, want);
        let parsed: toml::Table = line.parse().unwrap();
        let read: crate::spec::Rule = parsed["learning_rate"].clone().try_into().unwrap();
        assert!((read.at(3e4, 3e6) / law(3e4, 3e6) - 1.0).abs() < 1e-3);
        // The vertices' own errors of 1% leave each exponent an interval although the fit is exact.
        let term = &rule.terms[1];
        assert!(term.hi - term.lo > 0.01 && term.hi - term.lo < 0.2, "{term:?}");
    }

    #[test]
    fn an_unresolved_cell_is_not_used() {
        let edge = Vertex { state: VertexState::AtEdge, ..vertex(9.0) };
        let at = [
            (place(1e4, 1e6), vertex(0.01)),
            (place(4e4, 1e6), edge),
            (place(8e4, 1e6), vertex(0.01)),
        ];
        let rule = fit("learning_rate", &at);
        assert_eq!((rule.resolved, rule.searched, rule.terms.len()), (2, 3, 2));
        assert!(rule.note.unwrap().contains("no interval is known"));
        assert_eq!(fit("x", &at[1..2]).terms.len(), 0);
        let t = transfer(&at).unwrap();
        assert!(t.exponent.abs() < 1e-12 && t.interval.is_none() && t.cells == 2);
    }
}
