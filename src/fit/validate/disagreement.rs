//! The methods side by side on the same runs: their spread is part of the answer.
//!
//! Published studies report one method; on the same data the others differ by more than the printed
//! intervals (arXiv:2603.22339; Llama 3's IsoFLOP line gives a = .46 where the surface gives .50-.53).
//! So the spread is a result of its own, with the pairs whose intervals exclude each other.
//!
//! Approach 2 speaks with its bias for this design taken off, where that could be estimated: what is left
//! is disagreement and not geometry.

use crate::fit::result::{Analysis, Compute, Disagreement, Fit, Frontier, MethodValue};
use crate::fit::{Code, Warning};
use crate::points::AHEAD;

/// One method's line, and the interval of its slope.
struct MethodLine<'a> {
    fit: &'a Fit,
    line: Frontier,
    slope: Option<[f64; 2]>,
}

impl MethodLine<'_> {
    fn params(&self, compute: &Compute, flops: f64) -> f64 {
        let surface = self.fit.params.and_then(|s| s.optimum(compute, flops));
        surface.unwrap_or_else(|| self.line.at(flops)).0
    }
}

/// The spread of the methods, or nothing with fewer than two.
pub(in crate::fit) fn between(
    analysis: &Analysis,
    warnings: &mut Vec<Warning>,
) -> Option<Disagreement> {
    let lines: Vec<MethodLine> = analysis.fits.iter().map(|fit| line_of(analysis, fit)).collect();
    if lines.len() < 2 {
        return None;
    }
    let largest = analysis.points.iter().map(|p| p.flops).fold(0.0, f64::max);
    let ends = |of: &dyn Fn(&MethodLine) -> f64| {
        let mut all: Vec<MethodValue> = lines
            .iter()
            .map(|v| MethodValue { method: v.fit.method.clone(), value: of(v) })
            .collect();
        // Stable: equals stay in the order in which methods lead.
        all.sort_by(|l, r| l.value.total_cmp(&r.value));
        [all[0].clone(), all[all.len() - 1].clone()]
    };
    let (mut beyond_intervals, mut apart) = (Vec::new(), Vec::new());
    for (i, one) in lines.iter().enumerate() {
        for two in &lines[i + 1..] {
            let (Some(p), Some(q)) = (one.slope, two.slope) else { continue };
            let inside = |v: f64, i: [f64; 2]| (i[0]..=i[1]).contains(&v);
            if inside(one.line.a, q) || inside(two.line.a, p) {
                continue;
            }
            let (left, right) = (&one.fit.method, &two.fit.method);
            let told = |v: &MethodLine<'_>, [lo, hi]: [f64; 2]| {
                format!("{} {:.3} ({lo:.3}..{hi:.3})", v.fit.method, v.line.a)
            };
            apart.push(format!("{} and {}", told(one, p), told(two, q)));
            beyond_intervals.push([left.clone(), right.clone()]);
        }
    }
    if !apart.is_empty() {
        let text = format!(
            "methods disagree about a (N* ~ C^a) beyond their intervals: {}",
            apart.join("; ")
        );
        warnings.push(Warning::new(Code::MethodsDisagree, text));
    }
    let params = |flops: f64| move |v: &MethodLine| v.params(&analysis.compute, flops);
    Some(Disagreement {
        a: ends(&|v| v.line.a),
        params_at_largest: ends(&params(largest)),
        params_ahead: ends(&params(AHEAD * largest)),
        beyond_intervals,
    })
}

fn line_of<'a>(analysis: &Analysis, fit: &'a Fit) -> MethodLine<'a> {
    let slope = analysis.parameter(fit, "a").and_then(|(_, interval)| interval);
    MethodLine { fit, line: analysis.line(fit), slope }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::study;
    use crate::fit::tests::table;
    use crate::fit::{Options, analyse};

    fn analysis() -> Analysis {
        let runs = study(&[1e18, 3e18, 1e19, 3e19, 1e20], 6, 4.0, 0.003, 11);
        let options = Options { bootstrap: 40, ..Options::default() };
        analyse(&table(runs), Compute::SixNd, &options).unwrap()
    }

    /// Oracle: the fits themselves, read by hand from the same analysis.
    #[test]
    fn the_ends_are_methods_of_the_analysis() {
        let analysis = analysis();
        let spread = analysis.disagreement.clone().unwrap();
        let corrected = analysis.isoflop_bias.as_ref().unwrap().corrected.a;
        let a: Vec<f64> = analysis
            .fits
            .iter()
            .map(|f| if f.method == "isoflop" { corrected } else { f.exponents.a })
            .collect();
        assert_eq!(spread.a[0].value, a.iter().copied().fold(f64::MAX, f64::min));
        assert_eq!(spread.a[1].value, a.iter().copied().fold(f64::MIN, f64::max));
        assert!(spread.params_ahead[0].value <= spread.params_ahead[1].value);
        assert!(spread.params_at_largest[1].value < spread.params_ahead[0].value);
    }

    #[test]
    fn intervals_that_exclude_each_other_are_named() {
        let mut analysis = analysis();
        for (fit, at) in analysis.fits.iter_mut().zip([0.4, 0.6, 0.5, 0.5]) {
            fit.frontier.a = at;
            fit.intervals.insert("a".into(), [at - 0.12, at + 0.12]);
        }
        analysis.isoflop_bias = None;
        let mut warnings = Vec::new();
        let spread = between(&analysis, &mut warnings).unwrap();
        assert_eq!(spread.beyond_intervals, [["lse-huber".to_owned(), "varpro".to_owned()]]);
        assert!(warnings.len() == 1 && warnings[0].code == Code::MethodsDisagree, "{warnings:?}");
    }
}
