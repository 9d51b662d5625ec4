//! Runs that saw their tokens more than once, and what may be fitted to them.
//!
//! A law of fresh tokens takes D for new tokens. A run on repeated ones lies above it, and fitted among the others
//! it moves E, the exponents and N*. So runs of more than [`HARDLY`] epochs are **kept apart**: the law of
//! repetition alone is fitted to them, together with the fresh ones; every method and every other form sees the
//! others only. Up to there repetition costs less than a tenth of what seeds scatter: 1.25 epochs are worth 0.998
//! times as many fresh tokens (Muennighoff et al. 2023, arXiv:2305.16264), some 0.03% of the loss.
//!
//! **Over-fitted runs**: under the law of repetition the loss falls with N, D and U, whatever the decays. A repeated
//! run that lies above another of no more N, D and U by more than [`SLACK`] contradicts that, and is named. The law
//! of repetition keeps it, and bounds its say as that of any outlier: to choose runs by their loss would make
//! repetition look harmless (on Muennighoff's 229 runs R_D* is 16 with them, theirs being 15.4, and 56 without).
//!
//! **Where fresh runs alone determine no law**, the others, but for the over-fitted, are fitted with them at the
//! fresh tokens that they are worth, D' = U + U R_D* (1 - exp(-(D/U - 1) / R_D*)), by the table's own R_D* where it is
//! determined, else by the published one.
//!
//! Measured by `isoflop backtest` on those 229 runs, 200 draws: intervals of fresh runs' losses held 49 of 49 with
//! errors of 10.9% rms and an interval score of 53% where all were fitted as fresh, and N* in 0 of 2 budgets; parted,
//! 88%, 8.9% and 37%, and N* in 4 of 4. To fit runs of up to 4 or 16 epochs among the fresh at D' was worse (score
//! 57% and 40%). One table: it chose the rule too.
//!
//! Limits: D' leaves out what repetition makes of a model that is too large for its U (N'); a table says which
//! tokens are distinct, and nobody checks it.

use crate::fit::data::checks;
use crate::fit::data::sample::Sample;
use crate::fit::result::LawFit;
use crate::fit::select::forms::{self, Tried};
use crate::fit::{Code, Pins, Warning};
use crate::points::Point;
use crate::units::few;

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
pub(in crate::fit) struct Parted {
    /// As methods and forms of fresh tokens take them, sorted. D is what it is worth.
    pub(in crate::fit) fresh: Vec<Point>,
    /// The same runs as the table has them, sorted.
    pub(in crate::fit) kept: Vec<Point>,
    /// The runs that are left out of these, sorted.
    pub(in crate::fit) apart: Vec<Point>,
    /// The law of repetition on all runs, or what it lacks.
    pub(in crate::fit) law: Result<Tried, String>,
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
pub(in crate::fit) fn corpus(points: &[Point]) -> Option<f64> {
    let most = points.iter().filter_map(|p| p.unique_tokens).fold(0.0, f64::max);
    points.iter().any(|p| epochs(p) > ONCE).then_some(most)
}

/// Parts sorted runs, and says so.
pub(in crate::fit) fn part(points: Vec<Point>, pins: Pins, warnings: &mut Vec<Warning>) -> Parted {
    let law = forms::repetition(&points, pins);
    let all = points.len();
    let repeated: Vec<Point> = points.iter().filter(|p| epochs(p) > HARDLY).cloned().collect();
    if repeated.is_empty() {
        return Parted { fresh: points.clone(), kept: points, apart: Vec::new(), law };
    }
    let fresh: Vec<Point> = points.iter().filter(|p| epochs(p) <= HARDLY).cloned().collect();
    let own = law.as_ref().map_err(Clone::clone).and_then(|law| own(&law.fitted));
    let lost = overfitted(&points);
    let of = |over: bool| {
        points.iter().zip(&lost).filter(move |(_, lost)| **lost == over).map(|(p, _)| p)
    };
    let usable: Vec<Point> = of(false).cloned().collect();
    let lost: Vec<&Point> = of(true).collect();
    let told = format!(
        "{} of {all} runs repeat their tokens: {}",
        repeated.len(),
        named(&repeated.iter().collect::<Vec<_>>())
    );
    let of_lost = match lost.len() {
        0 => String::new(),
        n => format!(
            ". {n} are over-fitted, which no law here knows of: they lie above a run of no more N, D and unique tokens \
             ({})",
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
        Err(why) => (
            PUBLISHED[0],
            format!("Muennighoff et al. 2023 for C4, the table's own being unknown: {why}"),
        ),
    };
    let valued = |p: &Point| {
        let unique = p.unique_tokens.filter(|_| epochs(p) > HARDLY);
        let tokens = unique.map_or(p.tokens, |unique| worth(p.tokens, unique, decay));
        // What it is worth is fresh.
        Point { tokens, unique_tokens: p.unique_tokens.map(|u| u.max(tokens)), ..p.clone() }
    };
    let text = format!(
        "{told}. The fresh ones alone determine no law ({why}), so all but the over-fitted are fitted together, each \
         at the fresh tokens that it is worth by R_D* = {decay:.3} ({whose}){of_lost}"
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
    let told: Vec<String> =
        runs.iter().map(|p| format!("{} ({:.3} epochs)", p.id, epochs(p))).collect();
    few(&told, 5)
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
        decays(
            self.params.iter().map(|p| {
                (p.name.as_str(), p.value, p.sd, self.certificate.at_bound.contains(&p.name))
            }),
        )
    }
}

/// At no bound, and R_D* known to better than its own size. R_N* may be known less well: its draws say so.
fn decays<'a>(
    values: impl Iterator<Item = (&'a str, f64, Option<f64>, bool)>,
) -> Result<[f64; 2], String> {
    let mut found = [f64::NAN; 2];
    for (name, value, sd, at_bound) in values {
        let Some(at) = ["R_D*", "R_N*"].iter().position(|n| *n == name) else { continue };
        match sd {
            Some(sd) if !at_bound && (at == 1 || sd < value) => found[at] = value,
            Some(sd) if !at_bound => {
                return Err(format!("{name} is not determined ({value:.3} +- {sd:.3})"));
            }
            _ => return Err(format!("{name} is not determined ({value:.3}, at a bound)")),
        }
    }
    if found.iter().all(|v| v.is_finite()) { Ok(found) } else { Err("no R_D* and R_N*".into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::data::sample::tests::{TRUTH, study};
    use crate::fit::tests::table;
    use crate::fit::{Analysis, Compute, Options, Surface, analyse};

    const DECAY: f64 = 10.0;

    fn analysed(points: Vec<Point>) -> Analysis {
        let options = Options { bootstrap: 60, holdout: 0, ..Options::default() };
        analyse(&table(points), Compute::SixNd, &options).unwrap()
    }

    /// Fresh runs at four budgets, and each of the smaller sizes again on an eighth of its tokens and less: their
    /// losses are those of the fresh tokens that they are worth.
    fn mixed(sigma: f64) -> (Vec<Point>, Vec<Point>) {
        let fresh = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, sigma, 3);
        let again = study(&[1e18, 1e19, 1e20, 1e21], 8, 4.0, sigma, 9);
        let mut repeated = Vec::new();
        for (p, q) in again.iter().zip(&fresh).filter(|(p, _)| p.tokens > 30.0 * p.params) {
            for epochs in [8.0, 16.0, 32.0] {
                let unique = p.tokens / epochs;
                let noise = p.loss / TRUTH.loss(p.params, p.tokens);
                repeated.push(Point {
                    id: format!("{} {epochs}", q.id),
                    cluster: format!("{} {epochs}", q.id),
                    loss: noise * TRUTH.loss(p.params, worth(p.tokens, unique, DECAY)),
                    unique_tokens: Some(unique),
                    ..p.clone()
                });
            }
        }
        (fresh, repeated)
    }

    fn lead(analysis: &Analysis) -> Surface {
        analysis.fits[0].params.unwrap()
    }

    fn told(analysis: &Analysis) -> &str {
        let found = analysis.warnings.iter().find(|w| w.code == Code::RepeatedTokens);
        &found.unwrap().text
    }

    /// By hand: 4 epochs are worth 1 + 15.387756 (1 - exp(-3/15.387756)) = 3.7257 fresh ones, and the first one.
    #[test]
    fn repeated_tokens_are_worth_what_the_formula_says() {
        assert!((worth(4e9, 1e9, PUBLISHED[0]) / 3.725_7e9 - 1.0).abs() < 1e-5);
        assert_eq!(worth(4e9, 5e9, PUBLISHED[0]), 4e9);
        // What a run counts for that is still taken as fresh.
        assert!((worth(HARDLY, 1.0, PUBLISHED[0]) / HARDLY - 0.998).abs() < 5e-4);
    }

    #[test]
    fn repeated_runs_leave_the_laws_of_fresh_tokens_as_they_are() {
        let (fresh, repeated) = mixed(0.002);
        let alone = analysed(fresh.clone());
        let both = analysed([fresh.clone(), repeated.clone()].concat());
        assert_eq!(both.fits, alone.fits);
        assert_eq!(both.isoflop, alone.isoflop);
        assert_eq!(both.averaging, alone.averaging);
        assert_eq!((both.points.len(), both.repeated.len()), (fresh.len(), repeated.len()));
        let text = told(&both);
        assert!(
            text.contains("runs repeat their tokens") && text.contains("32.000 epochs"),
            "{text}"
        );
        // Fitted as fresh, they are scatter that no law of fresh tokens explains.
        let blind = repeated.iter().map(|p| Point { unique_tokens: None, ..p.clone() });
        let blind = analysed([fresh, blind.collect()].concat());
        let sd = |a: &Analysis| a.fits[0].residual_sd.unwrap();
        assert!(sd(&blind) > 3.0 * sd(&both), "{} {}", sd(&blind), sd(&both));
    }

    #[test]
    fn the_tables_own_decays_are_found() {
        let (fresh, repeated) = mixed(0.001);
        let both = analysed([fresh.clone(), repeated].concat());
        let law = both.laws.iter().find(|l| l.law == "repetition").unwrap();
        let [tokens, _] = law.decays().unwrap();
        assert!((tokens / DECAY - 1.0).abs() < 0.15, "{law:?}");
        assert!(law.draws.len() >= 50 && law.n > fresh.len() && law.delta_aicc.is_none());
        assert!(both.averaging.unwrap().forms.iter().all(|f| f.law != "repetition"));
    }

    /// Three fresh runs: the others are fitted with them at what they are worth, and the truth comes out.
    #[test]
    fn where_fresh_runs_are_too_few_the_others_count_for_what_they_are_worth() {
        let (fresh, repeated) = mixed(0.0);
        let few = analysed([fresh[..3].to_vec(), repeated.clone()].concat());
        let text = told(&few);
        assert!(text.contains("3 runs, want 10") && text.contains("table's own"), "{text}");
        assert_eq!(few.points.len(), 3 + repeated.len());
        assert!(few.points.iter().any(|p| epochs(p) > 30.0), "points are as the table has them");
        let got = lead(&few);
        assert!((got.e / TRUTH.e - 1.0).abs() < 0.02, "{got:?}");
        assert!((got.beta / TRUTH.beta - 1.0).abs() < 0.1, "{got:?}");
    }

    /// The third run has more epochs than the second and a higher loss; the fourth a larger size and a higher loss;
    /// the fifth is fresh, whatever its loss.
    #[test]
    fn a_run_above_one_of_no_more_size_tokens_and_data_is_over_fitted() {
        let point = |params: f64, tokens: f64, unique: f64, loss: f64| Point {
            params,
            tokens,
            loss,
            unique_tokens: Some(unique),
            ..study(&[1e18], 2, 2.0, 0.0, 1)[0].clone()
        };
        let points = [
            point(1e8, 1e9, 1e9, 3.5),
            point(1e8, 4e9, 1e9, 3.3),
            point(1e8, 4e10, 1e9, 3.4),
            point(1e9, 4e9, 1e9, 3.6),
            point(1e9, 1e9, 1e9, 4.0),
            // Within what seeds scatter; and on fewer distinct tokens than any other.
            point(1e8, 8e9, 1e9, 3.31),
            point(1e8, 8e9, 0.9e9, 3.4),
        ];
        assert_eq!(overfitted(&points), [false, false, true, true, false, false, false]);
        assert_eq!(corpus(&points), Some(1e9));
        assert_eq!(corpus(&points[..1]), None);
    }
}
