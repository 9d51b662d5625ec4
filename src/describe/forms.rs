//! The forms of law side by side: how much of an answer is the choice of a form.

use super::answer::shares;
use super::number::{loss, or_dash, percent, scatter};
use super::{Table, Value, numbers, words};
use crate::fit::{Analysis, LawFit, SizeNoise};
use crate::points::AHEAD;
use crate::predict::{self, ahead, counts, untried, weighed};
use crate::units::{after_loss, count, flops};

/// Every law on the same runs, and why the others are missing.
pub fn forms(analysis: &Analysis) -> Table {
    let columns = vec![
        words("law", ""),
        numbers("runs", "").on_a_page(),
        numbers("k", ""),
        numbers("scatter", "sd of ln L"),
        numbers("dAICc", ""),
        numbers("counts", ""),
        numbers("held out", "mean error"),
        numbers("at most", "error held out"),
        numbers("a at 10x", ""),
        numbers("N* at 10x", "parameters"),
        numbers("loss at 10x", ""),
        words("certificate", "").on_a_page(),
    ];
    let row = |f: &LawFit| {
        let (held, ahead) = (f.heldout.as_ref(), ahead(analysis, f));
        let ahead = ahead.as_ref();
        let c = &f.certificate;
        let undetermined =
            (!c.at_bound.is_empty()).then(|| format!("not determined: {}", c.at_bound.join(", ")));
        vec![
            Value::words(&f.law),
            Value::words(f.n.to_string()),
            Value::words(f.k.to_string()),
            Value::words(scatter(f.residual_sd)),
            or_dash(f.delta_aicc, |d| format!("{d:.1}")),
            or_dash(counts(analysis, &f.law), |w| format!("{:.0}%", 100.0 * w)),
            or_dash(held.map(|h| h.mean_error), percent),
            or_dash(held.map(|h| h.max_error), scatter),
            or_dash(ahead.and_then(|a| a.a), |a| format!("{a:.3}")),
            or_dash(ahead.and_then(|a| a.params), count),
            or_dash(ahead.map(|a| a.loss), loss),
            Value::words(format!("{} of {} starts agree", c.starts_at_best, c.starts))
                .then(undetermined.unwrap_or_default()),
        ]
    };
    let rows = analysis.laws.iter().map(row).collect();
    let leading = analysis.laws.iter().position(|f| f.delta_aicc == Some(0.0));
    Table { columns, rows, leading, notes: forms_notes(analysis) }
}

/// How to read the table of forms, and which are not in it.
fn forms_notes(analysis: &Analysis) -> Vec<String> {
    let mut notes = vec![
        "Forms of law on the same runs. scatter, dAICc (how well one fits, 0 is best, above 10 has no support), held out, at \
         most: by robust least squares of ln L. held out: fitted without the largest budgets, which it then predicts."
            .to_owned(),
        weighed(analysis).to_owned(),
    ];
    let at = analysis.laws.iter().find_map(|f| f.ahead.as_ref());
    if let (Some(lead), Some(at)) = (analysis.fits.iter().find(|f| f.params.is_some()), at) {
        notes.push(format!(
            "at 10x: at C = {} FLOP, {AHEAD} times the largest compute, each form at its own N* (where a prediction says \
             `by form`, all are asked at the N* of the average); {} speaks for chinchilla.",
            flops(at.flops),
            lead.method
        ));
    }
    notes.extend(untried(analysis));
    let missing = analysis.laws_missing.iter();
    notes.extend(missing.map(|m| format!("{}: not fitted: {}.", m.law, m.reason)));
    notes
}

/// E by all forms, and what it should be where that is known.
pub fn irreducible(analysis: &Analysis) -> Vec<String> {
    // A pinned E is no result.
    let averaged = predict::irreducible(analysis).filter(|_| analysis.pins.e.is_none());
    let mut out = Vec::new();
    if let Some(i) = &averaged {
        out.push(format!(
            "E averaged over the forms (answers average the losses, each form with its own E): {} ({}..{}); E by form: {}.",
            loss(i.e.value),
            loss(i.e.lo),
            loss(i.e.hi),
            shares(&i.forms)
        ));
    }
    let Some(entropy) = analysis.entropy else { return out };
    let off = |e: f64| format!("{:+.1}%", 100.0 * (e / entropy - 1.0));
    let unit = after_loss(&analysis.convention.loss);
    let mut exact = format!("The data's exact entropy is {}{unit}", loss(entropy));
    if let Some(i) = &averaged {
        let inside = (i.e.lo..=i.e.hi).contains(&entropy);
        let place = if inside { "inside" } else { "outside" };
        exact +=
            &format!("; the average is {} of it, which is {place} its interval", off(i.e.value));
    }
    if let Some((fit, s)) = analysis.fits.iter().find_map(|f| Some((f, f.params?))) {
        let [method, e] = [&fit.method, &loss(s.e)];
        exact += &format!("; E of Chinchilla's form by {method} alone is {e} ({})", off(s.e));
    }
    out.push(exact + ".");
    out
}

/// The scatter of each size. One size alone is the pooled scatter.
pub(super) fn shares_of_sizes(sizes: &[SizeNoise]) -> String {
    if sizes.len() < 2 {
        return String::new();
    }
    let one = |s: &SizeNoise| format!("{} at N = {} ({})", scatter(s.sd), count(s.params), s.dof);
    let all = sizes.iter().map(one).collect::<Vec<_>>().join(", ");
    format!(" The same by size (degrees of freedom): {all}.")
}
