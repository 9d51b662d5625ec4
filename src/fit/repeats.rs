//! Runs that saw their tokens more than once, and what may be fitted to them.
//!
//! A law of fresh tokens takes D for new tokens. A run on repeated ones lies above it, and fitted among the others
//! it moves E, the exponents and N*. So runs of more than [`HARDLY`] epochs are **kept apart**: the law of
//! repetition alone is fitted to them, together with the fresh ones; every method and every other form sees the
//! others only. Up to there repetition costs less than a tenth of what seeds scatter: 1.25 epochs are worth 0.998
//! times as many fresh tokens (Muennighoff et al. 2023, arXiv:2305.16264), some 0.03% of the loss.
//!
//! **Over-fitted runs** are in no fit. Under the law of repetition the loss falls with N, D and U, whatever the
//! decays. A repeated run that lies above another of no more N, D and U by more than [`SLACK`] contradicts that.
//!
//! **Where fresh runs alone determine no law**, the others are fitted with them at the fresh tokens that they are
//! worth, D' = U + U R_D* (1 - exp(-(D/U - 1) / R_D*)), by the table's own R_D* where it is determined, else by the
//! published one.
//!
//! Limits: D' leaves out what repetition makes of a model that is too large for its U (N'); a table says which
//! tokens are distinct, and nobody checks it. Read by: `analyse`, `surfaces`, `predict`.

use crate::fit::forms::{self, Tried};
use crate::fit::result::LawFit;
use crate::fit::sample::Sample;
use crate::fit::{Code, Warning, checks};
use crate::points::Point;

/// Epochs up to which a run counts as fresh.
const HARDLY: f64 = 1.25;
/// How far above a run of no more N, D and U a repeated run lies before it is over-fitted, in ln L: a few times
/// what seeds scatter.
const SLACK: f64 = 0.01;
/// Fewest fresh runs that are fitted alone: two for each parameter of Chinchilla's form.
const FEWEST: usize = 10;
/// More epochs than this are repetition at all: tokens are counted to a percent.
pub(crate) const ONCE: f64 = 1.01;

/// R_D* and R_N* of Muennighoff et al. 2023 for C4, as in their repository (datablations, README).
pub(crate) const PUBLISHED: [f64; 2] = [15.387756, 5.309743];

/// The runs of a table, by what they are fitted to.
pub(super) struct Parted {
    /// As methods and forms of fresh tokens take them, sorted. D is what it is worth.
    pub(super) fresh: Vec<Point>,
    /// The same runs as the table has them, sorted.
    pub(super) kept: Vec<Point>,
    /// The runs that are left out of these, sorted.
    pub(super) apart: Vec<Point>,
    /// The law of repetition on all runs that are not over-fitted, or what it lacks.
    pub(super) law: Result<Tried, String>,
}

/// Epochs of a run; 1 where nothing is known of its distinct tokens.
pub(crate) fn epochs(point: &Point) -> f64 {
    point.unique_tokens.map_or(1.0, |unique| (point.tokens / unique).max(1.0))
}

/// What an amount is worth, part of which is a repetition: N' or D'.
pub(crate) fn worth(amount: f64, fresh: f64, decay: f64) -> f64 {
    let repeats = amount / fresh - 1.0;
    if repeats <= 0.0 {
        return amount;
    }
    // 1 - exp(-x), without losing the digits of a small x.
    fresh - fresh * decay * (-repeats / decay).exp_m1()
}

/// The distinct tokens that the corpus of these runs holds, where some run repeats: the most of any run.
pub(super) fn corpus(points: &[Point]) -> Option<f64> {
    let most = points.iter().filter_map(|p| p.unique_tokens).fold(0.0, f64::max);
    points.iter().any(|p| epochs(p) > ONCE).then_some(most)
}

/// Parts sorted runs, and says so.
pub(super) fn part(points: Vec<Point>, warnings: &mut Vec<Warning>) -> Parted {
    let over = overfitted(&points);
    let usable: Vec<Point> =
        points.iter().zip(&over).filter(|(_, over)| !**over).map(|(p, _)| p.clone()).collect();
    let law = forms::repetition(&usable);
    let all = points.len();
    let repeated: Vec<Point> = points.iter().filter(|p| epochs(p) > HARDLY).cloned().collect();
    if repeated.is_empty() {
        return Parted { fresh: points.clone(), kept: points, apart: Vec::new(), law };
    }
    let fresh: Vec<Point> = points.iter().filter(|p| epochs(p) <= HARDLY).cloned().collect();
    let own = law.as_ref().map_err(Clone::clone).and_then(|law| own(&law.fitted));
    let lost: Vec<&Point> = points.iter().zip(&over).filter(|(_, o)| **o).map(|(p, _)| p).collect();
    let told = format!(
        "{} of {all} runs repeat their tokens: {}",
        repeated.len(),
        named(&repeated.iter().collect::<Vec<_>>())
    );
    let of_lost = match lost.len() {
        0 => String::new(),
        n => format!(
            "; {n} of them are over-fitted (above a run of no more N, D and unique tokens) and in no fit: {}",
            named(&lost)
        ),
    };
    let lacks = match fresh.len() {
        n if n < FEWEST => Some(format!("{n} runs, want {FEWEST}")),
        _ => Sample::new(&fresh).unfit(),
    };
    let Some(why) = lacks else {
        let by = match &law {
            Ok(_) => "the law of repetition alone is fitted to them",
            Err(_) => "no law is fitted to them",
        };
        let text = format!("{told}. They are left out of every law of fresh tokens; {by}{of_lost}");
        warnings.push(Warning::new(Code::RepeatedTokens, text));
        if let (Ok(_), Err(why)) = (&law, own) {
            let text = format!("the table's own decays of repetition are not used: {why}");
            warnings.push(Warning::new(Code::BorrowedRepetition, text));
        }
        return Parted { kept: fresh.clone(), fresh, apart: repeated, law };
    };
    let (decay, whose) = match own {
        Ok([decay, _]) => (decay, "the table's own law of repetition".to_owned()),
        Err(why) => {
            (PUBLISHED[0], format!("Muennighoff et al. 2023 for C4, the table's own being unknown: {why}"))
        }
    };
    let valued = |p: &Point| {
        let unique = p.unique_tokens.filter(|_| epochs(p) > HARDLY);
        let tokens = unique.map_or(p.tokens, |unique| worth(p.tokens, unique, decay));
        // What it is worth is fresh.
        Point { tokens, unique_tokens: p.unique_tokens.map(|u| u.max(tokens)), ..p.clone() }
    };
    let text = format!(
        "{told}. The fresh ones alone determine no law ({why}), so all are fitted together, each at the fresh tokens \
         that it is worth by R_D* = {decay:.3} ({whose}){of_lost}"
    );
    warnings.push(Warning::new(Code::RepeatedTokens, text));
    let valued: Vec<Point> = usable.iter().map(valued).collect();
    Parted {
        fresh: checks::sorted(&valued),
        kept: usable,
        apart: lost.into_iter().cloned().collect(),
        law,
    }
}

/// The first of some runs, with their epochs, the most repeated first.
fn named(runs: &[&Point]) -> String {
    let mut runs = runs.to_vec();
    runs.sort_by(|l, r| epochs(r).total_cmp(&epochs(l)).then(l.id.cmp(&r.id)));
    let first: Vec<String> =
        runs.iter().take(5).map(|p| format!("{} ({:.3} epochs)", p.id, epochs(p))).collect();
    first.join(", ") + if runs.len() > 5 { ", ..." } else { "" }
}

/// Which runs are over-fitted.
fn overfitted(points: &[Point]) -> Vec<bool> {
    let unique = |p: &Point| p.unique_tokens.unwrap_or(p.tokens).min(p.tokens);
    let above = |p: &Point| {
        points.iter().any(|q| {
            q.params <= p.params
                && q.tokens <= p.tokens
                && unique(q) <= unique(p)
                && p.loss.ln() > q.loss.ln() + SLACK
        })
    };
    points.iter().map(|p| epochs(p) > HARDLY && above(p)).collect()
}

/// R_D* and R_N* of a fit, or why they are not to be used.
fn own(fitted: &crate::fit::law::Fitted) -> Result<[f64; 2], String> {
    let at_bound = fitted.at_bound();
    let values = fitted.law.values.iter().zip(fitted.values());
    decays(values.map(|(v, (value, sd))| (v.name, value, sd, at_bound.contains(&v.name))))
}

impl LawFit {
    /// R_D* and R_N* of a law of repetition, or why they are not to be used.
    pub(crate) fn decays(&self) -> Result<[f64; 2], String> {
        decays(self.params.iter().map(|p| {
            (p.name.as_str(), p.value, p.sd, self.certificate.at_bound.contains(&p.name))
        }))
    }
}

/// Both are determined: at no bound, and known to better than their own size.
fn decays<'a>(
    values: impl Iterator<Item = (&'a str, f64, Option<f64>, bool)>,
) -> Result<[f64; 2], String> {
    let mut found = [f64::NAN; 2];
    for (name, value, sd, at_bound) in values {
        let Some(at) = ["R_D*", "R_N*"].iter().position(|n| *n == name) else { continue };
        match sd {
            Some(sd) if sd < value && !at_bound => found[at] = value,
            Some(sd) if !at_bound => {
                return Err(format!("{name} is not determined ({value:.3} +- {sd:.3})"));
            }
            _ => return Err(format!("{name} is not determined ({value:.3}, at a bound)")),
        }
    }
    if found.iter().all(|v| v.is_finite()) { Ok(found) } else { Err("no R_D* and R_N*".into()) }
}
